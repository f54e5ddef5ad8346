"""A batch loses the calls that cannot be read, and no others."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebb.clock import Clock
from ebb.settings import Settings
from serving.collector import json_calls
from serving.collector.json_calls import UnreadableCall, parse_body
from serving.collector.judge import Collector
from serving.collector.unpack import MalformedError

GOOD = '{"type": "page", "userId": "c-1", "properties": {"a": "],}\\\\\\" [{"}}'
WRONG = {
    "not a number": '{"type": "track", "userId": "c", "event": "x", "properties": {"revenue": NaN}}',
    "infinity": '{"properties": {"revenue": -Infinity}}',
    "half a character": '{"userId": "\\ud800"}',
    "the other half": '{"userId": "\\udc00 and more"}',
    "no UTF-8": b'{"userId": "\xff\xfe"}',
    "too deep": '{"context": ' + "[" * 30_000 + "]" * 30_000 + "}",
    "objects too deep": '{"a":' * 5_000 + "1" + "}" * 5_000,
    "too many digits": '{"userId": ' + "1" * 5_000 + "}",
    "too large a number": '{"properties": {"revenue": 1e999}}',
    "a comma too many": '{"userId": "c",}',
    "single quotes": "{'userId': 'c'}",
    "a control character": '{"userId": "a\x01b"}',
    "nothing": "",
    "a word": "undefined",
}


def batch(*calls: str | bytes, around: tuple[bytes, bytes] = (b"{", b"}")) -> bytes:
    joined = b" , ".join(call.encode() if isinstance(call, str) else call for call in calls)
    return around[0] + b'"batch" : [' + joined + b"]" + around[1]


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_call_that_is_no_json_costs_itself_and_no_other(wrong: str | bytes) -> None:
    around = (b'{"sentAt": "2026-03-01T14:05:33Z", "n": [{"batch": [1]}], ', b', "writeKey": "k"}')
    body = parse_body(batch(GOOD, wrong, GOOD, around=around))
    assert (body["sentAt"], body["writeKey"], body["n"]) == ("2026-03-01T14:05:33Z", "k", [{"batch": [1]}])
    assert [isinstance(call, UnreadableCall) for call in body["batch"]] == [False, True, False]
    assert body["batch"][0] == json.loads(GOOD)
    events, verdicts = Collector(Settings(), Clock()).judge(body["batch"], body, None)
    assert len(events) == 2
    assert [(verdict.index, verdict.status, verdict.reason) for verdict in verdicts] == [
        (0, "accepted", None),
        (1, "refused", "bad_json"),
        (2, "accepted", None),
    ]
    assert verdicts[1].detail


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[1", b"{", b'{"batch": [', b'{"batch": [{}', b'{"batch": [{}}', b'{"batch": [NaN]} x',
        b'{"batch": [NaN], "a": NaN}', b'{"batch": [1}, 2]', b'{"a": NaN}', b'{"batch": "x", "a": NaN}',
        b'{"batch": ["]}', b'[{"batch": [NaN]}]', b"\xff\xfe{\x00}\x00", b"[" * 100_000, b'{"batch":' * 10_000, b'"',
        b"\xef\xbb\xbf",
    ],
)  # fmt: skip
def test_what_is_wrong_around_the_calls_is_refused_as_a_whole(body: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_body(body)


def test_batch_that_is_too_large_to_search_is_refused_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_calls, "SPLIT_BYTES", 20)
    with pytest.raises(MalformedError, match="not JSON"):
        parse_body(batch(GOOD, "NaN"))


def test_byte_order_mark_is_passed_over_and_utf16_is_named() -> None:
    assert parse_body(b"\xef\xbb\xbf" + batch(GOOD))["batch"] == [json.loads(GOOD)]
    assert parse_body(b"\xef\xbb\xbf" + batch(GOOD, "NaN"))["batch"][0] == json.loads(GOOD)
    with pytest.raises(MalformedError, match="UTF-16"):
        parse_body('{"batch": []}'.encode("utf-16"))


def test_whole_numbers_keep_their_digits_and_of_two_equal_keys_the_last_counts() -> None:
    assert parse_body(b'{"userId": 1, "userId": 12345678901234567890123}') == {"userId": 12345678901234567890123}


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(JSON.map(json.dumps) | st.sampled_from([*WRONG.values(), GOOD]), max_size=6))
def test_any_batch_has_as_many_calls_as_were_sent(calls: list[str | bytes]) -> None:
    try:
        found = parse_body(batch(*calls))["batch"]
    except MalformedError:
        assert any(call in WRONG.values() for call in calls), "what is JSON breaks nothing around it"
        return
    assert len(found) == len(calls) or calls == [""]


@given(st.binary(max_size=60) | st.text('{}[]",:batch 1NaN\\', max_size=60).map(lambda text: text.encode()))
def test_any_bytes_are_an_object_or_malformed(body: bytes) -> None:
    try:
        assert isinstance(parse_body(body), dict)
    except MalformedError as error:
        error.what.encode()
