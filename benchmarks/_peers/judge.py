"""The judge: what each customer's features and score must be, by a slow and obvious re-computation over all records.

It shares the names of the features and the weights of the score with the peers, and no code with anybody.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks._peers.definition import FEATURES, WEIGHTS

DAY_MS = 86_400_000
SCORE_TOLERANCE = 1e-6
PRECISION = 1e-9
"""Relative, of what is no whole number: the last digits depend on the order of additions."""
SINGLE, SINGLE_NEAR_ZERO = 2.0**-22, 1e-6
"""The same of numbers computed and kept in 32 bits: two of their steps; a logarithm near 0 has few digits right."""
KINDS = {
    "session_start": "sessions",
    "view": "views",
    "add_to_cart": "carts",
    "purchase": "purchases",
    "support_contact": "supports",
}

Described = tuple[Sequence[float], float]
"""Features in the order of `FEATURES`, and score."""


@dataclass(frozen=True)
class Event:
    """One valid event, seen for the first time."""

    kind: str
    at: int
    amount: int
    discounted: bool

    @property
    def day(self) -> int:
        """Number of its day."""
        return self.at // DAY_MS


def expected(records: Iterable[tuple[str, bytes]]) -> dict[str, dict[str, float]]:
    """Return the features of each customer at their newest moment, by name; counts are `int`."""
    events: dict[str, list[Event]] = defaultdict(list)
    ids: set[str] = set()
    for _, body in records:
        found = _read(body)
        if found is not None and found["event_id"] not in ids:
            ids.add(found["event_id"])
            events[found["customer_id"]].append(_event(found))
    return {customer: _describe(mine) for customer, mine in events.items()}


def _read(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except ValueError:
        return None
    names = ("event_id", "customer_id", "type", "occurred_at")
    if not isinstance(found, dict) or not all(isinstance(found.get(name), str) and found[name] for name in names):
        return None
    try:
        moment = datetime.fromisoformat(found["occurred_at"])
    except ValueError:
        return None
    properties = found.get("properties", {})
    if moment.tzinfo is None or not isinstance(properties, dict):
        return None
    money = (properties.get("amount"), properties.get("discount"))
    return found if all(value is None or type(value) in (int, float) for value in money) else None


def _event(found: dict[str, Any]) -> Event:
    kind = KINDS.get(found["type"], "other")
    properties = found.get("properties", {})
    amount = Decimal(str(properties.get("amount") or 0)) * 100
    minor = int(amount.quantize(Decimal(1), ROUND_HALF_EVEN)) if kind == "purchases" else 0
    at = round(datetime.fromisoformat(found["occurred_at"]).timestamp() * 1000)
    return Event(kind, at, minor, bool(properties.get("discount")))


def _describe(events: list[Event]) -> dict[str, float]:
    now = max(event.at for event in events)
    today = now // DAY_MS
    bought = [event for event in events if event.kind == "purchases"]
    days = sorted({event.day for event in events})
    gaps = [later - earlier for earlier, later in pairwise(days)]
    tenure = (now - min(event.at for event in events)) / DAY_MS
    found: dict[str, float] = {
        "recency_days": 0.0,
        "tenure_days": tenure,
        "purchase_recency_days": (now - max(event.at for event in bought)) / DAY_MS if bought else tenure,
        "spend_total": sum(event.amount for event in bought) / 100,
        "order_value": sum(event.amount for event in bought) / 100 / len(bought) if bought else 0.0,
        "events_total": len(events),
        "purchases_total": len(bought),
        "active_days_total": len(days),
        "purchase_days_60": len({event.day for event in bought if event.day >= today - 60}),
        "gap_mean_days": math.fsum(gaps) / len(gaps) if gaps else tenure,
        "recency_over_gap": 0.0,
        "discount_share": sum(1 for event in bought if event.discounted) / (len(bought) + 1),
    }
    mean = found["gap_mean_days"]
    found["gap_std_days"] = math.sqrt(math.fsum((gap - mean) ** 2 for gap in gaps) / len(gaps)) if gaps else 0.0
    for window in (7, 30, 60):
        found[f"active_days_{window}"] = sum(1 for day in days if day >= today - window)
    for half_life in (3, 14, 45, 120):
        found[f"events_hl{half_life}"] = math.fsum(0.5 ** ((today - event.day) / half_life) for event in events)
        found[f"active_hl{half_life}"] = math.fsum(0.5 ** ((today - day) / half_life) for day in days)
    for window in (1, 7, 30):
        within = [event for event in events if event.day >= today - window]
        found[f"events_{window}d"] = len(within)
        found[f"spend_{window}d"] = sum(event.amount for event in within) / 100
        for name in KINDS.values():
            found[f"{name}_{window}d"] = sum(1 for event in within if event.kind == name)
    found["trend"] = math.log((found["events_7d"] + 1) / 7) - math.log((found["events_30d"] + 1) / 30)
    found["view_to_cart"] = found["carts_30d"] / (found["views_30d"] + 1)
    found["cart_to_purchase"] = found["purchases_30d"] / (found["carts_30d"] + 1)
    return {name: found[name] for name in FEATURES}


def score(features: Mapping[str, float]) -> float:
    """Return the chance of churn by features by name."""
    logit = math.fsum(weight * (math.log(1 + features[name]) - mean) for name, (weight, mean) in WEIGHTS.items())
    return 1 / (1 + math.exp(-logit))


def differences(
    results: Mapping[str, Described], wanted: Mapping[str, Mapping[str, float]], *, single: bool = False
) -> list[str]:
    """Compare results with the expected features and the score of these: counts exactly, the rest at its precision.

    Parameters
    ----------
    single
        Whether the features were computed and kept in 32 bits, as Ebb's are.

    Returns
    -------
    list of str
        One sentence a difference; empty if all is equal.
    """
    missing, unknown = sorted(wanted.keys() - results.keys()), sorted(results.keys() - wanted.keys())
    found = [f"{customer} has no result." for customer in missing]
    found += [f"{customer} has a result and no event." for customer in unknown]
    for customer in sorted(results.keys() & wanted.keys()):
        features, probability = results[customer]
        for name, value in zip(FEATURES, features, strict=True):
            right = wanted[customer][name]
            if not _equal(value, right, single=single):
                found.append(f"{customer}: {name} is {value}, not {right}.")
        if abs(probability - (right := score(wanted[customer]))) > SCORE_TOLERANCE:
            found.append(f"{customer}: the score is {probability}, not {right}.")
    return found


def _equal(value: float, right: float, *, single: bool) -> bool:
    if isinstance(right, int):
        return bool(np.float32(value) == np.float32(right)) if single else value == right
    if single:
        return math.isclose(value, right, rel_tol=SINGLE, abs_tol=SINGLE_NEAR_ZERO)
    return math.isclose(value, right, rel_tol=PRECISION, abs_tol=PRECISION)
