"""The champion rule, and the window it looks at."""

import numpy as np
import pytest

from online_ml.candidates import candidates, sampled
from online_ml.evaluation.window import BOUNDARIES, LABELS, MaturedPredictions, Window
from online_ml.learning.champion import MIN_CLASS, MIN_LABELS, choose
from online_ml.scoring.scorer import sigmoid

CANDIDATES = candidates("churn")
NAMES = [candidate.name for candidate in CANDIDATES]


def matured(boundary: int, rows: int, sharpness: dict[str, float], *, ones: int | None = None) -> MaturedPredictions:
    """Return labels of a known law, predicted by candidates that know it to different degrees (1: fully, 0: not)."""
    rng = np.random.default_rng(boundary)
    logits = rng.normal(size=rows) * 1.5
    labels = (rng.random(rows) < sigmoid(logits)).astype(np.uint8)
    if ones is not None:
        labels[:] = 0
        labels[:ones] = 1
    logits_by_name = np.stack([sharpness.get(name, 0.0) * logits for name in NAMES])
    probabilities = np.concatenate([sigmoid(logits_by_name), np.full((1, rows), np.nan)])
    return MaturedPredictions(boundary, labels, logits_by_name.astype(np.float32), probabilities.astype(np.float32))


def window(*parts: MaturedPredictions) -> Window:
    filled = Window()
    for part in parts:
        filled.add(part)
    return filled


def spread(boundary: int, rows: int, sharpness: dict[str, float]) -> Window:
    """Return a window of three boundaries with so many labels in all."""
    return window(*(matured(boundary * 10 + index, rows // 3, sharpness) for index in range(3)))


def test_without_enough_labels_there_is_no_champion() -> None:
    assert choose(None, CANDIDATES, Window()) is None
    assert choose(None, CANDIDATES, window(matured(1, MIN_LABELS - 1, {"logistic": 1}))) is None
    assert choose(None, CANDIDATES, window(matured(1, MIN_LABELS, {"logistic": 1}))) == "logistic"


def test_without_enough_of_each_class_there_is_no_champion() -> None:
    assert choose(None, CANDIDATES, window(matured(1, 2_000, {}, ones=MIN_CLASS - 1))) is None
    assert choose(None, CANDIDATES, window(matured(1, 2_000, {}, ones=MIN_CLASS))) is not None


def test_the_preferred_candidate_begins_unless_another_is_clearly_better() -> None:
    alike = {"logistic": 1.0, "recency": 1.0}
    assert choose(None, CANDIDATES, window(matured(1, 600, alike))) == "logistic"
    assert choose(None, CANDIDATES, spread(1, 600, {"recency": 1.0})) == "recency"


def test_a_clearly_better_challenger_is_promoted_and_demoted_by_the_same_rule() -> None:
    good = spread(1, 3_000, {"logistic": 0.2, "count": 1.0, "recency": 0.5})
    assert choose("logistic", CANDIDATES, good) == "count"
    back = spread(2, 3_000, {"logistic": 1.0, "count": 0.2})
    assert choose("count", CANDIDATES, back) == "logistic"


def test_a_challenger_that_is_better_by_chance_is_not_promoted() -> None:
    choices = [
        choose("logistic", CANDIDATES, spread(seed, 600, {"logistic": 0.95, "recency": 1.0})) for seed in range(20)
    ]
    assert choices.count("logistic") >= 19


def test_a_baseline_that_cannot_serve_is_never_champion() -> None:
    # Everybody else is certain and wrong half of the time; the prior rate alone is right.
    parts = [matured(boundary, 2_000, {}) for boundary in range(3)]
    for part in parts:
        part.probabilities[:-1] = np.where(np.arange(2_000) % 2, 0.99, 0.01)
        part.probabilities[NAMES.index("prior")] = 0.5
    assert choose("logistic", CANDIDATES, window(*parts)) == "logistic"


def test_too_little_evidence_in_the_window_leaves_the_champion() -> None:
    few = spread(1, MIN_LABELS - 1, {"recency": 1.0})
    assert choose("logistic", CANDIDATES, few) == "logistic"


def test_the_window_holds_whole_boundaries_and_as_few_as_fill_it() -> None:
    recent = Window()
    for boundary in range(7):
        recent.add(matured(boundary, LABELS // 4, {}))
    assert [part.boundary for part in recent.parts] == [3, 4, 5, 6]
    assert recent.size == LABELS
    recent.add(matured(7, LABELS * 2, {}))
    # However large the last, the rule needs three.
    assert [part.boundary for part in recent.parts] == [5, 6, 7]
    assert recent.size == len(recent.labels()) == 2 * LABELS + 2 * (LABELS // 4)


def test_the_window_forgets_after_so_many_boundaries_however_few_their_labels() -> None:
    recent = Window()
    for boundary in range(BOUNDARIES + 5):
        recent.add(matured(boundary, 2, {}))
    assert (len(recent.parts), recent.parts[0].boundary, recent.size) == (BOUNDARIES, 5, 2 * BOUNDARIES)


@pytest.mark.parametrize("index", [0, 3])
def test_the_window_gives_predictions_oldest_first(index: int) -> None:
    parts = [matured(boundary, 5, {NAMES[index]: 1.0}) for boundary in range(3)]
    recent = window(*parts)
    assert recent.labels().tolist() == [label for part in parts for label in part.labels.tolist()]
    expected = np.concatenate([part.probabilities[index] for part in parts])
    assert np.array_equal(recent.probabilities(index), expected)


def test_labels_that_share_a_horizon_are_less_evidence() -> None:
    good = spread(1, 1_500, {"logistic": 0.6, "count": 1.0})
    assert choose("logistic", CANDIDATES, good) == "count"
    assert choose("logistic", CANDIDATES, good, share=1 / 60) == "logistic"


def test_one_boundary_alone_is_no_evidence_however_many_its_labels() -> None:
    sharpness = {"logistic": 0.2, "count": 1.0}
    assert choose("logistic", CANDIDATES, window(matured(1, 5_000, sharpness))) == "logistic"
    assert choose("logistic", CANDIDATES, spread(1, 5_000, sharpness)) == "count"


def test_a_tree_is_never_promoted_however_good_on_its_sample() -> None:
    slow = sampled("churn", 7)
    every = [*CANDIDATES, *slow]
    rng = np.random.default_rng(1)
    filled = Window()
    for boundary in range(10):
        labels = rng.integers(0, 2, 900).astype(np.uint8)
        probabilities = np.full((len(every) + 1, 900), 0.5, np.float32)
        probabilities[len(CANDIDATES) : len(every)] = np.where(labels, 0.99, 0.01)
        probabilities[len(CANDIDATES) : len(every), 200:] = np.nan
        filled.add(MaturedPredictions(boundary, labels, probabilities[:-1], probabilities))
    assert choose(None, every, filled) == "logistic"
    assert choose("logistic", every, filled) == "logistic"


@pytest.mark.parametrize("rows", [6_000, LABELS // 2 + 1, LABELS + 5, 60_000])
def test_an_inverted_champion_is_replaced_however_many_labels_a_boundary_has(rows: int) -> None:
    filled = window(*(matured(boundary, rows, {"logistic": -1.0, "recency": 1.0}) for boundary in range(5)))
    assert choose("logistic", CANDIDATES, filled) == "recency"
