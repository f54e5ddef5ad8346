"""Fans scores and alerts out to the streams, and remembers the newest for those who come back."""

import asyncio
import secrets
from collections import deque
from collections.abc import Iterable, Set

from ebb.contracts.erasures import digest_of
from ebb.metrics import WS_CLIENTS
from serving.streaming.message import StreamMessage
from serving.streaming.send_queue import CAPACITY
from serving.streaming.subscriptions import Subscription, SubscriptionIndex

REMEMBERED = {"scores": 20_000, "alerts": 5_000}
"""Messages held for resuming, by topic. Score bodies are shared with the board while they are the latest."""


class Hub:
    """Numbers the messages of this replica and hands each to the subscriptions. Lives in the event loop."""

    def __init__(self, limit: int) -> None:
        self.epoch = secrets.token_hex(8)
        self.sequence = 0
        """Number of the newest message."""
        self.draining = False
        """Whether the server is about to go: it still serves, and says that nothing more should be sent here."""
        self.gone = asyncio.Event()
        """Set when the server goes away and every stream is to end."""
        self._limit = limit
        self._streams = 0
        self._index = SubscriptionIndex()
        self._remembered: dict[str, deque[StreamMessage]] = {topic: deque() for topic in REMEMBERED}
        self._forgotten: dict[str, int] = dict.fromkeys(REMEMBERED, 0)

    @property
    def streams(self) -> int:
        """Streams connected."""
        return self._streams

    def enter(self) -> bool:
        """Count a stream in; False if there are as many as there may be."""
        if self._streams >= self._limit or self.gone.is_set():
            return False
        self._streams += 1
        WS_CLIENTS.set(self._streams)
        return True

    def leave(self) -> None:
        """Count a stream out."""
        self._streams -= 1
        WS_CLIENTS.set(self._streams)

    def add(self, subscription: Subscription) -> None:
        """Begin to offer messages to a subscription."""
        self._index.add(subscription)

    def remove(self, subscription: Subscription) -> None:
        """Stop offering messages to a subscription."""
        self._index.remove(subscription)

    def publish(self, items: Iterable[StreamMessage]) -> None:
        """Give each message its sequence number, remember it and hand it to the subscriptions that match."""
        for item in items:
            self.sequence += 1
            item.sequence = self.sequence
            remembered = self._remembered[item.topic]
            remembered.append(item)
            if len(remembered) > REMEMBERED[item.topic]:
                self._forgotten[item.topic] = remembered.popleft().sequence
            for subscription in self._index.wanting(item):
                subscription.outbox.put(item, subscription.name)

    def forget(self, digests: Set[str]) -> None:
        """Drop what is remembered of customers (`ebb.contracts.erasures.digest_of`); their streams go on."""
        for topic, remembered in self._remembered.items():
            kept = [item for item in remembered if digest_of(item.customer_id) not in digests]
            self._remembered[topic] = deque(kept)

    def missed(self, epoch: str, sequence: int, subscription: Subscription) -> list[StreamMessage] | None:
        """Return what a subscription missed after a sequence, in order: every alert, the latest score of a customer.

        None if any of it may have been forgotten, or if it is more than the outbox should begin with.
        """
        topics = subscription.topics
        if epoch != self.epoch or sequence > self.sequence or any(self._forgotten[one] > sequence for one in topics):
            return None
        found: dict[str | int, StreamMessage] = {}
        for topic in topics:
            # From the newest on: who was away for a moment pays for that moment.
            for item in reversed(self._remembered[topic]):
                if item.sequence <= sequence:
                    break
                if item.passes(subscription.wanted):
                    found.setdefault(item.customer_id if topic == "scores" else item.sequence, item)
        if len(found) > CAPACITY // 2 - len(subscription.outbox):
            return None
        return sorted(found.values(), key=lambda item: item.sequence)
