"""Names, shapes and creation of the topics."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_exponential

from ebb.clients import MAX_MESSAGE_BYTES, client_config
from ebb.errors import SettingsError, UnavailableError

if TYPE_CHECKING:
    from ebb.settings import Settings

__all__ = ["MAX_MESSAGE_BYTES", "Topics", "create_topics"]


@dataclass(frozen=True)
class Topics:
    """Topic names under one prefix (`ebb.`, or `ebb.<namespace>.`)."""

    prefix: str = "ebb."

    @property
    def activity(self) -> str:
        """Activity events, keyed by customer."""
        return f"{self.prefix}activity"

    @property
    def dead_letters(self) -> str:
        """Records of `activity` that could not be accepted, bytes untouched, reason in the headers."""
        return f"{self.prefix}activity.dlq"

    @property
    def scores(self) -> str:
        """Latest score by customer (compacted)."""
        return f"{self.prefix}scores"

    @property
    def alerts(self) -> str:
        """Band changes and rule hits, keyed by customer."""
        return f"{self.prefix}alerts"

    @property
    def examples(self) -> str:
        """Blocks of snapshots and of their matured labels, in partition and boundary order."""
        return f"{self.prefix}examples"

    @property
    def models(self) -> str:
        """Latest snapshot by model name (compacted)."""
        return f"{self.prefix}models"

    @property
    def state(self) -> str:
        """Checkpoints of the workers' customer state (compacted), partitioned as `activity`."""
        return f"{self.prefix}state"

    @property
    def learner(self) -> str:
        """Checkpoints of the learner (compacted, one partition)."""
        return f"{self.prefix}learner"

    @property
    def erasures(self) -> str:
        """Requests to forget a customer and the parts' reports, keyed by erasure and part (compacted)."""
        return f"{self.prefix}erasures"

    @property
    def keys(self) -> str:
        """API keys by id (compacted, one partition): digests, never the keys themselves."""
        return f"{self.prefix}keys"

    @property
    def handling(self) -> str:
        """What people did about alerts, keyed by alert and act (compacted, one partition, 90 days)."""
        return f"{self.prefix}handling"

    @property
    def dead_webhooks(self) -> str:
        """Alerts that a webhook's receiver did not take, bytes untouched, receiver and reason in the headers."""
        return f"{self.prefix}webhooks.dlq"

    def specs(self, partitions: int, replication: int) -> list[NewTopic]:
        """Return what to create. Activity, scores, state and what is keyed like them share the partition count."""
        kept = {"cleanup.policy": "delete", "retention.ms": "604800000"}
        compacted = {"cleanup.policy": "compact", "max.compaction.lag.ms": "600000", "segment.ms": "600000"}
        large = {"max.message.bytes": str(MAX_MESSAGE_BYTES)}
        shapes: list[tuple[str, int, dict[str, str]]] = [
            (self.activity, partitions, {**kept, **large}),
            (self.dead_letters, partitions, {**kept, **large}),
            (self.scores, partitions, compacted),
            (self.alerts, partitions, kept),
            (self.examples, partitions, {"cleanup.policy": "delete", "retention.ms": "-1", **large}),
            (self.models, 1, {**compacted, **large}),
            (self.keys, 1, compacted),
            # Longer than any alert is worked on; without an end the topic would hold every alert there ever was.
            (self.handling, 1, {**compacted, "cleanup.policy": "compact,delete", "retention.ms": "7776000000"}),
            (self.dead_webhooks, 1, kept),
            (self.state, partitions, {**compacted, **large}),
            (self.learner, 1, {**compacted, **large}),
            (self.erasures, partitions, compacted),
        ]
        return [
            NewTopic(name, num_partitions=count, replication_factor=replication, config=config)
            for name, count, config in shapes
        ]


@retry(
    retry=retry_if_exception_type(UnavailableError),
    stop=stop_after_delay(60),
    wait=wait_exponential(0.2, max=3),
    reraise=True,
)
def create_topics(settings: "Settings") -> list[str]:
    """Create the topics that do not exist yet and wait until the broker knows them.

    Returns
    -------
    list of str
        The names that were created now.

    Raises
    ------
    SettingsError
        If a topic exists with another number of partitions.
    UnavailableError
        If the broker does not answer within a minute.
    """
    admin = AdminClient(client_config(settings, socket_timeout_ms=10_000))
    specs = settings.topics.specs(settings.partitions, settings.replication)
    try:
        known = set(admin.list_topics(timeout=10).topics)
        missing = [spec for spec in specs if spec.topic not in known]
        for name, future in admin.create_topics(missing).items() if missing else ():
            try:
                future.result(timeout=30)
            except KafkaException as error:
                if error.args[0].name() != "TOPIC_ALREADY_EXISTS":
                    raise
                missing = [spec for spec in missing if spec.topic != name]
        announced = admin.list_topics(timeout=10).topics
        if not {spec.topic for spec in specs} <= set(announced):
            what = f"Kafka at {settings.kafka_bootstrap} has not announced all topics yet."
            raise UnavailableError(what, "Wait a moment.")
        _check_partitions(specs, {name: len(topic.partitions) for name, topic in announced.items()})
    except KafkaException as error:
        what = f"Kafka at {settings.kafka_bootstrap} does not create topics: {error.args[0]}."
        raise UnavailableError(what, "Check that the broker runs and that EBB_KAFKA_BOOTSTRAP names it.") from error
    return [spec.topic for spec in missing]


def _check_partitions(specs: list[NewTopic], found: dict[str, int]) -> None:
    """Refuse topics that were created with another partition count: customers would lie in two partitions."""
    for spec in specs:
        if found[spec.topic] != spec.num_partitions:
            what = f"Topic {spec.topic} has {found[spec.topic]} partitions; the settings say {spec.num_partitions}."
            hint = "The count is fixed when topics are created: set EBB_PARTITIONS to it, or use another EBB_NAMESPACE."
            raise SettingsError(what, hint)
