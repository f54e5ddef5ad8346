"""The judge: what each customer's features and score must be, by a slow and obvious re-computation over all records.

It shares the names of `definition` and the weights with the peers, and no code with anybody.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import numpy as np

from benchmarks._peers.definition import BIAS, FEATURES, WEIGHTS

DAY_MS = 86_400_000
SCORE_TOLERANCE = 1e-6
RATE_TOLERANCE = 1e-9
"""Relative, of the decayed rate, whose last digits depend on the order of additions."""
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


def expected(records: Iterable[tuple[str, bytes]]) -> dict[str, dict[str, float]]:
    """Return the features of each customer at their newest moment, by name."""
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
    amount = properties.get("amount")
    return found if amount is None or type(amount) in (int, float) else None


def _event(found: dict[str, Any]) -> Event:
    kind = KINDS.get(found["type"], "other")
    amount = Decimal(str(found.get("properties", {}).get("amount") or 0)) * 100
    minor = int(amount.quantize(Decimal(1), ROUND_HALF_EVEN)) if kind == "purchases" else 0
    return Event(kind, round(datetime.fromisoformat(found["occurred_at"]).timestamp() * 1000), minor)


def _describe(events: list[Event]) -> dict[str, float]:
    now = max(event.at for event in events)
    today = now // DAY_MS
    tenure = now - min(event.at for event in events)
    bought = [event.at for event in events if event.kind == "purchases"]
    found: dict[str, float] = {
        "tenure_ms": tenure,
        "since_purchase_ms": now - max(bought) if bought else tenure,
        "spend_total": sum(event.amount for event in events),
        "events_total": len(events),
        "purchases_total": len(bought),
        "active_days_total": len({event.at // DAY_MS for event in events}),
        "events_hl14": math.fsum(0.5 ** ((today - event.at // DAY_MS) / 14) for event in events),
    }
    for days in (1, 7, 30):
        within = [event for event in events if event.at // DAY_MS >= today - days]
        found[f"events_{days}d"] = len(within)
        found[f"spend_{days}d"] = sum(event.amount for event in within)
        for name in KINDS.values():
            found[f"{name}_{days}d"] = sum(1 for event in within if event.kind == name)
    return found


def score(features: Mapping[str, float]) -> float:
    """Return the logistic score of features by name."""
    return 1 / (1 + math.exp(-(BIAS + math.fsum(weight * features[name] for name, weight in WEIGHTS.items()))))


def differences(results: Mapping[str, Described], wanted: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Compare a peer's results with the expected features: everything whole exactly, and the score.

    Returns
    -------
    list of str
        One sentence a difference; empty if all is equal.
    """
    found = _customers(results, wanted)
    for customer in sorted(results.keys() & wanted.keys()):
        features, probability = results[customer]
        for name, value in zip(FEATURES, features, strict=True):
            right = wanted[customer][name]
            near = name == "events_hl14" and math.isclose(value, right, rel_tol=RATE_TOLERANCE)
            if value != right and not near:
                found.append(f"{customer}: {name} is {value}, not {right}.")
        if abs(probability - (right := score(wanted[customer]))) > SCORE_TOLERANCE:
            found.append(f"{customer}: the score is {probability}, not {right}.")
    return found


def differences_of_ours(
    results: Mapping[str, Mapping[str, float]], wanted: Mapping[str, Mapping[str, float]]
) -> list[str]:
    """Compare Ebb's table `features`, which holds days, units of money and 32-bit numbers, with the expected features.

    A number is equal if it is the expected one at that precision; the score of the peers, computed from Ebb's features,
    must be equal too.

    Returns
    -------
    list of str
        As `differences`.
    """
    found = _customers(results, wanted)
    for customer in sorted(results.keys() & wanted.keys()):
        ours, theirs = results[customer], wanted[customer]
        for name in ours:
            right = theirs[name] / unit(name)
            if np.float32(ours[name]) != np.float32(right) and not (
                name == "events_hl14" and math.isclose(ours[name], right, rel_tol=2**-23)
            ):
                found.append(f"{customer}: {name} is {ours[name]}, not {right}.")
        whole = {name: ours.get(name, 0.0) * unit(name) for name in WEIGHTS}
        if abs(score(whole) - (wanted_score := score(theirs))) > SCORE_TOLERANCE:
            found.append(f"{customer}: the score is {score(whole)}, not {wanted_score}.")
    return found


def unit(name: str) -> int:
    """Return by what a feature of the definition is to be divided to be in Ebb's unit: days, or units of money."""
    if name.endswith("_ms"):
        return DAY_MS
    return 100 if name.startswith("spend") else 1


def _customers(results: Mapping[str, object], wanted: Mapping[str, object]) -> list[str]:
    missing, unknown = sorted(wanted.keys() - results.keys()), sorted(results.keys() - wanted.keys())
    return [f"{customer} has no result." for customer in missing] + [
        f"{customer} has a result and no event." for customer in unknown
    ]
