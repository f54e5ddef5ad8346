"""Decoding events in a batch gives what decoding them one by one gives, and never accepts what that refuses."""

import json
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ebb.contracts.activity import decode_activity
from ebb.errors import InvalidEventError
from ebb.settings import Settings
from stream_processors.ingest import event_table
from stream_processors.ingest.decoder import FEW, Decoder
from stream_processors.ingest.event_table import from_activities
from stream_processors.ingest.record_batches import FetchedBatch
from stream_processors.ingest.records import Records, unpack
from stream_processors.ingest.scanner import PROPERTIES
from stream_processors.types import Flags
from tests.support.activity import Record

MAX_BYTES = 65_536
GOOD = {
    "event_id": "e1",
    "customer_id": "c1",
    "type": "purchase",
    "occurred_at": "2023-12-09T12:00:00.25+01:00",
    "properties": {"amount": 12.34, "country": "NL", "colour": "red"},
}

texts = st.text(max_size=6) | st.sampled_from(["NaN", "é\U0001f600", "a\nb", "", "x" * 257, "é" * 200, "Infinity"])
numbers = st.integers() | st.floats(allow_nan=False) | st.sampled_from([0, -1, 1e12, 1.1e12, 10**30])
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=4,
)
moments = st.sampled_from(
    [
        "2023-12-09T12:00:00Z",
        "2023-12-09t12:00:00z",
        "2023-12-09 12:00:00+05:30",
        "2023-12-09T12:00:00.123456789Z",
        "2023-12-09T12:00:00.123456-23:59",
        "2023-12-09T12:00Z",
        "2023-12-09T12:00:00",
        "2023-12-09T24:00:00Z",
        "2023-02-30T12:00:00Z",
        "2023-12-09T12:00:60Z",
        "0001-01-01T00:00:00+23:00",
        "1970-01-01T00:00:00+23:00",
        "9999-12-31T23:59:59Z",
        "1969-12-31T23:59:59.999999Z",
        "2023-12-09T12:00:00+24:00",
        "2023-12-09T12:00:00+0100",
        "2023-12-09T12:00:00 Z",
    ]
)
bodies = st.one_of(
    st.fixed_dictionaries(
        {},
        optional={
            "event_id": texts | values,
            "customer_id": texts | values,
            "type": texts,
            "occurred_at": moments | values,
            "properties": st.dictionaries(
                st.sampled_from(["amount", "discount", "country", "store", "colour", "session_id"]), values, max_size=4
            )
            | values,
            "more": values,
        },
    ).map(lambda changes: GOOD | changes),
    st.fixed_dictionaries({"occurred_at": moments}).map(lambda changes: GOOD | changes),
)


def dumped(body: Any) -> bytes:
    try:
        return orjson.dumps(body)
    except TypeError:  # an integer beyond 64 bits
        return json.dumps(body).encode()


WRITERS = st.sampled_from(
    [dumped, dumped, lambda body: json.dumps(body).encode(), lambda body: b"\n" + json.dumps(body, indent=1).encode()]
)
WRONG = [
    b"",
    b"NaN",
    b"Inf",
    b"{",
    b"}",
    b"[",
    b'"',
    b"\\",
    b"\\u00e9",
    b"\\u0000",
    b"\\ud83d",
    b"\xff",
    b"\xed\xa0\x80",
]
WRONG += [b"\n", b" ", b",", b":", b"0", b"01", b"-", b".5", b"e9", b"E+400", b"\x00", b"null", b"true"]


@st.composite
def written(draw: st.DrawFn) -> bytes:
    """Draw a record body, now and then with a few bytes wrong."""
    body: bytes = draw(WRITERS)(draw(bodies))
    if draw(st.integers(0, 3)) == 0:
        index = draw(st.integers(0, len(body)))
        wrong = draw(st.sampled_from(WRONG))
        body = body[:index] + wrong + body[index + draw(st.integers(0, 2)) :]
    return body


