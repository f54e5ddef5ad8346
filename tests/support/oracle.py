"""The judge of the stream engine: the same answers by a slow, obvious re-computation over the list of events.

Nothing here shares code with `stream_processors`: it keeps every event and goes through all of them for every question.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tests.support.activity import DAY_MS, START, Event, Tick

LEAVING = "cancel"
"""A kind that is no activity."""
LATE_DAYS = 30
"""Days before the watermark's on which an event counts."""
KINDS = {"login": "session", "view": "view", "add_to_cart": "cart", "purchase": "purchase", "support": "support"}


@dataclass
class Oracle:
    """Goes through a partition's items one by one, in offset order."""

    lateness: int = 3_600_000
    lookback: int = 60
    remembered_days: int = 7
    delay: int = 0
    """Days that labels wait after their horizon."""
    horizons: dict[str, int] = field(default_factory=lambda: {"churn": 14, "purchase": 7})
    events: list[Event] = field(default_factory=list)
    late: int = 0
    delayed: int = 0
    contradicted: int = 0
    known: dict[int, int] = field(default_factory=dict)
    """Events that had come when a snapshot was taken, by boundary: the first so many of `events`."""
    duplicates: int = 0
    snapshots: dict[int, list[str]] = field(default_factory=dict)
    labels: dict[tuple[str, int], list[int]] = field(default_factory=dict)
    _newest: int | None = None
    _closed: int = 0
    _today: float = -math.inf
    _came: dict[str, float] = field(default_factory=dict)
    _order: list[str] = field(default_factory=list)

    def run(self, items: Sequence[Event | Tick]) -> "Oracle":
        """Take all items; returns itself."""
        for offset, item in enumerate(items):
            self._take(offset, item)
        return self

    def _take(self, offset: int, item: Event | Tick) -> None:
        if isinstance(item, Event):
            identity = item.id or f"e{offset}"
            self._today = max(self._today, item.at // DAY_MS)
            if self._today - self._came.get(identity, -math.inf) <= self.remembered_days:
                self.duplicates += 1
                return
            self._came[identity] = self._today
        self._today = max(self._today, item.at // DAY_MS)
        first = self._newest is None
        self._newest = item.at if self._newest is None else max(self._newest, item.at)
        reached = (self._newest - self.lateness) // DAY_MS
        if first:
            self._closed = reached
        while self._closed < reached:
            self._closed += 1
            self._cross(self._closed)
        if isinstance(item, Tick):
            return
        if item.at // DAY_MS < reached - LATE_DAYS:
            self.late += 1
            return
        if item.at // DAY_MS < self._closed:
            self.delayed += 1
            self._contradict(item)
        self.events.append(item)
        if item.customer not in self._order:
            self._order.append(item.customer)

    def _cross(self, boundary: int) -> None:
        for target, horizon in self.horizons.items():
            taken = boundary - horizon - self.delay
            if taken in self.snapshots:
                self.labels[target, taken] = [
                    self._label(target, customer, taken, taken + horizon) for customer in self.snapshots[taken]
                ]
        active = {
            event.customer
            for event in self.events
            if event.kind != LEAVING and (boundary - self.lookback) * DAY_MS <= event.at < boundary * DAY_MS
        }
        self.known[boundary] = len(self.events)
        if active:
            self.snapshots[boundary] = [customer for customer in self._order if customer in active]

    def _label(self, target: str, customer: str, first: int, end: int) -> int:
        within = [
            event
            for event in self.events
            if event.customer == customer and event.kind != LEAVING and first * DAY_MS <= event.at < end * DAY_MS
        ]
        if target == "churn":
            return int(not within)
        return int(any(KINDS.get(event.kind) == "purchase" for event in within))

    def _contradict(self, item: Event) -> None:
        """Count the labels read before, of customers who were there, that would be others had the event come in time.

        As the engine does, which does not remember whether there was a snapshot at all.
        """
        if item.kind == LEAVING:
            return
        day = item.at // DAY_MS
        mine = [(e.at // DAY_MS, e.kind) for e in self.events if e.customer == item.customer and e.kind != LEAVING]
        active = {event_day for event_day, _ in mine}
        bought = {event_day for event_day, kind in mine if KINDS.get(kind) == "purchase"}
        for target, horizon in self.horizons.items():
            if target == "purchase" and KINDS.get(item.kind) != "purchase":
                continue
            marked = active if target == "churn" else bought
            for taken in range(day - horizon + 1, min(day, self._closed - horizon - self.delay) + 1):
                known = not active.isdisjoint(range(taken - self.lookback, taken))
                self.contradicted += known and marked.isdisjoint(range(taken, taken + horizon))

    def features(self, customer: str, now: int) -> dict[str, float]:
        """Describe a customer at `now` (ms since `START`) by the events before it."""
        mine = [event for event in self.events if event.customer == customer and event.at <= now]
        return describe(mine, now)


def describe(events: Sequence[Event], now: int) -> dict[str, float]:
    """Compute the features of one customer from all their events, none after `now`; at a boundary, none at it."""
    today = now // DAY_MS
    tenure = (now - min(event.at for event in events)) / DAY_MS
    events = [event for event in events if event.kind != LEAVING]
    day = {id(event): event.at // DAY_MS for event in events}

    def kind(event: Event) -> str:
        return KINDS.get(event.kind, "other")

    def within(days: int, of: str | None = None) -> list[Event]:
        return [
            event for event in events if today - days <= day[id(event)] <= today and (of is None or kind(event) == of)
        ]

    purchases = [event for event in events if kind(event) == "purchase"]
    active = sorted({day[id(event)] for event in events})
    recency = (now - max(event.at for event in events)) / DAY_MS if events else tenure
    gaps = [b - a for a, b in pairwise(active)]
    gap_mean = sum(gaps) / len(gaps) if gaps else tenure
    gap_std = math.sqrt(sum((gap - gap_mean) ** 2 for gap in gaps) / len(gaps)) if gaps else 0.0
    found = {
        "recency_days": recency,
        "tenure_days": tenure,
        "purchase_recency_days": (now - max(e.at for e in purchases)) / DAY_MS if purchases else tenure,
        "spend_7d": sum(e.amount or 0 for e in within(7, "purchase")),
        "spend_30d": sum(e.amount or 0 for e in within(30, "purchase")),
        "spend_total": sum(e.amount or 0 for e in purchases),
        "order_value": sum(e.amount or 0 for e in purchases) / max(len(purchases), 1),
        "events_total": len(events),
        "purchases_total": len(purchases),
        "active_days_total": len(active),
        "purchase_days_60": len({day[id(e)] for e in within(60, "purchase")}),
        "gap_mean_days": gap_mean,
        "gap_std_days": gap_std,
        "recency_over_gap": recency / max(gap_mean, 1),
        "trend": math.log(((len(within(7)) + 1) / 7) / ((len(within(30)) + 1) / 30)),
        "view_to_cart": len(within(30, "cart")) / (len(within(30, "view")) + 1),
        "cart_to_purchase": len(within(30, "purchase")) / (len(within(30, "cart")) + 1),
        "discount_share": sum(1 for e in purchases if e.discount) / (len(purchases) + 1),
    }
    for days in (1, 7, 30):
        found[f"events_{days}d"] = len(within(days))
        for name in ("session", "view", "cart", "purchase", "support"):
            found[f"{name}s_{days}d"] = len(within(days, name))
    for days in (7, 30, 60):
        found[f"active_days_{days}"] = len({day[id(e)] for e in within(days)})
    for half in (3, 14, 45, 120):
        # Whole days decay at each midnight after them; today's events have not yet.
        found[f"events_hl{half}"] = sum(0.5 ** ((today - day[id(e)]) / half) for e in events)
        found[f"active_hl{half}"] = sum(0.5 ** ((today - d) / half) for d in active)
    return found


__all__ = ["START", "Oracle", "describe"]
