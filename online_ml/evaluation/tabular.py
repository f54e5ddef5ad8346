"""A labelled table as a stream: every row is predicted, then judged, then learned.

Rows come in batches of `BATCH`; all of a batch is predicted before any of its labels is learned. So each figure is one
of rows that the model had not seen, without folds, and a curve shows how soon it knew what it knows.
"""

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ebb.errors import InvalidEventError, SourceError
from ebb.values.numbers import read_number
from online_ml.candidates.forest import forest_model
from online_ml.candidates.hoeffding import tree_model
from online_ml.candidates.newton import Newton
from online_ml.candidates.sampled import RowModel
from online_ml.scoring.scorer import sigmoid
from online_ml.types import Floats, Outcomes

BATCH = 50
RIDGE = 1.0
MIN_ROWS = 100
MIN_CLASS = 10
TREES: dict[str, Callable[[int], RowModel]] = {"tree": tree_model, "forest": forest_model}
LEARNED = 4_000
"""Rows that a tree or forest learns at most, evenly spread: some seconds of a forest, where the others take none."""
LEVELS = 30
"""Names of a column that get a flag of their own; rarer ones share one."""
QUANTILES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
REACH = 1e100
"""Numbers beyond are cut here, so that their squares are numbers too."""
NOT_FINITE = frozenset({"nan", "inf", "-inf", "+inf", "infinity", "-infinity"})
"""Texts, in lower case, by which programs write that a number is missing or out of range."""
IDENTIFYING = 0.5
"""A column of names of which more than this share is distinct identifies rows and describes nothing."""


class TableModel(Protocol):
    """A model that learns the rows of a table."""

    def predict(self, inputs: Floats) -> Floats:
        """Return P(1) of rows of shape (n, inputs)."""
        ...

    def learn(self, inputs: Floats, labels: Outcomes) -> None:
        """Learn rows that have been predicted."""
        ...


@dataclass(frozen=True)
class Run:
    """One pass: each candidate's prediction of each row before it learned it."""

    order: npt.NDArray[np.intp]
    """Row of the table at each position of the stream."""
    labels: Outcomes
    """In the order of the stream."""
    predicted: dict[str, Floats]
    """By candidate, in the order of the stream."""
    skipped: dict[str, int]
    """By candidate, rows it was too slow to learn."""


class _Logistic:
    def __init__(self, width: int) -> None:
        self._model = Newton(np.zeros(width + 1), [RIDGE] * width + [0.1])

    def predict(self, inputs: Floats) -> Floats:
        return sigmoid(self._with_one(inputs) @ self._model.weights)

    def learn(self, inputs: Floats, labels: Outcomes) -> None:
        self._model.learn(self._with_one(inputs), labels)

    def _with_one(self, inputs: Floats) -> Floats:
        return np.column_stack([inputs, np.ones(len(inputs))])


class _Prior:
    def __init__(self) -> None:
        self._ones, self._all = 1, 2

    def predict(self, inputs: Floats) -> Floats:
        return np.full(len(inputs), self._ones / self._all)

    def learn(self, inputs: Floats, labels: Outcomes) -> None:
        self._ones += int(labels.sum())
        self._all += len(inputs)


