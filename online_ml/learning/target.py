"""The learning of one target: its candidates, their calibration, their metrics, the champion."""

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from ebb.contracts.models import PRIOR, SERVED, Target
from online_ml.candidates import Candidate, candidates, sampled
from online_ml.evaluation.metrics import log_losses
from online_ml.evaluation.tally import Tally
from online_ml.evaluation.window import MaturedPredictions, Window
from online_ml.learning.calibration import Calibration
from online_ml.learning.champion import EVIDENCE, choose
from online_ml.learning.sample import Sample, TrainingBatch
from online_ml.scoring.inputs import design
from online_ml.scoring.scorer import sigmoid
from online_ml.types import Floats, Inputs, Outcomes, SavedState, State

DESIGN_ROWS = 4_096
"""Labels learned at a time: a Newton step each, and a boundary of any size needs little memory."""
MARGIN = 0.05
"""Log-loss by which a candidate must be worse than the prior rate to be unfit. A diverged one is by several units, one
that is new, or meets a label that hardly anybody has, by a few thousandths."""


class TargetLearner:
    """Candidates of one target, learning side by side from the same labels.

    Parameters
    ----------
    target
        `churn` or `purchase`.
    seed
        Seed of the order in which a boundary's labels are learned.
    horizon_days
        Days from a snapshot to its label.
    every_days
        Days from one snapshot to the next.
    tree_labels
        Labels of a boundary that the slow candidates learn at most; 0: there are none.
    """

    def __init__(
        self, target: Target, seed: int, *, horizon_days: float = 14, every_days: float = 1, tree_labels: int = 0
    ) -> None:
        self.target = target
        self.seed = seed
        self.full = candidates(target, horizon_days=horizon_days, every_days=every_days)
        self.sample = Sample(sampled(target, seed) if tree_labels else [], tree_labels)
        self.candidates: list[Candidate] = [*self.full, *self.sample.candidates]
        self._calibrations = [Calibration(horizon_days=horizon_days, every_days=every_days) for _ in self.candidates]
        self._share = min(every_days / horizon_days, 1.0)
        self.window = Window()
        self.tallies = [Tally() for _ in self.names]
        self.champion: str | None = None
        self.boundaries = 0
        """Boundaries learned from."""
        self.begun_at = 0
        """Last version published before the first of them, by a learner that had to begin again."""
        self.examples = 0
        """Labels learned."""
        self.trained_until = 0
        """Day number of the last boundary learned from."""
        self.unfit: frozenset[str] = frozenset()
        """Candidates that say less of the newest labels, which they have just learned, than the prior rate does."""
        self.pace = 1
        """How many times as fast as usual the past fades: more after the world has changed (`drift_pace`)."""

    @property
    def version(self) -> int:
        """Version of every model of the target: no two states of one have the same."""
        return self.begun_at + self.boundaries

    @property
    def names(self) -> list[str]:
        """Names whose predictions are followed: the candidates, then what was served."""
        return [*(candidate.name for candidate in self.candidates), SERVED]

    @property
    def calibrations(self) -> list[tuple[float, float]]:
        """Slope and offset that make each candidate's logit the calibrated one."""
        return [calibration.line for calibration in self._calibrations]

    def learned_by(self, candidate: Candidate) -> int:
        """Return how many labels a candidate has learned."""
        return self.sample.learned if candidate in self.sample.candidates else self.examples

    def predict(
        self, inputs: Inputs, served: npt.NDArray[np.float32], sampled_rows: npt.NDArray[np.intp]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return every candidate's predictions; NaN where it has learned nothing or the row is not in its sample.

        Parameters
        ----------
        inputs
            Design matrix, shape (n, `len(INPUTS)`).
        served
            Predictions of the worker's champion, shape (n,), NaN where there was none.
        sampled_rows
            Rows that the slow candidates predict too.

        Returns
        -------
        logits, probabilities
            Uncalibrated logits, shape (candidates, n); calibrated probabilities, shape (candidates + 1, n).
        """
        logits = np.full((len(self.candidates), len(inputs)), np.nan)
        # An untrained model's constant would count against it when judged, and bias its calibration.
        if self.examples:
            for place, candidate in enumerate(self.full):
                logits[place] = candidate.logits(inputs)
            for place, slow in enumerate(self.sample.candidates, start=len(self.full)):
                logits[place, sampled_rows] = slow.logits(inputs[sampled_rows])
        lines = np.array(self.calibrations)
        calibrated = sigmoid(logits * lines[:, :1] + lines[:, 1:])
        probabilities = np.concatenate([calibrated.astype(np.float32), served.astype(np.float32)[None, :]])
        return logits.astype(np.float32), probabilities

    def mature(self, part: MaturedPredictions, features: npt.NDArray[np.float32]) -> None:
        """Judge the predictions of a boundary's labels, then learn from the labels, then choose the champion.

        Parameters
        ----------
        part
            Labels and the predictions made when their snapshots were taken, n ≥ 1 rows.
        features
            Features at the snapshots, shape (n, `features.WIDTH`), rows as in `part`.
        """
        self.window.add(part)
        for place, tally in enumerate(self.tallies):
            tally.add(part.probabilities[place], part.labels)
        days = self.pace * (part.boundary - self.trained_until) if self.boundaries else 0
        for place, calibration in enumerate(self._calibrations):
            calibration.age(days)
            calibration.learn(part.logits[place], part.labels)
        for candidate in self.full:
            candidate.age(days)
        self._learn(part, features)
        self.boundaries += 1
        self.examples += len(part.labels)
        self.trained_until = part.boundary
        self.champion = choose(self.champion, self.candidates, self.window, share=self._share)
        if self.champion is None:  # too early to tell, and nothing of it serves
            self.unfit = frozenset()

    def _learn(self, part: MaturedPredictions, features: npt.NDArray[np.float32]) -> None:
        # A shuffle per boundary: rows come sorted by partition and age of the customer, and steps on batches of like
        # customers would pull the weights to and fro. Seeded by the boundary, it is the same at each replay.
        order = np.random.default_rng([self.seed, part.boundary]).permutation(len(part.labels))
        for start in range(0, len(order), DESIGN_ROWS):
            rows = order[start : start + DESIGN_ROWS]
            inputs = np.ascontiguousarray(design(features[rows]), dtype=np.float64)
            for candidate in self.full:
                candidate.learn_matrix(inputs, part.labels[rows])
        self.unfit = self._find_unfit(inputs, part.labels[rows])
        self.sample.follow(part.boundary, order, features, part.labels)

    def _find_unfit(self, inputs: Floats, labels: Outcomes) -> frozenset[str]:
        """Return the candidates whose log-loss is above the prior rate's, by more than chance explains and `MARGIN`.

        What a model has just learned it must know better than one that knows nothing; if not, it has diverged.
        """
        losses = {
            candidate.name: log_losses(sigmoid(slope * candidate.logits(inputs) + offset), labels)
            for candidate, (slope, offset) in zip(self.full, self.calibrations, strict=False)
        }

        def knows_something(name: str) -> bool:
            worse = losses[name] - losses[PRIOR]
            return float(worse.mean()) <= max(EVIDENCE * float(worse.std()) / math.sqrt(len(worse)), MARGIN)

        # A loss that is no number is not below anything.
        return frozenset(name for name in losses if not knows_something(name))

    def overall(self) -> dict[str, tuple[dict[str, float], int]]:
        """Return the measures over all labels and their number, by name of candidate."""
        return {name: (tally.measure(), tally.labels) for name, tally in zip(self.names, self.tallies, strict=True)}

    def state(self) -> State:
        """Return all but the window and the training batches of the slow candidates as arrays."""
        arrays: State = {
            "champion": np.array([-1 if self.champion is None else self.names.index(self.champion)]),
            "counts": np.array([self.boundaries, self.examples, self.trained_until]),
            "unfit": np.array([candidate.name in self.unfit for candidate in self.full]),
            "sample": np.array([self.sample.learned, self.sample.left_out]),
        }
        for full in self.full:
            arrays |= _prefixed(f"candidate.{full.name}", full.state())
        for candidate, calibration in zip(self.candidates, self._calibrations, strict=True):
            arrays |= _prefixed(f"calibration.{candidate.name}", calibration.state())
        for name, tally in zip(self.names, self.tallies, strict=True):
            arrays |= _prefixed(f"tally.{name}", tally.state())
        return arrays

    def restore(
        self,
        arrays: SavedState,
        window: Iterable[MaturedPredictions],
        batches: Iterable[TrainingBatch],
    ) -> None:
        """Load saved arrays, the window's parts and the training batches, oldest first, into an untrained learner."""
        champion = int(arrays["champion"][0])
        self.champion = None if champion < 0 else self.names[champion]
        self.boundaries, self.examples, self.trained_until = (int(value) for value in arrays["counts"])
        unfit = arrays.get("unfit", np.zeros(len(self.full), np.bool_)).tolist()
        self.unfit = frozenset(full.name for full, one in zip(self.full, unfit, strict=True) if one)
        for full in self.full:
            full.restore(_under(f"candidate.{full.name}", arrays))
        for candidate, calibration in zip(self.candidates, self._calibrations, strict=True):
            calibration.restore(_under(f"calibration.{candidate.name}", arrays))
        for name, tally in zip(self.names, self.tallies, strict=True):
            tally.restore(_under(f"tally.{name}", arrays))
        self.window = Window()
        for part in window:
            self.window.add(part)
        self.sample.restore(arrays["sample"], batches)


def _prefixed(prefix: str, arrays: State) -> State:
    return {f"{prefix}.{key}": value for key, value in arrays.items()}


def _under(prefix: str, arrays: SavedState) -> State:
    start = prefix + "."
    return {key.removeprefix(start): value for key, value in arrays.items() if key.startswith(start)}
