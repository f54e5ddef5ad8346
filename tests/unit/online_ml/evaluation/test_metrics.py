"""Measures against scikit-learn, and their values where labels are few."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from online_ml.evaluation.metrics import BINS, ece, log_losses, measure, pr_auc, reliability, roc_auc
from online_ml.evaluation.tally import Tally
from online_ml.scoring.scorer import sigmoid

COARSE = st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=1, max_size=60)
"""Predictions in eighths, so that ties are common."""


def arrays(pairs: list[tuple[int, bool]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([p / 8 for p, _ in pairs], np.float32), np.array([y for _, y in pairs], np.uint8)


@hypothesis_settings(deadline=None)
@given(COARSE)
def test_measures_equal_scikit_learns(pairs: list[tuple[int, bool]]) -> None:
    p, y = arrays(pairs)
    measures = measure(p, y)
    assert measures["brier"] == pytest.approx(float(np.mean((p - y) ** 2)))
    clipped = np.clip(p.astype(np.float64), 1e-6, 1 - 1e-6)
    assert measures["log_loss"] == pytest.approx(reference.log_loss(y, clipped, labels=[0, 1]))
    if 0 < y.sum() < len(y):
        assert measures["roc_auc"] == pytest.approx(reference.roc_auc_score(y, p))
        assert measures["pr_auc"] == pytest.approx(reference.average_precision_score(y, p))
    else:
        assert "roc_auc" not in measures
        assert "pr_auc" not in measures


@hypothesis_settings(deadline=None)
@given(COARSE, st.randoms())
def test_measures_do_not_depend_on_the_order_of_rows(pairs: list[tuple[int, bool]], chance: object) -> None:
    p, y = arrays(pairs)
    order = np.random.default_rng(len(pairs)).permutation(len(y))
    before, after = measure(p, y), measure(p[order], y[order])
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert after[name] == pytest.approx(value)


def test_calibration_error_is_the_gap_between_predicted_and_observed() -> None:
    p = np.array([0.15] * 10 + [0.85] * 10, np.float64)
    y = np.array([1] * 3 + [0] * 7 + [1] * 9 + [0], np.uint8)
    assert ece(p, y) == pytest.approx((0.15 + 0.05) / 2)
    table = reliability(p, y)
    assert table.shape == (BINS, 3)
    assert table[1].tolist() == pytest.approx([10, 0.15, 0.3])
    assert reliability(np.array([1.0]), np.array([1], np.uint8))[-1].tolist() == [1, 1.0, 1.0]


def test_a_certain_mistake_costs_much_but_not_everything() -> None:
    assert log_losses(np.array([0.0]), np.array([1], np.uint8))[0] == pytest.approx(13.8, abs=0.1)


def test_rows_without_a_prediction_are_left_out() -> None:
    p = np.array([0.2, np.nan, 0.9], np.float32)
    y = np.array([0, 1, 1], np.uint8)
    assert measure(p, y) == measure(p[[0, 2]], y[[0, 2]])
    assert measure(np.array([np.nan]), y[:1]) == {}


def test_one_class_alone_has_no_ranking() -> None:
    assert roc_auc(np.array([0.1, 0.2]), np.zeros(2, np.uint8)) is None
    assert pr_auc(np.array([0.1, 0.2]), np.ones(2, np.uint8)) is None


def test_the_tally_of_all_labels_equals_the_measures_over_all_labels() -> None:
    rng = np.random.default_rng(5)
    logits = rng.normal(size=5_000) * 2
    p = sigmoid(logits).astype(np.float32)
    y = (rng.random(5_000) < sigmoid(logits * 0.8)).astype(np.uint8)
    p[::50] = np.nan
    tally = Tally()
    for part in np.array_split(np.arange(5_000), 7):
        tally.add(p[part], y[part])
    exact, measures = measure(p, y), tally.measure()
    assert tally.labels == 4_900
    assert measures.keys() == exact.keys()
    for name in exact:
        # Rankings: pairs within one cell of 0.005 of the logit count as ties.
        assert measures[name] == pytest.approx(exact[name], abs=1e-3 if name.endswith("auc") else 1e-9), name


def test_a_restored_tally_continues() -> None:
    p, y = np.array([0.2, 0.7], np.float32), np.array([0, 1], np.uint8)
    one, other = Tally(), Tally()
    one.add(p, y)
    other.restore(one.state())
    other.add(p, y)
    one.add(p, y)
    assert other.measure() == one.measure()
    assert Tally().measure() == {}
