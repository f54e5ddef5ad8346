"""One poll of one partition as the broker sent it: producers' batches, not yet unpacked.

A batch is what Kafka calls a record batch of version 2 (magic 2, KIP-98): a head of 61 bytes, and behind it the
records, compressed together. The head says all that is needed to hand the batch on; `records` unpacks it.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from aiokafka.record.default_records import DefaultRecordBatchBuilder

_HEAD = struct.Struct(">qiibIhiqqqhii")
"""Base offset, bytes behind this number, leader's epoch, magic, checksum, attributes, difference of the last offset,
time of the first record and greatest time (ms), producer's id and epoch, base sequence, records."""
_SIZE_AT, _OVERHEAD = 8, 12
"""Where the number of bytes behind this number stands, and where they begin."""
_MAGIC_AT = 16
_CODEC, _APPENDED = 0b111, 0b1000
"""Bits of the attributes: how records are compressed; that their time is when the broker appended them."""
_VERSION = 2


@dataclass(frozen=True, slots=True)
class BatchHeader:
    """What the head of a batch says of its records."""

    base_offset: int
    last_offset: int
    first_timestamp: int
    """Milliseconds, as is the one below."""
    max_timestamp: int
    codec: int
    """0 for none, 1 gzip, 2 snappy, 3 lz4, 4 zstd."""
    is_appended: bool
    """Whether every record's time is `max_timestamp`, at which the broker appended them."""
    count: int


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """A producer's batch, of which records with offsets from `first` to below `end` are wanted."""

    head: BatchHeader
    body: memoryview
    """The records, compressed as the head says."""
    first: int
    end: int

    @classmethod
    def of(cls, raw: memoryview, first: int) -> "RecordBatch":
        """Read the head of a batch of version 2; records before `first` are not wanted."""
        base, _, _, _, _, attributes, last, first_timestamp, max_timestamp, _, _, _, count = _HEAD.unpack_from(raw)
        appended = bool(attributes & _APPENDED)
        head = BatchHeader(base, base + last, first_timestamp, max_timestamp, attributes & _CODEC, appended, count)
        return cls(head, raw[_HEAD.size :], max(first, base), base + last + 1)

    def __len__(self) -> int:
        """Return how many records there are at most: compaction may have taken some."""
        return min(self.head.count, self.end - self.first)

    def cut(self, at: int) -> "tuple[RecordBatch, RecordBatch]":
        """Cut before an offset."""
        return replace(self, end=at), replace(self, first=at)


class FetchedBatch:
    """Records of one partition, in offset order.

    Parameters
    ----------
    batches
        At least one.
    """

    def __init__(self, batches: Sequence[RecordBatch]) -> None:
        self.batches = batches
        first, last = batches[0].head, batches[-1].head
        self.last_offset = batches[-1].end - 1
        """Of the records, or of those that compaction took behind them."""
        self.produced_at = last.max_timestamp
        """When the newest of its last batch was produced, ms."""
        self.waited_since = first.max_timestamp if first.is_appended else first.first_timestamp
        """When the first of its first batch was produced, ms."""

    def __len__(self) -> int:
        """Return how many records there are at most."""
        return sum(map(len, self.batches))

    def forget(self) -> None:
        """Let go of the records; what else is known of the poll stays."""
        self.batches = ()

    @classmethod
    def of(cls, records: Sequence[Any]) -> "FetchedBatch":
        """Make a poll of at least one record, each with `offset`, `timestamp`, `key`, `value` and `headers`."""
        return cls([RecordBatch.of(memoryview(written(records)), records[0].offset)])


def raw_batches(fetched: bytes) -> Iterator[memoryview]:
    """Cut what the broker sent of a partition into its batches; what it cut off itself at the end is left out."""
    left = memoryview(fetched)
    while len(left) >= _OVERHEAD:
        end = _OVERHEAD + struct.unpack_from(">i", left, _SIZE_AT)[0]
        if end <= len(left):
            yield left[:end]
        left = left[end:]


def renewed(raw: memoryview, records: Iterable[Any]) -> memoryview:
    """Return a batch as it is, or written anew from its records if it is of a version before Kafka 0.11."""
    return raw if raw[_MAGIC_AT] == _VERSION else memoryview(written(list(records)))


def written(records: Sequence[Any]) -> bytes:
    """Write records, at least one, as a batch of version 2 that is not compressed."""
    base = records[0].offset
    builder = DefaultRecordBatchBuilder(_VERSION, 0, 0, -1, -1, -1, 2**31 - 1)
    for record in records:
        headers = list(record.headers)
        builder.append(record.offset - base, record.timestamp, record.key, record.value, headers)
    raw = bytearray(builder.build())
    struct.pack_into(">q", raw, 0, base)
    return bytes(raw)
