"""A replay's namespace on real services: it touches its own topics and no other."""

from confluent_kafka.admin import AdminClient

from clickhouse.client import connect
from ebb.kafka.admin import create_topics, topic_specs
from ebb.settings import Settings
from ebb_cli.replay.namespace import prepare


def test_a_namespace_called_activity_leaves_the_live_dead_letters_alone(stack: Settings) -> None:
    """Its prefix is `ebb.activity.`, and the dead-letter topic of the live system is `ebb.activity.dlq`."""
    live = stack.model_copy(update={"namespace": "", "partitions": 1})
    space = stack.model_copy(update={"namespace": "activity", "partitions": 1})
    admin = AdminClient({"bootstrap.servers": stack.kafka_bootstrap})
    create_topics(live)
    prepare(space, fresh=False)
    prepare(space, fresh=True)
    topics = set(admin.list_topics(timeout=10).topics)
    own = [{spec.topic for spec in topic_specs(one.topics, 1, 1)} for one in (live, space)]
    assert own[0] | own[1] <= topics
    for deleted in admin.delete_topics([*own[0], *own[1]]).values():
        deleted.result(timeout=60)
    client = connect(stack, database="default")
    client.command(f"DROP DATABASE IF EXISTS {space.database} SYNC")
    client.close()
