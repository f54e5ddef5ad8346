"""What every candidate must hold, run over each of them."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from ebb.contracts.features import SCHEMA_HASH
from ebb.contracts.models import SERVED, TARGETS, ModelSnapshot, Target
from ebb.errors import SchemaMismatchError
from online_ml.candidates import PREFERRED, Candidate, FullCandidate, candidates, sampled
from online_ml.candidates.adam import BATCH, FLOOR, AdamLogistic, Standardiser
from online_ml.evaluation.metrics import roc_auc
from online_ml.scoring.inputs import INPUTS, design
from online_ml.scoring.scorer import Scorer, load, sigmoid
from tests.support.examples import FIRST_DAY, World

NAMES = [candidate.name for candidate in candidates("churn")]
SAMPLED = [candidate.name for candidate in sampled("churn", 7)]
WORLD = World(rows=128)


def batches(count: int, target: Target = "churn") -> list[tuple[np.ndarray, np.ndarray]]:
    days = range(FIRST_DAY, FIRST_DAY + count)
    return [(np.ascontiguousarray(design(WORLD.features(0, day))), WORLD.labels(target, 0, day)) for day in days]


def fresh(name: str, target: Target = "churn") -> FullCandidate:
    return next(candidate for candidate in candidates(target) if candidate.name == name)


def candidate_named(name: str) -> Candidate:
    return next(candidate for candidate in [*candidates("churn"), *sampled("churn", 7)] if candidate.name == name)


@pytest.mark.parametrize("target", TARGETS)
def test_candidates_have_names_of_their_own_and_one_is_preferred(target: Target) -> None:
    names = [candidate.name for candidate in [*candidates(target), *sampled(target, 7)]]
    assert len(set(names)) == len(names)
    assert PREFERRED in names
    assert SERVED not in names


@pytest.mark.parametrize("name", [*NAMES, *SAMPLED])
def test_an_untrained_candidate_predicts_one_half(name: str) -> None:
    [(inputs, _)] = batches(1)
    assert candidate_named(name).logits(inputs).tolist() == [0.0] * len(inputs)


@pytest.mark.parametrize("name", NAMES)
def test_a_restored_candidate_continues_bit_for_bit(name: str) -> None:
    straight, first, second = fresh(name), fresh(name), fresh(name)
    for index, (inputs, labels) in enumerate(batches(8)):
        straight.learn_matrix(inputs, labels)
        (first if index < 4 else second).learn_matrix(inputs, labels)
        if index == 3:
            second.restore(first.state())
    assert {key: value.tobytes() for key, value in second.state().items()} == {
        key: value.tobytes() for key, value in straight.state().items()
    }
    assert second.payload((1.0, 0.0)) == straight.payload((1.0, 0.0))


@pytest.mark.parametrize("name", NAMES)
def test_a_state_is_numeric_and_is_not_changed_by_later_learning(name: str) -> None:
    candidate = fresh(name)
    (inputs, labels), (more, others) = batches(2)
    candidate.learn_matrix(inputs, labels)
    state = candidate.state()
    before = {key: value.tobytes() for key, value in state.items()}
    candidate.learn_matrix(more, others)
    assert {key: value.tobytes() for key, value in state.items()} == before
    assert all(value.dtype.kind in "iuf" for value in state.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_payload_scores_as_the_candidate_does(name: str) -> None:
    candidate = fresh(name)
    for inputs, labels in batches(6):
        candidate.learn_matrix(inputs, labels)
    scorer = Scorer.from_payload(candidate.payload((0.7, 0.2)), name=name, candidate=name, target="churn", version=1)
    expected = sigmoid(0.7 * candidate.logits(inputs) + 0.2)
    assert np.abs(scorer.predict(WORLD.features(0, FIRST_DAY + 5)) - expected).max() < 1e-4  # single precision


@pytest.mark.parametrize("name", [*NAMES, *SAMPLED])
def test_an_extreme_customer_leaves_a_candidate_finite(name: str) -> None:
    candidate = candidate_named(name)
    extreme = np.ascontiguousarray(design(np.full((2, WORLD.features(0, 0).shape[1]), 3e38, np.float32)))
    for inputs, labels in batches(2):
        candidate.learn_matrix(inputs, labels)
        candidate.learn_matrix(extreme, np.array([0, 1], np.uint8))
    assert np.isfinite(candidate.logits(inputs)).all()
    assert np.isfinite(candidate.logits(extreme)).all()


def test_the_step_without_a_data_frame_is_rivers_step() -> None:
    names = [item.name for item in INPUTS]
    ours, rivers = AdamLogistic("adam", names), AdamLogistic("adam", names)
    for inputs, labels in batches(5):
        inputs, labels = inputs[:BATCH].astype(np.float64), labels[:BATCH]  # noqa: PLW2901 - one step a day
        ours.learn_matrix(inputs, labels)
        rivers._standardiser.learn_many(inputs)
        frame = pd.DataFrame(rivers._standardiser.transform(inputs), columns=names)
        rivers._model.learn_many(frame, pd.Series(labels.astype(np.float64)))
    # Not bit for bit: a data frame hands its matrix on in another memory order, and sums round otherwise.
    assert ours.weights == pytest.approx(rivers.weights, abs=1e-12)
    assert float(ours.state()["intercept"]) == pytest.approx(float(rivers.state()["intercept"]), abs=1e-12)


def test_logits_are_those_of_rivers_own_probabilities() -> None:
    model = AdamLogistic("adam", [item.name for item in INPUTS])
    for inputs, labels in batches(5):
        model.learn_matrix(inputs, labels)
    frame = pd.DataFrame(model._standardiser.transform(inputs.astype(np.float64)), columns=model.inputs)
    rivers: Any = model._model.predict_proba_many(frame)
    assert np.abs(sigmoid(model.logits(inputs)) - rivers[True]).max() < 1e-9


def test_the_prior_rate_is_the_share_of_ones_and_may_not_serve() -> None:
    prior = fresh("prior")
    [(inputs, _)] = batches(1)
    prior.learn_matrix(inputs[:98], np.array([1] * 24 + [0] * 74, np.uint8))
    assert sigmoid(prior.logits(inputs[:1]))[0] == pytest.approx(0.25)
    assert not prior.servable


def test_batches_give_the_moments_of_all_rows() -> None:
    values = np.random.default_rng(3).gamma(2, 3, (1000, 4))
    scaler = Standardiser(4)
    for part in np.split(values, [1, 17, 300, 301]):
        scaler.learn_many(part)
    assert scaler.mean == pytest.approx(values.mean(axis=0))
    assert scaler.scale == pytest.approx(values.std(axis=0))


def test_an_input_that_hardly_varies_is_not_scaled_up() -> None:
    scaler = Standardiser(1)
    scaler.learn_many(np.full((1000, 1), np.log(2)))
    assert scaler.scale.tolist() == [FLOOR]
    assert abs(scaler.transform(np.array([[np.log(3)]]))[0, 0]) < 5


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("index", range(len(SAMPLED)))
def test_a_sampled_candidate_learns_the_signal_and_may_not_serve(target: Target, index: int) -> None:
    candidate = sampled(target, 7)[index]
    for inputs, labels in batches(12, target):
        candidate.learn_matrix(inputs, labels)
    area = roc_auc(
        candidate.logits(np.ascontiguousarray(design(WORLD.features(1, FIRST_DAY)))), WORLD.labels(target, 1, FIRST_DAY)
    )
    assert area is not None
    assert area > 0.65
    assert not candidate.servable
    snapshot = ModelSnapshot(
        name=f"{target}.{candidate.name}", target=target, candidate=candidate.name, version=1, role="challenger",
        schema_hash=SCHEMA_HASH, trained_until=FIRST_DAY, examples=1, metrics={}, payload=candidate.payload((1.0, 0.0)),
    )  # fmt: skip
    with pytest.raises(SchemaMismatchError, match="judged beside the others"):
        load(ModelSnapshot.decode(snapshot.encode()))


@pytest.mark.parametrize("index", range(len(SAMPLED)))
def test_a_renewed_candidate_learned_only_the_batches_of_its_generation(index: int) -> None:
    renewed, later = sampled("churn", 7)[index], sampled("churn", 7)[index]
    all_batches = batches(9)
    for number, (inputs, labels) in enumerate(all_batches):
        renewed.learn_matrix(inputs, labels)
        if number >= 3:
            later.learn_matrix(inputs, labels)
        if number in {2, 5}:
            logits = renewed.logits(inputs)
            renewed.renew()
            assert np.array_equal(renewed.logits(inputs), logits) == (number == 2)
    assert renewed.logits(all_batches[0][0]).tobytes() == later.logits(all_batches[0][0]).tobytes()
