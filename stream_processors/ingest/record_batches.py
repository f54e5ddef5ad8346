"""A fetched batch of one partition as the broker sent it: producers' batches, not yet unpacked.

A batch is what Kafka calls a record batch of version 2 (magic 2, KIP-98): a header of 61 bytes, followed
by the records, compressed together. The header is enough to pass the batch on; `records` unpacks it.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from aiokafka.record.default_records import DefaultRecordBatchBuilder

_HEAD = struct.Struct(">qiibIhiqqqhii")
"""Base offset, size of what follows, leader's epoch, magic, checksum, attributes, delta of the last offset,
time of the first record and greatest time (ms), producer's id and epoch, base sequence, records."""
_SIZE_AT, _OVERHEAD = 8, 12
"""Position of the size, and of the first byte that it counts."""
_MAGIC_AT = 16
_CODEC, _APPENDED = 0b111, 0b1000
"""Bits of the attributes: compression; whether timestamps are the broker's append time."""
_VERSION = 2


@dataclass(frozen=True, slots=True)
class BatchHeader:
    """The header of a batch."""

    base_offset: int
    last_offset: int
    first_timestamp: int
    """Milliseconds, as is the one below."""
    max_timestamp: int
    codec: int
    """0 for none, 1 gzip, 2 snappy, 3 lz4, 4 zstd."""
    is_appended: bool
    """Whether every record's time is `max_timestamp`, the broker's append time."""
    count: int


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """A producer's batch, of which records with offsets from `first` to below `end` are wanted."""

    head: BatchHeader
    body: memoryview
    """The records, compressed as the header says."""
    first: int
    end: int

    @classmethod
    def of(cls, raw: memoryview, first: int) -> "RecordBatch":
        """Parse the header of a batch of version 2; records before `first` are skipped."""
        base, _, _, _, _, attributes, last, first_timestamp, max_timestamp, _, _, _, count = _HEAD.unpack_from(raw)
        appended = bool(attributes & _APPENDED)
        head = BatchHeader(base, base + last, first_timestamp, max_timestamp, attributes & _CODEC, appended, count)
        return cls(head, raw[_HEAD.size :], max(first, base), base + last + 1)

    def __len__(self) -> int:
        """Return the number of records at most: compaction may have removed some."""
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
    partition
        Number of the partition; None where records are not on a topic.
    """

    def __init__(self, batches: Sequence[RecordBatch], partition: int | None = None) -> None:
        self.batches = batches
        self.partition = partition
        first, last = batches[0].head, batches[-1].head
        self.last_offset = batches[-1].end - 1
        """Of the records, or of later ones that compaction removed."""
        self.produced_at = last.max_timestamp
        """When the newest of its last batch was produced, ms."""
        self.waited_since = first.max_timestamp if first.is_appended else first.first_timestamp
        """When the first of its first batch was produced, ms."""

    def __len__(self) -> int:
        """Return the number of records at most."""
        return sum(map(len, self.batches))

    def release(self) -> None:
        """Release the records' memory; the other attributes stay."""
        self.batches = ()

    @classmethod
    def of(cls, records: Sequence[Any]) -> "FetchedBatch":
        """Build one from at least one record, each with `offset`, `timestamp`, `key`, `value` and `headers`."""
        return cls([RecordBatch.of(memoryview(encode_batch(records)), records[0].offset)])


def raw_batches(fetched: bytes) -> Iterator[memoryview]:
    """Split a partition's fetched bytes into batches; an incomplete one at the end is left out."""
    left = memoryview(fetched)
    while len(left) >= _OVERHEAD:
        end = _OVERHEAD + struct.unpack_from(">i", left, _SIZE_AT)[0]
        if end <= len(left):
            yield left[:end]
        left = left[end:]


def upgraded(raw: memoryview, records: Iterable[Any]) -> memoryview:
    """Return a batch as it is, or rewritten from its records if it is of a version before Kafka 0.11."""
    return raw if raw[_MAGIC_AT] == _VERSION else memoryview(encode_batch(list(records)))


def encode_batch(records: Sequence[Any]) -> bytes:
    """Encode records, at least one, as an uncompressed batch of version 2."""
    base = records[0].offset
    builder = DefaultRecordBatchBuilder(_VERSION, 0, 0, -1, -1, -1, 2**31 - 1)
    for record in records:
        headers = list(record.headers)
        builder.append(record.offset - base, record.timestamp, record.key, record.value, headers)
    raw = bytearray(builder.build())
    struct.pack_into(">q", raw, 0, base)
    return bytes(raw)
