"""No record of any topic, however odd, keeps the API from reading on."""

from typing import Any

import pytest
from confluent_kafka import Message
from hypothesis import given
from hypothesis import strategies as st

from ebb.contracts.activity import TICK_HEADER
from ebb.contracts.alert_handling import Act, HandlingRecord
from ebb.contracts.api_keys import Scope, make_key
from ebb.contracts.erasures import ErasureRequest, digest_of
from ebb.contracts.webhooks import Webhook
from ebb.metrics import RECORDS_REFUSED
from ebb.settings import Settings
from serving.background.pipeline_monitor import _event_time
from serving.background.webhook_dispatcher import WebhookDispatcher
from serving.feed import Feed
from serving.projections.reader import Source, TopicReader
from serving.streaming.hub import Hub
from tests.support.sender import AS_OF, make_alert, make_model, make_score

TOPICS = Settings().topics
GOOD: dict[str, tuple[bytes, bytes]] = {
    TOPICS.scores: (b"c-1", make_score("c-1").model_dump_json().encode()),
    TOPICS.alerts: (b"c-1", make_alert("c-1", alert_id="a-1").model_dump_json().encode()),
    TOPICS.models: (b"churn.logistic", make_model().encode()),
    TOPICS.keys: (b"0" * 12, make_key("x", [Scope.READ])[0].model_dump_json().encode()),
    TOPICS.handling: (
        b"a-1/acknowledge",
        HandlingRecord(
            alert_id="a-1", act=Act.ACKNOWLEDGE, by="k", at=AS_OF, customer_id="c-1", as_of=AS_OF, raised_at=AS_OF
        )
        .model_dump_json()
        .encode(),
    ),
    TOPICS.erasures: (
        b"e-1/request",
        ErasureRequest(
            erasure_id="e-1", customer_id="c-2", digest=digest_of("c-2"), requested_at=AS_OF, requested_by="k"
        )
        .model_dump_json()
        .encode(),
    ),
}
ODD_VALUES = (
    b"null", b"[]", b"{}", b'""', b"1e400", b"-1", b"\xff\xfe", b"true", b'"0001-01-01T00:00:00"', b'"NaN"',
    b'"9999-12-31T23:59:59Z"', b"1" * 40, b"[" * 2_000, b'"2026-01-01T00:00:00"', b'"\\ud800"',
)  # fmt: skip


@st.composite
def odd_records(draw: st.DrawFn) -> tuple[str, bytes | None, bytes | None]:
    """Draw a record: none at all, noise, or a good one with bytes or one of its values changed."""
    topic = draw(st.sampled_from(sorted(GOOD)))
    key, body = GOOD[topic]
    how = draw(st.integers(0, 4))
    if how == 0:
        value: bytes | None = draw(st.none() | st.binary(max_size=60) | st.sampled_from(ODD_VALUES))
    elif how == 1:
        at = draw(st.integers(0, len(body)))
        value = body[:at] + draw(st.binary(max_size=3)) + body[at + draw(st.integers(0, 3)) :]
    else:
        fields = body[1:-1].split(b",")
        at = draw(st.integers(0, len(fields) - 1))
        name, colon, _ = fields[at].partition(b":")
        fields[at] = name + colon + draw(st.sampled_from(ODD_VALUES))
        value = b"{" + b",".join(fields) + b"}"
    return topic, draw(st.sampled_from([key, None, b"", b"\xff/x", b"/", b"e-1/worker"])), value


def message(topic: str, key: bytes | None, value: bytes | None, offset: int = 0) -> Message:
    return Message(topic=topic, partition=0, offset=offset, key=key, value=value)


def feed() -> Feed:
    made = Feed(Settings(), Hub(10))
    made.reader._goal = dict.fromkeys(((topic, 0) for topic in GOOD), 10**6)
    made.reader._next = dict.fromkeys(((topic, 0) for topic in GOOD), 0)
    made.reader._open = {(topic, 0) for topic in GOOD}
    return made


@given(st.lists(odd_records(), min_size=1, max_size=12))
def test_odd_records_stop_no_good_ones(odd: list[tuple[str, bytes | None, bytes | None]]) -> None:
    read = feed()
    records = [message(*record, offset=place) for place, record in enumerate(odd)]
    for topic, (key, body) in GOOD.items():
        records.append(message(topic, key, body, offset=len(odd)))
    read.reader._handle(records)
    assert set(read.reader._next.values()) == {len(odd) + 1}
    assert read.scores.score("c-1") is not None
    assert read.models.get("churn.logistic") is not None
    # What was taken in can be asked for.
    read.alerts.newest(10)
    read.erasures.open()
    read.models.all()
    read.erasures.is_erased("c-2", AS_OF)


def test_a_record_that_no_handler_bears_is_counted_and_passed_over() -> None:
    taken: list[bytes | None] = []

    def handle(records: Any, _fresh: bool) -> None:
        for record in records:
            if record.value() == b"poison":
                raise ZeroDivisionError
            taken.append(record.value())

    reader = TopicReader(Settings(), {TOPICS.scores: Source(handle)})
    reader._goal, reader._next, reader._open = {(TOPICS.scores, 0): 3}, {(TOPICS.scores, 0): 0}, {(TOPICS.scores, 0)}
    before = RECORDS_REFUSED.labels("scores")._value.get()
    reader._handle([message(TOPICS.scores, b"k", body, at) for at, body in enumerate((b"one", b"poison", b"two"))])
    assert taken == [b"one", b"one", b"two"]
    assert reader.caught_up
    assert RECORDS_REFUSED.labels("scores")._value.get() == before + 1


@given(st.binary(max_size=40) | st.sampled_from(ODD_VALUES), st.sampled_from(ODD_VALUES), st.integers(0, 12))
def test_an_alert_that_cannot_be_read_holds_up_no_webhook(noise: bytes, value: bytes, place: int) -> None:
    body = GOOD[TOPICS.alerts][1]
    fields = body[1:-1].split(b",")
    at = place % len(fields)
    fields[at] = fields[at].partition(b":")[0] + b":" + value
    hook = Webhook(name="crm", url="http://127.0.0.1:9/", kind="slack")
    dispatcher = WebhookDispatcher(Settings(webhook_private=True), hook, lambda customer, _: not customer.encode())
    posted: list[bytes] = []
    setattr(dispatcher._client, "post", lambda _, __, content: posted.append(content))  # noqa: B010
    odd = (noise, None, b"{" + b",".join(fields) + b"}")
    dispatcher._handle([message(TOPICS.alerts, b"c-1", one) for one in odd])
    before = len(posted)
    dispatcher._handle([message(TOPICS.alerts, b"c-1", body)])
    assert len(posted) == before + 1
    dispatcher.stop()


@pytest.mark.parametrize("value", [None, b"", b"nan", b"inf", b"-1", b"1e3", b"\xff", b"9" * 400, b" 1"])
def test_a_tick_that_is_no_time_tells_none(value: bytes | None) -> None:
    assert _event_time(b"", [(TICK_HEADER, value)]) is None
    assert _event_time(None, None) is None
    assert _event_time(b"", [(TICK_HEADER, b"86400")]) == 86_400
