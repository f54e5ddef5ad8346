"""Fans scores and alerts out to the streams, and remembers the newest for clients that resume."""

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
"""Messages held for resuming, by topic. Score bodies are shared with `ScoreView` while they are the latest."""


class Hub:
    """Numbers the messages of this replica and queues each for its subscriptions. Runs in the event loop."""

    def __init__(self, limit: int) -> None:
        self.epoch = secrets.token_hex(8)
        self.sequence = 0
        """Number of the newest message."""
        self.draining = False
        """Whether the server is about to stop: it still serves, but reports that it is not ready for more clients."""
        self.closing = asyncio.Event()
        """Set when the server shuts down and every stream is to end."""
        self._limit = limit
        self._streams = 0
        self._index = SubscriptionIndex()
        self._remembered: dict[str, deque[StreamMessage]] = {topic: deque() for topic in REMEMBERED}
        self._forgotten: dict[str, int] = dict.fromkeys(REMEMBERED, 0)

    @property
    def streams(self) -> int:
        """Streams connected."""
        return self._streams

    def connect(self) -> bool:
        """Count a new stream; False if the limit is reached or the server is closing."""
        if self._streams >= self._limit or self.closing.is_set():
            return False
        self._streams += 1
        WS_CLIENTS.set(self._streams)
        return True

    def disconnect(self) -> None:
        """Count the end of a stream."""
        self._streams -= 1
        WS_CLIENTS.set(self._streams)

    def add(self, subscription: Subscription) -> None:
        """Begin to offer messages to a subscription."""
        self._index.add(subscription)

    def remove(self, subscription: Subscription) -> None:
        """Stop offering messages to a subscription."""
        self._index.remove(subscription)

    def publish(self, items: Iterable[StreamMessage]) -> None:
        """Give each message its sequence number, remember it and queue it for the subscriptions that match."""
        for item in items:
            self.sequence += 1
            item.sequence = self.sequence
            remembered = self._remembered[item.topic]
            remembered.append(item)
            if len(remembered) > REMEMBERED[item.topic]:
                self._forgotten[item.topic] = remembered.popleft().sequence
            for subscription in self._index.matching(item):
                subscription.queue.put(item, subscription.name)

    def forget(self, digests: Set[str]) -> None:
        """Drop what is remembered of customers (`ebb.contracts.erasures.digest_of`), and what waits to be sent."""
        for topic, remembered in self._remembered.items():
            kept = [item for item in remembered if digest_of(item.customer_id) not in digests]
            self._remembered[topic] = deque(kept)
        for queue in self._index.queues():
            queue.forget(lambda item: digest_of(item.customer_id) in digests)

    def missed(self, epoch: str, sequence: int, subscription: Subscription) -> list[StreamMessage] | None:
        """Return what a subscription missed after a sequence, in order: every alert, the latest score of a customer.

        None if any of it may have been forgotten, or if it is more than a queue should begin with.
        """
        topics = subscription.topics
        if (
            epoch != self.epoch
            or sequence > self.sequence
            or any(self._forgotten[topic] > sequence for topic in topics)
        ):
            return None
        missed: dict[str | int, StreamMessage] = {}
        for topic in topics:
            # From the newest on: a client that was away for a moment pays for that moment.
            for item in reversed(self._remembered[topic]):
                if item.sequence <= sequence:
                    break
                if item.passes(subscription.filter):
                    missed.setdefault(item.customer_id if topic == "scores" else item.sequence, item)
        if len(missed) > CAPACITY // 2 - len(subscription.queue):
            return None
        return sorted(missed.values(), key=lambda item: item.sequence)
