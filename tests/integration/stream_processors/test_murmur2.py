"""The partition that Ebb expects of a key is the one that Kafka's clients choose."""

import numpy as np
from confluent_kafka import Producer
from hypothesis import given
from hypothesis import strategies as st

from ebb.kafka.config import producer_config
from ebb.kafka.reader import read_to_end
from ebb.settings import Settings
from stream_processors.native.murmur2 import partitions_of


def test_keys_lie_where_they_are_expected(space: Settings) -> None:
    producer = Producer(producer_config(space))
    keys = [("k" * (n % 40) + str(n)).encode() for n in range(300)] + ["é🛍ß".encode() * n for n in range(1, 30)]
    for key in keys:
        producer.produce(space.topics.activity, b"x", key)
    producer.flush()
    found = {
        message.key(): message.partition()
        for message in read_to_end(space, space.topics.activity, range(space.partitions))
    }
    text = np.frombuffer(b"".join(keys), np.uint8)
    sizes = np.array(list(map(len, keys)), np.int64)
    begins = np.cumsum(sizes) - sizes
    expected = partitions_of(text, begins, sizes, space.partitions)
    assert found == dict(zip(keys, expected.tolist(), strict=True))


@given(st.lists(st.one_of(st.none(), st.binary(max_size=12)), max_size=6), st.integers(1, 1_024))
def test_a_key_has_the_same_partition_wherever_it_stands(keys: list[bytes | None], partitions: int) -> None:
    text = np.frombuffer(b"".join(key or b"" for key in keys) + b"\0", np.uint8)
    sizes = np.array([-1 if key is None else len(key) for key in keys], np.int64)
    begins = np.cumsum(np.maximum(sizes, 0)) - np.maximum(sizes, 0)
    found = partitions_of(text, begins, sizes, partitions)
    for key, partition in zip(keys, found.tolist(), strict=True):
        if key is None:
            assert partition == -1
        else:
            alone = partitions_of(
                np.frombuffer(key + b"\0", np.uint8), np.zeros(1, np.int64), np.array([len(key)]), partitions
            )
            assert partition == alone[0]
            assert 0 <= partition < partitions
