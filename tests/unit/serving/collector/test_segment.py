"""What becomes of a call of an analytics SDK: the event, or the reason why not."""

import contextlib
import gzip
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebb.clock import Clock
from ebb.contracts.activity import decode_activity
from ebb.errors import InvalidEventError
from ebb.settings import DEFAULT_KINDS, Settings
from serving.collector.judge import Collector, calls_of, header_key, read_body
from serving.collector.segment import CallMapper, Event, RequestTimes, snake_case
from serving.collector.unpack import MalformedError, key_in

NOW = datetime(2026, 3, 1, 14, 5, 33, tzinfo=UTC).timestamp()


def frame(sent_at: object = None, clock: Clock | None = None) -> RequestTimes:
    return RequestTimes(NOW, sent_at, (clock or Clock()).at)


def mapped(
    call: dict[str, Any], kind: str = "track", at: RequestTimes | None = None
) -> tuple[Event, Any, dict[str, Any]]:
    mapper = CallMapper(Settings(), latest=lambda wall: wall + 86_400)
    event = mapper.event({"userId": "c-1", "event": "Order Completed", **call}, kind, at or frame())
    activity, _ = decode_activity(event.body, latest=1e12, max_bytes=65_536)
    return event, activity, orjson.loads(bytes(activity.properties))


def reason(call: dict[str, Any], kind: str = "track") -> str:
    with pytest.raises(InvalidEventError) as caught:
        mapped(call, kind)
    return caught.value.reason


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Order Completed", "purchase"),
        ("order_completed", "purchase"),
        ("orderCompleted", "purchase"),
        ("Product Added", "cart"),
        ("Product Viewed", "view"),
        ("Signed In", "session"),
        ("Subscription Cancelled", "cancel"),
    ],
)
def test_event_names_of_shops_are_mapped_to_their_kind(name: str, kind: str) -> None:
    _, activity, _ = mapped({"event": name})
    assert DEFAULT_KINDS[activity.type] == kind


def test_name_that_the_settings_list_is_left_as_it_is() -> None:
    mapper = CallMapper(Settings(kinds={"Buchung Fertig!": "purchase"}), latest=lambda _: 1e12)
    event = mapper.event({"userId": "c", "event": "Buchung Fertig!"}, "track", frame())
    assert decode_activity(event.body, latest=1e12, max_bytes=65_536)[0].type == "Buchung Fertig!"


@pytest.mark.parametrize("name", ["!!!", "购买", "a"])
def test_name_in_any_script_is_kept(name: str) -> None:
    assert snake_case(name) == name


@pytest.mark.parametrize("kind", ["identify", "page", "screen", "group"])
def test_other_calls_are_events_of_their_own_type(kind: str) -> None:
    _, activity, _ = mapped({"event": None}, kind)
    assert activity.type == kind


def test_customer_is_the_user_else_the_anonymous_one() -> None:
    assert mapped({"anonymousId": "a-1"})[0].customer_id == "c-1"
    assert mapped({"userId": None, "anonymousId": "a-1"})[0].customer_id == "a-1"
    assert mapped({"userId": 17})[0].customer_id == "17"
    assert reason({"userId": ""}) == "no_customer"
    assert reason({"userId": {"id": 1}, "anonymousId": "a-1"}) == "wrong_type", "is not passed over in silence"
    assert reason({"userId": "jo@example.com"}) == "personal_id"


def test_clock_that_runs_an_hour_ahead_is_corrected_by_when_it_was_sent() -> None:
    call = {"timestamp": "2026-03-01T15:00:00Z"}
    _, activity, _ = mapped(call, at=frame("2026-03-01T15:05:33Z"))
    assert activity.occurred_at == datetime(2026, 3, 1, 14, 0, tzinfo=UTC)
    _, activity, _ = mapped({**call, "sentAt": "2026-03-01T15:05:33Z"}, at=frame("2001-01-01T00:00:00Z"))
    assert activity.occurred_at == datetime(2026, 3, 1, 14, 0, tzinfo=UTC), "a call's own sentAt comes first"


