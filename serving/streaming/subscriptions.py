"""The index that finds the subscriptions a message is for, without asking each of them."""

from collections.abc import Iterator

from ebb.contracts.scores import BANDS
from ebb.contracts.stream import Filter, Topic
from serving.streaming.message import StreamMessage
from serving.streaming.send_queue import SendQueue


class Subscription:
    """The messages that one client wants, and the queue in which they wait for it.

    Parameters
    ----------
    queue
        The queue of the client's connection, which its subscriptions share; a new one if left out.
    name
        The subscription's id within the connection.
    """

    __slots__ = ("filter", "name", "queue", "topics")

    def __init__(
        self, topics: frozenset[Topic], filter_: Filter, queue: SendQueue | None = None, name: str = ""
    ) -> None:
        self.topics = topics
        self.filter = filter_
        self.queue = SendQueue() if queue is None else queue
        self.name = name


# Dictionaries as sets that keep their order: subscriptions get a message in the order in which they were added.
_Bucket = dict[Subscription, None]


class SubscriptionIndex:
    """Subscriptions by what their messages have in common: a topic and a customer, or a topic and a band.

    A thousand clients that each follow customers of their own cost a message one look-up, not a thousand. The rest
    of a filter (country, minimum) is checked for the few subscriptions that are left.
    """

    def __init__(self) -> None:
        self._buckets: dict[tuple[Topic, str, str], _Bucket] = {}

    def __len__(self) -> int:
        return len({subscription for bucket in self._buckets.values() for subscription in bucket})

    def add(self, subscription: Subscription) -> None:
        """Add a subscription."""
        for key in _keys(subscription):
            self._buckets.setdefault(key, {})[subscription] = None

    def remove(self, subscription: Subscription) -> None:
        """Remove a subscription; one that is not there is ignored."""
        for key in _keys(subscription):
            bucket = self._buckets.get(key)
            if bucket is not None:
                bucket.pop(subscription, None)
                if not bucket:
                    del self._buckets[key]

    def queues(self) -> set[SendQueue]:
        """Return the queues of all subscriptions; those of one connection share one."""
        return {subscription.queue for bucket in self._buckets.values() for subscription in bucket}

    def matching(self, item: StreamMessage) -> Iterator[Subscription]:
        """Yield the subscriptions whose filter a message passes, each once."""
        for key in ((item.topic, "customer", item.customer_id), (item.topic, "band", item.band)):
            bucket = self._buckets.get(key)
            if bucket is not None:
                for subscription in bucket:
                    if item.passes(subscription.filter):
                        yield subscription


def _keys(subscription: Subscription) -> Iterator[tuple[Topic, str, str]]:
    filter_ = subscription.filter
    for topic in subscription.topics:
        if filter_.customers is not None:
            for customer in filter_.customers:
                yield topic, "customer", customer
        else:
            for band in BANDS if filter_.bands is None else filter_.bands:
                yield topic, "band", band
