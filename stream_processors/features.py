"""Features of customers at a moment of event time, from their state: see `ebb.features` for names and meanings."""

from typing import Any

import numpy as np
import numpy.typing as npt

from ebb.features import INDEX, WIDTH, WINDOWS, Kind
from stream_processors.columns import NEVER, NO_DAY, RING_DAYS
from stream_processors.state import DAY_MS, DECAY, Columns, CustomerState, Rows, bitmap_count, fold_day

_WINDOWED = {
    "sessions": Kind.SESSION,
    "views": Kind.VIEW,
    "carts": Kind.CART,
    "purchases": Kind.PURCHASE,
    "supports": Kind.SUPPORT,
}


def describe(state: CustomerState, rows: Rows, now: int, *, minor_units: int) -> npt.NDArray[np.float32]:
    """Compute features now, the days still open included.

    Parameters
    ----------
    rows
        Rows of the customers, shape (n,).
    now
        Event time in ms, not before any event counted.
    minor_units
        Minor units in one unit of money.

    Returns
    -------
    array of float32, shape (n, `ebb.features.WIDTH`)
        Windows hold the last whole days and today so far; decayed rates step at midnight.
    """
    columns = state.table.take(rows)
    today = now // DAY_MS
    for day in range(_closed(state), min(today, state.opened + 1)):
        fold_day(columns, day)
        columns["events_decayed"] *= DECAY
        columns["active_decayed"] *= DECAY
    if today <= state.opened:
        fold_day(columns, today)
    else:
        power = DECAY ** (today - state.opened - 1)
        columns["events_decayed"] *= power
        columns["active_decayed"] *= power
    return _vector(columns, now, last_day=min(today, state.opened), minor_units=minor_units)


def describe_at_boundary(state: CustomerState, rows: Rows, *, minor_units: int) -> npt.NDArray[np.float32]:
    """Compute features at the boundary last crossed: nothing that occurred at or after it is in them.

    Returns
    -------
    array of float32, shape (n, `ebb.features.WIDTH`)
    """
    boundary = _closed(state)
    columns = state.table.take(rows)
    return _vector(columns, boundary * DAY_MS, last_day=boundary - 1, minor_units=minor_units)


def _closed(state: CustomerState) -> int:
    if state.closed is None:
        message = "features are asked for before the first event"
        raise RuntimeError(message)
    return state.closed


def _vector(columns: Columns, now: int, *, last_day: int, minor_units: int) -> npt.NDArray[np.float32]:
    """Fill the matrix from aggregates that include `last_day`, the newest day whose counters may be read."""
    today = now // DAY_MS
    n = len(columns["first_seen"])
    out = np.zeros((n, WIDTH), np.float32)

    def put(name: str, values: npt.NDArray[Any]) -> None:
        out[:, INDEX[name]] = values

    tenure = np.maximum(now - columns["first_seen"], 0) / DAY_MS
    recency = np.maximum(now - columns["last_seen"], 0) / DAY_MS
    bought = columns["last_purchase"] != NEVER
    put("recency_days", recency)
    put("tenure_days", tenure)
    since_purchase = np.maximum(now - np.where(bought, columns["last_purchase"], now), 0) / DAY_MS
    put("purchase_recency_days", np.where(bought, since_purchase, tenure))

    windows = {days: _window(columns["counts"], today - days, last_day) for days in WINDOWS}
    for days, sums in windows.items():
        put(f"events_{days}d", sums[:, : len(Kind)].sum(axis=1))
        for name, kind in _WINDOWED.items():
            put(f"{name}_{days}d", sums[:, kind])
    for days in (7, 30):
        put(f"spend_{days}d", _window(columns["spend"], today - days, last_day) / minor_units)
    put("spend_total", columns["spend_total"] / minor_units)
    purchases = columns["purchases_total"].astype(np.float64)
    put("order_value", columns["spend_total"] / minor_units / np.maximum(purchases, 1))
    put("events_total", columns["events_total"])
    put("purchases_total", purchases)
    active_total = columns["active_days_total"].astype(np.float64)
    put("active_days_total", active_total)
    for days in (7, 30, 60):
        put(f"active_days_{days}", bitmap_count(columns["active_days"], today - days, last_day))
    put("purchase_days_60", bitmap_count(columns["purchase_days"], today - 60, last_day))
    out[:, INDEX["events_hl3"] : INDEX["events_hl3"] + len(DECAY)] = columns["events_decayed"]
    out[:, INDEX["active_hl3"] : INDEX["active_hl3"] + len(DECAY)] = columns["active_decayed"]

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
    put("recency_over_gap", recency / np.maximum(gap_mean, 1))
    week, month = windows[7], windows[30]
    weekly = (week[:, : len(Kind)].sum(axis=1) + 1) / 7
    monthly = (month[:, : len(Kind)].sum(axis=1) + 1) / 30
    put("trend", np.log(weekly / monthly))
    put("view_to_cart", month[:, Kind.CART] / (month[:, Kind.VIEW] + 1))
    put("cart_to_purchase", month[:, Kind.PURCHASE] / (month[:, Kind.CART] + 1))
    put("discount_share", columns["discounts_total"] / (purchases + 1))
    return out


def _window(ring: npt.NDArray[Any], first: int, last: int) -> npt.NDArray[np.int64]:
    """Sum the day counters from day `first` to `last`, both included.

    Parameters
    ----------
    ring
        Shape (rows, `RING_DAYS`, ...); must hold those days.
    """
    days = [day % RING_DAYS for day in range(first, last + 1)]
    found: npt.NDArray[np.int64] = ring[:, days].sum(axis=1, dtype=np.int64)
    return found
