"""The judge: expected features and score of each customer, by a slow and obvious recomputation over all records.

It shares the names of the features and the weights of the score with the peers, and no other code.
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
"""Relative, of fractional values: the last digits depend on the order of additions."""
SINGLE, SINGLE_NEAR_ZERO = 2.0**-22, 1e-6
"""The same for 32-bit floats: two units in the last place; a logarithm near 0 has few correct digits."""
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
    """A valid event that is no duplicate."""

    kind: str
    at: int
    amount: int
    discounted: bool

    @property
    def day(self) -> int:
        """Day number."""
        return self.at // DAY_MS


def expected(records: Iterable[tuple[str, bytes]]) -> dict[str, dict[str, float]]:
    """Return the features of each customer at their newest moment, by name; counts are `int`."""
    events: dict[str, list[Event]] = defaultdict(list)
    ids: set[str] = set()
    for _, body in records:
        record = _read(body)
        if record is not None and record["event_id"] not in ids:
            ids.add(record["event_id"])
            events[record["customer_id"]].append(_event(record))
    return {customer: _describe(mine) for customer, mine in events.items()}


def _read(body: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(body)
    except ValueError:
        return None
    names = ("event_id", "customer_id", "type", "occurred_at")
    if not isinstance(record, dict) or not all(isinstance(record.get(name), str) and record[name] for name in names):
        return None
    try:
        moment = datetime.fromisoformat(record["occurred_at"])
    except ValueError:
        return None
    properties = record.get("properties", {})
    if moment.tzinfo is None or not isinstance(properties, dict):
        return None
    money = (properties.get("amount"), properties.get("discount"))
    return record if all(value is None or type(value) in (int, float) for value in money) else None


def _event(record: dict[str, Any]) -> Event:
    kind = KINDS.get(record["type"], "other")
    properties = record.get("properties", {})
    amount = Decimal(str(properties.get("amount") or 0)) * 100
    minor = int(amount.quantize(Decimal(1), ROUND_HALF_EVEN)) if kind == "purchases" else 0
    at = round(datetime.fromisoformat(record["occurred_at"]).timestamp() * 1000)
    return Event(kind, at, minor, bool(properties.get("discount")))


def _describe(events: list[Event]) -> dict[str, float]:
    now = max(event.at for event in events)
    today = now // DAY_MS
    bought = [event for event in events if event.kind == "purchases"]
    days = sorted({event.day for event in events})
    gaps = [later - earlier for earlier, later in pairwise(days)]
    tenure = (now - min(event.at for event in events)) / DAY_MS
    features: dict[str, float] = {
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
    mean = features["gap_mean_days"]
    features["gap_std_days"] = math.sqrt(math.fsum((gap - mean) ** 2 for gap in gaps) / len(gaps)) if gaps else 0.0
    for window in (7, 30, 60):
        features[f"active_days_{window}"] = sum(1 for day in days if day >= today - window)
    for half_life in (3, 14, 45, 120):
        features[f"events_hl{half_life}"] = math.fsum(0.5 ** ((today - event.day) / half_life) for event in events)
        features[f"active_hl{half_life}"] = math.fsum(0.5 ** ((today - day) / half_life) for day in days)
    for window in (1, 7, 30):
        within = [event for event in events if event.day >= today - window]
        features[f"events_{window}d"] = len(within)
        features[f"spend_{window}d"] = sum(event.amount for event in within) / 100
        for name in KINDS.values():
            features[f"{name}_{window}d"] = sum(1 for event in within if event.kind == name)
    features["trend"] = math.log((features["events_7d"] + 1) / 7) - math.log((features["events_30d"] + 1) / 30)
    features["view_to_cart"] = features["carts_30d"] / (features["views_30d"] + 1)
    features["cart_to_purchase"] = features["purchases_30d"] / (features["carts_30d"] + 1)
    return {name: features[name] for name in FEATURES}


def score(features: Mapping[str, float]) -> float:
    """Return the churn probability, from features by name."""
    logit = math.fsum(weight * (math.log(1 + features[name]) - mean) for name, (weight, mean) in WEIGHTS.items())
    return 1 / (1 + math.exp(-logit))


def differences(
    results: Mapping[str, Described], expected: Mapping[str, Mapping[str, float]], *, single: bool = False
) -> list[str]:
    """Compare results with the expected features and score: counts exactly, the rest within its precision.

    Parameters
    ----------
    single
        Whether the features are 32-bit floats, as Ebb's are.

    Returns
    -------
    list of str
        One sentence a difference; empty if all is equal.
    """
    missing, unknown = sorted(expected.keys() - results.keys()), sorted(results.keys() - expected.keys())
    sentences = [f"{customer} has no result." for customer in missing]
    sentences += [f"{customer} has a result and no event." for customer in unknown]
    for customer in sorted(results.keys() & expected.keys()):
        features, probability = results[customer]
        for name, value in zip(FEATURES, features, strict=True):
            right = expected[customer][name]
            if not _equal(value, right, single=single):
                sentences.append(f"{customer}: {name} is {value}, not {right}.")
        if abs(probability - (right := score(expected[customer]))) > SCORE_TOLERANCE:
            sentences.append(f"{customer}: the score is {probability}, not {right}.")
    return sentences


def _equal(value: float, right: float, *, single: bool) -> bool:
    if isinstance(right, int):
        return bool(np.float32(value) == np.float32(right)) if single else value == right
    if single:
        return math.isclose(value, right, rel_tol=SINGLE, abs_tol=SINGLE_NEAR_ZERO)
    return math.isclose(value, right, rel_tol=PRECISION, abs_tol=PRECISION)
