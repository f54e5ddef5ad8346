"""River's trees on a recorded log: do they, or their mean with what serves, rank customers better?

A Hoeffding adaptive tree, an adaptive random forest (ARF) and an aggregated Mondrian forest (AMF), forests of ten
trees, learn the same labels at the same boundaries as Ebb's candidates, from the features as they are. They take 0.1 to
some milliseconds a label, so each learns an even sample, about `LEARNED` labels of the whole log, and says how many it
left out.
"""

import time
from typing import Any

import numpy as np
import numpy.typing as npt
from river import forest, tree

from online_ml.learner import Step

LEARNED = 15_000
Floats = npt.NDArray[np.float64]


class Trees:
    """Three tree models that follow a stream's boundaries.

    Parameters
    ----------
    boundaries
        How many there are to come, about: the sample is spread over them.
    tested
        Days of the snapshots that they predict.
    """

    def __init__(self, boundaries: int, tested: list[int], *, seed: int = 7) -> None:
        self.said: dict[int, dict[str, dict[str, float]]] = {}
        """By day and name of model, the probability by customer."""
        self.learned = self.skipped = 0
        self.seconds: dict[str, float] = {}
        self._models: dict[str, Any] = {
            "Hoeffding tree": tree.HoeffdingAdaptiveTreeClassifier(grace_period=100, seed=seed),
            "ARF": forest.ARFClassifier(n_models=10, seed=seed),
            "AMF": forest.AMFClassifier(n_estimators=10, seed=seed),
        }
        self._share = max(LEARNED // max(boundaries, 1), 20)
        self._tested = set(tested)
        self._seed = seed

    def follow(self, step: Step) -> None:
        """Learn what matured at a boundary, then predict its snapshot if it is one that is tested."""
        for one in step.judged:
            if one.target == "churn":
                rng = np.random.default_rng([self._seed, step.boundary])
                count = min(self._share, len(one.part.labels))
                rows = rng.choice(len(one.part.labels), count, replace=False)
                self.learned, self.skipped = self.learned + count, self.skipped + len(one.part.labels) - count
                pairs = list(zip(_rows(one.features[rows]), one.part.labels[rows].tolist(), strict=True))
                for name, model in self._models.items():
                    began = time.perf_counter()
                    for row, label in pairs:
                        model.learn_one(row, label)
                    self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began
        if step.boundary in self._tested:
            names = [name for chunk in step.taken for name in chunk.snapshot.customer_ids]
            rows_of = [row for chunk in step.taken for row in _rows(chunk.snapshot.features)]
            self.said[step.boundary] = {
                name: dict(zip(names, [_chance(model.predict_proba_one(row)) for row in rows_of], strict=True))
                for name, model in self._models.items()
            }

    def of(self, name: str, day: int, customers: list[str]) -> Floats:
        """Return what a model said of these customers at a tested snapshot."""
        return np.array([self.said[day][name][customer] for customer in customers])


def mean(first: Floats, second: Floats) -> Floats:
    """Return the probability half way between two, in logits."""
    logits = [np.log(p / (1 - p)) for p in (np.clip(one, 0.001, 0.999) for one in (first, second))]
    return np.asarray(1 / (1 + np.exp(-(logits[0] + logits[1]) / 2)))


def _rows(features: npt.NDArray[np.float32]) -> list[dict[int, float]]:
    return [dict(enumerate(row)) for row in np.nan_to_num(features).astype(np.float64).tolist()]


def _chance(said: dict[Any, float]) -> float:
    return said.get(1, 0.0) if said else 0.5