def test_time_that_was_corrected_before_is_not_corrected_again() -> None:
    call = {"timestamp": "2026-03-01T14:00:00Z", "originalTimestamp": "2026-03-01T15:00:00Z"}
    _, activity, _ = mapped(call, at=frame("2026-03-01T15:05:33Z"))
    assert activity.occurred_at == datetime(2026, 3, 1, 14, 0, tzinfo=UTC)
    _, activity, _ = mapped({"originalTimestamp": "2026-03-01T15:00:00Z"}, at=frame("2026-03-01T15:05:33Z"))
    assert activity.occurred_at == datetime(2026, 3, 1, 14, 0, tzinfo=UTC)


def test_time_without_sent_at_is_kept_and_a_missing_time_is_now() -> None:
    assert mapped({"timestamp": "2025-12-24T18:00:00+01:00"})[1].occurred_at == datetime(2025, 12, 24, 17, tzinfo=UTC)
    assert mapped({})[1].occurred_at == datetime.fromtimestamp(NOW, UTC)


def test_wall_time_becomes_event_time_where_days_are_compressed() -> None:
    clock = Clock(origin_wall=NOW - 10, origin_event=1e9, speed=43_200)
    _, activity, _ = mapped({"timestamp": "2026-03-01T14:05:28Z"}, at=frame(clock=clock))
    assert activity.occurred_at.timestamp() == 1e9 + 5 * 43_200


@pytest.mark.parametrize(
    ("call", "why"),
    [
        ({"timestamp": "2026-03-01T15:00:00"}, "naive_time"),
        ({"timestamp": "yesterday"}, "bad_time"),
        ({"timestamp": ""}, "bad_time"),
        ({"timestamp": True}, "bad_time"),
        ({"timestamp": 20260301}, "bad_time"),
        ({"timestamp": 46082}, "bad_time"),
        ({"timestamp": "0001-01-01T00:00:00+23:59"}, "far_past"),
        ({"timestamp": "2222-01-01T00:00:00Z"}, "far_future"),
        ({"event": ""}, "no_event_name"),
        ({"event": 7}, "no_event_name"),
        ({"event": "n" * 300}, "wrong_type"),
        ({"messageId": "m" * 300}, "wrong_type"),
        ({"messageId": ["m"]}, "wrong_type"),
        ({"messageId": True}, "wrong_type"),
        ({"userId": 1.2345678901234568e22}, "inexact_id"),
        ({"userId": "a\nb"}, "wrong_type"),
        ({"properties": "x"}, "wrong_type"),
        ({"properties": ["x"]}, "wrong_type"),
        ({"context": 1}, "wrong_type"),
        ({"traits": True}, "wrong_type"),
        ({"properties": {"category": "c" * 300}}, "wrong_type"),
        ({"event": "Mail to jo@example.com"}, "personal_data"),
        ({"properties": {"amount": "ten"}}, "wrong_type"),
        ({"properties": {"amount": 1e13}}, "wrong_type"),
        ({"properties": {f"p{n}": "x" * 1_000 for n in range(100)}}, "too_large"),
    ],
)
def test_what_a_worker_would_refuse_is_refused_here_with_the_reason(call: dict[str, Any], why: str) -> None:
    assert reason(call) == why


@pytest.mark.parametrize(
    ("given_", "amount"),
    [
        ({"revenue": 10.5, "total": 12, "value": 1}, 10.5),
        ({"total": "12.00", "value": 1}, 12.0),
        ({"value": 3}, 3),
        ({"amount": 4, "revenue": 5}, 4),
        ({"revenue": None, "total": " ", "value": 6}, 6),
        ({"revenue": "49,90"}, 49.9),
        ({"revenue": "$49.90"}, 49.9),
        ({"total": "1,249.50"}, 1249.5),
        ({"revenue": "1.249,50 €"}, 1249.5),
        ({"revenue": ""}, None),
    ],
)
def test_amount_is_revenue_else_total_else_value(given_: dict[str, Any], amount: float | None) -> None:
    assert mapped({"properties": given_})[2].get("amount") == amount


@pytest.mark.parametrize("name", ["amount", "revenue", "total", "value", "discount"])
@pytest.mark.parametrize("value", ["free", True, "NaN", "1_000", "1,249", "inf", [49.9], {"EUR": 1}, 1e13])
def test_amount_of_a_purchase_that_cannot_be_read_is_refused_by_its_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidEventError, match=f"`properties.{name}`") as caught:
        mapped({"properties": {name: value}})
    assert (caught.value.reason, caught.value.field) == ("wrong_type", f"properties.{name}")


