"""Delimited text (CSV and its kin), by the reader of Python's standard library.

It reads quoted line breaks of any number wherever they lie and knows each record's line; a block of records is checked
at once. The text of the records is kept as it is and split again when rows are wanted (docs/adr/0034).
"""

import csv
from collections.abc import Iterator, Sequence
from io import StringIO
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa

from ebb.errors import SourceError
from producers.replay.log import (
    BLOCK,
    Ints,
    Log,
    ReadOptions,
    RejectedRow,
    check_wanted,
    distinct_names,
    printable,
    taken_from,
)
from producers.replay.text_files import LINE_LIMIT, TextFile, refusing_damage

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}
_SAMPLE = 1 << 18
"""Characters from which the delimiter is found."""
_SAMPLE_RECORDS = 500

csv.field_size_limit(LINE_LIMIT)


class DelimitedSource:
    """A delimited file whose delimiter and header are known.

    Raises
    ------
    SourceError
        If its delimiter is in doubt, or it has no header.
    """

    def __init__(self, text: TextFile, options: ReadOptions) -> None:
        self._text = text
        self._file = text.path.name
        with refusing_damage(text.path), text.open() as file:
            sample = file.read(_SAMPLE)
        if len(sample) == _SAMPLE:
            sample = sample[: max(sample.rfind("\n"), sample.rfind("\r"))] or sample
        lines = list(StringIO(sample, newline=""))  # splits where a file does
        self._skip = 0
        first = lines[0].strip().lower() if lines else ""
        told = options.delimiter
        if first.startswith("sep=") and len(first) == 5:  # a spreadsheet's own way to say it
            told, self._skip = told or first[4], 1
        elif lines and lines[0].strip(" \r\n").lower() == "sep=\t":
            told, self._skip = told or "\t", 1
        self._delimiter = told or self._find(lines[self._skip :])
        self.words = [DELIMITERS.get(self._delimiter, repr(self._delimiter)), *text.words]
        self._header = next((row for row in self._records(iter(lines[self._skip :])) if any(map(str.strip, row))), [])
        self.names = distinct_names(self._header, self.words)
        if not self.names:
            what = f"{self._file} has no header."
            raise SourceError(what, "Its first line must name the columns.")

    def _records(self, lines: Iterator[str]) -> Iterator[list[str]]:
        try:
            yield from csv.reader(lines, delimiter=self._delimiter)
        except csv.Error:
            return

    def _find(self, lines: list[str]) -> str:
        """Return the delimiter by which most records have as many fields as the header.

        Raises
        ------
        SourceError
            If two would do equally well.
        """
        found: list[tuple[float, int, str]] = []
        for delimiter in DELIMITERS:
            self._delimiter = delimiter
            widths = [len(row) for row in islice(self._records(iter(lines)), _SAMPLE_RECORDS) if row]
            if widths and widths[0] > 1:
                found.append((round(widths.count(widths[0]) / len(widths), 2), widths[0], delimiter))
        found.sort(reverse=True)
        if len(found) > 1 and found[0][:2] == found[1][:2]:
            one, other = (DELIMITERS[delimiter] for *_, delimiter in found[:2])
            what = f"Line 1 of {self._file} has {found[0][1]} fields whether {one} or {other} stands between them."
            raise SourceError(what, f"Say which by --delimiter {one} or --delimiter {other}.")
        return found[0][2] if found else ","

    def read(self, wanted: Sequence[str]) -> Log:
        """Return the rows, with these columns.

        Raises
        ------
        SourceError
            If the file is damaged, lacks a column of `wanted`, or a quote is never closed.
        """
        names = check_wanted(self._file, wanted, self.names)
        kept = _Kept(self._header, clean=self._text.clean)
        with refusing_damage(self._text.path), self._text.open() as file:
            for texts, first, rows in _blocks(self._text, file, self._delimiter):
                kept.add(texts, first, rows)
        if not kept.has_header:
            what = f"{self._file} has no header that can be read."
            raise SourceError(what, "Its first line must name the columns.")
        positions = {name: self.names.index(name) for name in names}
        store = RecordStore(kept.texts(), self._delimiter, positions)
        words = self.words
        return Log(self._file, names, store, kept.indices(), kept.lines(), kept.broken, words)


