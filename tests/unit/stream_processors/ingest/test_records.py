"""Producers' batches are unpacked to what a Kafka client reads of them, and damaged ones to an error."""

import struct
from contextlib import suppress
from dataclasses import replace

import pytest
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatch, LegacyRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ebb.errors import CorruptError
from stream_processors.batch import Record
from stream_processors.ingest.record_batches import FetchedBatch, RecordBatch, encode_batch, raw_batches, upgraded
from stream_processors.ingest.records import PADDING, unpack

maybe_bytes = st.none() | st.binary(max_size=300)
headers = st.lists(st.tuples(st.text(max_size=5), maybe_bytes), max_size=3).map(tuple)
drawn = st.lists(
    st.builds(Record, st.integers(1, 200), st.integers(0, 10**13), maybe_bytes, maybe_bytes, headers),
    min_size=1,
    max_size=20,
)
APPENDED = 8
"""The bit of a batch's attributes by which the broker's time counts."""


def numbered(records: list[Record], base: int = 0) -> list[Record]:
    """Make offsets of what was drawn as steps between them."""
    batches = []
    for record in records:
        base += record.offset
        batches.append(record._replace(offset=base))
    return batches


def batch_of(records: list[Record], codec: int = 0, *, appended: bool = False) -> bytes:
    builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, -1, 2**31 - 1)
    for offset, timestamp, key, value, named in records:
        builder.append(offset - records[0].offset, timestamp, key, value, list(named))
    raw = builder.build()
    struct.pack_into(">q", raw, 0, records[0].offset)
    if appended:
        struct.pack_into(">h", raw, 21, codec | APPENDED)
    return bytes(raw)


def by_the_client(raw: bytes) -> list[Record]:
    return [
        Record(record.offset, record.timestamp, record.key, record.value, tuple(record.headers))
        for record in DefaultRecordBatch(raw)
    ]


@given(drawn, st.integers(0, 4), st.booleans(), st.integers(0, 2**40))
def test_records_are_what_a_client_reads(steps: list[Record], codec: int, appended: bool, base: int) -> None:
    raw = batch_of(numbered(steps, base), codec, appended=appended)
    batch = RecordBatch.of(memoryview(raw), 0)
    records = unpack([batch])
    assert list(records) == by_the_client(raw)
    assert records.counts == [len(steps)] == [len(batch)]
    for begin, size in zip(*records.values, strict=True):
        assert size < 0 or records.text[begin + size] == 0, "a zero byte follows each value"
    assert not records.text[-PADDING:].any()


@given(st.lists(st.tuples(drawn, st.integers(0, 4)), min_size=1, max_size=4), st.data())
def test_batches_follow_one_another_and_only_requested_records_are_returned(
    several: list[tuple[list[Record], int]], data: st.DataObject
) -> None:
    batches: list[RecordBatch] = []
    expected = []
    for steps, codec in several:
        records = numbered(steps)
        first = data.draw(st.integers(0, records[-1].offset))
        whole = RecordBatch.of(memoryview(batch_of(records, codec)), first)
        parts: tuple[RecordBatch, ...] = (whole,)
        if whole.end - whole.first > 1:
            parts = whole.cut(data.draw(st.integers(whole.first + 1, whole.end - 1)))
        batches += parts
        expected.append([record for record in records if record.offset >= first])
        assert all(len(part) >= sum(part.first <= record.offset < part.end for record in records) for part in parts)
    assert all(len(part) <= part.end - part.first for part in batches)
    unpacked = unpack(batches)
    assert list(unpacked) == [record for records in expected for record in records]
    assert unpacked.counts == [
        sum(batch.first <= record.offset < batch.end for record in by_the_client(_raw(batch))) for batch in batches
    ]


def _raw(batch: RecordBatch) -> bytes:
    """Return the full batch that a part was cut from."""
    return bytes(batch.body.obj)


GOOD = [
    Record(7, 1_700_000_000_000, b"key", b"value" * 20, (("name", b"told"),)),
    Record(9, 1_700_000_000_001, *(None,) * 2, ()),
]


