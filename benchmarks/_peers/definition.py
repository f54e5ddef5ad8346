"""The computation of all peers: records to events, events to a customer's state, state to Ebb's features and a score.

Runs in the environments of all peers, so it needs msgspec and the standard library alone (`ebb.contracts.features`
needs no more).
"""

import math
from collections import deque
from datetime import datetime
from typing import Annotated

import msgspec

from ebb.contracts.features import HALF_LIVES, INDEX, NAMES, WINDOWS

FEATURES: tuple[str, ...] = NAMES
DAY_MS = 86_400_000
IDS_KEPT = 200_000
"""Event ids remembered for each partition to drop duplicates, as many as Ebb's."""
KINDS = {"session_start": 1, "view": 2, "add_to_cart": 3, "purchase": 4, "support_contact": 5}
"""Event type to its counter; any other type counts only in counter 0, all events."""
OTHER, PURCHASE = 0, KINDS["purchase"]
COUNTERS = 1 + len(KINDS)
SPEND = 1 + COUNTERS
"""Index of a day's spend in its bucket, after day number and counters."""
MINOR_UNITS = 100

WEIGHTS: dict[str, tuple[float, float]] = {
    "active_hl14": (-2.0, math.log1p(1)),
    "recency_days": (0.6, math.log1p(14)),
    "recency_over_gap": (1.2, math.log(2)),
}
"""Feature to weight and mean of its log(1 + x): the score that Ebb gives before a label has matured."""
BIAS = -sum(weight * mean for weight, mean in WEIGHTS.values())
(_HL14, _HL14_WEIGHT), (_RECENCY, _RECENCY_WEIGHT), (_OVER_GAP, _OVER_GAP_WEIGHT) = (
    (INDEX[name], weight) for name, (weight, _) in WEIGHTS.items()
)

_WEEK, _MONTH, _TWO_MONTHS = (2 << 7) - 1, (2 << 30) - 1, (2 << 60) - 1
"""Bitmasks of so many days before today, and today, the lowest bit."""
_DECAY = tuple(0.5 ** (1 / days) for days in HALF_LIVES)
_RATES = len(_DECAY)

_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


class Properties(msgspec.Struct, gc=False):
    """The properties that are used here."""

    amount: float | None = None
    discount: float | None = None


class Activity(msgspec.Struct, gc=False):
    """An event on the topic."""

    event_id: _Text
    customer_id: _Text
    type: _Text
    occurred_at: Annotated[datetime, msgspec.Meta(tz=True)]
    properties: Properties = msgspec.field(default_factory=Properties)


_decode = msgspec.json.Decoder(Activity).decode

Event = tuple[str, str, int, int, int, bool]
"""Event id, customer id, kind, time in ms, amount in minor units, whether there was a discount."""


def parse(body: bytes | None) -> Event | None:
    """Return the event of a record; None if it is invalid."""
    try:
        event = _decode(body or b"")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    properties = event.properties
    amount = properties.amount
    return (
        event.event_id,
        event.customer_id,
        KINDS.get(event.type, OTHER),
        int(event.occurred_at.timestamp() * 1000),
        round(amount * MINOR_UNITS) if amount else 0,
        bool(properties.discount),
    )


class Seen:
    """The ids of the last events of a process, `IDS_KEPT` for each of its partitions."""

    def __init__(self, partitions: int) -> None:
        self._ids: set[str] = set()
        self._order: deque[str] = deque()
        self._size = IDS_KEPT * partitions

    def new(self, event_id: str) -> bool:
        """Return whether this id is new, and remember it."""
        ids = self._ids
        if event_id in ids:
            return False
        ids.add(event_id)
        self._order.append(event_id)
        if len(ids) > self._size:
            ids.discard(self._order.popleft())
        return True


class Customer(msgspec.Struct, array_like=True, gc=False):
    """State of a customer, updated with each event and each new day, so that features can be read from it."""

    first: int
    newest: int
    """First and newest moment, ms."""
    today: int
    """Day number of the newest event; the windows end with it."""
    days: list[list[int]]
    """Buckets of the active days among the last 30 and of today, the last one: day number, counters, spend."""
    sums: list[int] = msgspec.field(default_factory=lambda: [0] * (COUNTERS * len(WINDOWS)))
    """Of each counter the windows, in the order of the features."""
    spend_week: int = 0
    spend_month: int = 0
    spend: int = 0
    events: int = 0
    purchases: int = 0
    discounts: int = 0
    bought: int = -1
    """Newest purchase, ms."""
    active: int = 1
    """Days with an event, ever."""
    active_days: int = 1
    purchase_days: int = 0
    """Bitmaps of the last 60 days and today, the lowest bit."""
    previous: int = -1
    """Newest active day before today."""
    gap_squares: int = 0
    """Sum of the squared gaps between active days."""
    decayed: list[float] = msgspec.field(default_factory=lambda: [0.0] * (2 * _RATES))
    """Events, then active days, halved every so many days: those before today, as of today."""


def begin(at: int) -> Customer:
    """Return the state of a customer whose first event, not yet counted, is at `at`."""
    today = at // DAY_MS
    return Customer(at, at, today, [[today] + [0] * SPEND])