class RecordStore:
    """Records of a delimited file as text.

    Parameters
    ----------
    texts
        One record each, with its line breaks.
    positions
        Column → index of its field.
    """

    def __init__(self, texts: pa.Array, delimiter: str, positions: dict[str, int]) -> None:
        self._texts = texts
        self._delimiter = delimiter
        self._positions = positions

    def __len__(self) -> int:
        return len(self._texts)

    def take(self, indices: Ints, names: Sequence[str]) -> dict[str, list[Any]]:
        """Return columns of some rows as text."""
        rows = list(csv.reader(taken_from(self._texts, indices), delimiter=self._delimiter))
        taken = {}
        for name in names:
            position = self._positions[name]
            taken[name] = [row[position] for row in rows]
        return taken


class _Kept:
    """The records of a file that have the header's width, and apart from them those that have not."""

    def __init__(self, header: list[str], *, clean: bool) -> None:
        self._header = header
        self._clean = clean
        self.has_header = False
        self._count = 0
        self._texts: list[pa.Array] = []
        self._rows: list[Ints] = []
        self._lines: list[Ints] = []
        self.broken: list[RejectedRow] = []

    def add(self, texts: list[str], lines: Ints, rows: list[list[str]]) -> None:
        """Add a block: the text of each record, the line at which it begins, its fields."""
        width = len(self._header)
        alike = self.has_header and self._header not in rows and set(map(len, rows)) == {width}
        if alike and (self._clean or _encodable("".join(texts))):
            accepted, kept, numbers = texts, lines, np.arange(self._count, self._count + len(rows))
            self._count += len(rows)
        else:
            chosen, indices = [], []
            for index, row in enumerate(rows):
                if self._accept(texts[index], int(lines[index]), row):
                    chosen.append(index)
                    indices.append(self._count - 1)
            accepted, kept, numbers = [texts[index] for index in chosen], lines[chosen], np.array(indices, np.int64)
        self._texts.append(pa.array(accepted, pa.large_string()))
        self._lines.append(kept)
        self._rows.append(numbers)

    def _accept(self, text: str, line: int, row: list[str]) -> bool:
        """Count a record and return whether it is readable."""
        if not row or (not self.has_header and not any(map(str.strip, row))):
            return False  # a blank line
        if not self.has_header:
            # Of the file's first records, what stands before the header is a spreadsheet's `sep=`.
            self.has_header = row == self._header
            return False
        self._count += 1
        width = len(self._header)
        reason = what = ""
        if row == self._header:
            reason, what = "repeated_header", "the header again, as where files were joined"
        elif len(row) < width or any(field.strip() for field in row[width:]):
            breaks = text.rstrip("\r\n").count("\n")
            spans = f", in a record of {breaks + 1:,} lines (is a quote left open?)" if breaks else ""
            reason, what = "wrong_columns", f"{len(row)} fields where the header has {width}{spans}"
        elif not self._clean and not _encodable(text):
            number = next(number for number, field in enumerate(row) if not _encodable(field))
            field = row[number].encode(errors="surrogateescape")
            column = self._header[number].strip() if number < width else str(number + 1)
            reason, what = (
                "bad_encoding",
                f"column {printable(column)} holds bytes that are no characters: {field!r:.80}",
            )
        if reason:
            body = text.rstrip("\r\n").encode(errors="surrogateescape")
            self.broken.append(RejectedRow(self._count - 1, reason, what, body, line))
        return not reason

    def texts(self) -> pa.Array:
        return pa.chunked_array(self._texts, pa.large_string()).combine_chunks()

    def lines(self) -> Ints:
        return np.concatenate([np.empty(0, np.int64), *self._lines])

    def indices(self) -> Ints:
        return np.concatenate([np.empty(0, np.int64), *self._rows])


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _blocks(text: TextFile, file: Any, delimiter: str) -> Iterator[tuple[list[str], Ints, list[list[str]]]]:
    """Yield records as texts, the lines at which they begin, and their fields."""
    name = text.path.name
    pending: list[str] = []

    def noted(lines: Iterator[str]) -> Iterator[str]:
        for line in lines:
            pending.append(line)
            yield line

    reader = csv.reader(noted(text.lines(file)), delimiter=delimiter)
    while True:
        before = reader.line_num
        rows: list[list[str]] = []
        try:
            rows.extend(islice(reader, BLOCK))
        except csv.Error as error:
            texts, lines = _split(pending, before, delimiter)
            line = int(lines[-1]) if len(lines) else before + 1
            what = f"Line {line:,} of {name} cannot be read: {error}."
            raise SourceError(what, "Look for a quote that is never closed.") from error
        if not rows:
            return
        texts, lines = _joined(pending, rows, before) or _split(pending, before, delimiter)
        if _left_open(texts[-1], delimiter):
            more = reader.line_num - int(lines[-1])
            what = (
                f"Line {int(lines[-1]):,} of {name} opens a quote in column {len(rows[-1])} that is never closed"
                f"{f', so that the {more:,} lines after it would be one value' if more else ''}."
            )
            raise SourceError(what, "Close or double the quote; at the end of the file, check that it is whole.")
        pending.clear()
        yield texts, lines, rows


