"""Create the topics, refuse those that were created with other partitions, and say what tells a topic from another."""

from collections.abc import Sequence

from confluent_kafka import Consumer, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.cimpl import NewTopic
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from ebb.contracts.topics import MAX_MESSAGE_BYTES, Topics
from ebb.errors import SettingsError, UnavailableError
from ebb.kafka.config import broker_hint, client_config
from ebb.log import get_logger
from ebb.settings import PlaceSettings

_APPENDED = {"message.timestamp.type": "LogAppendTime"}
"""The broker's clock, not a producer's, limits what time an event may claim."""
_IN_SYNC = "min.insync.replicas"
_log = get_logger(__name__)


def least_in_sync(replicas: int) -> int:
    """Return how many copies must have a record before it counts as written: most of them.

    Kafka's own default is the leader alone: a record that it acknowledged and lost before the others had it is gone.
    """
    return replicas // 2 + 1


def topic_specs(topics: Topics, partitions: int, replication: int) -> list[NewTopic]:
    """Return the topics to create. Activity, scores, state and what is keyed like them share the partition count."""
    copied = {_IN_SYNC: str(least_in_sync(replication))} if replication > 1 else {}
    # A record goes with its segment, seven days after the newest one in it: a segment takes a day, not seven more.
    kept = {"cleanup.policy": "delete", "retention.ms": "604800000", "segment.ms": "86400000"}
    compacted = {"cleanup.policy": "compact", "max.compaction.lag.ms": "600000", "segment.ms": "600000"}
    large = {"max.message.bytes": str(MAX_MESSAGE_BYTES)}
    shapes: list[tuple[str, int, dict[str, str]]] = [
        (topics.activity, partitions, {**kept, **large, **_APPENDED}),
        (topics.dead_letters, partitions, {**kept, **large}),
        (topics.scores, partitions, compacted),
        (topics.alerts, partitions, kept),
        (topics.examples, partitions, {"cleanup.policy": "delete", "retention.ms": "-1", **large}),
        (topics.models, 1, {**compacted, **large}),
        (topics.keys, 1, compacted),
        # Longer than any alert is worked on; without an end the topic would hold every alert there ever was.
        (topics.handling, 1, {**compacted, "cleanup.policy": "compact,delete", "retention.ms": "7776000000"}),
        (topics.dead_webhooks, 1, kept),
        (topics.state, partitions, {**compacted, **large}),
        (topics.learner, 1, {**compacted, **large}),
        (topics.erasures, partitions, compacted),
    ]
    return [
        NewTopic(name, num_partitions=count, replication_factor=replication, config={**config, **copied})
        for name, count, config in shapes
    ]


def create_topics(settings: PlaceSettings, *, patience: float = 60.0) -> list[str]:
    """Create the topics that do not exist yet and wait until the broker knows them.

    Parameters
    ----------
    patience
        Seconds for which to try again; the last attempt may add as many.

    Returns
    -------
    list of str
        The names that were created now.

    Raises
    ------
    SettingsError
        If a topic exists with another number of partitions.
    UnavailableError
        If the broker does not answer by then.
    """
    tries = Retrying(
        retry=retry_if_exception_type(UnavailableError),
        stop=stop_after_delay(patience),
        wait=wait_exponential(0.2, max=3),
        reraise=True,
    )
    return tries(_create_topics, settings, min(patience, 10.0))


def _create_topics(settings: PlaceSettings, seconds: float) -> list[str]:
    admin = AdminClient(client_config(settings, socket_timeout_ms=10_000))
    specs = topic_specs(settings.topics, settings.partitions, settings.replication)
    try:
        known = set(admin.list_topics(timeout=seconds).topics)
        missing = [spec for spec in specs if spec.topic not in known]
        for name, future in admin.create_topics(missing).items() if missing else ():
            try:
                future.result(timeout=3 * seconds)
            except KafkaException as error:
                if error.args[0].name() != "TOPIC_ALREADY_EXISTS":
                    raise
                missing = [spec for spec in missing if spec.topic != name]
        announced = admin.list_topics(timeout=seconds).topics
        if not {spec.topic for spec in specs} <= set(announced):
            what = f"Kafka at {settings.kafka_bootstrap} has not announced all topics yet."
            raise UnavailableError(what, "Wait a moment and start again.")
        _set_append_time(admin, settings.topics.activity)
        replicas = {
            spec.topic: min(len(partition.replicas) for partition in announced[spec.topic].partitions.values())
            for spec in specs
            if announced[spec.topic].partitions
        }
        _check_in_sync(admin, {topic: count for topic, count in replicas.items() if count > 1})
        _check_partitions(specs, {name: len(topic.partitions) for name, topic in announced.items()})
    except (KafkaException, TimeoutError) as error:
        what = f"Kafka at {settings.kafka_bootstrap} did not create topics: {_why(error)}."
        hint = broker_hint(settings, "Check that the broker runs and that EBB_KAFKA_BOOTSTRAP names it.")
        raise UnavailableError(what, hint) from error
    return [spec.topic for spec in missing]


