"""Measures over all labels ever, in memory that does not grow."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from online_ml.evaluation.metrics import BINS, log_losses
from online_ml.types import AnyArray, Floats, Outcomes, Probabilities, State

CELLS = 4_096
"""Cells of the logit, 0.005 apart: rankings are exact but for pairs that share a cell, which count as ties."""
REACH = 10.0
"""Logits beyond share the outermost cells: probabilities below 0.00005 or above 0.99995."""


class Tally:
    """Sums from which every measure over one candidate's matured predictions follows."""

    def __init__(self) -> None:
        self.labels = 0
        self._cells: npt.NDArray[np.int64] = np.zeros((2, CELLS), dtype=np.int64)
        self._bins: Floats = np.zeros((3, BINS))
        self._sums: Floats = np.zeros(2)

    def add(self, probabilities: Probabilities, labels: Outcomes) -> None:
        """Take in matured predictions, shape (n,) each; NaN predictions are left out."""
        known = ~np.isnan(probabilities)
        p, y = probabilities[known].astype(np.float64), labels[known]
        if len(y) == 0:
            return
        self.labels += len(y)
        bounded = np.clip(p, 1e-9, 1 - 1e-9)
        place = (np.log(bounded / (1 - bounded)) + REACH) * (CELLS / (2 * REACH))
        cell = np.clip(place, 0, CELLS - 1).astype(np.intp)
        for outcome in (0, 1):
            self._cells[outcome] += np.bincount(cell[y == outcome], minlength=CELLS)
        where = np.minimum((p * BINS).astype(np.intp), BINS - 1)
        self._bins += [np.bincount(where, weights=w, minlength=BINS) for w in (np.ones(len(y)), p, y)]
        self._sums += [log_losses(p, y).sum(), ((p - y) ** 2).sum()]

    def measure(self) -> dict[str, float]:
        """Return the measures that the labels allow, by name, as `measures.measure` does."""
        if self.labels == 0:
            return {}
        zeros, ones = self._cells
        none, some = int(zeros.sum()), int(ones.sum())
        found = {
            "log_loss": float(self._sums[0]) / self.labels,
            "brier": float(self._sums[1]) / self.labels,
            "ece": float(np.abs(self._bins[1] - self._bins[2]).sum()) / self.labels,
            "base_rate": some / self.labels,
        }
        if none and some:
            below = np.cumsum(zeros) - zeros
            found["roc_auc"] = int((ones * (2 * below + zeros)).sum()) / (2 * none * some)
            hits, taken = np.cumsum(ones[::-1]), np.cumsum((zeros + ones)[::-1])
            found["pr_auc"] = float((ones[::-1] * hits / np.maximum(taken, 1)).sum()) / some
        return found

    def state(self) -> State:
        """Return the sums as arrays."""
        return {
            "labels": np.array(self.labels),
            "cells": self._cells.copy(),
            "bins": self._bins.copy(),
            "sums": self._sums.copy(),
        }

    def restore(self, state: Mapping[str, AnyArray]) -> None:
        """Load saved sums."""
        self.labels = int(state["labels"])
        self._cells, self._bins, self._sums = (state[key].copy() for key in ("cells", "bins", "sums"))