class Spread:
    """A row model that learns every so many rows, so that a long table takes no longer than it may.

    Parameters
    ----------
    model
        The model that learns them.
    rows
        Rows to come, so that the sample to learn can be drawn beforehand.
    """

    def __init__(self, model: RowModel, *, rows: int) -> None:
        self.skipped = 0
        """Rows that came to be learned and were not."""
        self.predict = model.predict
        self._model = model
        self._step = max(-(-rows // LEARNED), 1)
        self._seen = 0

    def learn(self, inputs: Floats, labels: Outcomes) -> None:
        """Learn the rows whose turn it is."""
        turns = np.arange(self._seen, self._seen + len(labels)) % self._step == 0
        self._model.learn(inputs[turns], labels[turns])
        self.skipped += int((~turns).sum())
        self._seen += len(labels)


def passes(inputs: Floats, labels: Outcomes, *, shuffles: int, seed: int, trees: bool = True) -> Iterator[Run]:
    """Yield one run a shuffle; without any, one in the order of the table.

    Parameters
    ----------
    inputs
        Shape (rows, inputs).
    labels
        0 or 1, shape (rows,).
    trees
        Whether the slow candidates take part.

    Raises
    ------
    SourceError
        If there are too few rows, or of one class, to judge anything.
    """
    ones = int(labels.sum())
    if len(labels) < MIN_ROWS or min(ones, len(labels) - ones) < MIN_CLASS:
        what = f"The table has {len(labels)} rows, {ones} of them positive."
        hint = f"It takes {MIN_ROWS} rows and {MIN_CLASS} of each class to judge anything; see --label and --positive."
        raise SourceError(what, hint)
    for number in range(max(shuffles, 1)):
        order = np.arange(len(labels))
        if shuffles:
            order = np.random.default_rng([seed, number]).permutation(len(labels))
        yield _stream(inputs[order], labels[order], order, seed=seed + number, trees=trees)


def _stream(inputs: Floats, labels: Outcomes, order: npt.NDArray[np.intp], *, seed: int, trees: bool) -> Run:
    slow = {name: Spread(make(seed), rows=len(labels)) for name, make in (TREES.items() if trees else ())}
    models: dict[str, TableModel] = {"logistic": _Logistic(inputs.shape[1]), "prior": _Prior(), **slow}
    predicted = {name: np.empty(len(labels)) for name in models}
    for start in range(0, len(labels), BATCH):
        part = slice(start, start + BATCH)
        for name, model in models.items():
            predicted[name][part] = model.predict(inputs[part])
        for model in models.values():
            model.learn(inputs[part], labels[part])
    return Run(order, labels, predicted, {name: model.skipped for name, model in slow.items()})


@dataclass
class Encoded:
    """A table as a matrix."""

    inputs: Floats
    """Shape (rows, inputs)."""
    names: list[str]
    left_out: dict[str, str] = field(default_factory=dict)
    """Column → why it is no input."""


def encode(columns: Mapping[str, Sequence[Any]]) -> Encoded:
    """Return columns as a matrix.

    Parameters
    ----------
    columns
        Column → one value a row: numbers, text, truth values, None. Text that is a number counts as one.
    """
    rows = len(next(iter(columns.values()), ()))
    parts: list[Floats] = []
    found = Encoded(np.empty((rows, 0)), [])
    for name, values in columns.items():
        cleaned = [_clean(value) for value in values]
        present = [value for value in cleaned if value is not None]
        distinct = Counter(present)
        if len(distinct) < 2:
            found.left_out[name] = "has one value" if distinct else "is empty"
        elif all(isinstance(value, float) for value in present):
            parts.append(_numbers(name, cleaned, found.names))
        elif len(distinct) > max(IDENTIFYING * len(present), LEVELS):
            found.left_out[name] = "identifies rows and describes nothing"
        else:
            parts.append(_flags(name, cleaned, Counter(str(value) for value in present), found.names))
    found.inputs = np.concatenate([found.inputs, *parts], axis=1)
    return found


def _clean(value: Any) -> float | str | None:
    if isinstance(value, str):
        text = value.strip()
        if text.lower() in NOT_FINITE:
            return None
        try:
            return read_number("value", text)
        except InvalidEventError:
            return text
    if value is None or isinstance(value, bool):
        return None if value is None else str(value)
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    return number if math.isfinite(number) else None


def _numbers(name: str, values: list[Any], names: list[str]) -> Floats:
    column = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    column = np.clip(column, -REACH, REACH)
    missing = np.isnan(column)
    known = column[~missing]
    filled = np.where(missing, np.median(known), column)
    spread = float(known.std()) or 1.0
    made = [np.clip((filled - known.mean()) / spread, -10, 10)]
    names.append(name)
    knots = np.unique(np.quantile(known, QUANTILES))
    for low, high in itertools.pairwise(knots):
        made.append(np.clip((filled - low) / (high - low), 0, 1))
        names.append(f"{name} {low:g} to {high:g}")
    if missing.any():
        made.append(missing.astype(np.float64))
        names.append(f"{name} missing")
    return np.column_stack(made)


def _flags(name: str, values: list[Any], counts: Counter[str], names: list[str]) -> Floats:
    # Ties by name, so that the order of rows does not matter.
    levels = [level for level, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:LEVELS]]
    place = {level: number for number, level in enumerate(levels)}
    flags = np.zeros((len(values), len(levels) + 1))
    flags[np.arange(len(values)), [place.get(str(value), len(levels)) for value in values]] = 1
    names += [f"{name} = {level}" for level in levels]
    if flags[:, -1].any():
        names.append(f"{name} = other or missing")
        return flags
    return flags[:, :-1]