def update(customer: Customer, event: Event) -> None:
    """Update the state with an event, at most a day older than the customer's newest."""
    _, _, kind, at, amount, discounted = event
    day = at // DAY_MS
    if day > customer.today:
        _begin_day(customer, day)
    if at > customer.newest:
        customer.newest = at
    elif at < customer.first:
        customer.first = at
    bucket = customer.days[-1] if day == customer.today else _bucket_before(customer, day)
    customer.events += 1
    bucket[1] += 1
    sums = customer.sums
    sums[0] += 1
    sums[1] += 1
    sums[2] += 1
    if kind:
        bucket[1 + kind] += 1
        index = 3 * kind
        # An event a day late is still within all windows.
        sums[index] += 1
        sums[index + 1] += 1
        sums[index + 2] += 1
        if kind == PURCHASE:
            customer.purchases += 1
            customer.discounts += discounted
            customer.bought = max(customer.bought, at)
            customer.purchase_days |= 1 << customer.today - day
            bucket[SPEND] += amount
            customer.spend += amount
            customer.spend_week += amount
            customer.spend_month += amount


def _begin_day(customer: Customer, day: int) -> None:
    """Advance today: subtract expired days from the sums of each window, and drop buckets older than all windows."""
    today, days, sums, decayed = customer.today, customer.days, customer.sums, customer.decayed
    for index, window in enumerate(WINDOWS):
        for bucket in days:
            if bucket[0] >= day - window:
                break
            if bucket[0] >= today - window:
                for counter in range(COUNTERS):
                    sums[counter * len(WINDOWS) + index] -= bucket[1 + counter]
                if index == 1:
                    customer.spend_week -= bucket[SPEND]
                elif index == 2:
                    customer.spend_month -= bucket[SPEND]
    passed = day - today
    events = days[-1][1]
    for index, factor in enumerate(_DECAY):
        power = factor**passed
        decayed[index] = (decayed[index] + events) * power
        decayed[_RATES + index] = (decayed[_RATES + index] + 1) * power
    customer.days = [bucket for bucket in days if bucket[0] >= day - WINDOWS[-1]]
    customer.days.append([day] + [0] * SPEND)
    customer.active += 1
    customer.active_days = (customer.active_days << passed | 1) & _TWO_MONTHS
    customer.purchase_days = customer.purchase_days << passed & _TWO_MONTHS
    customer.previous = today
    customer.gap_squares += passed * passed
    customer.today = day


def _bucket_before(customer: Customer, day: int) -> list[int]:
    """Return yesterday's bucket for a late event, new if it has none, and add the event to the decayed rates."""
    days, decayed, previous = customer.days, customer.decayed, customer.previous
    behind = customer.today - day
    for index, factor in enumerate(_DECAY):
        decayed[index] += factor**behind
    if previous == day:
        return days[-2]
    bucket = [day] + [0] * SPEND
    days.insert(-1, bucket)
    customer.active += 1
    customer.active_days |= 1 << behind
    customer.previous = day
    customer.gap_squares += behind * behind
    if previous >= 0:
        customer.gap_squares += (day - previous) ** 2 - (customer.today - previous) ** 2
    for index, factor in enumerate(_DECAY):
        decayed[_RATES + index] += factor**behind
    return bucket


def describe(customer: Customer) -> list[float]:
    """Return the values of `FEATURES` at the customer's newest moment, at which recency is 0."""
    sums, purchases, active = customer.sums, customer.purchases, customer.active
    spend = customer.spend / MINOR_UNITS
    today = customer.days[-1][1]
    tenure = (customer.newest - customer.first) / DAY_MS
    active_days = customer.active_days
    gap_mean, gap_std = tenure, 0.0
    if active > 1:
        gaps = active - 1
        gap_mean = (customer.today - customer.first // DAY_MS) / gaps
        variance = customer.gap_squares / gaps - gap_mean * gap_mean
        gap_std = math.sqrt(variance) if variance > 0 else 0.0
    events_3, events_14, events_45, events_120, active_3, active_14, active_45, active_120 = customer.decayed
    return [
        0.0,
        tenure,
        (customer.newest - customer.bought) / DAY_MS if purchases else tenure,
        *sums,
        customer.spend_week / MINOR_UNITS,
        customer.spend_month / MINOR_UNITS,
        spend,
        spend / (purchases or 1),
        customer.events,
        purchases,
        active,
        (active_days & _WEEK).bit_count(),
        (active_days & _MONTH).bit_count(),
        active_days.bit_count(),
        customer.purchase_days.bit_count(),
        events_3 + today,
        events_14 + today,
        events_45 + today,
        events_120 + today,
        active_3 + 1,
        active_14 + 1,
        active_45 + 1,
        active_120 + 1,
        gap_mean,
        gap_std,
        0.0,
        math.log((sums[1] + 1) / 7 / ((sums[2] + 1) / 30)),
        sums[11] / (sums[8] + 1),
        sums[14] / (sums[11] + 1),
        customer.discounts / (purchases + 1),
    ]


def score(features: list[float]) -> float:
    """Return the churn probability, from features in the order of `FEATURES`."""
    logit = (
        BIAS
        + _HL14_WEIGHT * math.log1p(features[_HL14])
        + _RECENCY_WEIGHT * math.log1p(features[_RECENCY])
        + _OVER_GAP_WEIGHT * math.log1p(features[_OVER_GAP])
    )
    return 1.0 / (1.0 + math.exp(-logit))


class Result(msgspec.Struct, gc=False):
    """Result of a peer: a customer's features, in the order of `FEATURES`, and score."""

    customer_id: str
    score: float
    features: list[float]


_encode = msgspec.json.Encoder().encode


def message(customer_id: str, customer: Customer) -> bytes:
    """Compute features and score of a customer; return the body of the result record."""
    features = describe(customer)
    return _encode(Result(customer_id, score(features), features))
