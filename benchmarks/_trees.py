"""River's trees on a recorded log: do they, or their mean with the champion, rank customers better?

The learner's own tree and forest follow the same labels at the same boundaries as the other candidates, through the
same sample (`online_ml.learning.sample`): with few labels a boundary, and with many more.
Unlike in the learner they predict every customer of the tested snapshots, so that all are judged on the same pairs.
"""

import time
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from online_ml.candidates import SampledCandidate, sampled
from online_ml.learning.learner import Step
from online_ml.learning.sample import Sample
from online_ml.scoring.inputs import design
from online_ml.scoring.scorer import sigmoid

FEW = 40
MANY = 200
"""Labels of a boundary that the second pair learns, in some 0.15 seconds."""
Floats = npt.NDArray[np.float64]


class _Timed:
    """A candidate whose learning is timed."""

    servable = False

    def __init__(self, candidate: SampledCandidate, name: str) -> None:
        self.name = name
        self.seconds = 0.0
        self.logits = candidate.logits
        self.renew = candidate.renew
        self.payload = candidate.payload
        self._candidate = candidate

    def learn_matrix(self, inputs: npt.NDArray[np.floating], labels: npt.NDArray[np.uint8]) -> None:
        began = time.process_time()
        self._candidate.learn_matrix(inputs, labels)
        self.seconds += time.process_time() - began


@dataclass
class Trees:
    """The slow candidates of churn, trained at a stream's boundaries.

    Parameters
    ----------
    tested
        Days of the snapshots that they predict.
    """

    tested: list[int]
    seed: int = 7
    predictions: dict[int, dict[str, dict[str, float]]] = field(default_factory=dict)
    """By day and name of model, the probability by customer."""

    def __post_init__(self) -> None:
        self._samples = [
            Sample([_Timed(tree, f"{tree.name}, {limit} a day") for tree in sampled("churn", self.seed)], limit)
            for limit in (FEW, MANY)
        ]

    @property
    def seconds(self) -> dict[str, float]:
        """By name of model, CPU seconds spent on learning."""
        return {tree.name: tree.seconds for tree in self._timed()}

    def spent(self) -> dict[str, float]:
        """Return milliseconds a label by name of model, including its successor's learning."""
        return {
            tree.name: 1e3 * tree.seconds / max(sample.learned, 1)
            for sample in self._samples
            for tree in sample.candidates
            if isinstance(tree, _Timed)
        }

    def learned(self) -> list[int]:
        """Return the labels learned with each limit."""
        return [sample.learned for sample in self._samples]

    def follow(self, step: Step) -> None:
        """Learn the labels that matured at a boundary, then predict its snapshot if it is a tested one."""
        for judged in step.judged:
            if judged.target == "churn":
                order = np.random.default_rng([self.seed, step.boundary]).permutation(len(judged.part.labels))
                for sample in self._samples:
                    sample.follow(step.boundary, order, judged.features, judged.part.labels)
        if step.boundary in self.tested:
            names = [name for chunk in step.taken for name in chunk.snapshot.customer_ids.to_pylist()]
            inputs = np.concatenate([design(chunk.snapshot.features) for chunk in step.taken])
            self.predictions[step.boundary] = {
                tree.name: dict(zip(names, sigmoid(tree.logits(inputs)).tolist(), strict=True))
                for tree in self._timed()
            }

    def of(self, name: str, day: int, customers: list[str]) -> Floats:
        """Return a model's predictions of these customers at a tested snapshot."""
        return np.array([self.predictions[day][name][customer] for customer in customers])

    def _timed(self) -> list[_Timed]:
        return [tree for sample in self._samples for tree in sample.candidates if isinstance(tree, _Timed)]


def mean(first: Floats, second: Floats) -> Floats:
    """Return the mean of two probabilities, taken in logits."""
    logits = [np.log(p / (1 - p)) for p in (np.clip(side, 0.001, 0.999) for side in (first, second))]
    return np.asarray(1 / (1 + np.exp(-(logits[0] + logits[1]) / 2)))
