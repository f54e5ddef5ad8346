"""Validation of activity records: what is refused, why, and that the rest is accepted."""

from dataclasses import replace

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebb.contracts.activity import PUBLISHED_HEADER
from ebb.contracts.erasures import ERASE_HEADER
from ebb.contracts.features import EventKind
from ebb.settings import Settings
from stream_processors.batch import TICK
from stream_processors.ingest.decoder import FEW, Decoder
from stream_processors.ingest.record_batches import FetchedBatch
from tests.support.activity import DAY_MS, START, Event, Record, Tick, record

GOOD = {
    "event_id": "e1",
    "customer_id": "c1",
    "type": "purchase",
    "occurred_at": "2023-12-09T12:00:00+01:00",
    "properties": {"amount": 12.34, "colour": "red"},
}


def body(**changes: object) -> bytes:
    return orjson.dumps({name: value for name, value in (GOOD | changes).items() if value is not ...})


def refused(value: bytes | None, key: bytes | None = b"c1", **limits: int) -> str:
    """Decode one record beside good ones, a few and many (in columns); return why it was refused."""
    for many in (1, FEW + 8):
        records = [Record(0, key, value), *(Record(n, b"c1", body()) for n in range(1, many + 1))]
        batch = Decoder(Settings(**limits)).decode(records)  # type: ignore[arg-type]
        assert batch.offsets.tolist() == list(range(1, many + 1)), "the good records beside it must be accepted"
        (item,) = batch.refused
    assert item.record[:4] == (0, records[0].timestamp, key, value)
    assert item.detail
    return item.reason


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "empty"),
        (b"", "empty"),
        (b'{"event_id": "e1"', "bad_json"),
        (b"\xff\xfe", "bad_json"),
        (body(customer_id=...), "missing_field"),
        (body(event_id=...), "missing_field"),
        (body(occurred_at=...), "missing_field"),
        (body(occurred_at="2023-12-09T12:00:00"), "naive_time"),
        (body(occurred_at="yesterday"), "wrong_type"),
        (body(occurred_at=1_700_000_000), "wrong_type"),
        (body(customer_id=17), "wrong_type"),
        (body(customer_id=""), "wrong_type"),
        (body(properties={"amount": "a lot"}), "wrong_type"),
        (body(properties={"amount": "49.90"}), "wrong_type"),
        (body(properties={"amount": True}), "wrong_type"),
        (body(properties={"amount": [49.9]}), "wrong_type"),
        (body(properties={"discount": False}), "wrong_type"),
        (body().replace(b"12.34", b"NaN"), "bad_json"),
        (body().replace(b"12.34", b"-Infinity"), "bad_json"),
        (body().replace(b"12.34", b"1_000"), "bad_json"),
        (body().replace(b"12.34", b"1e999"), "wrong_type"),
        (body().replace(b"12.34", b"1" * 5_000), "wrong_type"),
        (body().replace(b'"red"', b'"\\ud800"'), "bad_json"),
        (body().replace(b'"red"', b"[" * 5_000 + b"]" * 5_000), "bad_json"),
        (body(type=[]), "wrong_type"),
        (body(type={}), "wrong_type"),
        (body(event_id=["e"]), "wrong_type"),
        (body(occurred_at=[]), "wrong_type"),
        (body(properties={"amount": 1e300}), "wrong_type"),
        (body(properties=None), "wrong_type"),
        (body(properties=[]), "wrong_type"),
        (body(properties={"country": ["NL"]}), "wrong_type"),
        (b"[]", "wrong_type"),
        (body(occurred_at="1969-12-31T23:59:59Z"), "far_past"),
        (body(occurred_at="2099-01-01T00:00:00Z"), "far_future"),
        (body(customer_id="x" * 300), "wrong_type"),
    ],
)
def test_a_wrong_record_is_refused_with_its_reason(value: bytes | None, reason: str) -> None:
    assert refused(value) == reason


@pytest.mark.parametrize("nobody", ["null", "NULL", "None", "NaN", "undefined", "0", "[object Object]", "Guest"])
@pytest.mark.parametrize("many", [1, FEW + 8])
def test_an_id_that_programs_send_for_nobody_is_no_customer(nobody: str, many: int) -> None:
    wrong = body(customer_id=nobody)
    records = [Record(0, nobody.encode(), wrong), *(Record(n, b"c1", body()) for n in range(1, many + 1))]
    records += [Record(many + 1, None, b"", [("ebb-tick", b"1702119600")]), Record(many + 2, nobody.encode(), wrong)]
    batch = Decoder(Settings()).decode(records)
    assert batch.offsets.tolist() == list(range(1, many + 2))
    assert batch.kinds.tolist() == [EventKind.PURCHASE] * many + [TICK]
    assert batch.amounts.tolist() == [1_234] * many + [0]
    assert batch.events["customer_id"].to_pylist() == ["c1"] * many
    assert [(item.record.offset, item.reason, item.customer_id) for item in batch.refused] == [
        (0, "no_customer", nobody),
        (many + 2, "no_customer", nobody),
    ]
    assert nobody in batch.refused[0].detail
    assert not Decoder(Settings(no_customers="tester")).decode(records).refused


