"""The calibration's line: close to a known one, cautious with few labels, never inverting a ranking."""

import numpy as np
import pytest

from online_ml.evaluation.metrics import ece
from online_ml.learning.calibration import IDENTITY, MEMORY_HORIZONS, PRIOR, SLOPES, TRUST, Calibration
from online_ml.scoring.scorer import sigmoid


def labelled(slope: float, offset: float, *, seed: int = 0, rows: int = 2_000) -> tuple[np.ndarray, np.ndarray]:
    """Return logits, and labels that follow the line over them."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=rows) * 2
    return logits.astype(np.float32), (rng.random(rows) < sigmoid(slope * logits + offset)).astype(np.uint8)


def after(slope: float, offset: float, *, days: int = 40, horizon: float = 1) -> Calibration:
    calibration = Calibration(horizon_days=horizon)
    for day in range(days):
        calibration.age(0 if day == 0 else 0.05)
        calibration.learn(*labelled(slope, offset, seed=day))
    return calibration


def trusted(line: tuple[float, float]) -> tuple[float, float]:
    """Return what the line would be if all of the correction were applied."""
    return tuple(item + (applied - item) / TRUST for applied, item in zip(line, IDENTITY, strict=True))  # type: ignore[return-value]


def test_the_line_behind_the_labels_is_found_and_half_of_it_is_applied() -> None:
    calibration = after(0.5, -1)
    slope, offset = trusted(calibration.line)
    assert slope == pytest.approx(0.5, abs=0.03)
    assert offset == pytest.approx(-1, abs=0.05)
    assert calibration.line == pytest.approx((0.75, -0.5), abs=0.03)


def test_calibrated_probabilities_stay_unchanged() -> None:
    assert after(1, 0).line == pytest.approx(IDENTITY, abs=0.03)


def test_a_lasting_bias_is_reduced_by_more_than_a_third_and_never_overshot() -> None:
    logits, labels = labelled(1, -0.8, seed=99, rows=40_000)
    slope, offset = after(1, -0.8).line
    assert ece(sigmoid(slope * logits + offset), labels) < 0.65 * ece(sigmoid(logits), labels)
    assert -0.8 < offset < 0


def test_with_few_labels_the_line_stays_near_the_identity() -> None:
    calibration = Calibration()
    calibration.learn(np.empty(0, np.float32), np.empty(0, np.uint8))
    assert calibration.line == IDENTITY
    calibration.learn(np.full(3, np.nan, np.float32), np.ones(3, np.uint8))
    assert calibration.line == IDENTITY
    calibration.learn(np.array([2.0], np.float32), np.array([0], np.uint8))
    assert calibration.line == pytest.approx(IDENTITY, abs=3 / PRIOR)


def test_labels_of_a_shared_horizon_weigh_as_one() -> None:
    """Daily labels of a horizon of 30 days are no more evidence than monthly ones of a horizon of a day."""
    often, seldom = Calibration(horizon_days=30), Calibration(horizon_days=1)
    logits, labels = labelled(1, 1, rows=100)
    for _ in range(30):
        often.learn(logits, labels)
    for _ in range(1):
        seldom.learn(logits, labels)
    assert abs(often.line[1]) < 2 * abs(seldom.line[1])


def test_old_labels_fade_with_event_time() -> None:
    calibration = Calibration(horizon_days=10)
    for seed in range(20):
        calibration.learn(*labelled(1, 1, seed=seed))
    before = calibration.line[1]
    calibration.age(20 * MEMORY_HORIZONS * 10)
    calibration.learn(*labelled(1, 0, seed=77))
    assert abs(calibration.line[1]) < 0.2 * before


@pytest.mark.parametrize("spread", [1e-3, 1.0, 30.0])
def test_a_model_that_is_always_wrong_is_not_turned_round(spread: float) -> None:
    logits = np.linspace(-spread, spread, 2_000).astype(np.float32)
    calibration = Calibration(horizon_days=1)
    for _ in range(20):
        calibration.learn(logits, (logits < 0).astype(np.uint8))
    slope, offset = calibration.line
    assert 0 < SLOPES[0] <= slope <= SLOPES[1]
    assert np.isfinite(offset)


def test_a_restored_calibration_continues_bit_for_bit() -> None:
    straight, taken = after(0.7, 0.3, days=4), Calibration(horizon_days=1)
    taken.restore(after(0.7, 0.3, days=3).state())
    taken.age(0.05)
    taken.learn(*labelled(0.7, 0.3, seed=3))
    assert taken.line == straight.line
