"""The figures that benchmarks print are counted right."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks._figures import metric, percentile, waits

TEXT = """# HELP ebb_customers Customers
ebb_customers{partition="0"} 3.0
ebb_customers{partition="1"} 4.0
ebb_customers_by_band{band="high",partition="1"} 2.0
ebb_customers_by_band{band="high",partition="0"} 1.0
ebb_customers_by_band{band="low",partition="0"} 9.0
ebb_sweep_seconds_sum 1.5e-03
"""


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [percentile(values, share) for share in (0.5, 0.95, 0.99)] == [50.0, 95.0, 99.0]
    assert percentile([7.0], 0.99) == 7.0


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50), st.floats(0.01, 0.99).map(lambda share: round(share, 2)))
def test_a_percentile_is_the_least_value_not_exceeded_by_its_share(values: list[float], share: float) -> None:
    measured = percentile(values, share)
    assert measured in values
    needed = math.ceil(round(share * len(values), 9))
    assert sum(value <= measured for value in values) >= needed
    assert sum(value < measured for value in values) < max(needed, 1)


def test_no_values_have_no_percentile() -> None:
    with pytest.raises(ValueError, match="percentile of nothing"):
        percentile([], 0.5)


def test_waits_are_matched_by_key_in_order_of_sending() -> None:
    matched, missing = waits({"b": 2.0, "a": 1.0}, {"a": 1.25, "b": 2.5, "other": 3.0})
    assert matched == [250.0, 500.0]
    assert missing == []


def test_the_burn_in_counts_neither_as_matched_nor_as_missing() -> None:
    measured, missing = waits(
        {"early": 1.0, "lost early": 1.5, "on time": 2.0}, {"early": 9.0, "on time": 3.0}, since=2.0
    )
    assert measured == [1_000.0]
    assert missing == []


def test_missing_keys_are_named() -> None:
    assert waits({"a": 1.0, "b": 2.0}, {"b": 2.0}) == ([0.0], ["a"])


def test_a_metric_is_summed_over_the_samples_that_carry_the_labels() -> None:
    assert metric(TEXT, "ebb_customers") == 7.0
    assert metric(TEXT, "ebb_customers_by_band", band="high") == 3.0
    assert metric(TEXT, "ebb_customers_by_band", band="high", partition="1") == 2.0
    assert metric(TEXT, "ebb_sweep_seconds_sum") == 0.0015
    assert metric(TEXT, "ebb_absent") == 0.0
