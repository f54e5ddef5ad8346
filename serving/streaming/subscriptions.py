"""Which subscriptions a message may be for, without asking each of them."""

from collections.abc import Iterator

from ebb.contracts.scores import BANDS
from ebb.contracts.stream import Filter, Topic
from serving.streaming.message import StreamMessage
from serving.streaming.send_queue import SendQueue


class Subscription:
    """What one client wants to be told, and where it waits for it.

    Parameters
    ----------
    outbox
        That of the client's connection, which its subscriptions share; one of its own if left out.
    name
        The subscription's id within the connection.
    """

    __slots__ = ("name", "outbox", "topics", "wanted")

    def __init__(
        self, topics: frozenset[Topic], wanted: Filter, outbox: SendQueue | None = None, name: str = ""
    ) -> None:
        self.topics = topics
        self.wanted = wanted
        self.outbox = SendQueue() if outbox is None else outbox
        self.name = name


# Dictionaries stand for sets that keep their order: subscriptions are told in the order in which they came.
_Bucket = dict[Subscription, None]


class SubscriptionIndex:
    """Subscriptions by what a message of theirs must have: the topic and a customer, or the topic and a band.

    A thousand clients that each follow customers of their own cost a message one look-up, not a thousand. What an index
    cannot tell (country, least score) is asked of the few that are left.
    """

    def __init__(self) -> None:
        self._buckets: dict[tuple[Topic, str, str], _Bucket] = {}

    def __len__(self) -> int:
        return len({subscription for bucket in self._buckets.values() for subscription in bucket})

    def add(self, subscription: Subscription) -> None:
        """Take up a subscription."""
        for place in _places(subscription):
            self._buckets.setdefault(place, {})[subscription] = None

    def remove(self, subscription: Subscription) -> None:
        """Let go of a subscription; one that is not held is fine."""
        for place in _places(subscription):
            bucket = self._buckets.get(place)
            if bucket is not None:
                bucket.pop(subscription, None)
                if not bucket:
                    del self._buckets[place]

    def wanting(self, item: StreamMessage) -> Iterator[Subscription]:
        """Go through the subscriptions that want a message, each once."""
        for place in ((item.topic, "customer", item.customer_id), (item.topic, "band", item.band)):
            bucket = self._buckets.get(place)
            if bucket is not None:
                for subscription in bucket:
                    if item.passes(subscription.wanted):
                        yield subscription


def _places(subscription: Subscription) -> Iterator[tuple[Topic, str, str]]:
    wanted = subscription.wanted
    for topic in subscription.topics:
        if wanted.customers is not None:
            for customer in wanted.customers:
                yield topic, "customer", customer
        else:
            for band in BANDS if wanted.bands is None else wanted.bands:
                yield topic, "band", band
