"""The observer knows the law and no traits: calibrated, and ranking between recency and the oracle."""

from dataclasses import dataclass

import numpy as np
import pytest

from benchmarks._observer import Observer
from online_ml.evaluation.metrics import ece, log_losses, roc_auc
from producers.simulator.shifts import Shift, Shifts
from producers.simulator.world import Simulation, World

FIRST_DAY, HORIZON, DAYS, WARM = 20_000, 14, 84, 28


@dataclass
class Watched:
    """Predictions and outcomes; arrays of shape (rows,)."""

    observer: np.ndarray
    oracle: np.ndarray
    recency: np.ndarray
    labels: np.ndarray


def watch(world: World, *, particles: int = 60, one_in: int = 1) -> Watched:
    """Let the observer see a world, and predict each week."""
    simulation, observer = Simulation(world), Observer(world, particles=particles, one_in=one_in)
    predictions, seen = [], []
    for day in range(FIRST_DAY, FIRST_DAY + DAYS + HORIZON):
        if FIRST_DAY + WARM <= day < FIRST_DAY + DAYS and day % 7 == 0:
            truth = simulation.truth(horizon=HORIZON, lookback=60)
            rows = observer.follows(truth.number)
            numbers = truth.number[rows]
            silence = observer.silence(numbers, day, HORIZON)
            predictions.append((day, numbers, silence, truth.silence[rows], day - truth.last_seen[rows]))
        one = simulation.step()
        observer.see(one)
        seen.append(set(one.customers.number[one.events.row].tolist()))
    labels = []
    for day, numbers, *_ in predictions:
        arrived = set().union(*seen[day - FIRST_DAY : day - FIRST_DAY + HORIZON])
        labels.append(np.array([number not in arrived for number in numbers.tolist()], np.uint8))
    _, _, observed, known, silent = zip(*predictions, strict=True)
    return Watched(*(np.concatenate(part) for part in (observed, known, silent, labels)))


@pytest.fixture(scope="module")
def watched() -> Watched:
    return watch(World(3, 700, FIRST_DAY))


def test_the_observer_ranks_better_than_recency_and_worse_than_the_oracle(watched: Watched) -> None:
    observer, oracle, recency = (
        roc_auc(score, watched.labels) or 0.0 for score in (watched.observer, watched.oracle, watched.recency)
    )
    assert recency + 0.02 < observer < oracle - 0.01


def test_the_observer_is_calibrated(watched: Watched) -> None:
    assert ece(watched.observer, watched.labels) < 0.025
    rate = watched.labels.mean()
    blind = float(log_losses(np.full(len(watched.labels), rate), watched.labels).mean())
    assert log_losses(watched.observer, watched.labels).mean() < 0.75 * blind


def test_the_observer_follows_a_shift_of_the_world(watched: Watched) -> None:
    changed = watch(World(3, 600, FIRST_DAY, shifts=Shifts((Shift(WARM, "habit"),))), particles=40)
    assert changed.labels.mean() > watched.labels.mean() + 0.1
    assert changed.observer.mean() == pytest.approx(changed.labels.mean(), abs=0.04)


def test_the_observer_is_deterministic() -> None:
    first, again = (watch(World(3, 300, FIRST_DAY), particles=20, one_in=4) for _ in range(2))
    assert (first.observer == again.observer).all()
    assert 0 < len(first.observer) < 10 * 300 / 3
