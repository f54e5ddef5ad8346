"""The hub numbers and buffers messages; a queue is bounded and keeps alerts and latest scores."""

import asyncio
import json

import pytest

from ebb.contracts.scores import Band
from ebb.contracts.stream import CLIENT_MESSAGE, CloseCode, Filter, Resume, Subscribe, Topic, may_reconnect
from serving.streaming.hub import REMEMBERED, Hub
from serving.streaming.message import StreamMessage
from serving.streaming.send_queue import CAPACITY, SendQueue
from serving.streaming.subscriptions import Subscription

BOTH: frozenset[Topic] = frozenset({"scores", "alerts"})


def item(
    topic: Topic = "scores", customer: str = "c-1", churn: float = 0.5, band: str = "medium", **fields: str
) -> StreamMessage:
    body = json.dumps({"customer_id": customer, "churn": churn}).encode()
    return StreamMessage(
        topic, customer_id=customer, band=band, churn=churn, country=fields.get("country", "DE"), body=body
    )


def drained(queue: SendQueue) -> list[StreamMessage | str]:
    items: list[StreamMessage | str] = []
    while (one := queue.get()) is not None:
        items.append(one if isinstance(one, str) else one[0])
    return items


def named(queue: SendQueue) -> list[tuple[int, tuple[str, ...]]]:
    """Return the sequence and the subscriptions of each message that waits."""
    items = []
    while (one := queue.get()) is not None:
        assert not isinstance(one, str)
        items.append((one[0].sequence, one[1]))
    return items


def test_filter_passes_what_matches_all_its_parts() -> None:
    filter_ = Filter(
        bands=frozenset({Band.HIGH}), customers=frozenset({"c-1"}), countries=frozenset({"DE"}), minimum=0.7
    )
    assert item(band="high", churn=0.7).passes(filter_)
    assert not item(band="medium", churn=0.7).passes(filter_)
    assert not item(band="high", churn=0.69).passes(filter_)
    assert not item(band="high", churn=0.7, customer="c-2").passes(filter_)
    assert not item(band="high", churn=0.7, country="FR").passes(filter_)
    assert item().passes(Filter())


def test_filter_without_any_band_passes_nothing() -> None:
    assert not item().passes(Filter(bands=frozenset()))


def test_hub_numbers_messages_without_a_gap_and_encodes_each_once() -> None:
    hub, first, second = Hub(10), Subscription(BOTH, Filter()), Subscription(BOTH, Filter())
    hub.add(first)
    hub.add(second)
    hub.publish([item(), item("alerts"), item()])
    mine, yours = drained(first.queue), drained(second.queue)
    assert [message.sequence for message in mine if isinstance(message, StreamMessage)] == [1, 2, 3]
    assert [json.loads(message.text())["type"] for message in mine if isinstance(message, StreamMessage)] == [
        "score",
        "alert",
        "score",
    ]
    for a, b in zip(mine, yours, strict=True):
        assert isinstance(a, StreamMessage)
        assert isinstance(b, StreamMessage)
        assert a.frame() is b.frame()


def test_subscription_gets_only_its_topics() -> None:
    hub, subscription = Hub(10), Subscription(frozenset({"alerts"}), Filter())
    hub.add(subscription)
    hub.publish([item(), item("alerts")])
    assert [message.topic for message in drained(subscription.queue) if isinstance(message, StreamMessage)] == [
        "alerts"
    ]


def test_hub_offers_nothing_to_a_removed_subscription() -> None:
    hub, subscription = Hub(10), Subscription(BOTH, Filter())
    hub.add(subscription)
    hub.remove(subscription)
    hub.remove(subscription)
    hub.publish([item()])
    assert len(subscription.queue) == 0


def test_hub_returns_what_was_missed_alerts_all_scores_the_latest() -> None:
    hub = Hub(10)
    hub.publish([item(churn=0.1), item("alerts"), item(churn=0.2), item("alerts"), item(customer="c-2")])
    missed = hub.missed(hub.epoch, 1, Subscription(BOTH, Filter()))
    assert missed is not None
    assert [message.sequence for message in missed] == [2, 3, 4, 5]
    assert hub.missed(hub.epoch, 5, Subscription(BOTH, Filter())) == []
    only = hub.missed(hub.epoch, 0, Subscription(frozenset({"alerts"}), Filter()))
    assert [message.sequence for message in only or []] == [2, 4]


def test_hub_returns_nothing_for_another_epoch_or_a_future_sequence() -> None:
    hub = Hub(10)
    hub.publish([item()])
    assert hub.missed("another", 0, Subscription(BOTH, Filter())) is None
    assert hub.missed(hub.epoch, 2, Subscription(BOTH, Filter())) is None


def test_hub_returns_none_for_what_it_has_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REMEMBERED, "scores", 3)
    hub = Hub(10)
    hub.publish([item(customer=f"c-{number}") for number in range(5)])
    assert hub.missed(hub.epoch, 1, Subscription(BOTH, Filter())) is None
    assert len(hub.missed(hub.epoch, 2, Subscription(BOTH, Filter())) or []) == 3
    assert hub.missed(hub.epoch, 0, Subscription(frozenset({"alerts"}), Filter())) == []


