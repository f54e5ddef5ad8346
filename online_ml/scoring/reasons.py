"""Reasons for a score: the strongest contributions, in words, against the customer's own baseline.

Contributions are exact shares of the linear model's logit. The words describe what is seen and that it is associated
with a higher or lower risk; they never claim a cause.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ebb.contracts.features import INDEX
from online_ml.scoring.inputs import GROUPS, design
from online_ml.scoring.scorer import Scorer
from online_ml.types import Floats

NEGLIGIBLE = 0.01
"""Shares of the logit below this move a probability by less than a quarter of a point: no reason to name them."""
PHRASES = 16_384
"""Phrases cached per group: numbers are rounded before they are worded, so the same few recur."""

Phrases = list[str]


def explain(
    scorer: Scorer,
    features: npt.NDArray[np.float32],
    *,
    inputs: npt.NDArray[np.float32] | None = None,
    top: int = 3,
) -> list[list[dict[str, Any]]]:
    """Return the strongest reasons of each customer, strongest first.

    Parameters
    ----------
    scorer
        The model that made the score.
    features
        Shape (n, `features.WIDTH`), in the units of the catalogue.
    inputs
        Their design matrix, shape (n, `len(INPUTS)`), if the caller has it already.
    top
        Most reasons per customer; those below `NEGLIGIBLE` are left out.

    Returns
    -------
    list of list of dict
        Each validates as `ebb.contracts.scores.Reason`. Equal contributions are in the order of the groups, so equal
        customers get equal reasons.

    Raises
    ------
    ValueError
        If `inputs` is not given and the features have another shape.
    """
    shares = scorer.contributions(design(features) if inputs is None else inputs)
    order = np.argsort(-np.abs(shares), axis=1, kind="stable")[:, :top]
    strongest = np.round(np.take_along_axis(shares, order, axis=1), 4)
    texts = np.empty(order.shape, object)
    for group, name in enumerate(GROUPS):
        rows, places = np.nonzero(order == group)
        if len(rows):
            worded = WORDS[name](features[rows].astype(np.float64))
            endings = ENDINGS[scorer.target]
            rising = (strongest[rows, places] > 0).tolist()
            texts[rows, places] = [phrase + endings[up] for phrase, up in zip(worded, rising, strict=True)]
    return [
        [
            {"feature": GROUPS[group], "contribution": value, "text": text}
            for group, value, text in zip(groups, values, words, strict=True)
            if abs(value) >= NEGLIGIBLE
        ]
        for groups, values, words in zip(order.tolist(), strongest.tolist(), texts.tolist(), strict=True)
    ]


ENDINGS = {
    target: tuple(f": associated with a {direction} {outcome}" for direction in ("lower", "higher"))
    for target, outcome in (("churn", "risk of leaving"), ("purchase", "chance of a purchase"))
}
"""How a reason ends, by target and by whether it raises the chance."""


def _phrase_each(phrase: Callable[..., str], *columns: npt.NDArray[Any]) -> Phrases:
    return [phrase(*values) for values in zip(*(column.tolist() for column in columns), strict=True)]


def _of(rows: Floats, name: str) -> Floats:
    column: Floats = rows[:, INDEX[name]]
    return column


def _rounded(spans: Floats) -> Floats:
    """Round spans in days to the precision of `days`."""
    hours = np.maximum(np.round(spans * 24), 1) / 24
    tenths = np.round(spans, 1)
    return np.where(spans < 1 / 24, 0, np.where(spans < 1, hours, np.where(spans < 3, tenths, np.round(spans))))


def _weekly(rows: Floats, name: str) -> Floats:
    """Turn a count over 30 days and today into one per week, in tenths."""
    found: Floats = np.round(_of(rows, name) * 7 / 30, 1)
    return found


def days(number: float) -> str:
    """Word a span: `less than an hour`, `5 hours`, `1 day`, `12 days`, `1.5 days`."""
    if number < 1 / 24:
        return "less than an hour"
    if number < 1:
        return _count(round(number * 24) or 1, "hour")
    shown = round(number, 1) if number < 3 else round(number)
    return _count(shown, "day")


def _count(number: float, noun: str, plural: str = "") -> str:
    shown = f"{number:.1f}".removesuffix(".0")
    return f"{shown} {noun}" if shown == "1" else f"{shown} {plural or noun + 's'}"


def _recency(rows: Floats) -> Phrases:
    gap = np.where(_of(rows, "active_days_total") < 2, 0, _rounded(np.maximum(_of(rows, "gap_mean_days"), 1)))
    return _phrase_each(_quiet, _rounded(_of(rows, "recency_days")), gap)


@lru_cache(PHRASES)
def _quiet(recency: float, gap: float) -> str:
    start = f"No activity for {days(recency)}" if recency else "Active within the hour"
    return f"{start}; usually every {days(gap)}" if gap else f"{start}; seen on one day only"


def _tenure(rows: Floats) -> Phrases:
    return _phrase_each(_known_for, _rounded(_of(rows, "tenure_days")))


@lru_cache(PHRASES)
def _known_for(tenure: float) -> str:
    return f"Customer for {days(tenure)}"


def _frequency(rows: Floats) -> Phrases:
    return _phrase_each(_busy, _of(rows, "events_7d"), _weekly(rows, "events_30d"))


@lru_cache(PHRASES)
def _busy(week: float, usual: float) -> str:
    return f"{_count(week, 'event')} in the last 7 days; {_count(usual, 'event')} a week over the last 30"


def _purchases(rows: Floats) -> Phrases:
    bought, tenure = _of(rows, "purchases_total"), _rounded(_of(rows, "tenure_days"))
    return _phrase_each(_bought, bought, _rounded(_of(rows, "purchase_recency_days")), tenure)


@lru_cache(PHRASES)
def _bought(purchases: float, since: float, tenure: float) -> str:
    if purchases < 1:
        return f"No purchase yet in {days(tenure)}"
    return f"Last purchase {days(since)} ago; {_count(purchases, 'purchase')} in {days(tenure)}"


def _browsing(rows: Floats) -> Phrases:
    return _phrase_each(_looked, _of(rows, "views_7d"), _of(rows, "carts_7d"), _weekly(rows, "views_30d"))


@lru_cache(PHRASES)
def _looked(views: float, carts: float, usual: float) -> str:
    seen, put = _count(views, "view"), _count(carts, "addition")
    return f"{seen} and {put} to the cart in the last 7 days; {_count(usual, 'view')} a week usually"


def _support(rows: Floats) -> Phrases:
    return _phrase_each(_asked, _of(rows, "supports_30d"), _of(rows, "supports_7d"))


@lru_cache(PHRASES)
def _asked(month: float, week: float) -> str:
    return f"{_count(month, 'support contact')} in the last 30 days, {week:.0f} in the last 7"


def _spend(rows: Floats) -> Phrases:
    return _phrase_each(_spent, np.round(_of(rows, "spend_7d"), 2), np.round(_of(rows, "spend_30d") * 7 / 30, 2))


@lru_cache(PHRASES)
def _spent(week: float, usual: float) -> str:
    return f"Spent {week:.2f} in the last 7 days; {usual:.2f} a week over the last 30"


def _rhythm(rows: Floats) -> Phrases:
    gap = np.where(_of(rows, "active_days_total") < 2, 0, _rounded(np.maximum(_of(rows, "gap_mean_days"), 1)))
    return _phrase_each(_paced, _of(rows, "active_days_30"), gap)


@lru_cache(PHRASES)
def _paced(active_days: float, gap: float) -> str:
    active = f"Active on {_count(active_days, 'day')} of the last 30"
    return f"{active}; gaps of {days(gap)} on average" if gap else f"{active}; no rhythm known yet"


WORDS: dict[str, Callable[[Floats], Phrases]] = {
    "recency": _recency,
    "tenure": _tenure,
    "purchases": _purchases,
    "frequency": _frequency,
    "browsing": _browsing,
    "support": _support,
    "spend": _spend,
    "rhythm": _rhythm,
}
"""Phrases of each group, for rows of shape (n, `features.WIDTH`)."""
