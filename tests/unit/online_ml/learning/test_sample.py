"""The sample of labels that the slow candidates learn, and of customers that they speak of."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from online_ml.learning import sample
from online_ml.learning.sample import GENERATION, PREDICTED_PER_LABEL, Sample, TrainingBatch, draw_sample
from online_ml.types import Floats, Inputs


class Remembering:
    """A candidate that is nothing but what it has learned since it, or who it took over from, began."""

    name, servable = "remembering", False

    def __init__(self) -> None:
        self.elder: list[float] = []
        self.younger: list[float] | None = None

    def logits(self, inputs: Inputs) -> Floats:
        return np.full(len(inputs), float(len(self.elder)))

    def learn_matrix(self, inputs: Inputs, labels: npt.NDArray[np.uint8]) -> None:
        assert len(inputs) == len(labels)
        self.elder += inputs[:, 0].tolist()
        if self.younger is not None:
            self.younger += inputs[:, 0].tolist()

    def renew(self) -> None:
        self.elder = self.elder if self.younger is None else self.younger
        self.younger = []

    def payload(self, calibration: tuple[float, float]) -> dict[str, Any]:
        return {"calibration": calibration}


def batch(boundary: int, rows: int) -> TrainingBatch:
    inputs = (boundary * 1_000 + np.arange(rows, dtype=np.float32))[:, None]
    return TrainingBatch(boundary, inputs, np.zeros(rows, np.uint8))


@pytest.mark.parametrize("sizes", [[], [0], [5], [400, 0, 350, 7], [4_000] * 8])
def test_no_more_rows_are_asked_of_than_allowed_and_each_once(sizes: list[int]) -> None:
    found = draw_sample(sizes, 40, seed=7, boundary=20_001)
    assert len(found) == len(sizes)
    assert sum(len(rows) for rows in found) == min(sum(sizes), 40 * PREDICTED_PER_LABEL)
    for rows, size in zip(found, sizes, strict=True):
        assert (np.diff(rows) > 0).all()
        assert not len(rows) or (rows[0] >= 0 and rows[-1] < size)


def test_who_is_asked_follows_from_seed_and_boundary_and_is_drawn_evenly() -> None:
    def drawn(seed: int, boundary: int) -> list[list[int]]:
        return [rows.tolist() for rows in draw_sample([1_000, 3_000], 40, seed=seed, boundary=boundary)]

    assert drawn(7, 1) == drawn(7, 1)
    assert drawn(7, 1) != drawn(7, 2)
    assert drawn(7, 1) != drawn(8, 1)
    first = sum(len(drawn(7, boundary)[0]) for boundary in range(100))
    assert first == pytest.approx(100 * 40 * PREDICTED_PER_LABEL / 4, rel=0.05)
    assert [len(rows) for rows in draw_sample([10, 10], 0, seed=7, boundary=1)] == [0, 0]


def test_what_is_beyond_the_limit_is_left_out_and_counted() -> None:
    some = Sample([Remembering()], 40)
    assert some.split(30) == (30, 0)
    assert some.split(1_000) == (40, 960)
    assert Sample([], 40).split(30) == (0, 30)
    some.learn(batch(1, 40), left_out=960)
    some.learn(batch(2, 30), left_out=0)
    assert (some.learned, some.left_out) == (70, 960)


def test_a_candidate_is_relieved_by_one_that_has_learned_a_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "GENERATION", 100)
    candidate = Remembering()
    some = Sample([candidate], 40)
    sizes = []
    for boundary in range(1, 30):
        some.learn(batch(boundary, 40 if boundary % 2 else 30), left_out=0)
        sizes.append(len(candidate.elder))
        kept = [value for one in some.batches for value in one.inputs[:, 0].tolist()]
        assert candidate.elder == kept  # what is kept is what the candidate is, no more and no less
    assert max(sizes) < 2 * (100 + 40)
    assert min(sizes[4:]) >= 100


@pytest.mark.parametrize("until", range(1, 25))
def test_taught_again_a_candidate_is_what_it_was_wherever_it_is_cut(
    monkeypatch: pytest.MonkeyPatch, until: int
) -> None:
    monkeypatch.setattr(sample, "GENERATION", 100)
    one, other = Remembering(), Remembering()
    straight, again = Sample([one], 40), Sample([other], 40)
    for boundary in range(1, 30):
        straight.learn(batch(boundary, 33), left_out=5)
        if boundary == until:
            again.restore(np.array([straight.learned, straight.left_out]), straight.batches)
        elif boundary > until:
            again.learn(batch(boundary, 33), left_out=5)
    assert (other.elder, other.younger) == (one.elder, one.younger)
    assert [kept.boundary for kept in again.batches] == [kept.boundary for kept in straight.batches]
    assert (again.learned, again.left_out) == (29 * 33, 29 * 5)


def test_what_a_restart_must_teach_stays_within_seconds() -> None:
    # Elder and successor learn at most this many rows; some 0.4 ms each (docs/adr/0018).
    assert 3 * GENERATION * 0.0004 < 4
