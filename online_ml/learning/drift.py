"""Drift of features, scores and errors against a reference. All of it is part of the fold.

Features and scores are compared by the population stability index, sum of (p - q) ln(p / q) over ten bins of a
reference (Siddiqi, "Credit Risk Scorecards", 2006: below 0.1 stable, above 0.25 shifted). Both sides are counts that
fade by boundary: the latest days against the latest weeks, so that the reference follows a change that stays.

Errors are watched by ADWIN (Bifet and Gavalda, "Learning from Time-Changing Data with Adaptive Windowing", SDM 2007;
River's). It takes its values for independent, and labels of one customer on neighbouring days are anything but. So each
customer enters once a horizon: neighbouring values then look over different days of different customers.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from river.drift import ADWIN

from ebb.contracts.features import WIDTH
from ebb.contracts.models import TARGETS, Target
from online_ml.evaluation.window import MaturedPredictions
from online_ml.types import Floats, SavedState, State

BINS = 10
FINEST = 0.001
"""Differences about zero that are told apart; beyond, values that differ by `CELL_STEP` of themselves."""
CELL_STEP = 0.05
CELLS_ASIDE = 576
"""Cells on each side of zero: up to the cap of all features, 1e9."""
CELLS = 2 * CELLS_ASIDE + 1
ROWS = 4_000
"""Most rows of a boundary that are counted: enough for an index of 0.01, few enough for any number of customers."""
LATEST_DAYS, REFERENCE_DAYS = 2.0, 42.0
"""Half-lives, boundaries: a week-end weighs little in the first, a season much in the second."""
WARM_UP = 10
"""Boundaries before the reference begins and an index is reported."""
SAMPLE = 400
"""Most errors of a boundary that ADWIN sees."""
MEMORY = 90
"""Boundaries of errors that ADWIN looks back over."""
DELTA = 0.002
"""ADWIN's confidence, River's own choice."""
FLOOR = 0.001
"""Share that every bin is taken to have at least, so that an empty one is no infinite drift."""
HURRY_BOUNDARIES = 14
"""Boundaries for which learning is faster after the error has risen, if `drift_pace` is set."""


class Profile:
    """Distribution of some quantities: the latest days and the reference.

    Values are counted in narrow cells that are the same for all time, so that the bins of an index can be cut anew from
    the reference each time: what was the same for everybody on the first day may differ a week later. The reference
    begins when it is warm, with the latest days of then: the first days of a new log are like no others.

    Parameters
    ----------
    width
        Number of quantities.
    """

    def __init__(self, width: int) -> None:
        self.boundaries = 0
        self._latest: Floats = np.zeros((width, CELLS))
        self._reference: Floats = np.zeros((width, CELLS))

    def add(self, values: npt.NDArray[np.floating]) -> None:
        """Count a boundary's values, shape (n, width), n ≥ 1."""
        step = -(-len(values) // ROWS)
        cells = _cells(values[::step].astype(np.float64))
        width = cells.shape[1]
        flat = (cells + np.arange(width) * CELLS).ravel()
        counts = np.bincount(flat, minlength=width * CELLS).reshape(width, CELLS)
        self._latest = self._latest * 0.5 ** (1 / LATEST_DAYS) + counts
        self.boundaries += 1
        if self.boundaries == WARM_UP:
            self._reference = self._latest.copy()
        elif self.boundaries > WARM_UP:
            self._reference = self._reference * 0.5 ** (1 / REFERENCE_DAYS) + counts

    def psi(self) -> Floats | None:
        """Return the index of each quantity, shape (width,); None before `WARM_UP` boundaries."""
        if self.boundaries < WARM_UP:
            return None
        return np.array([_index(*pair) for pair in zip(self._latest, self._reference, strict=True)], np.float64)

    def state(self) -> State:
        """Return all of it as arrays."""
        return {"boundaries": np.array(self.boundaries), "latest": self._latest, "reference": self._reference}

    def restore(self, state: SavedState) -> None:
        """Load saved arrays; those that were counted in other cells are left, and the profile begins again."""
        if state["latest"].shape != self._latest.shape:
            return
        self.boundaries = int(state["boundaries"])
        self._latest, self._reference = state["latest"], state["reference"]


def _cells(values: Floats) -> npt.NDArray[np.intp]:
    """Return the cell of each value, 0 to `CELLS` - 1: equal steps near zero, equal ratios beyond."""
    place = np.rint(np.arcsinh(values / FINEST) / CELL_STEP)
    return (np.clip(place, -CELLS_ASIDE, CELLS_ASIDE) + CELLS_ASIDE).astype(np.intp)


def _index(latest: Floats, reference: Floats) -> float:
    """Return the stability index of two distributions, each given as counts, shape (`CELLS`,)."""
    share = reference / reference.sum()
    # A value that many have is a bin of its own; or the others, were they few, would share theirs with it.
    common = share > 1 / BINS
    rest = np.where(common, 0.0, share)
    middle = (np.cumsum(rest) - rest / 2) / max(float(rest.sum()), np.finfo(np.float64).tiny)
    left = BINS - int(common.sum())
    bins = np.clip(np.floor(middle * left), 0, left - 1).astype(np.intp)
    bins[common] = left + np.arange(BINS - left)
    q, p = (
        (np.bincount(bins, counts, minlength=BINS) / counts.sum() + FLOOR) / (1 + BINS * FLOOR)
        for counts in (latest, reference)
    )
    return float(((q - p) * np.log(q / p)).sum())


@dataclass(frozen=True)
class DriftChange:
    """A change of the error that ADWIN found."""

    found_at: int
    """Boundary at which it was found."""
    since: int
    """First boundary of the labels after it."""
    shift: float
    """Mean squared error after less before: above 0, predictions became worse."""


class Errors:
    """Squared errors of a target's champion, by boundary, since the last change of the error or of the champion."""

    def __init__(self) -> None:
        self._row: int | None = None
        """Row of the champion whose errors these are."""
        self._parts: deque[tuple[int, npt.NDArray[np.float32]]] = deque(maxlen=MEMORY)
        self.change: DriftChange | None = None
        """The last change found."""

    def add(self, part: MaturedPredictions, row: int, horizon: int, seed: int) -> DriftChange | None:
        """Take in the matured predictions of the champion; return the change if one is found now.

        Parameters
        ----------
        row
            Row of the champion's probabilities.
        horizon
            Days over which the label looks.
        """
        if row != self._row:
            # Another model's errors are another series: that it errs less, or more, is no change of the world.
            if self._row is not None:
                self._parts.clear()
            self._row = row
        errors = (part.probabilities[row] - part.labels) ** 2
        rows = np.flatnonzero(~np.isnan(errors))
        if part.context is not None:
            rows = rows[(part.context.customers[rows].astype(np.int64) + part.boundary) % horizon == 0]
        # Shuffled, since rows are in order of the customer's age and ADWIN would find a change from old to young.
        rows = np.random.default_rng([seed, part.boundary]).permutation(rows)[:SAMPLE]
        if len(rows) == 0:
            return None
        self._parts.append((part.boundary, errors[rows].astype(np.float32)))
        return self._search(part.boundary)

    def _search(self, boundary: int) -> DriftChange | None:
        found: Any = ADWIN(delta=DELTA)  # type: ignore[no-untyped-call]
        every = np.concatenate([errors for _, errors in self._parts]).astype(np.float64)
        for error in every.tolist():
            found.update(error)
        cut = len(every) - int(found.width)
        ends = np.cumsum([len(errors) for _, errors in self._parts])
        # The boundary that holds the cut is the first after it.
        first = int(np.searchsorted(ends, cut, side="right"))
        if cut == 0 or first == 0:
            return None
        before, after = every[: ends[first - 1]], every[ends[first - 1] :]
        self.change = DriftChange(boundary, self._parts[first][0], float(after.mean() - before.mean()))
        for _ in range(first):
            self._parts.popleft()
        return self.change

    def state(self) -> State:
        """Return all of it as arrays."""
        change = self.change
        return {
            "row": np.array([] if self._row is None else [self._row], np.int64),
            "days": np.array([day for day, _ in self._parts], np.int64),
            "sizes": np.array([len(errors) for _, errors in self._parts], np.int64),
            "errors": np.concatenate([np.empty(0, np.float32), *(errors for _, errors in self._parts)]),
            "change": np.array([] if change is None else [change.found_at, change.since, change.shift], np.float64),
        }

    def restore(self, state: SavedState) -> None:
        """Load saved arrays."""
        parts = np.split(state["errors"], np.cumsum(state["sizes"])[:-1]) if len(state["sizes"]) else []
        self._parts = deque(zip(state["days"].tolist(), parts, strict=True), maxlen=MEMORY)
        row = state.get("row", np.empty(0)).tolist()
        self._row = int(row[0]) if row else None
        found = state["change"].tolist()
        self.change = DriftChange(int(found[0]), int(found[1]), float(found[2])) if found else None


class DriftMonitor:
    """Drift of the features, and of every target's scores and errors.

    Parameters
    ----------
    seed
        Seeds the order of errors within a boundary.
    horizons
        Days over which each target's label looks.
    pace
        How many times as fast the past fades for `HURRY_BOUNDARIES` after an error rose.
    """

    def __init__(self, seed: int, horizons: Mapping[Target, int], *, pace: int = 1) -> None:
        self._seed = seed
        self._pace = pace
        self._horizons = horizons
        self.features = Profile(WIDTH)
        self.scores: dict[Target, Profile] = {target: Profile(1) for target in TARGETS}
        self.errors: dict[Target, Errors] = {target: Errors() for target in TARGETS}

    def snapshot(self, features: npt.NDArray[np.float32], predicted: Mapping[Target, npt.NDArray[np.float32]]) -> None:
        """Count a boundary's snapshots.

        Parameters
        ----------
        features
            Shape (n, `features.WIDTH`), n ≥ 1.
        predicted
            Probabilities of each target's champion, shape (n,); targets without one are left out.
        """
        self.features.add(np.nan_to_num(features))
        for target, probabilities in predicted.items():
            known = probabilities[~np.isnan(probabilities)]
            if len(known):
                self.scores[target].add(known[:, None])

    def judge(self, target: Target, part: MaturedPredictions, row: int) -> DriftChange | None:
        """Take in a boundary's labels; return the change of the error if one is found now."""
        return self.errors[target].add(part, row, self._horizons[target], self._seed)

    def pace(self, target: Target, boundary: int) -> int:
        """Return how many times as fast as usual the past fades at a boundary."""
        change = self.errors[target].change
        hurry = change is not None and change.shift > 0 and boundary < change.found_at + HURRY_BOUNDARIES
        return self._pace if hurry else 1

    def state(self) -> State:
        """Return all of it as arrays."""
        return {f"{name}.{key}": array for name, one in self._named() for key, array in one.state().items()}

    def restore(self, state: SavedState) -> None:
        """Load saved arrays."""
        for name, one in self._named():
            start = f"{name}."
            one.restore({key.removeprefix(start): array for key, array in state.items() if key.startswith(start)})

    def _named(self) -> list[tuple[str, Profile | Errors]]:
        scores = [(f"scores.{target}", one) for target, one in self.scores.items()]
        return [("features", self.features), *scores, *((f"errors.{t}", one) for t, one in self.errors.items())]