@pytest.mark.parametrize("name", ["total", "value"])
def test_total_and_value_of_other_events_may_be_anything(name: str) -> None:
    assert mapped({"event": "Filter Changed", "properties": {name: "blue"}})[2] == {name: "blue"}
    assert reason({"event": "Filter Changed", "properties": {"revenue": "blue"}}) == "wrong_type"


def test_properties_are_read_from_wherever_sdks_put_them() -> None:
    call: dict[str, Any] = {
        "properties": {"sku": 77, "affiliation": "Paris", "paymentMethod": "card", "plan": "gold", "n": 1.5, "x": None},
        "context": {"location": {"country": "FR"}, "sessionId": 1772374000123, "ip": "203.0.113.9"},
        "channel": "browser",
        "category": "shoes",
    }
    assert mapped(call)[2] == {
        "product_id": "77",
        "store": "Paris",
        "payment_method": "card",
        "paymentMethod": "card",
        "affiliation": "Paris",
        "sku": 77,
        "plan": "gold",
        "n": 1.5,
        "country": "FR",
        "session_id": "1772374000123",
        "channel": "browser",
        "category": "shoes",
    }


def test_no_personal_property_reaches_the_topic() -> None:
    person = {
        "email": "jo@example.com",
        "firstName": "Jo",
        "last_name": "Doe",
        "Phone": "1",
        "address": {"street": "x"},
    }
    event, _, _ = mapped({"properties": person, "context": {"traits": person, "ip": "203.0.113.9"}})
    traits, _, properties = mapped({"traits": {**person, "address": {"country": "DE", "city": "Bonn"}}}, "identify")
    assert properties == {"country": "DE"}
    for word in (b"jo@", b"Jo", b"Doe", b"203.0", b"Bonn"):
        assert word not in event.body + traits.body


def test_call_sent_again_is_the_same_event_with_and_without_a_message_id() -> None:
    assert mapped({"messageId": "m-1"})[0].event_id == "m-1"
    timed = {"timestamp": "2026-03-01T14:00:00Z"}
    first = mapped({**timed, "sentAt": "2026-03-01T14:00:01Z"})[0].event_id
    assert first == mapped({**timed, "sentAt": "2026-03-01T14:00:09Z"})[0].event_id
    assert first != mapped({**timed, "properties": {"n": 1}})[0].event_id
    assert mapped({})[0].event_id != mapped({})[0].event_id, "untimed calls look like true repeats"


def test_what_programs_send_for_nobody_is_no_customer_and_the_anonymous_id_is_taken_if_there_is_one() -> None:
    for nobody in ("null", "undefined", "NaN", "None", "0", 0, "[object Object]", "  "):
        assert reason({"userId": nobody}) == "no_customer"
        event, _, _ = mapped({"userId": nobody, "anonymousId": "a-1"})
        assert event.customer_id == "a-1"
        assert len(event.remarks.notes) == 1, nobody
        assert "`anonymousId` was taken" in event.remarks.notes[0]
    assert reason({"userId": "null", "anonymousId": "undefined"}) == "no_customer"
    mapper = CallMapper(Settings(no_customers="test user"), latest=lambda _: 1e12)
    with pytest.raises(InvalidEventError, match="EBB_NO_CUSTOMERS"):
        mapper.event({"userId": "Test User", "event": "x"}, "track", frame())
    assert mapper.event({"userId": "null", "event": "x"}, "track", frame()).customer_id == "null"


def test_one_customer_is_one_however_the_id_is_written() -> None:
    for value in (17850, 17850.0, "17850", " 17850 ", "17850.0"):
        assert mapped({"userId": value})[0].customer_id == "17850"
    ids = {mapped({"userId": 12345678901234567890123 + n})[0].customer_id for n in range(5)}
    assert ids == {str(12345678901234567890123 + n) for n in range(5)}


