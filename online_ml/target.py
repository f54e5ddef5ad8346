"""All that is learned of one target: its candidates, their calibration, their record, the champion."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ebb.models import Target
from online_ml.calibration import IDENTITY, fit
from online_ml.candidates import SERVED, Candidate, candidates
from online_ml.champion import choose
from online_ml.linear import Floats, sigmoid
from online_ml.measures import measure
from online_ml.tally import Tally
from online_ml.transforms import design
from online_ml.window import Matured, Window

BATCH = 64
"""Labels a step: small enough that a thousand labels are many steps, large enough to cost about a microsecond each."""
DESIGN_ROWS = 4_096
"""Rows turned into inputs at a time, so that a boundary of any size needs little memory."""
State = dict[str, npt.NDArray[Any]]


class TargetLearner:
    """Candidates of one target, learning side by side from the same labels.

    Parameters
    ----------
    target
        `churn` or `purchase`.
    seed
        Seed of the order in which a boundary's labels are learned.
    """

    def __init__(self, target: Target, seed: int) -> None:
        self.target = target
        self.seed = seed
        self.candidates: list[Candidate] = candidates(target)
        self.calibrations: list[tuple[float, float]] = [IDENTITY] * len(self.candidates)
        self.window = Window()
        self.tallies = [Tally() for _ in self.names]
        self.champion: str | None = None
        self.version = 0
        """Boundaries learned from; the version of every model of the target."""
        self.examples = 0
        """Labels learned."""
        self.trained_until = 0
        """Day number of the last boundary learned from."""
        self.pace = 1
        """How often each label is learned: more after the world has changed (`drift_pace`)."""

    @property
    def names(self) -> list[str]:
        """Names whose predictions are followed: the candidates, then what was served."""
        return [*(candidate.name for candidate in self.candidates), SERVED]

    def predict(
        self, inputs: Floats, served: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return what every candidate says now; one that has learned nothing says nothing (NaN).

        Parameters
        ----------
        inputs
            Design matrix, shape (n, `len(INPUTS)`).
        served
            What the worker's champion said, shape (n,), NaN where there was none.

        Returns
        -------
        logits, probabilities
            Uncalibrated logits, shape (candidates, n); calibrated probabilities, shape (candidates + 1, n).
        """
        if self.examples:
            logits = np.stack([candidate.logits(inputs) for candidate in self.candidates])
        else:
            # Judged, a blank model's constant would count against it; calibrated on, it would shift the trained one.
            logits = np.full((len(self.candidates), len(inputs)), np.nan)
        lines = np.array(self.calibrations)
        calibrated = sigmoid(logits * lines[:, :1] + lines[:, 1:])
        probabilities = np.concatenate([calibrated.astype(np.float32), served.astype(np.float32)[None, :]])
        return logits.astype(np.float32), probabilities

    def mature(self, part: Matured, features: npt.NDArray[np.float32]) -> None:
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
        labels = self.window.labels()
        self.calibrations = [fit(self.window.logits(place), labels) for place in range(len(self.candidates))]
        self._learn(part, features)
        self.version += 1
        self.examples += len(part.labels)
        self.trained_until = part.boundary
        self.champion = choose(self.champion, self.candidates, self.window)

    def _learn(self, part: Matured, features: npt.NDArray[np.float32]) -> None:
        # A shuffle per boundary: rows come sorted by partition and age of the customer, and steps on batches of like
        # customers would pull the weights to and fro. Seeded by the boundary, it is the same at each replay.
        rng = np.random.default_rng([self.seed, part.boundary])
        order = np.concatenate([rng.permutation(len(part.labels)) for _ in range(self.pace)])
        for start in range(0, len(order), DESIGN_ROWS):
            rows = order[start : start + DESIGN_ROWS]
            inputs = np.ascontiguousarray(design(features[rows]))
            labels = part.labels[rows]
            for first in range(0, len(rows), BATCH):
                batch = slice(first, first + BATCH)
                for candidate in self.candidates:
                    candidate.learn_many(inputs[batch], labels[batch])

    def rolling(self) -> dict[str, dict[str, float]]:
        """Return the measures over the window by name of candidate, `served` included."""
        labels = self.window.labels()
        if len(labels) == 0:
            return {name: {} for name in self.names}
        return {name: measure(self.window.probabilities(place), labels) for place, name in enumerate(self.names)}

    def overall(self) -> dict[str, tuple[dict[str, float], int]]:
        """Return the measures over all labels and their number, by name of candidate."""
        return {name: (tally.measure(), tally.labels) for name, tally in zip(self.names, self.tallies, strict=True)}

    def state(self) -> State:
        """Return all but the window as arrays."""
        arrays: State = {
            "calibrations": np.array(self.calibrations),
            "champion": np.array([-1 if self.champion is None else self.names.index(self.champion)]),
            "counts": np.array([self.version, self.examples, self.trained_until]),
        }
        for candidate in self.candidates:
            arrays |= _prefixed(f"candidate.{candidate.name}", candidate.state())
        for name, tally in zip(self.names, self.tallies, strict=True):
            arrays |= _prefixed(f"tally.{name}", tally.state())
        return arrays

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]], window: Iterator[Matured]) -> None:
        """Take over saved arrays and the window's parts, oldest first."""
        self.calibrations = [(float(slope), float(offset)) for slope, offset in arrays["calibrations"]]
        champion = int(arrays["champion"][0])
        self.champion = None if champion < 0 else self.names[champion]
        self.version, self.examples, self.trained_until = (int(value) for value in arrays["counts"])
        for candidate in self.candidates:
            candidate.restore(_under(f"candidate.{candidate.name}", arrays))
        for name, tally in zip(self.names, self.tallies, strict=True):
            tally.restore(_under(f"tally.{name}", arrays))
        self.window = Window()
        for part in window:
            self.window.add(part)


def _prefixed(prefix: str, arrays: State) -> State:
    return {f"{prefix}.{key}": value for key, value in arrays.items()}


def _under(prefix: str, arrays: Mapping[str, npt.NDArray[Any]]) -> State:
    start = prefix + "."
    return {key.removeprefix(start): value for key, value in arrays.items() if key.startswith(start)}