def keyed(bodies: list[bytes | None]) -> Records:
    """Make records of bodies, each with the key that is right for it."""
    return unpack(FetchedBatch.of([Record(index, key_for(body), body) for index, body in enumerate(bodies)]).batches)


def key_for(body: bytes | None) -> bytes:
    try:
        return str(orjson.loads(body or b"")["customer_id"]).encode()
    except (orjson.JSONDecodeError, KeyError, TypeError, UnicodeEncodeError):
        return b"c1"


def read_all(records: Records, *, latest: float = 1e12) -> tuple[pa.Table, Flags]:
    return event_table.read_events(records, np.ones(len(records), np.bool_), latest=latest, max_bytes=MAX_BYTES)


def read_events(bodies: list[bytes]) -> tuple[list[dict[str, Any]], list[bool]]:
    table, sure = read_all(keyed([*bodies]))
    assert table.schema == event_table.COLUMNS
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows, sure.tolist()


def one_by_one(record: bytes) -> list[dict[str, Any]] | None:
    try:
        event, known = decode_activity(record, latest=1e12, max_bytes=MAX_BYTES)
    except InvalidEventError:
        return None
    rows: list[dict[str, Any]] = from_activities([(event, known, record)]).to_pylist()
    return rows


@settings(max_examples=300)
@given(written())
@example(b'{"event_id":"a","customer_id":"c","type":"t","occurred_at":"2023-12-09T12:00:00Z","z":NaN}')
@example(b'{"event_id":"a","customer_id":"c","type":"t","occurred_at":"2023-12-09T12:00:00Z","z":"\xff"}')
@example(b'{"event_id":"a","customer_id":"c","type":"t","occurred_at":"2023-12-09T12:00:00Z","properties":null}')
@example(b'{"event_id":"a","event_id":"b","customer_id":"c","type":"t","occurred_at":"2023-12-09T12:00:00Z"}')
def test_a_batch_is_decoded_as_its_records_one_by_one(record: bytes) -> None:
    rows, sure = read_events([record, dumped(GOOD)])
    assert rows == [
        row for body, fine in ((record, sure[0]), (dumped(GOOD), sure[1])) if fine for row in one_by_one(body) or [{}]
    ]


def activity(**raw: bytes) -> bytes:
    """Write a record whose values are these bytes, whatever they are."""
    values = {
        "event_id": b'"e1"',
        "customer_id": b'"c1"',
        "type": b'"view"',
        "occurred_at": b'"2023-12-09T12:00:00Z"',
        "properties": b"{}",
        **raw,
    }
    return b"{" + b",".join(b'"%s":%s' % (name.encode(), value) for name, value in values.items()) + b"}"