def test_id_that_is_an_address_is_taken_where_the_settings_say_so() -> None:
    mapper = CallMapper(Settings(collect_email_ids=True), latest=lambda _: 1e12)
    assert mapper.event({"userId": "jo@example.com", "event": "x"}, "track", frame()).customer_id == "jo@example.com"


@pytest.mark.parametrize(
    "sent_at",
    [
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "yesterday",
        "2026-03-01T15:05:33",
        20260301,
        {},
        [],
        True,
        "2026",
    ],
)
def test_sent_at_that_cannot_be_the_same_clocks_moves_nothing_and_is_told(sent_at: object) -> None:
    call = {"timestamp": "2026-03-01T14:00:00Z"}
    for event, activity, _ in (mapped(call, at=frame(sent_at)), mapped({**call, "sentAt": sent_at})):
        assert activity.occurred_at == datetime(2026, 3, 1, 14, 0, tzinfo=UTC)
        assert len(event.remarks.notes) == 1
        assert "sentAt" in event.remarks.notes[0]
    assert mapped({}, at=frame(sent_at))[1].occurred_at == datetime.fromtimestamp(NOW, UTC)


def test_clock_that_was_never_set_is_corrected_too() -> None:
    call = {"timestamp": "1980-01-01T00:10:00Z", "sentAt": "1980-01-01T00:15:33Z"}
    event, activity, _ = mapped(call)
    assert activity.occurred_at == datetime(2026, 3, 1, 14, 0, tzinfo=UTC)
    assert not event.remarks.notes


def test_call_made_a_moment_after_its_sending_happened_when_it_came() -> None:
    call = {"timestamp": "2026-03-01T14:05:34Z", "sentAt": "2026-03-01T14:05:33.500Z"}
    assert mapped(call)[1].occurred_at == datetime.fromtimestamp(NOW, UTC)


@pytest.mark.parametrize(
    "timestamp",
    ["2026-03-01t14:00:00z", 1772373600, 1772373600000, "1772373600000", 1772373600000000, "2026-03-01 14:00Z"],
)
def test_times_are_read_as_programs_write_them(timestamp: object) -> None:
    assert mapped({"timestamp": timestamp})[1].occurred_at == datetime(2026, 3, 1, 14, 0, tzinfo=UTC)


def test_empty_list_in_place_of_an_object_is_an_empty_object_as_php_writes_it() -> None:
    assert mapped({"properties": [], "context": [], "traits": []})[2] == {}


def test_text_of_another_type_is_left_out_and_told() -> None:
    event, _, properties = mapped({"properties": {"category": ["a"], "channel": {}, "store": True, "sku": 17.0}})
    assert properties == {"product_id": "17", "sku": 17.0}
    assert [note.split("`")[1] for note in event.remarks.notes] == [
        "properties.channel",
        "properties.category",
        "properties.store",
    ]


def test_whole_numbers_beyond_64_bits_are_kept_as_text() -> None:
    properties = mapped({"properties": {"order_id": 12345678901234567890123, "sku": 2**70, "n": 2**64 - 1}})[2]
    assert properties == {
        "order_id": "12345678901234567890123",
        "sku": str(2**70),
        "product_id": str(2**70),
        "n": 2**64 - 1,
    }


def test_call_with_any_number_and_any_depth_has_a_stable_id_or_is_refused() -> None:
    call = {"timestamp": "2026-03-01T14:00:00Z", "integrations": {"n": 2**100}}
    assert mapped(call)[0].event_id == mapped(call)[0].event_id
    deep: Any = []
    for _ in range(5_000):
        deep = [deep]
    assert reason({"timestamp": "2026-03-01T14:00:00Z", "integrations": deep}) == "bad_json"
    assert mapped({"messageId": "m", "integrations": deep})[0].event_id == "m"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
FIELDS = [
    "type",
    "userId",
    "anonymousId",
    "event",
    "messageId",
    "timestamp",
    "originalTimestamp",
    "sentAt",
    "properties",
    "traits",
    "context",
]
TIMES = st.sampled_from(["2026-03-01T14:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999-12:00", "x"])
NAMES = st.sampled_from(["track", "identify", "page", "screen", "group", "alias"])
CALLS = st.dictionaries(st.sampled_from(FIELDS), JSON | TIMES | NAMES, max_size=8)


