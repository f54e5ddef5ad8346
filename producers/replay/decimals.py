"""The decimal mark of a log: found in its numbers, refused where every one of them may be read in two ways."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from ebb.errors import InvalidEventError, SourceError
from ebb.values.messages import shown
from ebb.values.numbers import read_number
from producers.replay.canonical import NO_NUMBER, trimmed
from producers.replay.log import DecimalMark, Ints, Log, printable

_MARKED = re.compile(r"[^0-9.,]*([0-9]*(?:[.,' \u00a0\u202f\u2019][0-9]+)+)[^0-9.,]*", re.ASCII)
"""Digits with marks between them; a currency may stand before or after."""


class DecimalMarks:
    """The marks in the numbers of a log, as they are seen."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._certain: dict[DecimalMark, str] = {}
        self._doubtful: tuple[str, str] | None = None

    def see(self, column: str, indices: Ints, values: Sequence[Any]) -> None:
        """Note the marks of some values of a column; only text has any.

        Parameters
        ----------
        indices
            The row of each value.
        """
        for value in set(filter(_is_text, values)):
            mark = _mark(trimmed(value)) if "," in value or "." in value else None
            if mark is None or mark in self._certain:
                continue
            in_doubt = mark == "" and (self._doubtful is None or ("," in value and "," not in self._doubtful[0]))
            if not mark and not in_doubt:
                continue
            place = f"{self._log.place(int(indices[values.index(value)]))}, column {printable(column)}"
            if in_doubt:
                self._doubtful = value, place
            else:
                self._certain["," if mark == "," else "."] = f"{shown(value)} ({place})"

    def decide(self, *, in_doubt: DecimalMark | None) -> DecimalMark | None:
        """Return the decimal mark of the columns, None if no number has a mark.

        Parameters
        ----------
        in_doubt
            The mark where every number could be read both ways by a point (`1.249`); None refuses them.

        Raises
        ------
        SourceError
            If there are numbers of both marks, or only such as could be read both ways.
        """
        file, certain = self._log.file, self._certain
        if len(certain) == 2:
            what = f"Of the numbers of {file}, {certain[',']} has a decimal comma, {certain['.']} a decimal point."
            raise SourceError(what, "Say which by --decimal comma or --decimal point; what does not fit is refused.")
        if certain or self._doubtful is None:
            return next(iter(certain), None)
        value, place = self._doubtful
        if "," not in value and in_doubt is not None:
            return in_doubt
        mark, name, other = (",", "comma", "point") if "," in value else (".", "point", "comma")
        readings = trimmed(value).replace(mark, "."), trimmed(value).replace(mark, "")
        what = f"{file}, {place}: {shown(value)} is {' or '.join(readings)}, and no other row says which."
        hint = f"Say --decimal {name} if the {name} is before the fraction, --decimal {other} if between thousands."
        raise SourceError(what, hint)


def with_numbers(log: Log, columns: dict[str, list[Any]], decimal: DecimalMark | None) -> dict[str, list[Any]]:
    """Return columns of a table with numbers in place of text, where all text of a column is numbers.

    Parameters
    ----------
    decimal
        The mark before the fraction; None: found in each column.

    Raises
    ------
    SourceError
        If the numbers of a column can be read in two ways.
    """
    return {name: _numbers(log, name, values, decimal) for name, values in columns.items()}


def _numbers(log: Log, column: str, values: list[Any], decimal: DecimalMark | None) -> list[Any]:
    texts = {value for value in set(filter(_is_text, values)) if trimmed(value) not in NO_NUMBER}
    if decimal is None and any("," in value for value in texts):
        if not all(_read({value}, column, ",") or _read({value}, column, ".") for value in texts):
            return values
        marks = DecimalMarks(log)
        marks.see(column, np.arange(len(values)), values)
        decimal = marks.decide(in_doubt=".")
    numbers = _read(texts, column, decimal or ".")
    if not numbers:
        return values
    return [numbers.get(value) if _is_text(value) else value for value in values]


def _read(texts: set[str], column: str, decimal: DecimalMark) -> dict[str, float | None] | None:
    """Return the number of each text, None if one is no number."""
    try:
        return {text: read_number(column, text, decimal=decimal) for text in texts}
    except InvalidEventError:
        return None


def _is_text(value: object) -> bool:
    return type(value) is str


def _mark(text: str) -> str | None:
    """Return the decimal mark of a number as it is written; empty: it may be either; None: there is none."""
    found = _MARKED.fullmatch(text)
    if found is None:
        return None
    digits = found[1]
    commas, points = digits.count(","), digits.count(".")
    if not commas and not points:
        return None
    if commas and points:
        return "," if digits.rfind(",") > digits.rfind(".") else "."
    mark, other = (",", ".") if commas else (".", ",")
    if commas + points > 1:
        return other  # it stands between thousands
    whole, _, after = digits.partition(mark)
    may_group = len(after) == 3 and 1 <= len(whole) <= 3 and not whole.startswith("0")
    return "" if may_group else mark