def test_hub_accepts_streams_up_to_its_limit() -> None:
    hub = Hub(2)
    assert [hub.connect(), hub.connect(), hub.connect()] == [True, True, False]
    hub.disconnect()
    assert hub.connect()
    hub.closing.set()
    hub.disconnect()
    assert not hub.connect()


def test_message_of_several_subscriptions_is_queued_once_and_names_them() -> None:
    hub, queue = Hub(10), SendQueue()
    filters = (
        ("", Filter()),
        ("mine", Filter(customers=frozenset({"c-1"}))),
        ("high", Filter(bands=frozenset({Band.HIGH}))),
    )
    for name, filter_ in filters:
        hub.add(Subscription(BOTH, filter_, queue, name))
    hub.publish([item(), item(customer="c-2"), item(customer="c-2", band="high", churn=0.7)])
    items = named(queue)
    assert [(sequence, set(names)) for sequence, names in items] == [(1, {"", "mine"}), (2, {""}), (3, {"", "high"})]
    one = item()
    assert "subscriptions" not in json.loads(one.text())
    assert json.loads(one.text(("a", "")))["subscriptions"] == ["a", ""]


def test_hub_checks_only_subscriptions_that_a_message_may_match(monkeypatch: pytest.MonkeyPatch) -> None:
    hub, checked = Hub(10), 0
    for number in range(1_000):
        hub.add(Subscription(BOTH, Filter(customers=frozenset({f"c-{number}"}))))
        hub.add(Subscription(frozenset({"alerts"}), Filter()))
        hub.add(Subscription(BOTH, Filter(bands=frozenset({Band.HIGH}))))
    passes = StreamMessage.passes

    def counted(one: StreamMessage, filter_: Filter) -> bool:
        nonlocal checked
        checked += 1
        return passes(one, filter_)

    monkeypatch.setattr(StreamMessage, "passes", counted)
    hub.publish([item(customer="c-7", band="low")])
    assert checked == 1


def test_full_queue_keeps_the_latest_score_of_each_subscription() -> None:
    hub, queue = Hub(10), SendQueue(4)
    hub.add(Subscription(BOTH, Filter(minimum=0.5), queue, "high"))
    hub.add(Subscription(BOTH, Filter(countries=frozenset({"FR"})), queue, "french"))
    for churn, country in ((0.6, "DE"), (0.9, "DE"), (0.1, "FR"), (0.2, "FR"), (0.3, "FR")):
        hub.publish([item(churn=churn, country=country)])
    assert named(queue) == [(2, ("high",)), (4, ("french",)), (5, ("french",))]


def test_queue_below_its_bound_keeps_every_score() -> None:
    queue = SendQueue(10)
    for churn in range(10):
        queue.put(item(churn=churn / 10))
    assert len(drained(queue)) == 10


def test_full_queue_keeps_the_latest_score_of_a_customer_and_alerts_in_order() -> None:
    hub, subscription = Hub(10), Subscription(BOTH, Filter())
    subscription.queue = queue = SendQueue(8)
    hub.add(subscription)
    hub.publish([item(churn=0.1), item("alerts"), *(item(churn=0.2) for _ in range(5)), item("alerts")])
    hub.publish([item(customer="c-2")])
    remaining = [message for message in drained(queue) if isinstance(message, StreamMessage)]
    assert [message.sequence for message in remaining] == [2, 7, 8, 9]
    assert not queue.overflowed.is_set()


def test_queue_that_only_alerts_fill_overflows_and_holds_nothing_more() -> None:
    queue = SendQueue(8)
    for _ in range(9):
        queue.put(item("alerts"))
    assert queue.overflowed.is_set()
    queue.put(item("alerts"))
    assert len(queue) == 0


def test_queue_of_a_client_that_never_reads_stays_bounded() -> None:
    queue = SendQueue(CAPACITY)
    for number in range(5 * CAPACITY):
        queue.put(item(customer=f"c-{number % 100}"))
        assert len(queue) <= CAPACITY
    assert not queue.overflowed.is_set()


async def test_queue_wakes_its_sender_or_times_out() -> None:
    queue = SendQueue()
    assert not await queue.wait(0.01)
    waiting = asyncio.create_task(queue.wait(5))
    await asyncio.sleep(0)
    queue.put("control")
    assert await waiting
    assert queue.get() == "control"


def test_short_form_of_bands_is_the_filter() -> None:
    message = CLIENT_MESSAGE.validate_json('{"type":"subscribe","bands":["high"]}')
    assert isinstance(message, Subscribe)
    assert message.effective_filter.bands == frozenset({Band.HIGH})
    assert message.topics == BOTH


def test_key_of_a_subscription_is_not_shown_by_its_repr() -> None:
    message = CLIENT_MESSAGE.validate_json('{"type":"resume","epoch":"e","sequence":3,"api_key":"top-secret"}')
    assert isinstance(message, Resume)
    assert "top-secret" not in repr(message)


def test_range_of_a_close_code_decides_whether_to_reconnect() -> None:
    come_back = {CloseCode.SLOW, CloseCode.FULL, CloseCode.NOT_READY, CloseCode.GOING_AWAY}
    for code in CloseCode:
        assert may_reconnect(code) == (code in come_back)
    assert not may_reconnect(1009)
    assert may_reconnect(1006)
    assert may_reconnect(1012)