@given(st.lists(CALLS | JSON, max_size=5), st.dictionaries(st.sampled_from(["sentAt", "context"]), JSON | TIMES))
def test_any_batch_gets_a_verdict_per_call_and_only_acceptable_events(calls: list[Any], shared: dict[str, Any]) -> None:
    collector = Collector(Settings(), Clock())
    events, verdicts = collector.judge(calls, shared, None)
    assert [verdict.index for verdict in verdicts] == list(range(len(calls)))
    assert sum(verdict.status == "accepted" for verdict in verdicts) == len(events)
    for event in events:
        activity, _ = decode_activity(event.body, latest=1e12, max_bytes=65_536)
        assert (activity.event_id, activity.customer_id) == (event.event_id, event.customer_id)


@given(st.binary(max_size=200), st.sampled_from(["", "gzip", "identity", "br", "GZIP "]))
def test_any_bytes_are_read_or_refused(body: bytes, encoding: str) -> None:
    with contextlib.suppress(MalformedError):
        assert isinstance(read_body(body, encoding), dict)


def test_gzip_that_unpacks_to_too_much_or_ends_early_is_refused() -> None:
    bomb = gzip.compress(b'{"x":"' + b"0" * 10_000_000 + b'"}')
    with pytest.raises(MalformedError) as caught:
        read_body(bomb, "gzip")
    assert caught.value.kind == "too-large"
    with pytest.raises(MalformedError, match="ends too early"):
        read_body(gzip.compress(b"{}")[:-4], "gzip")


def test_gzip_of_several_members_is_read_as_one_and_bounded_as_one() -> None:
    text = b'{"batch": [{"type": "page"}]}'
    assert read_body(gzip.compress(text[:7]) + gzip.compress(b"") + gzip.compress(text[7:]), "gzip") == {
        "batch": [{"type": "page"}]
    }
    with pytest.raises(MalformedError) as caught:
        read_body(gzip.compress(b'{"x":"' + b"0" * 3_000_000) + gzip.compress(b"0" * 3_000_000 + b'"}'), "gzip")
    assert caught.value.kind == "too-large"
    with pytest.raises(MalformedError, match="not gzip"):
        read_body(gzip.compress(text) + b"more", "gzip")
    with pytest.raises(MalformedError, match="ends too early"):
        read_body(gzip.compress(text[:7]) + gzip.compress(text[7:])[:-9], "gzip")


def test_batch_must_be_a_list_and_not_too_long() -> None:
    wrongs: tuple[dict[str, Any], ...] = ({}, {"batch": {}}, {"batch": [{}] * 2_501})
    for wrong in wrongs:
        with pytest.raises(MalformedError):
            calls_of(wrong, None)


@given(st.text(max_size=40), st.text(max_size=40) | st.none())
def test_any_authorization_is_a_key_or_none(header: str, other: str | None) -> None:
    for text in (header, f"Basic {header}", f"Bearer {header}"):
        key = header_key(text, other)
        assert key is None or isinstance(key, str)


def test_write_key_is_found_where_sdks_put_it() -> None:
    assert header_key("Basic a2V5Og==", None) == "key"
    assert header_key("Bearer key", None) == "key"
    assert header_key(None, "key") == "key"
    assert header_key(None, None) is None
    assert header_key("Basic ???", "other") == "", "a malformed header is not ignored"
    assert key_in(b'{"batch":[{"writeKey":"inner"}],"writeKey":"key"}') == "key"
    assert key_in(b'\xef\xbb\xbf{"writeKey":"key"}') == "key"
    for none in (b"", b"{", b"[]", b'{"writeKey":1}', b'{"writeKey":""}', b'{"a":' + b"[" * 100_000, b"\xff"):
        assert key_in(none) is None


def test_calls_that_are_not_collected_are_ignored_not_refused() -> None:
    collector = Collector(Settings(collect_calls="track"), Clock())
    calls = [{"type": "identify", "userId": "c"}, {"type": "track", "userId": "c", "event": "x"}, {"type": "alias"}]
    events, verdicts = collector.judge(calls, {}, None)
    assert [verdict.status for verdict in verdicts] == ["ignored", "accepted", "refused"]
    assert len(events) == 1
