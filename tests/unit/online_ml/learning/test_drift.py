"""Drift is detected only where there is some; expected metrics are realised if probabilities are calibrated."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ebb.contracts.features import NAMES, WIDTH
from ebb.settings import Settings
from online_ml.evaluation.decisions import Policy
from online_ml.evaluation.metrics import brier, expected_metrics, log_losses, roc_auc
from online_ml.evaluation.segments import LabelContext
from online_ml.evaluation.window import MaturedPredictions
from online_ml.learning.drift import HURRY_BOUNDARIES, SAMPLE, WARM_UP, DriftChange, DriftMonitor, Errors, Profile
from online_ml.learning.learner import Learner, Step
from online_ml.reporting import drift_rows, expected_rows
from tests.support.examples import FIRST_DAY, World


def profile(days: int, *, moved_from: int = 10**9, rows: int = 3_000) -> Profile:
    """Return a profile of two quantities, of which the second moves by a spread from a day on."""
    built = Profile(2)
    for day in range(days):
        values = np.random.default_rng(day).normal(size=(rows, 2))
        values[:, 1] += day >= moved_from
        built.add(values)
    return built


def test_an_index_is_reported_when_there_is_a_reference() -> None:
    assert profile(WARM_UP - 1).psi() is None
    assert profile(WARM_UP).psi() is not None


def test_what_stays_has_an_index_near_zero_and_what_moves_one_above_the_alarm() -> None:
    index = profile(40, moved_from=36).psi()
    assert index is not None
    assert index[0] < 0.01
    assert index[1] > 0.25


def test_the_reference_follows_a_change_that_stays() -> None:
    index = profile(200, moved_from=37).psi()
    assert index is not None
    assert index[1] < 0.1


def test_the_index_is_the_sum_over_bins_of_the_shares() -> None:
    """The reference begins with the ten latest days; an eleventh moves half of the lower half up by a bin of five."""
    result = Profile(1)
    for day in range(WARM_UP + 1):
        values = np.repeat(2.0 ** np.arange(10), 100)
        values[: 100 * 5 : 2] = 2.0**5 if day == WARM_UP else values[: 100 * 5 : 2]
        result.add(values[:, None])
    stayed = sum(1_000 * 0.5 ** (age / 2) for age in range(1, WARM_UP + 1))
    began = sum(1_000 * 0.5 ** (age / 2) for age in range(WARM_UP)) * 0.5 ** (1 / 42)
    moved = np.array([50.0] * 5 + [350.0] + [100.0] * 4)
    latest, reference = stayed / 10 + moved, began / 10 + moved
    p, q = ((counts / counts.sum() + 0.001) / 1.01 for counts in (latest, reference))
    index = result.psi()
    assert index is not None
    assert index[0] == pytest.approx(float(((p - q) * np.log(p / q)).sum()))


def amounts(day: int, customers: int = 2_000) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return np.random.default_rng([day, 5]).lognormal(3, 1, size=(customers, 1))


def test_what_was_the_same_for_all_on_the_first_day_drifts_like_the_rest() -> None:
    result = Profile(1)
    for day in range(40):
        result.add(amounts(day) * (0 if day < 3 else 5 if day >= 36 else 1))
    index = result.psi()
    assert index is not None
    assert index[0] > 0.25


def test_what_few_have_drifts_when_theirs_changes() -> None:
    """Nineteen of twenty never spend: the fivefold spending of the others shows, though no decile lies among them."""
    result = Profile(1)
    for day in range(40):
        values = amounts(day) * (5 if day >= 36 else 1)
        values[np.arange(len(values)) % 20 > 0] = 0
        result.add(values)
    index = result.psi()
    assert index is not None
    assert index[0] > 0.02


def test_the_first_days_of_a_log_are_no_reference() -> None:
    """All begin on one day, so tenure grows from nothing: once it is warm, that is over."""
    result = Profile(1)
    for day in range(WARM_UP + 2):
        result.add(amounts(day) if day > 4 else np.zeros((2_000, 1)))
    index = result.psi()
    assert index is not None
    assert index[0] < 0.1


def test_a_profile_counted_in_other_cells_begins_again() -> None:
    result = Profile(1)
    result.restore({"boundaries": np.array(50), "latest": np.ones((1, 10)), "reference": np.ones((1, 10))})
    assert result.boundaries == 0
    result.add(amounts(0))
    assert result.psi() is None


def test_a_quantity_that_is_always_the_same_does_not_drift() -> None:
    result = Profile(1)
    for _ in range(WARM_UP):
        result.add(np.zeros((50, 1)))
    assert result.psi() == pytest.approx([0.0])


def matured(boundary: int, sharp: float, *, customers: int = 600) -> MaturedPredictions:
    """Return a boundary's labels of the same customers every day, predicted with the sharpness given (1: as well as can
    be)."""
    rng = np.random.default_rng([boundary, 1])
    truth = rng.random(customers)
    labels = (rng.random(customers) < truth).astype(np.uint8)
    probabilities = (sharp * truth + (1 - sharp) * (1 - truth)).astype(np.float32)[None]
    ids = [f"c{number}" for number in range(customers)]
    about = LabelContext.of(ids, [None] * customers, [None] * customers, np.zeros((customers, WIDTH), np.float32))
    return MaturedPredictions(boundary, labels, probabilities, np.concatenate([probabilities, probabilities]), about)


def test_a_rise_of_the_error_is_found_within_days_and_dated() -> None:
    errors, changes = Errors(), {}
    for boundary in range(60):
        change = errors.add(matured(boundary, 1.0 if boundary < 40 else 0.4), 0, 3, 7)
        if change is not None:
            changes[boundary] = change
    [(at, change)] = changes.items()
    assert 40 <= at < 50
    assert abs(change.since - 40) <= 2
    assert change.shift > 0.05
    assert errors.change == change


def test_another_champion_begins_another_series() -> None:
    """A better champion errs less from its first day on, which is no change of the world, nor is a worse one."""
    errors = Errors()
    for boundary in range(60):
        part = matured(boundary, 1.0)
        worse = 1 - part.probabilities[0]
        part = MaturedPredictions(
            boundary, part.labels, part.logits, np.stack([part.probabilities[0], worse]), part.context
        )
        assert errors.add(part, 0 if boundary < 40 else 1, 3, 7) is None
    assert errors.state()["days"].tolist() == list(range(40, 60))


def test_where_nothing_changes_none_is_found() -> None:
    errors = Errors()
    assert [errors.add(matured(boundary, 1.0), 0, 3, 7) for boundary in range(90)].count(None) == 90


def test_a_customer_enters_once_a_horizon() -> None:
    errors = Errors()
    for boundary in range(6):
        errors.add(matured(boundary, 1.0), 0, 3, 7)
    sizes = errors.state()["sizes"]
    assert sizes[:3].sum() == sizes[3:].sum() == 600
    many = Errors()
    many.add(matured(0, 1.0, customers=9_000), 0, 3, 7)
    assert many.state()["sizes"].tolist() == [SAMPLE]


def test_labels_are_learned_more_often_for_a_while_after_the_error_rose() -> None:
    drift = DriftMonitor(7, {"churn": 3, "purchase": 2}, pace=5)
    assert drift.pace("churn", 5) == 1
    for boundary in range(60):
        drift.judge("churn", matured(boundary, 1.0 if boundary < 40 else 0.4), 0)
    change = drift.errors["churn"].change
    assert change is not None
    assert drift.pace("churn", change.found_at) == 5
    assert drift.pace("churn", change.found_at + HURRY_BOUNDARIES) == 1
    assert drift.pace("purchase", change.found_at) == 1
    # An error that falls, as while a model is young, is no reason to hurry.
    better = DriftMonitor(7, {"churn": 3, "purchase": 2}, pace=5)
    for boundary in range(60):
        better.judge("churn", matured(boundary, 0.4 if boundary < 40 else 1.0), 0)
    fallen = better.errors["churn"].change
    assert fallen is not None
    assert fallen.shift < 0
    assert better.pace("churn", fallen.found_at) == 1
    # Unless configured, learning is not accelerated.
    assert DriftMonitor(7, {"churn": 3, "purchase": 2}).pace("churn", change.found_at) == 1


def test_a_restored_drift_monitor_continues_bit_for_bit() -> None:
    whole, half = DriftMonitor(7, {"churn": 3, "purchase": 2}), DriftMonitor(7, {"churn": 3, "purchase": 2})
    for boundary in range(50):
        if boundary in {0, 1, 20, 45}:
            saved = half.state()
            half = DriftMonitor(7, {"churn": 3, "purchase": 2})
            half.restore(saved)
        for drift in (whole, half):
            part = matured(boundary, 1.0 if boundary < 30 else 0.4)
            drift.judge("churn", part, 0)
            features = np.random.default_rng(boundary).normal(size=(30, WIDTH)).astype(np.float32)
            drift.snapshot(features, {"churn": part.probabilities[0]})
    mine, theirs = whole.state(), half.state()
    assert mine.keys() == theirs.keys()
    assert all(np.array_equal(mine[key], theirs[key]) for key in mine)
    assert whole.errors["churn"].change == half.errors["churn"].change is not None


@hypothesis_settings(max_examples=60)
@given(st.lists(st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.9, 1.0]), min_size=2, max_size=7))
def test_expected_metrics_are_expectations_over_all_outcomes(probabilities: list[float]) -> None:
    p = np.array(probabilities)
    result = expected_metrics(p, 0.5)
    expected = dict.fromkeys(("brier", "accuracy", "base_rate"), 0.0)
    ordered = pairs = 0.0
    for outcome in itertools.product((0, 1), repeat=len(p)):
        y = np.array(outcome, np.uint8)
        chance = float(np.prod(np.where(y == 1, p, 1 - p)))
        expected["brier"] += chance * brier(p, y)
        expected["accuracy"] += chance * float(((p >= 0.5) == (y == 1)).mean())
        expected["base_rate"] += chance * float(y.mean())
        area, possible = roc_auc(p, y), int(y.sum()) * int((1 - y).sum())
        ordered, pairs = ordered + chance * (area or 0.0) * possible, pairs + chance * possible
    for metric, value in expected.items():
        assert result[metric] == pytest.approx(value, abs=1e-9)
    assert ("roc_auc" in result) == (pairs > 1e-12)
    if pairs > 1e-12:
        assert result["roc_auc"] == pytest.approx(ordered / pairs)


def test_where_probabilities_are_calibrated_the_expected_metrics_are_realised() -> None:
    rng = np.random.default_rng(2)
    p = rng.beta(1, 3, 40_000)
    y = (rng.random(len(p)) < p).astype(np.uint8)
    result = expected_metrics(p, 0.5)
    assert result["roc_auc"] == pytest.approx(roc_auc(p, y), abs=0.01)
    assert result["log_loss"] == pytest.approx(float(log_losses(p, y).mean()), abs=0.01)


def test_no_predictions_have_no_expected_metrics() -> None:
    assert expected_metrics(np.array([np.nan, np.nan]), 0.5) == {}


def test_what_leaves_the_learner_is_dated_and_named() -> None:
    world = World(partitions=1, days=WARM_UP + 2, rows=200)
    learner = Learner(Settings(partitions=1, horizon_days=3, purchase_horizon_days=2, label_delay_days=1))
    steps: list[Step] = []
    for offset, block in enumerate(world.partition(0)):
        learner.add(block, offset)
        while (step := learner.advance()) is not None:
            steps.append(step)
    last = steps[-1]
    rows = expected_rows(last, learner, Policy(0.6, 0.15, 5.0, 90.0))
    areas = [row for row in rows if row["target"] == "churn" and row["metric"] == "roc_auc"]
    [one] = [row for row in areas if row["candidate"] == "logistic"]
    assert (one["snapshot_day"], one["due_day"], one["customers"]) == (last.boundary, last.boundary + 3 + 1, 200)
    assert {row["customers"] for row in rows if row["candidate"] == "served"} == {100}
    drifted = drift_rows(last, learner)
    assert [row["name"] for row in drifted if row["kind"] == "feature"] == list(NAMES)
    assert {row["day"] for row in drifted} == {FIRST_DAY + WARM_UP + 1}


def test_accelerated_learning_is_another_deterministic_fold() -> None:
    world = World(partitions=1, days=12, rows=80)

    def learned(pace: int) -> Learner:
        learner = Learner(Settings(partitions=1, horizon_days=3, purchase_horizon_days=2, drift_pace=pace))
        learner.drift.errors["churn"].change = DriftChange(FIRST_DAY + 3, FIRST_DAY + 2, 0.1)
        for offset, block in enumerate(world.partition(0)):
            learner.add(block, offset)
        while learner.advance() is not None:
            pass
        return learner

    plain, hurried, again = learned(1), learned(4), learned(4)
    assert hurried.digest() == again.digest() != plain.digest()