def test_a_record_over_the_size_limit_is_refused() -> None:
    assert refused(body(properties={"note": "n" * 2_000}), max_event_bytes=1_024) == "too_large"


def test_a_record_outside_its_customers_partition_is_refused() -> None:
    assert refused(body(), key=None) == "missing_key"
    assert refused(body(), key=b"c2") == "wrong_key"


@pytest.mark.parametrize(
    "value",
    [b"soon", b"", None, b"-5", b"1.5", b" 17", b"1_000", "²".encode(), b"1702119600000", b"9" * 15, b"9" * 400],
    ids=lambda value: repr(value)[:20],
)
def test_a_tick_that_is_no_time_or_ahead_of_the_clock_is_refused(value: bytes | None) -> None:
    headers: list[tuple[str, bytes]] = [("ebb-tick", value)]  # type: ignore[list-item]
    batch = Decoder(Settings()).decode([Record(0, None, b"", headers), record(1, Tick(5_000))])
    assert [item.reason for item in batch.refused] == ["bad_tick"]
    assert batch.kinds.tolist() == [TICK]


def test_what_is_ahead_of_the_brokers_clock_counts_as_of_then() -> None:
    appended = START * DAY_MS + 12 * 3_600_000
    ahead = replace(record(0, Event("a", 35 * 3_600_000)), timestamp=appended)
    tick = replace(record(1, Tick(13 * 3_600_000)), timestamp=appended)
    behind = replace(record(2, Event("b", 3_600_000)), timestamp=appended)
    for copies in (1, FEW):  # one by one, and in columns
        batch = Decoder(Settings()).decode([ahead, tick, behind] * copies)
        assert not batch.refused
        assert (batch.times - START * DAY_MS).tolist()[:3] == [appended + 1 - START * DAY_MS] * 2 + [3_600_000]
        assert batch.events["occurred_at"][0].as_py().timestamp() * 1000 == START * DAY_MS + 35 * 3_600_000


