"""A recorded log in memory: what its readers return, in whichever form the file was.

A log must be sorted by event time, so all of its rows are held: text as it is in the file, tables as columns of Arrow.
Python values are made for a block of rows at a time.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ebb.errors import SourceError

Ints = npt.NDArray[np.int64]
DecimalMark = Literal[".", ","]
DateOrder = Literal["dmy", "mdy", "ymd"]
TimeUnit = Literal["s", "ms", "us", "ns", "excel"]

BLOCK = 8_192
"""Rows of which Python values exist at a time: some megabytes."""


@dataclass(frozen=True)
class ReadOptions:
    """What the caller says about a file; None: found in the file, or refused where it is in doubt."""

    delimiter: str | None = None
    """One character."""
    encoding: str | None = None
    """Name of a codec of Python's."""
    decimal: DecimalMark | None = None
    """Mark before the fraction of numbers written as text; the other one stands between thousands."""
    dates: DateOrder | None = None
    """Order of day, month and year in dates that are not ISO 8601."""
    unit: TimeUnit | None = None
    """What numbers that are times count, from 1970; `excel`: days of a spreadsheet's serial dates."""
    time_format: str | None = None
    """How times that are text are written (`strptime`)."""


AS_FOUND = ReadOptions()


@dataclass(frozen=True)
class RejectedRow:
    """A row that cannot become an event."""

    row: int
    """Index in the file, from 0; in a CSV file the header is not counted."""
    reason: str
    what: str
    body: bytes
    """The row as it is in the file, or its mapped columns as JSON."""
    line: int | None = None
    """Line of a text file at which the row begins, from 1."""

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return f"row {self.row}" if self.line is None else f"line {self.line}"


class RowStore(Protocol):
    """The readable rows of a file."""

    def __len__(self) -> int:
        """Return the number of rows."""
        ...

    def take(self, indices: Ints, names: Sequence[str]) -> dict[str, list[Any]]:
        """Return columns of some rows as Python values; None where a row has no such value."""
        ...


@dataclass(frozen=True)
class Log:
    """The readable rows of a log, in file order."""

    file: str
    """Name of the file, for messages."""
    names: list[str]
    """Columns that were asked for."""
    store: RowStore
    rows: Ints
    """Index of each readable row in the file."""
    lines: Ints | None = None
    """Line at which each readable row begins; None where the file is not text."""
    broken: list[RejectedRow] = field(default_factory=list)
    """Unreadable rows: broken JSON, too few or too many fields, bytes that are no characters."""
    words: list[str] = field(default_factory=list)
    """How the file was read, for people: `semicolon`, `Windows-1252`."""

    def __len__(self) -> int:
        return len(self.store)

    def blocks(self, names: Sequence[str], order: Ints | None = None) -> Iterator[tuple[Ints, dict[str, list[Any]]]]:
        """Yield indices and columns, some thousand rows at a time.

        Parameters
        ----------
        order
            Rows to yield, in this order; None: all of them in that of the file.
        """
        indices = np.arange(len(self)) if order is None else order
        for start in range(0, len(indices), BLOCK):
            part = indices[start : start + BLOCK]
            yield part, self.store.take(part, names)

    def columns(self) -> dict[str, list[Any]]:
        """Return all columns as Python values: for tables that are small."""
        columns: dict[str, list[Any]] = {name: [] for name in self.names}
        for _, block in self.blocks(self.names):
            for name, values in block.items():
                columns[name] += values
        return columns

    def raw(self, index: int) -> bytes:
        """Return the columns of a row as JSON, for the dead-letter topic."""
        values = self.store.take(np.array([index]), self.names)
        return json.dumps({name: value for name, [value] in values.items()}, default=str).encode()

    def line(self, index: int) -> int | None:
        """Return the line at which a row begins, None where the file is not text."""
        return None if self.lines is None else int(self.lines[index])

    def place(self, index: int) -> str:
        """Return where a row is, for people."""
        return RejectedRow(int(self.rows[index]), "", "", b"", self.line(index)).place


class LogSource(Protocol):
    """A file whose columns are known and whose rows can be read."""

    names: list[str]

    def read(self, wanted: Sequence[str]) -> Log:
        """Return the rows, with these columns.

        Raises
        ------
        SourceError
            If the file is damaged or cannot be read.
        """
        ...


def taken_from(column: pa.Array, indices: Ints) -> list[Any]:
    """Return some values of a column as Python's."""
    count = len(indices)
    if count and indices[-1] - indices[0] == count - 1 and bool((np.diff(indices) == 1).all()):
        part = column.slice(int(indices[0]), count)  # in the order of the file: nothing is copied
    else:
        part = column.take(pa.array(indices, pa.int64()))
    try:
        values: list[Any] = part.to_pylist()
    except (ValueError, OverflowError, pa.ArrowException):
        # A date or a duration that Python's types cannot hold.
        values = part.cast(pa.large_string()).to_pylist()
    return values


def distinct_names(names: Sequence[str], words: list[str]) -> list[str]:
    """Return the names of columns without blanks, each once; what had to be changed is added to `words`.

    Of a name that is there twice neither keeps it (`id (1)`, `id (2)`): which is meant has to be said.
    """
    cleaned = [" ".join(name.replace("\ufeff", "").split()) for name in names]
    cleaned = [name or f"column {number}" for number, name in enumerate(cleaned, 1)]
    result: list[str] = []
    for index, name in enumerate(cleaned):
        distinct = name
        if (times := cleaned.count(name)) > 1:
            number = cleaned[: index + 1].count(name)
            distinct = f"{name} ({number})"
            while distinct in cleaned or distinct in result:
                distinct += "'"
            if number == times:
                words.append(f"column {printable(name)} is there {times} times, so called (1) to ({times})")
        result.append(distinct)
    return result


def check_wanted(file: str, wanted: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return the columns that are asked for, each once.

    Raises
    ------
    SourceError
        If one of them is not there.
    """
    missing = [name for name in wanted if name not in names]
    if missing:
        what = f"{file} has no column {listed(missing)}; its columns are {listed(names)}."
        raise SourceError(what, "Map the columns by --map field=column, or choose the log's --preset.")
    return list(dict.fromkeys(wanted))


def listed(names: Sequence[str]) -> str:
    """Return names of columns as a message shows them."""
    shown = [printable(name if len(name) <= 60 else f"{name[:57]}...") for name in names[:40]]
    more = f" and {len(names) - 40:,} more" if len(names) > 40 else ""
    return ", ".join(shown) + more or "none"


def printable(text: str) -> str:
    """Return text from a file so that it can be shown: without what a terminal would obey."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
