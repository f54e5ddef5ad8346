"""An exported model as a River estimator: it scores as a worker does, learns on, and refuses what is no export."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from river import base, checks, preprocessing

from ebb.contracts.features import NAMES, WIDTH
from ebb.contracts.models import TARGETS, ModelSnapshot, Target
from ebb.errors import CorruptError, EbbError, SchemaMismatchError, SourceError
from online_ml.candidates import candidates, sampled
from online_ml.exported import PULL, DesignInputs, ExportedLogistic, load_estimator
from online_ml.scoring.inputs import INPUTS, design
from online_ml.scoring.scorer import load
from tests.support.sender import make_model

CALIBRATION = (0.8, -0.3)


def features(rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).gamma(1, 5, (rows, WIDTH)).astype(np.float32)


def exported(name: str, target: Target = "churn") -> ModelSnapshot:
    """Return a version as the registry has it, of a candidate that has learned something."""
    candidate = next(one for one in [*candidates(target), *sampled(target, 7)] if one.name == name)
    inputs = design(features(640, 1)).astype(np.float64)
    labels = (inputs[:, 0] + np.random.default_rng(2).normal(size=640) > 1.5).astype(np.uint8)
    for start in range(0, 640, 64):
        candidate.learn_matrix(inputs[start : start + 64], labels[start : start + 64])
    payload = candidate.payload(CALIBRATION)
    return make_model(name, name=f"{target}.{name}", target=target, payload=payload).sealed()


@pytest.fixture
def written(tmp_path: Path) -> Callable[[ModelSnapshot], Path]:
    def write(snapshot: ModelSnapshot) -> Path:
        path = tmp_path / f"{snapshot.name}.json"
        path.write_bytes(snapshot.encode())
        return path

    return write


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", [candidate.name for candidate in candidates("churn")])
def test_a_loaded_estimator_predicts_what_the_scorer_does(
    name: str, target: Target, written: Callable[[ModelSnapshot], Path]
) -> None:
    snapshot = exported(name, target)
    estimator = load_estimator(written(snapshot))
    rows = features(50)
    inputs = design(rows).astype(np.float64)
    expected = load(snapshot).score(inputs)
    frame = pd.DataFrame(inputs, columns=[item.name for item in INPUTS])
    assert np.abs(estimator.predict_proba_many(frame)[True] - expected).max() < 1e-9
    pipeline: Any = DesignInputs() | load_estimator(json.loads(snapshot.encode()))
    many = pipeline.predict_proba_many(pd.DataFrame(rows, columns=list(NAMES)))[True]
    assert np.abs(many - expected).max() < 1e-9
    one = [pipeline.predict_proba_one(dict(zip(NAMES, row, strict=True)))[True] for row in rows.tolist()]
    assert np.abs(np.array(one) - expected).max() < 1e-9
    assert np.abs(many - load(snapshot).predict(rows)).max() < 1e-4  # single precision


def checked() -> list[Any]:
    exports = {
        "DesignInputs": DesignInputs(),
        "DesignInputs-ExportedLogistic": DesignInputs() | load_estimator(exported("logistic").model_dump()),
        "ExportedLogistic": ExportedLogistic(),
        "exported": load_estimator(exported("logistic").model_dump()),
        "scaler-ExportedLogistic": preprocessing.StandardScaler() | ExportedLogistic(),
    }
    return [
        pytest.param(estimator, check, id=f"{name}-{number}-{check.__name__}")
        for name, estimator in exports.items()
        for number, check in enumerate(checks.yield_checks(estimator))
        # As of the linear candidates (tests/contract/online_ml/test_river.py): a step on a batch is another step.
        if check.__name__ != "check_learn_many_matches_learn_one" or name == "DesignInputs"
    ]


@pytest.mark.parametrize(("estimator", "check"), checked())
def test_it_passes_rivers_checks(estimator: base.Estimator, check: Callable[[base.Estimator], None]) -> None:
    check(estimator.clone())


def test_it_learns_on_from_the_export_as_fast_as_it_is_told() -> None:
    model = exported("recency").model_dump()
    [name] = model["payload"]["inputs"]
    rng = np.random.default_rng(4)
    rows = pd.DataFrame({name: rng.normal(scale=2, size=4_000)})
    labels = pd.Series(rng.random(4_000) < 1 / (1 + np.exp(0.7 * rows[name] - 0.2)))  # another law: silence is loyalty
    asked = pd.DataFrame({name: [-2.0, 0.0, 2.0]})
    law = 1 / (1 + np.exp(0.7 * asked[name] - 0.2))

    def distance(pull: float, learned: int) -> tuple[float, float]:
        estimator = load_estimator(model, pull=pull)
        start = estimator.predict_proba_many(asked)[True]
        for begin in range(0, learned, 100):
            estimator.learn_many(rows[begin : begin + 100], labels[begin : begin + 100])
        chances = estimator.predict_proba_many(asked)[True]
        assert (estimator.clone().predict_proba_many(asked)[True] == start).all()  # a clone begins as the export
        return float(np.abs(chances - start).max()), float(np.abs(chances - law).max())

    assert distance(PULL, 0)[0] == 0
    assert distance(PULL, 4_000)[1] < 0.05
    assert distance(1e9, 4_000)[0] < 1e-3
    moved = [distance(pull, 200)[0] for pull in (1, PULL, 10_000)]
    assert moved[0] > moved[1] > moved[2] > 0


def test_features_that_are_missing_or_beyond_all_bounds_leave_it_finite() -> None:
    pipeline: Any = DesignInputs() | load_estimator(exported("logistic").model_dump())
    nothing = pipeline.predict_proba_one({})
    assert nothing == pipeline.predict_proba_one(dict.fromkeys(NAMES, 0))
    assert nothing == pipeline.predict_proba_one({NAMES[0]: float("nan"), NAMES[1]: None, "unheard_of": 3})
    assert 0 < pipeline.predict_proba_one(dict.fromkeys(NAMES, 1e300))[True] < 1


def test_a_file_that_is_not_there_is_named_with_how_to_write_one(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"none\.json cannot be read: No such file") as refused:
        load_estimator(tmp_path / "none.json")
    assert "ebb models export" in refused.value.hint


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        (b"name,version\nchurn.logistic,3\n", CorruptError, "none that was exported"),
        (b'{"weights": [1.0]}', CorruptError, "none that was exported"),
        (pickle.dumps({"weights": [1.0]}), CorruptError, "none that was exported"),
        (exported("recency").encode().replace(b'"version":3', b'"version":4'), CorruptError, "fails its checksum"),
        (
            exported("recency").model_copy(update={"schema_hash": "0" * 16}).encode(),
            SchemaMismatchError,
            "was trained on feature schema",
        ),
        (exported("tree").encode(), SchemaMismatchError, r"churn\.tree, is judged beside the others"),
        (
            exported("recency").model_copy(update={"payload": {"kind": "tree"}}).encode(),
            SchemaMismatchError,
            "of kind 'tree'",
        ),
    ],
)  # fmt: skip
def test_a_file_that_holds_no_model_to_score_with_is_refused_with_what_to_do(
    body: bytes, error: type[EbbError], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.json"
    path.write_bytes(body)
    with pytest.raises(error, match=message) as refused:
        load_estimator(path)
    assert refused.value.what.startswith(f"The model in {path}")
    assert refused.value.hint
    assert "The model in use stays" not in str(refused.value)


def test_weights_without_inputs_are_refused() -> None:
    with pytest.raises(ValueError, match="2 weights do not fit 1 inputs"):
        ExportedLogistic(["log_recency_days"], [0.1, 0.2])


def test_a_dictionary_that_json_cannot_hold_is_refused() -> None:
    with pytest.raises(CorruptError, match="holds what JSON has no form for"):
        load_estimator({"payload": object()})