def _joined(pending: list[str], rows: list[list[str]], before: int) -> tuple[list[str], Ints] | None:
    """Return what `_split` does without parsing again, None if it is not certain.

    A line with an odd number of quotes begins a record of several lines or ends it, unless a quote is astray. So it is
    certain if each of these records holds as many line breaks as were joined, and there are as many as were parsed.
    """
    if len(pending) == len(rows):
        return pending.copy(), np.arange(before + 1, before + 1 + len(rows))
    odd = [number for number, line in enumerate(pending) if line.count('"') % 2]
    texts: list[str] = []
    firsts: list[Ints] = []
    taken = 0
    for begin, end in zip(odd[::2], odd[1::2], strict=False):
        texts += pending[taken:begin]
        index = len(texts)
        texts.append("".join(pending[begin : end + 1]))
        if index >= len(rows) or sum(field.count("\n") for field in rows[index]) != end - begin:
            return None
        firsts.append(np.arange(taken, begin + 1))
        taken = end + 1
    texts += pending[taken:]
    firsts.append(np.arange(taken, len(pending)))
    return (texts, np.concatenate(firsts) + before + 1) if len(texts) == len(rows) and len(odd) % 2 == 0 else None


def _split(pending: list[str], before: int, delimiter: str) -> tuple[list[str], Ints]:
    """Return the text of each record in some lines, and the line at which it begins."""
    texts, firsts, taken = [], [], 0
    reader = csv.reader(iter(pending), delimiter=delimiter)
    while True:
        try:
            next(reader)
        except StopIteration:
            break
        except csv.Error:
            texts.append("".join(pending[taken:]))
            firsts.append(before + taken + 1)
            break
        texts.append("".join(pending[taken : reader.line_num]))
        firsts.append(before + taken + 1)
        taken = reader.line_num
    return texts, np.array(firsts, np.int64)


def _left_open(text: str, delimiter: str) -> bool:
    """Return whether a record's last quote is never closed."""
    end = "\0end"
    try:
        [*_, last] = next(csv.reader([f"{text}\n{end}"], delimiter=delimiter), [""])
    except csv.Error:  # a line after the end of the record
        return False
    return last.endswith(end)
