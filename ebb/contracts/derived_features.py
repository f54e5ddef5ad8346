"""Formulas of the features that follow from other features, for the engine and for `POST /v1/predict` alike.

Each works on arrays of shape (n,), in their own precision, and on single numbers. `features` lists what they mean.
"""

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Numbers = TypeVar("Numbers", float, npt.NDArray[Any])
"""One number, or one for each customer."""


def order_value(spend_total: Numbers, purchases_total: Numbers) -> Numbers:
    """Return spend / max(purchases, 1): units of money.

    The monetary value of recency, frequency and monetary value (Fader, Hardie and Lee, "RFM and CLV", Journal of
    Marketing Research 2005).
    """
    value: Numbers = spend_total / np.maximum(purchases_total, 1)
    return value


def recency_over_gap(recency_days: Numbers, gap_mean_days: Numbers) -> Numbers:
    """Return recency / max(mean gap, 1 day): how many of the customer's usual gaps the silence lasts, no unit.

    As in Pareto/NBD, a silence counts by the customer's own rate (Schmittlein, Morrison and Colombo, "Counting your
    customers", Management Science 1987).
    """
    ratio: Numbers = recency_days / np.maximum(gap_mean_days, 1)
    return ratio


def trend(events_7d: Numbers, events_30d: Numbers) -> Numbers:
    """Return ln(((events of 7 days + 1) / 7) / ((events of 30 days + 1) / 30)): no unit, above 0 if activity grows.

    Both counts are smoothed by one event (Laplace's rule of succession), so that no logarithm is infinite.
    """
    weekly, monthly = (events_7d + 1) / 7, (events_30d + 1) / 30
    change: Numbers = np.log(weekly / monthly)
    return change


def view_to_cart(carts_30d: Numbers, views_30d: Numbers) -> Numbers:
    """Return additions to the cart / (views + 1), both of 30 days: no unit.

    The first step of the shop's conversion funnel, smoothed by one view as in `trend`.
    """
    share: Numbers = carts_30d / (views_30d + 1)
    return share


def cart_to_purchase(purchases_30d: Numbers, carts_30d: Numbers) -> Numbers:
    """Return purchases / (additions to the cart + 1), both of 30 days: no unit.

    The second step of the funnel, smoothed by one addition as in `trend`.
    """
    share: Numbers = purchases_30d / (carts_30d + 1)
    return share