def test_the_clock_of_a_demo_is_followed_to_the_millisecond() -> None:
    # A day in two seconds: what occurs within the millisecond of the append has not occurred later.
    settings = Settings(day_seconds=2.0, clock_origin_wall=1_700_000_000.0, clock_origin_event=START * 86_400.0)
    second = replace(record(0, Event("a", DAY_MS // 2 + 43_199)), timestamp=1_700_000_001_000)
    assert Decoder(settings).decode([second]).times.tolist() == [START * DAY_MS + DAY_MS // 2 + 43_199]


def test_an_accepted_event_is_read_to_the_column() -> None:
    batch = Decoder(Settings()).decode([Record(7, b"c1", body())])
    assert not batch.refused
    assert batch.offsets.tolist() == [7]
    assert batch.kinds.tolist() == [EventKind.PURCHASE]
    assert batch.amounts.tolist() == [1_234]
    assert batch.times.tolist() == [1_702_119_600_000]
    assert batch.events["customer_id"].to_pylist() == ["c1"]


def test_an_unknown_type_counts_as_activity() -> None:
    batch = Decoder(Settings()).decode([Record(0, b"c1", body(type="waved hello"))])
    assert batch.kinds.tolist() == [EventKind.OTHER]


def test_types_are_mapped_by_the_settings() -> None:
    settings = Settings(kinds={"InvoicePaid": "purchase"})
    batch = Decoder(settings).decode([Record(0, b"c1", body(type="InvoicePaid")), Record(1, b"c1", body())])
    assert batch.kinds.tolist() == [EventKind.PURCHASE, EventKind.OTHER]


def test_the_future_is_judged_by_when_the_record_was_produced() -> None:
    early = Record(0, b"c1", body(), timestamp=1_702_000_000_000)
    patient, strict = Settings(future_tolerance_seconds=200_000), Settings(future_tolerance_seconds=60)
    assert not Decoder(patient).decode([early]).refused
    assert [item.reason for item in Decoder(strict).decode([early]).refused] == ["far_future"]


def test_ticks_and_events_keep_their_order() -> None:
    batch = Decoder(Settings()).decode([record(0, Event("a", 5)), record(1, Tick(1_000)), record(2, Event("b", 7))])
    assert batch.kinds.tolist() == [EventKind.VIEW, TICK, EventKind.VIEW]
    assert (batch.times - START * 86_400_000).tolist() == [5, 1_000, 7]


def test_a_tick_may_ask_for_the_models_of_a_boundary() -> None:
    def ticked(at: int, *asked: bytes) -> Record:
        tick = record(at, Tick(1_000 * at))
        return Record(at, None, b"", [*tick.headers, *((PUBLISHED_HEADER, value) for value in asked)])

    batch = Decoder(Settings()).decode([ticked(0, b"19701"), ticked(1, b"19700"), ticked(2)])
    assert (batch.kinds.tolist(), batch.published) == ([TICK] * 3, 19_701)
    none = Decoder(Settings()).decode([ticked(0), ticked(1, b"soon"), ticked(2, b"-5"), ticked(3, b"9" * 30)])
    assert (none.kinds.tolist(), none.published, none.refused) == ([TICK] * 4, 0, [])


@given(st.lists(st.booleans(), min_size=1, max_size=12), st.integers(0, 11))
def test_a_batch_is_cut_behind_its_ticks(ticks: list[bool], wrong: int) -> None:
    items = [Tick(1_000 * at) if tick else Event(f"c{at}", 1_000 * at) for at, tick in enumerate(ticks)]
    records = [record(at, item) for at, item in enumerate(items)]
    if wrong < len(records) and not ticks[wrong]:
        records[wrong] = Record(wrong, b"c1", b"not JSON")
    batch = Decoder(Settings()).decode(records)
    days = list(batch.days())
    assert [offset for day in days for offset in day.offsets.tolist()] == batch.offsets.tolist()
    assert [letter for day in days for letter in day.refused] == batch.refused
    assert days[-1].last_offset == batch.last_offset
    for day in days[:-1]:
        assert day.kinds.tolist()[-1] == TICK
        assert day.last_offset == day.offsets[-1]
    for day in days:
        assert TICK not in day.kinds.tolist()[:-1]


def test_a_record_in_a_partition_that_is_not_its_customers_is_refused() -> None:
    decoder = Decoder(Settings(partitions=8))
    records = [record(n, Event(f"c{n}", n)) for n in range(80)]
    by_partition = {
        partition: decoder.decode_all([FetchedBatch(FetchedBatch.of(records).batches, partition)])[0]
        for partition in range(8)
    }
    taken = sorted(offset for batch in by_partition.values() for offset in batch.offsets.tolist())
    assert taken == list(range(80)), "each customer has one partition"
    for partition, batch in by_partition.items():
        assert len(batch.offsets) + len(batch.refused) == 80
        assert {letter.reason for letter in batch.refused} == {"wrong_partition"}
        assert all(f"is in partition {partition}" in letter.detail for letter in batch.refused)


WRONG = Record(0, b"c1", b"not JSON")
ERASING = Record(0, b"c1", b"", [(ERASE_HEADER, b"e1")])
ITEMS = st.one_of(
    st.builds(Event, st.sampled_from(["a", "b", "c"]), st.integers(0, 10_000), country=st.sampled_from([None, "DE"])),
    st.builds(Tick, st.integers(0, 9).map(lambda seconds: seconds * 1_000)),
    st.sampled_from([WRONG, ERASING]),
)


@given(st.lists(st.lists(ITEMS, min_size=1, max_size=6), min_size=1, max_size=4), st.booleans())
def test_batches_decoded_together_are_as_decoded_separately(
    polls: list[list[Event | Tick | Record]], many: bool
) -> None:
    decoder = Decoder(Settings())
    records = [
        [replace(item, offset=n) if isinstance(item, Record) else record(n, item) for n, item in enumerate(poll)]
        for poll in polls
    ]
    if many:  # enough for all to be read at once
        records.insert(0, [record(n, Event("d", n)) for n in range(FEW + 1)])
    for together, poll in zip(decoder.decode_all(list(map(FetchedBatch.of, records))), records, strict=True):
        apart = decoder.decode(poll)
        for name in ("offsets", "times", "kinds", "amounts", "discounted", "event_hashes"):
            assert getattr(together, name).tolist() == getattr(apart, name).tolist()
        assert together.events.to_pylist() == apart.events.to_pylist()
        rows = np.arange(len(apart.events))
        for name in ("customers", "countries", "channels"):
            numbers, texts = getattr(together, name).distinct(rows)
            values = texts.to_pylist()
            expected = [None if value is None else values.index(value) for value in _values(apart.events, name)]
            assert [None if number < 0 else number for number in numbers.tolist()] == expected
            assert values == list(dict.fromkeys(value for value in _values(apart.events, name) if value is not None))
        assert [item.record for item in together.refused] == [item.record for item in apart.refused]
        assert together.erasings == apart.erasings
        assert (together.last_offset, together.produced_at) == (apart.last_offset, apart.produced_at)


def _values(events: pa.Table, name: str) -> list[str | None]:
    columns = {"customers": "customer_id", "countries": "country", "channels": "channel"}
    values: list[str | None] = events[columns[name]].to_pylist()
    return values
