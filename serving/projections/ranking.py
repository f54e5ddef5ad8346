"""Customers in order of risk, in pages that are stable by value and id."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from ebb.contracts.scores import Band
from serving.projections.scores import BAND_CODE, NO_BAND, ScoreView

Sort = Literal["churn", "value_at_risk", "expected_gain"]
Direction = Literal["up", "down"]


@dataclass(frozen=True)
class CustomerFilter:
    """Which customers to list; None does not filter."""

    bands: tuple[Band, ...] = ()
    country: str | None = None
    channel: str | None = None
    min_value: float | None = None
    min_churn: float | None = None


@dataclass(frozen=True)
class Page:
    """One page: the scores as JSON, and the position from which the next one continues."""

    bodies: list[bytes]
    following: tuple[float, str] | None
    """Sort value and customer of the last one listed; None if there is no more."""


def select(scores: ScoreView, query: CustomerFilter) -> npt.NDArray[np.bool_]:
    """Return which rows hold a customer who passes a filter, shape (rows,)."""
    rows, columns = scores.rows, scores.columns
    band = columns.band[:rows]
    mask: npt.NDArray[np.bool_] = band != NO_BAND
    if query.bands:
        mask &= np.isin(band, [BAND_CODE[band.value] for band in query.bands])
    if query.country is not None:
        mask &= columns.country[:rows] == scores.label(query.country)
    if query.channel is not None:
        mask &= columns.channel[:rows] == scores.label(query.channel)
    if query.min_value is not None:
        mask &= columns.value_at_risk[:rows] >= query.min_value
    if query.min_churn is not None:
        mask &= columns.churn[:rows] >= query.min_churn
    return mask


def at_risk(scores: ScoreView, query: CustomerFilter, sort: Sort, after: tuple[float, str] | None, size: int) -> Page:
    """List customers by falling sort value, then by id.

    Parameters
    ----------
    after
        Sort value and customer of the last one of the page before.
    size
        Customers on the page, at least 1.

    Notes
    -----
    Scores that do not change are listed once each over all pages. One that changes between two pages may be listed
    twice or not at all, as in any paged list.
    """
    rows = np.flatnonzero(select(scores, query))
    values: npt.NDArray[np.float64] = getattr(scores.columns, sort)[rows]
    if after is not None:
        value, last = after
        level = np.flatnonzero(values == value)
        keep = values < value
        keep[[index for index in level if scores.customer(int(rows[index])) > last]] = True
        rows, values = rows[keep], values[keep]
    more = len(rows) > size
    if more:
        least = np.partition(values, len(values) - size)[len(values) - size]
        above = values > least
        ties = np.flatnonzero(values == least)
        chosen = heapq.nsmallest(size - int(above.sum()), ties, key=lambda index: scores.customer(int(rows[index])))
        keep = above
        keep[chosen] = True
        rows, values = rows[keep], values[keep]
    order = sorted(range(len(rows)), key=lambda index: (-values[index], scores.customer(int(rows[index]))))
    bodies = [body for index in order if (body := scores.body(int(rows[index]))) is not None]
    following = (float(values[order[-1]]), scores.customer(int(rows[order[-1]]))) if more else None
    return Page(bodies, following)


def by_risk_in_chunks(
    scores: ScoreView, query: CustomerFilter, sort: Sort, *, chunk: int = 500
) -> Iterator[list[bytes]]:
    """Yield the scores of all customers who pass a filter, by falling sort value at the time of the call."""
    rows = np.flatnonzero(select(scores, query))
    values: npt.NDArray[np.float64] = getattr(scores.columns, sort)[rows]
    rows = rows[np.argsort(-values, kind="stable")]
    for start in range(0, len(rows), chunk):
        bodies = (scores.body(row) for row in rows[start : start + chunk].tolist())
        yield [body for body in bodies if body is not None]


def movers(scores: ScoreView, direction: Direction, size: int) -> list[bytes]:
    """Return the scores that rose or fell most over 7 days of event time, the strongest first."""
    rows = scores.rows
    trend = scores.columns.trend[:rows] * (1 if direction == "up" else -1)
    moved = np.flatnonzero((trend > 0) & (scores.columns.band[:rows] != NO_BAND))
    if len(moved) > size:
        moved = moved[np.argpartition(trend[moved], len(moved) - size)[len(moved) - size :]]
    order = sorted(moved, key=lambda row: (-trend[row], scores.customer(int(row))))
    return [body for row in order if (body := scores.body(int(row))) is not None]
