"""A table as a stream: predicted before learned, the same again each time."""

import numpy as np
import pytest

from ebb.errors import SourceError
from online_ml.evaluation import tabular
from online_ml.evaluation.metrics import ece, roc_auc
from online_ml.evaluation.tabular import BATCH, TREES, Spread, passes
from online_ml.scoring.scorer import sigmoid


def table(rows: int = 2_000, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(rows, 5))
    return inputs, (rng.random(rows) < sigmoid(inputs @ [1.5, -1, 0, 0, 0.5] - 1)).astype(np.uint8)


def test_one_pass_finds_nearly_all_there_is_and_says_it_with_calibrated_words() -> None:
    inputs, labels = table(6_000)
    [run] = passes(inputs, labels, shuffles=0, seed=1, trees=False)
    law = inputs @ [1.5, -1, 0, 0, 0.5]
    late = slice(1_200, None)
    best, found = roc_auc(law[late], labels[late]), roc_auc(run.predicted["logistic"][late], labels[late])
    assert best is not None
    assert found == pytest.approx(best, abs=0.005)
    assert ece(run.predicted["logistic"][late], labels[late]) < 0.03


def test_nothing_of_a_row_is_learned_before_it_is_predicted() -> None:
    inputs, labels = table(1_000)
    place = 10 * BATCH
    turned = labels.copy()
    turned[place:] = 1 - turned[place:]
    [run], [other] = (passes(inputs, truth, shuffles=0, seed=1) for truth in (labels, turned))
    for name, said in run.predicted.items():
        upto = place + BATCH
        assert np.array_equal(said[:upto], other.predicted[name][:upto]), name
        assert not np.array_equal(said[upto:], other.predicted[name][upto:]), name


def test_where_labels_are_dealt_at_random_nothing_is_found() -> None:
    inputs, labels = table(4_000)
    labels = np.random.default_rng(5).permutation(labels)
    [run] = passes(inputs, labels, shuffles=0, seed=1, trees=False)
    ones = int(labels.sum())
    width = 3.29 * np.sqrt((len(labels) + 1) / (12 * ones * (len(labels) - ones)))
    assert roc_auc(run.predicted["logistic"], labels) == pytest.approx(0.5, abs=width)


def test_the_same_seed_gives_the_same_run_bit_for_bit_and_another_another() -> None:
    inputs, labels = table(300)
    one, again, other = (list(passes(inputs, labels, shuffles=2, seed=seed)) for seed in (3, 3, 4))
    assert not np.array_equal(one[0].order, one[1].order)
    assert not np.array_equal(one[0].order, other[0].order)
    for first, second in zip(one, again, strict=True):
        assert first.labels.tolist() == labels[first.order].tolist()
        for name, said in first.predicted.items():
            assert said.tobytes() == second.predicted[name].tobytes(), name


def test_too_few_rows_or_one_class_alone_is_refused() -> None:
    inputs, labels = table(200)
    with pytest.raises(SourceError, match="It takes 100 rows"):
        list(passes(inputs[:50], labels[:50], shuffles=1, seed=1))
    with pytest.raises(SourceError, match="0 of them positive"):
        list(passes(inputs, np.zeros_like(labels), shuffles=1, seed=1))


def test_trees_learn_evenly_spread_rows_and_count_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tabular, "LEARNED", 100)
    inputs, labels = table(450)
    model = Spread(TREES["tree"](1), rows=450)
    assert model.predict(inputs[:2]).tolist() == [0.5, 0.5]
    for start in range(0, 450, 7):
        model.learn(inputs[start : start + 7], labels[start : start + 7])
    assert model.skipped == 450 - 90  # every fifth


@pytest.mark.parametrize("name", ["tree", "forest"])
def test_a_tree_ranks_better_than_chance(name: str) -> None:
    inputs, labels = table(900)
    inputs[:, 1] = labels + np.random.default_rng(2).normal(size=900) * 0.3
    model = Spread(TREES[name](1), rows=900)
    model.learn(inputs[:600], labels[:600])
    area = roc_auc(model.predict(inputs[600:]), labels[600:])
    assert area is not None
    assert area > 0.75
