"""Columns of any table as inputs of a model: numbers by steps, names by flags.

What a column is, its quantiles and its commonest names are read from the whole table; labels have no part in it.
"""

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from online_ml.candidates.base import Floats

LEVELS = 30
"""Names of a column that get a flag of their own; rarer ones share one."""
QUANTILES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
REACH = 1e100
"""Numbers beyond are cut here, so that their squares are numbers too."""
IDENTIFYING = 0.5
"""A column of names of which more than this share is distinct tells rows apart, and nothing about them."""


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
            found.left_out[name] = "tells rows apart and nothing about them"
        else:
            parts.append(_flags(name, cleaned, Counter(str(value) for value in present), found.names))
    found.inputs = np.concatenate([found.inputs, *parts], axis=1)
    return found


def _clean(value: Any) -> float | str | None:
    if isinstance(value, str):
        value = value.strip()
        try:
            number = float(value)
        except ValueError:
            return value or None
        return number if math.isfinite(number) else None
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
    # Ties by name, so that the order of rows has no say.
    levels = [level for level, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:LEVELS]]
    place = {level: number for number, level in enumerate(levels)}
    flags = np.zeros((len(values), len(levels) + 1))
    flags[np.arange(len(values)), [place.get(str(value), len(levels)) for value in values]] = 1
    names += [f"{name} = {level}" for level in levels]
    if flags[:, -1].any():
        names.append(f"{name} = other or missing")
        return flags
    return flags[:, :-1]
