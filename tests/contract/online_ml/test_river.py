"""Every candidate is a River estimator: it passes River's own checks, alone and in a pipeline, and learns the same.

River's checks bring data of their own, whose features are no inputs of Ebb's. So each kind of candidate is checked with
whatever features come, alone and behind a scaler; and each candidate as the learner makes it, for which they are names
to ignore.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from river import base, checks, linear_model, metrics, preprocessing
from river.datasets import Phishing
from river.evaluate import progressive_val_score

from ebb.contracts.models import TARGETS, Target
from online_ml.candidates import candidates, sampled
from online_ml.candidates.adam import AdamLogistic
from online_ml.candidates.baselines import PriorRate
from online_ml.candidates.columns import ColumnSelector
from online_ml.candidates.estimator import MatrixClassifier
from online_ml.candidates.forest import AdaptiveForest
from online_ml.candidates.hoeffding import HoeffdingTree
from online_ml.candidates.logistic import Logistic
from online_ml.scoring.inputs import INPUTS, design
from online_ml.scoring.scorer import sigmoid
from tests.support.examples import FIRST_DAY, World

WORLD = World(rows=60)
NAMES = [item.name for item in INPUTS]
KINDS = (Logistic, AdamLogistic, PriorRate, HoeffdingTree, AdaptiveForest)
LEARN_ALL = [candidate.name for candidate in candidates("churn")]
LEARN_SOME = [candidate.name for candidate in sampled("churn", 7)]


def as_served(target: Target = "churn") -> dict[str, Any]:
    return {candidate.name: candidate for candidate in [*candidates(target), *sampled(target, 7)]}


def estimators() -> Iterator[tuple[str, Any]]:
    for kind in KINDS:
        yield kind.__name__, kind()
        yield f"scaler-{kind.__name__}", preprocessing.StandardScaler() | kind()
    yield from as_served().items()


def checked() -> Iterator[Any]:
    for name, estimator in estimators():
        for number, check in enumerate(checks.yield_checks(estimator)):
            if check.__name__ not in estimator._unit_test_skips():
                yield pytest.param(estimator, check, id=f"{name}-{number}-{check.__name__}")


@pytest.mark.parametrize(("estimator", "check"), list(checked()))
def test_a_candidate_passes_rivers_checks(estimator: base.Estimator, check: Callable[[base.Estimator], None]) -> None:
    check(estimator.clone())


def test_no_check_is_left_out_but_the_one_that_rivers_own_logistic_regression_leaves_out() -> None:
    # It asks that a batch teach what its rows would one by one, and a step on a batch is another step.
    rivers_own: Any = linear_model.LogisticRegression()
    rivers = rivers_own._unit_test_skips()
    assert rivers == {"check_learn_many_matches_learn_one"}
    for name, estimator in estimators():
        linear = name.removeprefix("scaler-") in {"Logistic", "AdamLogistic"} or name in set(LEARN_ALL) - {"prior"}
        assert estimator._unit_test_skips() == (rivers if linear else set()), name


@pytest.mark.parametrize("target", TARGETS)
def test_every_candidate_is_a_classifier_of_rivers_mini_batches_if_it_learns_all(target: Target) -> None:
    for name, candidate in as_served(target).items():
        assert isinstance(candidate, base.MiniBatchClassifier if name in LEARN_ALL else base.Classifier)


def batches(count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    days = range(FIRST_DAY, FIRST_DAY + count)
    return [(design(WORLD.features(0, day)).astype(np.float64), WORLD.labels("churn", 0, day)) for day in days]


def framed(inputs: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(inputs, columns=NAMES)


@pytest.mark.parametrize("name", LEARN_ALL)
def test_a_data_frame_teaches_what_the_matrix_of_its_rows_teaches(name: str) -> None:
    matrices, frames = as_served()[name], as_served()[name]
    for inputs, labels in batches(8):
        matrices.learn_matrix(inputs, labels)
        shuffled = framed(inputs).sample(frac=1, axis="columns", random_state=3).assign(unheard_of=1.0)
        frames.learn_many(shuffled, pd.Series(labels == 1))
    state = matrices.state()
    assert {key: value.tobytes() for key, value in frames.state().items()} == {k: v.tobytes() for k, v in state.items()}
    chances = frames.predict_proba_many(framed(inputs).set_index(np.arange(60) + 7))
    assert chances[True].to_numpy() == pytest.approx(sigmoid(matrices.logits(inputs)), abs=1e-12)
    assert chances.index.tolist() == list(range(7, 67))
    assert [frames.predict_proba_one(row)[True] for row in framed(inputs).to_dict("records")] == pytest.approx(
        chances[True].tolist(), abs=1e-12
    )


@pytest.mark.parametrize("name", [*LEARN_ALL, *LEARN_SOME])
def test_a_row_by_name_teaches_what_a_matrix_of_one_row_teaches(name: str) -> None:
    matrices, rows = as_served()[name], as_served()[name]
    for number, (inputs, labels) in enumerate(batches(4)):
        for place in range(len(labels)):
            matrices.learn_matrix(inputs[place : place + 1], labels[place : place + 1])
        for row, label in zip(framed(inputs).to_dict("records"), labels.tolist(), strict=True):
            rows.learn_one(dict(reversed(row.items())) | {"unheard_of": 1.0}, bool(label))
        if number == 1 and name in LEARN_SOME:
            matrices.renew()
            rows.renew()
    chances = [rows.predict_proba_one(row)[True] for row in framed(inputs).to_dict("records")]
    assert chances == pytest.approx(sigmoid(matrices.logits(inputs)).tolist(), abs=1e-12)
    assert len({round(chance, 6) for chance in chances}) > (1 if name != "prior" else 0)


@pytest.mark.parametrize("name", [*LEARN_ALL, *LEARN_SOME])
def test_what_is_missing_or_no_number_counts_as_0(name: str) -> None:
    candidate = as_served()[name]
    for inputs, labels in batches(3):
        candidate.learn_matrix(inputs, labels)
    [whole] = framed(inputs[:1] * (np.arange(len(NAMES)) % 3 > 0)).to_dict("records")
    lacking = {key: value for key, value in whole.items() if value}
    broken = {key: value or (np.nan, None, np.inf)[number % 3] for number, (key, value) in enumerate(whole.items())}
    chance = candidate.predict_proba_one(whole)
    assert candidate.predict_proba_one(lacking) == chance
    assert candidate.predict_proba_one(broken) == chance
    assert candidate.predict_proba_one({}) == candidate.predict_proba_one(dict.fromkeys(NAMES, 0.0))
    if name in LEARN_ALL:
        before = {key: value.tobytes() for key, value in candidate.state().items()}
        candidate.learn_many(pd.DataFrame(columns=NAMES), pd.Series(dtype=bool))
        assert {key: value.tobytes() for key, value in candidate.state().items()} == before


@pytest.mark.parametrize("kind", [Logistic, AdamLogistic])
def test_a_name_that_comes_late_was_0_until_then(kind: Callable[..., MatrixClassifier]) -> None:
    names = ["b", "a", "d", "c"]
    growing, knowing = kind(), kind(inputs=names)
    rng = np.random.default_rng(2)
    for number in range(60):
        rows = pd.DataFrame(rng.normal(size=(20, 4)), columns=names)[names[: 1 + number // 15]]
        labels = pd.Series(rng.random(20) < sigmoid(rows.sum(axis=1).to_numpy()))
        growing.learn_many(rows, labels)
        knowing.learn_many(rows, labels)
    assert growing.inputs is None  # what it was made with, so that a clone begins as it did
    asked = pd.DataFrame(rng.normal(size=(50, 4)), columns=names)
    expected = knowing.predict_proba_many(asked)[True].to_numpy()
    assert growing.predict_proba_many(asked)[True].to_numpy() == pytest.approx(expected, abs=1e-9)
    assert np.ptp(expected) > 0.1


@pytest.mark.parametrize("kind", [Logistic, AdamLogistic])
def test_without_names_there_is_no_matrix_and_no_restoring(kind: Callable[..., Any]) -> None:
    candidate = kind()
    [(inputs, labels)] = batches(1)
    with pytest.raises(ValueError, match="inputs that are named"):
        candidate.learn_matrix(inputs, labels)
    with pytest.raises(ValueError, match="inputs that are named"):
        kind(inputs=["another_name"]).logits(inputs)
    with pytest.raises(ValueError, match="not named"):
        candidate.restore(kind(inputs=["log_recency_days"]).state())


def test_columns_are_met_once_and_in_their_order() -> None:
    columns = ColumnSelector(None)
    assert [columns.meet(names) for names in (["b", "a"], ["a", "c"], ["c"])] == [2, 1, 0]
    assert columns.names == ["b", "a", "c"]
    assert ColumnSelector(["b"]).meet(["a"]) == 0


def test_a_candidate_learns_in_a_pipeline_better_than_rivers_own_model() -> None:
    def loss(model: base.Classifier) -> float:
        scaled: Any = preprocessing.StandardScaler() | model
        metric: Any = metrics
        return float(progressive_val_score(Phishing(), scaled, metric.LogLoss()).get())

    assert loss(Logistic(horizon_days=1)) < 0.9 * loss(linear_model.LogisticRegression())
