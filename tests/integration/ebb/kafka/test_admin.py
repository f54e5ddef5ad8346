"""Topics as they are created: what a record must have reached before it counts as written."""

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource

from ebb.kafka.admin import create_topics, least_in_sync, topic_specs
from ebb.settings import Settings


@pytest.mark.parametrize(("replicas", "least"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (7, 4)])
def test_most_copies_must_have_a_record(replicas: int, least: int) -> None:
    assert least_in_sync(replicas) == least
    specs = topic_specs(Settings().topics, 4, replicas)
    told = {(spec.config or {}).get("min.insync.replicas") for spec in specs}
    assert told == ({str(least)} if replicas > 1 else {None})


def test_topics_without_copies_keep_the_brokers_default_and_are_accepted_again(space: Settings) -> None:
    assert create_topics(space) == []
    place = ConfigResource(ConfigResource.Type.TOPIC, space.topics.activity)
    admin = AdminClient({"bootstrap.servers": space.kafka_bootstrap})
    assert admin.describe_configs([place])[place].result(timeout=60)["min.insync.replicas"].value == "1"