@settings(max_examples=500)
@given(st.integers(0, 200), st.integers(0, 255), st.integers(-3, 3))
@example(0, 0, 0)
def test_a_damaged_batch_is_an_error_or_other_records_but_never_reads_out_of_bounds(
    index: int, byte: int, more: int
) -> None:
    batch = RecordBatch.of(memoryview(batch_of(GOOD)), 0)
    body = bytearray(batch.body)
    body[index % len(body)] = byte
    damaged = replace(batch, body=memoryview(bytes(body)), head=replace(batch.head, count=max(2 + more, 0)))
    with suppress(CorruptError):
        records = unpack([damaged])
        assert len(records) <= damaged.head.count
        for record in records:
            assert len(record.key or b"") + len(record.value or b"") <= len(body)


@pytest.mark.parametrize("count", [1, 3])
def test_a_batch_with_a_wrong_record_count_is_refused(count: int) -> None:
    batch = RecordBatch.of(memoryview(batch_of(GOOD)), 0)
    with pytest.raises(CorruptError, match="offset 7"):
        unpack([replace(batch, head=replace(batch.head, count=count))])


@pytest.mark.parametrize("size", [b"\x90\x03", b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x03"])
def test_a_size_that_reaches_beyond_its_record_is_refused(size: bytes) -> None:
    """A key of 200 bytes, of 2^63 - 1, and of -2."""
    record = b"\x00\x00\x00" + size + b"k\x02v\x00"
    batch = RecordBatch.of(memoryview(batch_of(GOOD[:1])), 0)
    with pytest.raises(CorruptError):
        unpack([replace(batch, body=memoryview(bytes([2 * len(record)]) + record))])


def test_a_varint_that_never_ends_is_refused() -> None:
    batch = RecordBatch.of(memoryview(batch_of(GOOD)), 0)
    with pytest.raises(CorruptError):
        unpack([replace(batch, body=memoryview(b"\xff" * 40))])


def test_a_fetched_batch_knows_its_end_and_its_times_without_its_records() -> None:
    later = [record._replace(offset=record.offset + 10, timestamp=record.timestamp + 5_000) for record in GOOD]
    poll = FetchedBatch([RecordBatch.of(memoryview(batch_of(records, 3)), 0) for records in (GOOD, later)])
    assert (len(poll), poll.last_offset) == (4, 19)
    assert (poll.waited_since, poll.produced_at) == (1_700_000_000_000, 1_700_000_005_001)
    poll.release()
    assert (len(poll), poll.last_offset) == (0, 19)


def test_a_fetched_batch_that_was_cut_ends_where_it_was_cut() -> None:
    head, tail = RecordBatch.of(memoryview(batch_of(GOOD)), 0).cut(8)
    assert (FetchedBatch([head]).last_offset, FetchedBatch([tail]).last_offset) == (7, 9)


def test_encoded_records_are_what_a_producer_would_have_sent() -> None:
    assert by_the_client(encode_batch(GOOD)) == GOOD
    assert list(unpack(FetchedBatch.of(GOOD).batches)) == GOOD


def test_fetched_bytes_are_split_into_batches_where_the_client_splits_them() -> None:
    one, two = batch_of(GOOD), batch_of(GOOD, 3)
    for size in (len(one), len(one) + 5, len(one) + 70, len(one) + len(two)):
        fetched = (one + two)[:size]
        client, records = MemoryRecords(fetched), []
        while client.has_next():
            client.next_batch()
            records.append(True)
        assert len(list(raw_batches(fetched))) == len(records)


def test_a_legacy_batch_is_rewritten_and_a_current_one_is_not() -> None:
    builder = LegacyRecordBatchBuilder(1, 0, 2**20)
    builder.append(0, timestamp=5, key=b"k", value=b"v")
    raw = memoryview(bytes(builder.build()))
    rewritten = upgraded(raw, LegacyRecordBatch(raw, 1))
    assert list(unpack([RecordBatch.of(rewritten, 0)])) == [Record(0, 5, b"k", b"v", ())]
    today = memoryview(batch_of(GOOD))
    assert upgraded(today, ()) is today
