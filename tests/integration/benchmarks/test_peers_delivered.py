"""The topic to which a peer of `bench-peers` delivers, against a real broker."""

import time
from uuid import uuid4

import msgspec
import pytest
from confluent_kafka import KafkaException, Producer

from benchmarks._peers.definition import FEATURES, Result
from benchmarks._peers.delivered import Delivered
from ebb.settings import Settings


def test_the_last_result_of_each_customer_is_read_with_the_brokers_timestamp(stack: Settings) -> None:
    topic = f"results-{uuid4().hex[:8]}"
    began = time.time()
    with Delivered(stack.kafka_bootstrap, topic, partitions=4) as delivered:
        producer = Producer({"bootstrap.servers": stack.kafka_bootstrap, "linger.ms": 0})
        for number in range(300):
            customer = f"c{number % 100}"
            result = Result(customer, number / 1_000, [float(number)] * len(FEATURES))
            # The producer's timestamp must not count.
            producer.produce(topic, msgspec.json.encode(result), customer, timestamp=1_000)
        assert producer.flush(30) == 0
        assert sum(delivered.ends()) == 300
        results, count, ended = delivered.read()
    assert count == 300
    assert began - 0.001 <= ended <= time.time()
    assert results == {
        f"c{number}": ([200.0 + number] * len(FEATURES), (200 + number) / 1_000) for number in range(100)
    }


def test_an_existing_topic_is_not_mistaken_for_a_new_one(stack: Settings) -> None:
    topic = f"results-{uuid4().hex[:8]}"
    with (
        Delivered(stack.kafka_bootstrap, topic, partitions=1),
        pytest.raises(KafkaException, match="already exists"),
        Delivered(stack.kafka_bootstrap, topic, partitions=1),
    ):
        pass
