"""Formulas of derived features: the same for one customer as for many, and finite for a customer who did nothing."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ebb.contracts import derived_features
from ebb.contracts.features import NAMES

FORMULAS: tuple[Callable[..., Any], ...] = (
    derived_features.order_value,
    derived_features.recency_over_gap,
    derived_features.trend,
    derived_features.view_to_cart,
    derived_features.cart_to_purchase,
)


@pytest.mark.parametrize("formula", FORMULAS)
def test_one_customer_has_the_value_that_it_has_among_many(formula: Callable[..., Any]) -> None:
    first, second = np.array([0.0, 1.0, 12.5, 300.0]), np.array([0.0, 7.0, 2.5, 1.0])
    together = formula(first, second)
    assert together.tolist() == [formula(*pair) for pair in zip(first.tolist(), second.tolist(), strict=True)]


@pytest.mark.parametrize("formula", FORMULAS)
def test_arrays_keep_their_precision(formula: Callable[..., Any]) -> None:
    counts = np.arange(4, dtype=np.float32)
    assert formula(counts, counts).dtype == np.float32
    assert formula(counts.astype(np.float64), counts.astype(np.float64)).dtype == np.float64


@pytest.mark.parametrize("formula", FORMULAS)
def test_each_is_a_feature_and_finite_without_any_activity(formula: Callable[..., Any]) -> None:
    assert formula.__name__ in NAMES
    assert np.isfinite(formula(0.0, 0.0))


def test_values_by_hand() -> None:
    assert derived_features.order_value(90.0, 3.0) == 30
    assert derived_features.recency_over_gap(12.0, 0.5) == 12
    assert derived_features.trend(6.0, 29.0) == 0
    assert derived_features.view_to_cart(2.0, 3.0) == 0.5
    assert derived_features.cart_to_purchase(1.0, 3.0) == 0.25
