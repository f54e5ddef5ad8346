"""The design matrix: the same for learner and scorer, finite for any input."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ebb.contracts.features import INDEX, WIDTH
from online_ml.scoring.inputs import GROUP_OF_INPUT, GROUPS, INPUTS, POSITION, RAMPS, design

anything = st.floats(width=32, allow_nan=True, allow_infinity=True)


@given(arrays(np.float32, st.tuples(st.integers(1, 4), st.just(WIDTH)), elements=anything))
def test_inputs_are_finite_and_bounded_for_any_features(features: np.ndarray) -> None:
    with np.errstate(all="ignore"):
        inputs = design(features)
    assert inputs.shape == (len(features), len(INPUTS))
    assert np.isfinite(inputs).all()
    assert np.abs(inputs).max() <= 441


def test_nan_counts_as_zero() -> None:
    assert np.array_equal(design(np.full((1, WIDTH), np.nan, np.float32)), design(np.zeros((1, WIDTH), np.float32)))


def test_rows_do_not_influence_each_other() -> None:
    features = np.random.default_rng(1).gamma(1, 9, (500, WIDTH)).astype(np.float32)
    whole = design(features)
    parts = np.concatenate([design(features[:1]), design(features[1:77]), design(features[77:])])
    assert np.array_equal(whole, parts)


def test_features_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match="features must have shape"):
        design(np.zeros((3, WIDTH + 1), np.float32))


def design_row(**values: float) -> dict[str, float]:
    """Return the inputs of one customer by name, all other features 0."""
    features = np.zeros((1, WIDTH), np.float32)
    for name, value in values.items():
        features[0, INDEX[name]] = value
    return dict(zip([item.name for item in INPUTS], design(features)[0].tolist(), strict=True))


def test_steps_of_recency_climb_one_after_the_other() -> None:
    knots = RAMPS["recency_days"]
    inputs = design_row(recency_days=12.0)
    steps = [inputs[f"recency_days_{a:g}_to_{b:g}"] for a, b in pairwise(knots)]
    assert steps[:6] == [1.0] * 6
    assert steps[6] == pytest.approx(0.5)
    assert steps[7:] == [0.0] * (len(steps) - 7)


def test_counts_enter_as_logarithms_and_returns_as_negative_money() -> None:
    inputs = design_row(events_7d=99, spend_30d=-99)
    assert inputs["log_events_7d"] == pytest.approx(np.log(100), rel=1e-6)
    assert inputs["log_spend_30d"] == pytest.approx(-np.log(100), rel=1e-6)


def test_a_silence_weighs_more_on_a_customer_who_came_often() -> None:
    rare = design_row(recency_days=30, tenure_days=100, active_days_total=2)
    often = design_row(recency_days=30, tenure_days=100, active_days_total=40)
    fresh = design_row(recency_days=1, tenure_days=100, active_days_total=40)
    assert often["lapse_14d"] > 5 * rare["lapse_14d"]
    assert fresh["lapse_14d"] < often["lapse_14d"] / 5


def test_a_visit_on_the_last_day_counts_by_rhythm_and_tenure_and_fades_in_a_day() -> None:
    fresh, half, absent = (design_row(recency_days=day, active_hl3=4, tenure_days=9) for day in (1, 1.5, 2))
    assert fresh["fresh_x_rhythm"] == pytest.approx(np.log(5))
    assert fresh["fresh_x_tenure"] == pytest.approx(np.log(10))
    assert half["fresh_x_rhythm"] == pytest.approx(np.log(5) / 2)
    assert absent["fresh_x_rhythm"] == absent["fresh_x_tenure"] == 0


def test_squares_are_those_of_the_logarithms() -> None:
    inputs = design_row(active_hl14=6, events_hl3=20)
    assert inputs["log_active_hl14_squared"] == pytest.approx(np.log(7) ** 2)
    assert inputs["log_events_hl3_squared"] == pytest.approx(np.log(21) ** 2)


def test_tenure_beyond_a_month_moves_no_step() -> None:
    names = [item.name for item in INPUTS if item.name.startswith("tenure_days_")]
    month, year = design_row(tenure_days=30), design_row(tenure_days=365)
    assert [month[name] for name in names] == [year[name] for name in names] == [1.0] * len(names)


def test_every_input_has_a_name_of_its_own_and_a_known_group() -> None:
    assert len(POSITION) == len(INPUTS)
    assert {item.group for item in INPUTS} == set(GROUPS)
    assert [GROUPS[group] for group in GROUP_OF_INPUT] == [item.group for item in INPUTS]
