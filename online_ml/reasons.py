"""Why a score stands where it stands: the strongest contributions, in words, against the customer's own baseline.

Contributions are exact shares of the linear model's logit. The words say what is seen and that it is associated with
a higher or lower risk; they never say what causes it.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ebb.features import INDEX
from online_ml.linear import Scorer
from online_ml.transforms import GROUPS

Row = Mapping[str, float]
NEGLIGIBLE = 0.01
"""Shares of the logit below this move a probability by less than a quarter of a point: no reason to name them."""


def explain(scorer: Scorer, features: npt.NDArray[np.float32], *, top: int = 3) -> list[list[dict[str, Any]]]:
    """Return the strongest reasons of each customer, strongest first.

    Parameters
    ----------
    features
        Shape (n, `features.WIDTH`).
    top
        Most reasons per customer.

    Returns
    -------
    list of list of dict
        Each validates as `ebb.messages.Reason`. Equal contributions stand in the order of the groups, so equal
        customers get equal reasons.
    """
    shares = scorer.contributions(features)
    order = np.argsort(-np.abs(shares), axis=1, kind="stable")[:, :top]
    strongest = np.take_along_axis(shares, order, axis=1)
    target = scorer.target
    return [
        [
            {"feature": GROUPS[g], "contribution": round(value, 4), "text": _say(GROUPS[g], row, value, target)}
            for g, value in zip(groups, values, strict=True)
            if abs(value) >= NEGLIGIBLE
        ]
        for groups, values, row in zip(order.tolist(), strongest.tolist(), features.tolist(), strict=True)
    ]


def _say(group: str, values: list[float], contribution: float, target: str) -> str:
    outcome = "risk of leaving" if target == "churn" else "chance of a purchase"
    direction = "higher" if contribution > 0 else "lower"
    return f"{WORDS[group](_Named(values))}: associated with a {direction} {outcome}"


class _Named(Mapping[str, float]):
    """Features by name over one plain row, without building a dictionary for each customer."""

    def __init__(self, values: list[float]) -> None:
        self._values = values

    def __getitem__(self, name: str) -> float:
        return self._values[INDEX[name]]

    def __iter__(self) -> Any:
        return iter(INDEX)

    def __len__(self) -> int:
        return len(INDEX)


def days(number: float) -> str:
    """Say a span: `less than an hour`, `5 hours`, `1 day`, `12 days`, `1.5 days`."""
    if number < 1 / 24:
        return "less than an hour"
    if number < 1:
        return _count(round(number * 24) or 1, "hour")
    shown = round(number, 1) if number < 3 else round(number)
    return _count(shown, "day")


def _count(number: float, noun: str, plural: str = "") -> str:
    shown = f"{number:.1f}".removesuffix(".0")
    return f"{shown} {noun}" if shown == "1" else f"{shown} {plural or noun + 's'}"


def _weekly(month: float) -> float:
    """Turn a count over 30 days and today into one per week."""
    return month * 7 / 30


def _recency(row: Row) -> str:
    quiet = days(row["recency_days"])
    start = "Active within the hour" if row["recency_days"] < 1 / 24 else f"No activity for {quiet}"
    if row["active_days_total"] < 2:
        return f"{start}; seen on one day only"
    return f"{start}; usually every {days(max(row['gap_mean_days'], 1.0))}"


def _tenure(row: Row) -> str:
    return f"Customer for {days(row['tenure_days'])}"


def _frequency(row: Row) -> str:
    usual = _count(_weekly(row["events_30d"]), "event")
    return f"{_count(row['events_7d'], 'event')} in the last 7 days; {usual} a week over the last 30"


def _purchases(row: Row) -> str:
    if row["purchases_total"] < 1:
        return f"No purchase yet in {days(row['tenure_days'])}"
    since, bought = days(row["purchase_recency_days"]), _count(row["purchases_total"], "purchase")
    return f"Last purchase {since} ago; {bought} in {days(row['tenure_days'])}"


def _browsing(row: Row) -> str:
    seen, put = _count(row["views_7d"], "view"), _count(row["carts_7d"], "addition")
    return (
        f"{seen} and {put} to the cart in the last 7 days; {_count(_weekly(row['views_30d']), 'view')} a week usually"
    )


def _support(row: Row) -> str:
    return (
        f"{_count(row['supports_30d'], 'support contact')} in the last 30 days, {row['supports_7d']:.0f} in the last 7"
    )


def _spend(row: Row) -> str:
    usual = _weekly(row["spend_30d"])
    return f"Spent {row['spend_7d']:.2f} in the last 7 days; {usual:.2f} a week over the last 30"


def _rhythm(row: Row) -> str:
    active = f"Active on {_count(row['active_days_30'], 'day')} of the last 30"
    if row["active_days_total"] < 2:
        return f"{active}; no rhythm known yet"
    return f"{active}; gaps of {days(max(row['gap_mean_days'], 1.0))} on average"


WORDS: dict[str, Callable[[Row], str]] = {
    "recency": _recency,
    "tenure": _tenure,
    "purchases": _purchases,
    "frequency": _frequency,
    "browsing": _browsing,
    "support": _support,
    "spend": _spend,
    "rhythm": _rhythm,
}
"""What is said of each group."""