NUMBERS = (
    *(b"0", b"-0", b"-0.0", b"00", b"01", b"-01", b"1.", b".5", b"+1", b"-", b"--1", b"1e", b"1e+", b"0x10", b"1_0"),
    *(b"1e5", b"1E+5", b"0.1e5", b"1e-5", b"1e23", b"12e-7", b"1e400", b"0e400", b"1e-400", b"5e-324", b"0.000001"),
    *(b"0.1", b"0.30000000000000004", b"2.675", b"1.005", b"9007199254740993", b"8.5e11", b"999999999999.9999999"),
    *(b"4.35", b"1152921504606846976e-9", b"123456789012345678e-7", b"9007199254740993e-9", b"179769313486231570e-9"),
    *(b"1000000000000", b"1000000000000.01", b"1000000000000.000001", b"-1000000000000.000001", b"2" + b"0" * 50),
    *(b"0." + b"0" * 45 + b"1", b"1234567890123456.7e-8", b"-123456789012345.5e-9", b"true", b"null", b'"1"', b"nul"),
)
TEXTS = (
    *(
        rb"\ud83d",
        rb"\ude00",
        rb"\ud83d\ud83d",
        rb"\ud83d\u0041",
        rb"\ud83dx",
        rb"\ude00\ud83d",
        rb"\ud83d\ude0",
        rb"\u12g4",
    ),
    *(
        rb"\ud83d\ude00",
        rb"\uD83D\uDE00",
        rb"\udbff\udfff",
        rb"\u00e9",
        rb"\u07ff\u0800\uffff",
        rb"\u0000",
        rb"\x41",
        rb"\/",
    ),
    *(
        b"\xc0\xaf",
        b"\xe0\x80\x80",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xf0\x80\x80\x80",
        b"\xe2\x82",
        b"\xf5\x80\x80\x80",
    ),
    *(
        "é€\U0001f600\U0010ffff\ud7ff\ue000".encode(),
        b"\x7f",
        b"\t",
        b"\n",
        b"\x00",
        b"\x1f",
        b"a" * 256,
        b"a" * 257,
        rb"\n" * 200,
    ),
)
MOMENTS = (
    *(
        b"2000-02-29",
        b"2024-02-29",
        b"2023-02-29",
        b"2100-02-29",
        b"2400-02-29",
        b"2023-04-31",
        b"2023-00-10",
        b"2023-13-01",
    ),
    *(b"2023-12-00", b"2023-12-32", b"1970-01-01", b"9999-12-31", b"0000-01-01", b"2023-1-01", b"20231209"),
)
ENDINGS = (
    b"T00:00:00Z",
    b"T23:59:59-00:01",
    b"T23:59:59.9999995Z",
    b"T00:00:00+00:01",
    b"T24:00:00Z",
    b"T12:00:00.Z",
    b"T1:00:00Z",
)
ODD = [
    *(dumped({name: value for name, value in GOOD.items() if name != missing}) for missing in GOOD),
    *(activity(properties=b'{"amount":%s}' % number) for number in NUMBERS),
    *(activity(more=number) for number in NUMBERS),
    *(activity(properties=b'{"store":"%s"}' % text) for text in TEXTS),
    *(activity(more=b'{"%s":"%s"}' % (text, text)) for text in TEXTS),
    *(activity(occurred_at=b'"%s%s"' % (day, ending)) for day in MOMENTS for ending in ENDINGS),
    *(activity(**{name: b'"e2"'}) for name in (r"event\u005fid", r"\u0065vent_id", "event_id ", "Event_id", "event_i")),
    *(
        activity(properties=b'{"%s":"NL","country":"DE"}' % name)
        for name in (rb"\u0063ountry", b"countr", b"country", b"countryy")
    ),
    *(activity(more=b"[" * depth + b"]" * depth) for depth in (1, 59, 60, 61, 200, 5_000)),
    *(
        activity(more=text)
        for text in (b"[1,]", b"[,1]", b"{,}", b'{"a":1,}', b'{"a"}', b'{"a" 1}', b"{1:1}", b"[1 2]", b"[}", b"{]", b"")
    ),
    *(activity() + text for text in (b" ", b"\n", b"}", b",", b"{}", b"\x00", b"\x00{}")),
    *(activity()[:-1] + text for text in (b"", b",}", b',"a"}', b',"a":}', b"]")),
]


def test_odd_records_are_decoded_as_one_by_one_or_left_to_the_slow_path() -> None:
    for record in ODD:
        rows, sure = read_events([record, dumped(GOOD)])
        assert rows[:-1] == ((one_by_one(record) or [{}]) if sure[0] else []), record


@settings(max_examples=100)
@given(st.lists(written() | st.just(dumped(GOOD)) | st.just(b""), min_size=1, max_size=12))
def test_each_body_is_decoded_or_left_by_itself(odd: list[bytes]) -> None:
    rows, sure = read_events(odd)
    assert sure == [read_events([body])[1] == [True] for body in odd]
    assert [row for body, fine in zip(odd, sure, strict=True) if fine for row in one_by_one(body) or [{}]] == rows


