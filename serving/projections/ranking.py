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
    """One page: the scores as JSON, and where the next page begins."""

    bodies: list[bytes]
    following: tuple[float, str] | None
    """Sort value and customer of the last one listed; None if there is no more."""


def select(board: ScoreView, wanted: CustomerFilter) -> npt.NDArray[np.bool_]:
    """Return which rows hold a customer who is wanted, shape (rows,)."""
    rows, columns = board.rows, board.columns
    band = columns.band[:rows]
    mask: npt.NDArray[np.bool_] = band != NO_BAND
    if wanted.bands:
        mask &= np.isin(band, [BAND_CODE[one.value] for one in wanted.bands])
    if wanted.country is not None:
        mask &= columns.country[:rows] == board.label(wanted.country)
    if wanted.channel is not None:
        mask &= columns.channel[:rows] == board.label(wanted.channel)
    if wanted.min_value is not None:
        mask &= columns.value_at_risk[:rows] >= wanted.min_value
    if wanted.min_churn is not None:
        mask &= columns.churn[:rows] >= wanted.min_churn
    return mask


def at_risk(board: ScoreView, wanted: CustomerFilter, sort: Sort, after: tuple[float, str] | None, size: int) -> Page:
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
    twice or not at all, as in any listing of what lives.
    """
    rows = np.flatnonzero(select(board, wanted))
    values: npt.NDArray[np.float64] = getattr(board.columns, sort)[rows]
    if after is not None:
        value, last = after
        level = np.flatnonzero(values == value)
        keep = values < value
        keep[[place for place in level if board.customer(int(rows[place])) > last]] = True
        rows, values = rows[keep], values[keep]
    more = len(rows) > size
    if more:
        least = np.partition(values, len(values) - size)[len(values) - size]
        above = values > least
        ties = np.flatnonzero(values == least)
        chosen = heapq.nsmallest(size - int(above.sum()), ties, key=lambda place: board.customer(int(rows[place])))
        keep = above
        keep[chosen] = True
        rows, values = rows[keep], values[keep]
    order = sorted(range(len(rows)), key=lambda place: (-values[place], board.customer(int(rows[place]))))
    bodies = [body for place in order if (body := board.body(int(rows[place]))) is not None]
    following = (float(values[order[-1]]), board.customer(int(rows[order[-1]]))) if more else None
    return Page(bodies, following)


def everyone(board: ScoreView, wanted: CustomerFilter, sort: Sort, *, chunk: int = 500) -> Iterator[list[bytes]]:
    """Yield the scores of all customers who are wanted, by falling sort value as it stood at the beginning."""
    rows = np.flatnonzero(select(board, wanted))
    values: npt.NDArray[np.float64] = getattr(board.columns, sort)[rows]
    rows = rows[np.argsort(-values, kind="stable")]
    for start in range(0, len(rows), chunk):
        bodies = (board.body(row) for row in rows[start : start + chunk].tolist())
        yield [body for body in bodies if body is not None]


def movers(board: ScoreView, direction: Direction, size: int) -> list[bytes]:
    """Return the scores that rose or fell most over 7 days of event time, the strongest first."""
    rows = board.rows
    trend = board.columns.trend[:rows] * (1 if direction == "up" else -1)
    moved = np.flatnonzero((trend > 0) & (board.columns.band[:rows] != NO_BAND))
    if len(moved) > size:
        moved = moved[np.argpartition(trend[moved], len(moved) - size)[len(moved) - size :]]
    order = sorted(moved, key=lambda row: (-trend[row], board.customer(int(row))))
    return [body for row in order if (body := board.body(int(row))) is not None]
