"""What a peer computes: records to events, events to a customer's state, state to features and a score.

Runs in the environments of all peers, so it needs msgspec and the standard library alone.
"""

import math
from collections import deque
from datetime import datetime
from operator import itemgetter, mul
from typing import Annotated

import msgspec

DAY_MS = 86_400_000
WINDOWS = (1, 7, 30)
"""Days of the windows: that many whole days before today, and today so far."""
HALF_LIFE_DAYS = 14
IDS_KEPT = 200_000
"""Event ids remembered for each partition to drop duplicates, as many as Ebb's."""
KINDS = {"session_start": 1, "view": 2, "add_to_cart": 3, "purchase": 4, "support_contact": 5}
"""Event type to its column in a day's bucket; any other type counts in column 0 alone."""
OTHER, PURCHASE, SPEND = 0, KINDS["purchase"], 6
COLUMNS = 7
"""Columns of a bucket: all events, the five kinds, spend in minor units."""
MINOR_UNITS = 100

COUNTED = ("events", "sessions", "views", "carts", "purchases", "supports")
FEATURES: tuple[str, ...] = (
    "tenure_ms",
    "since_purchase_ms",
    *(f"{name}_{days}d" for days in WINDOWS for name in (*COUNTED, "spend")),
    "spend_total",
    "events_total",
    "purchases_total",
    "active_days_total",
    "events_hl14",
)
"""Whole numbers all but the last; times in ms, money in minor units."""
WEIGHTS: dict[str, float] = {
    "tenure_ms": 2e-10,
    "since_purchase_ms": 6e-10,
    "events_1d": -0.02,
    "events_7d": -0.03,
    "events_30d": -0.01,
    "sessions_7d": -0.05,
    "views_7d": -0.01,
    "carts_7d": -0.04,
    "purchases_30d": -0.2,
    "supports_30d": 0.4,
    "spend_30d": -5e-6,
    "spend_total": -1e-6,
    "active_days_total": -0.05,
    "events_hl14": -0.02,
}
"""Of the logistic score, on features as they are."""
BIAS = 0.8
_weighted = itemgetter(*(FEATURES.index(name) for name in WEIGHTS))
_weights = tuple(WEIGHTS.values())

_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


class Properties(msgspec.Struct, gc=False):
    """The one property that counts here."""

    amount: float | None = None


class Activity(msgspec.Struct, gc=False):
    """An event as it stands on the topic."""

    event_id: _Text
    customer_id: _Text
    type: _Text
    occurred_at: Annotated[datetime, msgspec.Meta(tz=True)]
    properties: Properties = msgspec.field(default_factory=Properties)


_decode = msgspec.json.Decoder(Activity).decode

Event = tuple[str, str, int, int, int]
"""Event id, customer id, kind, time in ms, amount in minor units."""


def parse(body: bytes | None) -> Event | None:
    """Validate a record; None for one that cannot be accepted."""
    try:
        event = _decode(body or b"")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    amount = event.properties.amount
    return (
        event.event_id,
        event.customer_id,
        KINDS.get(event.type, OTHER),
        int(event.occurred_at.timestamp() * 1000),
        round(amount * MINOR_UNITS) if amount else 0,
    )


class Seen:
    """The ids of the last events of a process, `IDS_KEPT` for each of its partitions."""

    def __init__(self, partitions: int) -> None:
        self._ids: set[str] = set()
        self._order: deque[str] = deque()
        self._size = IDS_KEPT * partitions

    def new(self, event_id: str) -> bool:
        """Tell whether this id is new, and remember it."""
        ids = self._ids
        if event_id in ids:
            return False
        ids.add(event_id)
        self._order.append(event_id)
        if len(ids) > self._size:
            ids.discard(self._order.popleft())
        return True


class Customer(msgspec.Struct, array_like=True):
    """State of a customer. The sums of each window are kept up to date, so that features are read off."""

    first: int
    newest: int
    """First and newest moment, ms."""
    today: int
    """Day number of the newest event; the windows end with it."""
    bought: int = -1
    """Newest purchase, ms."""
    spend: int = 0
    events: int = 0
    purchases: int = 0
    active: int = 0
    """Days with an event, ever."""
    decayed: float = 0.0
    """Events, each halved every `HALF_LIFE_DAYS`, as of today."""
    sums: list[list[int]] = msgspec.field(default_factory=lambda: [[0] * COLUMNS for _ in WINDOWS])
    days: list[list[int]] = msgspec.field(default_factory=list)
    """Buckets in order of days: day number, then the columns."""


def begin(at: int) -> Customer:
    """Return the state of a customer whose first event, not yet counted, is at `at`."""
    return Customer(first=at, newest=at, today=at // DAY_MS)


def update(customer: Customer, kind: int, at: int, amount: int) -> None:
    """Count an event; it lies at most a day behind the customer's newest."""
    day = at // DAY_MS
    if day > customer.today:
        _enter(customer, day)
    customer.newest = max(customer.newest, at)
    customer.first = min(customer.first, at)
    bucket = customer.days[-1] if customer.days and customer.days[-1][0] == day else _bucket(customer, day)
    behind = customer.today - day
    customer.events += 1
    customer.decayed += 0.5 ** (behind / HALF_LIFE_DAYS) if behind else 1.0
    bucket[1] += 1
    sums = customer.sums
    for total in sums:
        total[0] += 1
    if kind:
        bucket[1 + kind] += 1
        for total in sums:
            total[kind] += 1
        if kind == PURCHASE:
            customer.purchases += 1
            customer.bought = max(customer.bought, at)
            customer.spend += amount
            bucket[1 + SPEND] += amount
            for total in sums:
                total[SPEND] += amount


def _enter(customer: Customer, day: int) -> None:
    """Move today on: what falls out of each window leaves its sums, what falls out of all leaves the buckets."""
    for days, total in zip(WINDOWS, customer.sums, strict=True):
        for bucket in customer.days:
            if customer.today - days <= bucket[0] < day - days:
                for column in range(COLUMNS):
                    total[column] -= bucket[1 + column]
    customer.days = [bucket for bucket in customer.days if bucket[0] >= day - WINDOWS[-1]]
    customer.decayed *= 0.5 ** ((day - customer.today) / HALF_LIFE_DAYS)
    customer.today = day


def _bucket(customer: Customer, day: int) -> list[int]:
    """Return the bucket of a day, a new one if nothing happened on it so far."""
    place = len(customer.days)
    while place and customer.days[place - 1][0] > day:
        place -= 1
    if place and customer.days[place - 1][0] == day:
        return customer.days[place - 1]
    bucket = [day] + [0] * COLUMNS
    customer.days.insert(place, bucket)
    customer.active += 1
    return bucket


def describe(customer: Customer) -> list[float]:
    """Return the values of `FEATURES` at the customer's newest moment."""
    newest = customer.newest
    day, week, month = customer.sums
    tenure = newest - customer.first
    since = newest - customer.bought if customer.bought >= 0 else tenure
    return [
        tenure,
        since,
        *day,
        *week,
        *month,
        customer.spend,
        customer.events,
        customer.purchases,
        customer.active,
        customer.decayed,
    ]


def score(features: list[float]) -> float:
    """Return the logistic score of features in the order of `FEATURES`."""
    return 1.0 / (1.0 + math.exp(-BIAS - sum(map(mul, _weights, _weighted(features)))))