def test_ordinary_events_leave_no_doubt() -> None:
    ordinary = [
        dumped(GOOD),
        dumped(GOOD | {"properties": {}}),
        dumped({name: value for name, value in GOOD.items() if name != "properties"}),
        dumped(GOOD | {"properties": {"amount": 3, "products": [{"id": n} for n in range(20)]}}),
        dumped(GOOD | {"occurred_at": "2023-12-09T11:00:00Z", "type": "Größe"}),
        orjson.dumps(GOOD, option=orjson.OPT_INDENT_2),
        json.dumps(
            GOOD | {"properties": {"store": 'Größe \U0001f600 "\\/\b\f\n\r\t\x7f', "amount": 0.1 + 0.2}}
        ).encode(),
        dumped(GOOD | {"properties": {"amount": 1e-7, "discount": 12345678901.25}, "é": [None, True, -1.5e3, {}, []]}),
    ]
    rows, sure = read_events(ordinary)
    assert all(sure)
    assert rows == [row for body in ordinary for row in one_by_one(body) or []]


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        b"",
        b"{not json",
        b"{not json}",
        dumped({"customer_id": "c1"}),
        dumped(GOOD | {"event_id": ""}),
        dumped(GOOD | {"type": 3}),
        dumped(GOOD | {"occurred_at": "yesterday"}),
        dumped(GOOD | {"occurred_at": "2023-02-30T12:00:00Z"}),
        dumped(GOOD | {"occurred_at": "1969-12-31T23:59:59Z"}),
        dumped(GOOD | {"properties": None}),
        dumped(GOOD | {"properties": 3}),
        dumped(GOOD | {"properties": {"amount": "much"}}),
        dumped(GOOD | {"properties": {"amount": 2e12}}),
        dumped(GOOD | {"properties": {"store": "x" * 257}}),
        dumped(GOOD | {"more": "x" * MAX_BYTES}),
        dumped(GOOD | {"more": "#"}).replace(b'"#"', b"NaN"),
        dumped(GOOD | {"more": "#"}).replace(b"#", b"\xff"),
    ],
)
def test_one_doubtful_body_leaves_no_doubt_about_the_others(wrong: bytes | None) -> None:
    bodies = [dumped(GOOD | {"event_id": f"e{n}"}) for n in range(1_000)]
    odd = [0, 1, 700, 999]
    crowd = [wrong if index in odd else body for index, body in enumerate(bodies)]
    events, sure = read_all(keyed(crowd))
    assert np.flatnonzero(~sure).tolist() == odd
    assert events["event_id"].to_pylist() == [f"e{n}" for n in range(len(bodies)) if n not in odd]


@settings(max_examples=300)
@given(written())
def test_a_body_is_left_out_only_if_the_columns_hold_all_of_it(record: bytes) -> None:
    for row in one_by_one(record) or []:
        parsed = orjson.loads(record)
        known = {name: row[name] for name in PROPERTIES if row[name] is not None}
        assert row["body"] in {"", record.decode()}
        if not row["body"]:
            assert parsed.keys() <= GOOD.keys()
            assert parsed.get("properties", {}) == known
            assert parsed["occurred_at"].upper().endswith(("Z", "+00:00", "-00:00"))


@pytest.mark.parametrize(
    ("changed", "left_out"),
    [
        ({}, True),
        ({"properties": {}}, True),
        ({"properties": {"amount": 3, "country": "Österreich", "store": "a\\b"}}, True),
        ({"occurred_at": "2023-12-09T11:00:00.5+00:00"}, True),
        ({"occurred_at": "2023-12-09T11:00:00-00:30"}, False),
        ({"properties": {"amount": 3, "colour": "red"}}, False),
        ({"properties": {"country": None}}, False),
        ({"properties": {"country": '"'}}, False),
        ({"more": 1}, False),
    ],
)
def test_bodies_of_ordinary_events_are_left_out(changed: dict[str, Any], left_out: bool) -> None:
    plain = GOOD | {"occurred_at": "2023-12-09T11:00:00Z", "properties": {"amount": 12.34, "country": "NL"}}
    body = dumped(plain | changed)
    rows, _ = read_events([body, dumped(GOOD)])
    assert [row["body"] for row in rows] == ["" if left_out else body.decode(), dumped(GOOD).decode()]
    assert rows[:1] == one_by_one(body)


