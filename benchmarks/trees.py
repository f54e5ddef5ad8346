"""Do the trees show that the linear candidates miss something? Laws that no sum of inputs draws, labels by the day.

Customers are random, their labels follow a known law of recency, activity and tenure. Every day, all models predict the
customers, then learns; from day `JUDGED_FROM` on they are judged, all on the same rows. Where the truth ranks much
better than `logistic`, there is something to find, and a tree or forest that ranks better than `logistic` finds it.
"""

import json
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from benchmarks._trees import FEW, MANY
from ebb.contracts.features import INDEX, WIDTH
from online_ml.candidates import PREFERRED, candidates, sampled
from online_ml.evaluation.metrics import roc_auc
from online_ml.learning.sample import Sample
from online_ml.scoring.inputs import design
from online_ml.scoring.scorer import sigmoid

Floats = npt.NDArray[np.float64]
ROWS, DAYS, JUDGED_FROM = 1_000, 90, 30
OLD_DAYS, ACTIVE = 75, 2.8
"""About the medians of tenure and decayed activity, at which the laws turn."""
SLOPE = 2.0


def _silence(features: npt.NDArray[np.float32]) -> Floats:
    return np.log1p(features[:, INDEX["recency_days"]].astype(np.float64)) - 1.4


def _old(features: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    return features[:, INDEX["tenure_days"]] > OLD_DAYS


def _crossed(features: npt.NDArray[np.float32]) -> Floats:
    """Return 1 where a customer is either old or active, -1 where both or neither."""
    return np.where(_old(features) ^ (features[:, INDEX["active_hl14"]] > ACTIVE), 1.0, -1.0)


LAWS: dict[str, Callable[[npt.NDArray[np.float32]], Floats]] = {
    "silence": lambda features: SLOPE * _silence(features),
    "silence of newcomers only": lambda features: np.where(_old(features), 0, 2 * SLOPE * _silence(features)),
    "silence, turned for the old": lambda features: np.where(_old(features), -1.5, 3.0) * _silence(features),
    "silence and a crossing": lambda features: SLOPE * _silence(features) + _crossed(features),
    "half of it, more crossing": lambda features: SLOPE / 2 * _silence(features) + 1.5 * _crossed(features),
    "a crossing alone": lambda features: SLOPE * _crossed(features),
}


def main() -> None:
    """Measure and print."""
    found = {name: _areas(law) for name, law in LAWS.items()}
    columns = list(found["silence"])
    print(f"{'ROC-AUC':30}" + "".join(f"{column:>14}" for column in columns))
    for name, areas in found.items():
        print(f"{name:30}" + "".join(f"{areas[column]:14.3f}" for column in columns))
    print(json.dumps({name.replace(" ", "_").replace(",", ""): areas for name, areas in found.items()}))


def _areas(law: Callable[[npt.NDArray[np.float32]], Floats]) -> dict[str, float]:
    """Return the ROC-AUC by model, the truth's first."""
    learners = {PREFERRED: next(one for one in candidates("churn") if one.name == PREFERRED)}
    samples = {limit: Sample(sampled("churn", 7), limit) for limit in (FEW, MANY)}
    slow = {f"{one.name}, {limit}": one for limit, sample in samples.items() for one in sample.candidates}
    logits: dict[str, list[Floats]] = {name: [] for name in ("truth", *learners, *slow)}
    labels = []
    for day in range(DAYS):
        features = _customers(day)
        inputs = np.ascontiguousarray(design(features), dtype=np.float64)
        truth = law(features)
        outcomes = (np.random.default_rng([5, day]).random(ROWS) < sigmoid(truth)).astype(np.uint8)
        if day >= JUDGED_FROM:
            labels.append(outcomes)
            logits["truth"].append(truth)
            for name, model in {**learners, **slow}.items():
                logits[name].append(model.logits(inputs))
        for learner in learners.values():
            learner.age(1)
            learner.learn_matrix(inputs, outcomes)
        order = np.random.default_rng([7, day]).permutation(ROWS)
        for sample in samples.values():
            sample.follow(day, order, features, outcomes)
    areas = {name: roc_auc(np.concatenate(said), np.concatenate(labels)) for name, said in logits.items()}
    return {name: round(area, 3) for name, area in areas.items() if area is not None}


def _customers(day: int) -> npt.NDArray[np.float32]:
    rng = np.random.default_rng([3, day])
    features = rng.gamma(1.0, 4.0, (ROWS, WIDTH))
    features[:, INDEX["tenure_days"]] = features[:, INDEX["recency_days"]] + rng.gamma(2.0, 40.0, ROWS)
    return features.astype(np.float32)


if __name__ == "__main__":
    main()
