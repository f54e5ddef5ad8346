"""Features of customers at a moment of event time, from their state (`ebb.contracts.features` lists them)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ebb.contracts import derived_features
from ebb.contracts.features import INDEX, NAMES, WIDTH, WINDOWS
from stream_processors.state.bitmaps import bitmap_count
from stream_processors.state.customers import CustomerState, fold_day
from stream_processors.state.table import COUNTED, DAY_MS, DECAY, NEVER, NO_DAY, RING_DAYS, STATE, Columns
from stream_processors.types import AnyArray, Float32Array, Float64Array, Int64Array, RowIndices

_NOT_READ = {"cancel_days", "forgotten_active_day", "id_hash", "country", "channel"}
_NEEDED = tuple(column.name for column in STATE if column.name not in _NOT_READ)
_SPEND_WINDOWS = (7, 30)
_COUNTED = slice(INDEX["events_1d"], INDEX["events_1d"] + len(COUNTED) * len(WINDOWS))
"""Columns of the windows of all events and of each kind but `OTHER`, in the order of `COUNTED`."""
if NAMES[_COUNTED] != tuple(
    f"{kind}s_{days}d" for kind in ("event", "session", "view", "cart", "purchase", "support") for days in WINDOWS
):  # pragma: no cover - the catalogue and the counters are changed together
    message = "ebb.contracts.features and stream_processors.state.table.COUNTED list the kinds in different orders"
    raise AssertionError(message)


@dataclass(frozen=True)
class Subjects:
    """Customers of one partition, at a moment of its event time."""

    state: CustomerState
    rows: RowIndices
    """Distinct and ascending, shape (n,)."""
    now: int
    """Event time in ms, not before any event counted."""


def describe(state: CustomerState, rows: RowIndices, now: int, *, minor_units: int) -> Float32Array:
    """Compute the features of customers of one partition; see `describe_all`."""
    return describe_all([Subjects(state, rows, now)], minor_units=minor_units)


def describe_all(subjects: Sequence[Subjects], *, minor_units: int) -> Float32Array:
    """Compute features now, the days still open included.

    Parameters
    ----------
    subjects
        At least one. Partitions on the same day are computed together: for few customers the cost is one per call.
    minor_units
        Minor units in one unit of money.

    Returns
    -------
    array of float32, shape (n, `ebb.contracts.features.WIDTH`)
        In the order of `subjects`. Each feature's numbers are contiguous in memory. Windows hold the last whole days
        and today so far; decayed rates step at midnight.
    """
    days = {(_closed(one.state), one.state.opened, one.now // DAY_MS) for one in subjects}
    if len(days) > 1:
        apart = [describe_all([one], minor_units=minor_units).T for one in subjects]
        return np.concatenate(apart, axis=1).T
    ((closed, opened, today),) = days
    columns = _copies(subjects)
    for day in range(closed, min(today, opened + 1)):
        fold_day(columns, day)
        columns["events_decayed"] *= DECAY
        columns["active_decayed"] *= DECAY
    if today <= opened:
        fold_day(columns, today)
    else:
        power = DECAY ** (today - opened - 1)
        columns["events_decayed"] *= power
        columns["active_decayed"] *= power
    now = np.repeat([one.now for one in subjects], [len(one.rows) for one in subjects])
    return _vector(columns, now, today=today, last_day=min(today, opened), minor_units=minor_units)


def describe_at_boundary(state: CustomerState, rows: RowIndices, *, minor_units: int) -> Float32Array:
    """Compute features at the boundary last closed: nothing that occurred at or after it is included.

    Returns
    -------
    array of float32, shape (n, `ebb.contracts.features.WIDTH`)
    """
    boundary = _closed(state)
    columns, now = _taken(state, rows), np.full(len(rows), boundary * DAY_MS)
    return _vector(columns, now, today=boundary, last_day=boundary - 1, minor_units=minor_units)


def _copies(subjects: Sequence[Subjects]) -> Columns:
    taken = [_taken(one.state, one.rows) for one in subjects]
    if len(taken) == 1:
        return taken[0]
    # Each partition widens its columns by itself; numpy takes the widest type for all.
    return {name: np.concatenate([columns[name] for columns in taken]) for name in _NEEDED}


def _taken(state: CustomerState, rows: RowIndices) -> Columns:
    if len(rows) and rows[-1] - rows[0] + 1 == len(rows):
        place = slice(int(rows[0]), int(rows[-1]) + 1)
        return {name: state.table[name][place].copy() for name in _NEEDED}
    return state.table.take(rows, _NEEDED)


def _closed(state: CustomerState) -> int:
    if state.closed is None:
        message = "features are asked for before the first event"
        raise RuntimeError(message)
    return state.closed


def _vector(columns: Columns, now: Int64Array, *, today: int, last_day: int, minor_units: int) -> Float32Array:
    """Fill the matrix from aggregates that include `last_day`, the newest day whose counters may be read.

    `now`, shape (n,), is within `today`.
    """
    n = len(columns["first_seen"])
    out = np.empty((WIDTH, n), np.float32)

    def put(name: str, values: AnyArray) -> None:
        out[INDEX[name]] = values

    tenure = np.maximum(now - columns["first_seen"], 0) / DAY_MS
    # Who has only cancelled was never active: silent since then.
    seen = np.where(columns["last_seen"] == NEVER, columns["first_seen"], columns["last_seen"])
    recency = np.maximum(now - seen, 0) / DAY_MS
    bought = columns["last_purchase"] != NEVER
    put("recency_days", recency)
    put("tenure_days", tenure)
    since_purchase = np.maximum(now - np.where(bought, columns["last_purchase"], now), 0) / DAY_MS
    put("purchase_recency_days", np.where(bought, since_purchase, tenure))

    # Sums over days are products with a matrix of ones and zeros; exact, since no sum comes near 2^24.
    counts = columns["counts"].reshape(n, -1).astype(np.float32)
    out[_COUNTED] = (counts @ _count_sums(_days_in(WINDOWS, today, last_day))).T
    spend = columns["spend"].astype(np.float64) @ _days_in(_SPEND_WINDOWS, today, last_day)
    for place, window in enumerate(_SPEND_WINDOWS):
        put(f"spend_{window}d", spend[:, place] / minor_units)
    spend_total = columns["spend_total"] / minor_units
    put("spend_total", spend_total)
    purchases = columns["purchases_total"].astype(np.float64)
    put("order_value", derived_features.order_value(spend_total, purchases))
    put("events_total", columns["events_total"])
    put("purchases_total", purchases)
    active_total = columns["active_days_total"].astype(np.float64)
    put("active_days_total", active_total)
    for window in (7, 30, 60):
        put(f"active_days_{window}", bitmap_count(columns["active_days"], today - window, last_day))
    put("purchase_days_60", bitmap_count(columns["purchase_days"], today - 60, last_day))
    out[INDEX["events_hl3"] : INDEX["events_hl3"] + len(DECAY)] = columns["events_decayed"].T
    out[INDEX["active_hl3"] : INDEX["active_hl3"] + len(DECAY)] = columns["active_decayed"].T

    gaps = np.maximum(active_total - 1, 1)
    span = np.where(
        columns["first_active_day"] == NO_DAY,
        0,
        columns["last_active_day"].astype(np.int64) - columns["first_active_day"].astype(np.int64),
    )
    rhythmic = active_total >= 2
    gap_mean = np.where(rhythmic, span / gaps, tenure)
    variance = np.where(rhythmic, columns["gap_squares"] / gaps - (span / gaps) ** 2, 0)
    put("gap_mean_days", gap_mean)
    put("gap_std_days", np.sqrt(np.maximum(variance, 0)))
    put("recency_over_gap", derived_features.recency_over_gap(recency, gap_mean))
    put("trend", derived_features.trend(out[INDEX["events_7d"]], out[INDEX["events_30d"]]))
    views, carts, bought_lately = (out[INDEX[f"{kind}_30d"]] for kind in ("views", "carts", "purchases"))
    put("view_to_cart", derived_features.view_to_cart(carts, views))
    put("cart_to_purchase", derived_features.cart_to_purchase(bought_lately, carts))
    put("discount_share", columns["discounts_total"] / (purchases + 1))
    return out.T


def _days_in(windows: tuple[int, ...], today: int, last_day: int) -> Float64Array:
    """Return which ring indices belong to each window up to `last_day`: 1 or 0, shape (`RING_DAYS`, windows)."""
    found = np.zeros((RING_DAYS, len(windows)))
    for place, window in enumerate(windows):
        found[np.arange(today - window, last_day + 1) % RING_DAYS, place] = 1
    return found


def _count_sums(days: Float64Array) -> Float32Array:
    """Return the matrix that turns a row of counters into its windows: those of all events, then those of each kind.

    Parameters
    ----------
    days
        From `_days_in(WINDOWS, …)`.
    """
    kinds, windows = len(COUNTED), len(WINDOWS)
    found = np.zeros((kinds, RING_DAYS, kinds, windows), np.float32)
    found[:, :, 0] = days
    for kind in range(1, kinds):  # `OTHER`, the first, has no windows of its own
        found[kind, :, kind] = days
    return found.reshape(kinds * RING_DAYS, kinds * windows)