def test_records_that_only_make_sense_together_are_no_events() -> None:
    full = dumped(GOOD).decode()
    left, right = full[:40] + "}", "{" + full[40:]
    for wrong in ([left, right, full + full], [full + full, " "], ['{"event_id":"}', '{","customer_id":"c"}']):
        rows, sure = read_events([text.encode() for text in wrong])
        assert rows == []
        assert not any(sure)


def test_bodies_nested_too_deeply_are_not_decoded_in_a_batch_either() -> None:
    deep = dumped(GOOD)[:-1] + b',"x":' + b"[" * 30_000 + b"]" * 30_000 + b"}"
    assert read_events([dumped(GOOD), deep])[1] == [True, False]
    assert one_by_one(deep) is None


@pytest.mark.parametrize("wrong", [None, b"", b"c", b"c2", b"c11", b"C1", b'c1"', b'c1","type":"purchase"'])
def test_a_record_whose_key_is_not_its_customer_is_left(wrong: bytes | None) -> None:
    poll = FetchedBatch.of([Record(index, key, dumped(GOOD)) for index, key in enumerate([b"c1", wrong, b"c1"])])
    assert read_all(unpack(poll.batches))[1].tolist() == [True, False, True]


def test_a_customer_written_with_escapes_is_left() -> None:
    odd = dumped(GOOD).replace(b'"c1"', rb'"\u00631"')
    assert read_events([dumped(GOOD), odd])[1] == [True, False]
    assert one_by_one(odd) is not None


def test_events_after_the_latest_time_and_those_not_requested_are_left() -> None:
    moments = ["2023-12-09T12:00:00Z", "2023-12-09T12:00:00.000001Z", "2023-12-09T11:59:59.999999Z"]
    records = keyed([dumped(GOOD | {"occurred_at": moment}) for moment in moments])
    latest = datetime(2023, 12, 9, 12, tzinfo=UTC).timestamp()
    assert read_all(records, latest=latest)[1].tolist() == [True, False, True]
    mask = np.array([False, True, True])
    assert event_table.read_events(records, mask, latest=1e12, max_bytes=MAX_BYTES)[1].tolist() == mask.tolist()


@settings(max_examples=25)
@given(st.lists(written(), min_size=1, max_size=6), st.data())
def test_an_events_decoding_does_not_depend_on_the_rest_of_the_batch(odd: list[bytes], data: st.DataObject) -> None:
    crowd = [Record(n, b"c1", dumped(GOOD | {"event_id": f"e{n}"})) for n in range(3 * FEW)]
    for record in odd:
        index = data.draw(st.integers(0, len(crowd) - 1))
        crowd[index] = Record(index, b"c1", record)
    decoder = Decoder(Settings())
    together = decoder.decode(crowd)
    alone = [decoder.decode(crowd[start : start + FEW]) for start in range(0, len(crowd), FEW)]
    assert together.offsets.tolist() == [offset for batch in alone for offset in batch.offsets.tolist()]
    assert together.events.to_pylist() == [row for batch in alone for row in batch.events.to_pylist()]
    assert [item.reason for item in together.refused] == [item.reason for batch in alone for item in batch.refused]
    for name in ("times", "kinds", "amounts", "discounted", "event_hashes"):
        assert getattr(together, name).tolist() == [v for batch in alone for v in getattr(batch, name).tolist()]