def topic_id(settings: PlaceSettings, topic: str) -> str | None:
    """Return what tells a topic from another of the same name; None from a broker that does not say.

    Raises
    ------
    UnavailableError
        If the broker does not answer.
    """
    admin = AdminClient(client_config(settings))
    try:
        found = admin.describe_topics(TopicCollection([topic]))[topic].result(timeout=30).topic_id
    except (KafkaException, TimeoutError) as error:
        what = f"Kafka at {settings.kafka_bootstrap} does not describe {topic}: {_why(error)}."
        raise UnavailableError(what, "Check that the broker runs and that the topic exists.") from error
    return str(found) if found is not None else None


def end_offsets(settings: PlaceSettings, topic: str, partitions: Sequence[int]) -> dict[int, int]:
    """Return the offset that the next record of each partition will get.

    Raises
    ------
    UnavailableError
        If the broker does not answer.
    """
    consumer = Consumer(client_config(settings, group_id=f"{settings.topics.prefix}reader"))
    try:
        return {
            partition: consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)[1]
            for partition in partitions
        }
    except KafkaException as error:
        what = f"Kafka at {settings.kafka_bootstrap} does not tell the ends of {topic}: {error.args[0]}."
        raise UnavailableError(what, "Check that the broker runs and that the topic exists.") from error
    finally:
        consumer.close()


def _set_append_time(admin: AdminClient, topic: str) -> None:
    """Have the broker set the time of records on a topic that was created otherwise, if that is allowed."""
    where = ConfigResource(ConfigResource.Type.TOPIC, topic)
    name, value = next(iter(_APPENDED.items()))
    try:
        found = admin.describe_configs([where])[where].result(timeout=30)[name].value
        if found != value:
            where.add_incremental_config(ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET))
            admin.incremental_alter_configs([where])[where].result(timeout=30)
            _log.info("topic changed", topic=topic, setting=name, before=found, now=value)
    except (KafkaException, TimeoutError) as error:
        hint = f"Ask for {name}={value} on it: without, a producer whose clock is wrong sets the time of its partition."
        _log.warning("topic not checked", topic=topic, reason=_why(error), hint=hint)


def _check_in_sync(admin: AdminClient, replicas: dict[str, int]) -> None:
    """Report topics with copies that count a record as written when one copy has it.

    It is not changed here: while a broker is down, that would stop every producer at once.
    """
    places = {ConfigResource(ConfigResource.Type.TOPIC, topic): count for topic, count in replicas.items()}
    try:
        found = admin.describe_configs(list(places)) if places else {}
        least = {place.name: int(future.result(timeout=30)[_IN_SYNC].value) for place, future in found.items()}
    except (KafkaException, TimeoutError) as error:
        _log.warning("topics not checked", setting=_IN_SYNC, reason=_why(error))
        return
    short = sorted(topic for topic, count in least.items() if count < least_in_sync(replicas[topic]))
    if short:
        want = least_in_sync(min(replicas[topic] for topic in short))
        hint = (
            f"Set it while all brokers are up: kafka-configs.sh --alter --entity-type topics --entity-name {short[0]} "
            f"--add-config {_IN_SYNC}={want}, and so on. Until then a broker that fails can take records with it."
        )
        _log.warning("records may be lost with one broker", topics=short, setting=_IN_SYNC, hint=hint)


def _why(error: KafkaException | TimeoutError) -> str:
    return str(error.args[0]) if error.args else "it did not answer in time"


def _check_partitions(specs: list[NewTopic], found: dict[str, int]) -> None:
    """Refuse topics that were created with another partition count: customers would be in two partitions."""
    for spec in specs:
        if found[spec.topic] != spec.num_partitions:
            what = f"Topic {spec.topic} has {found[spec.topic]} partitions; the settings say {spec.num_partitions}."
            hint = "The count is fixed when topics are created: set EBB_PARTITIONS to it, or use another EBB_NAMESPACE."
            raise SettingsError(what, hint)
