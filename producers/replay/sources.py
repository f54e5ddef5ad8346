"""Recorded logs as columns of Python values: CSV, Parquet, JSON lines, plain or compressed.

Only the mapped columns of a log are held in memory, since it must be sorted by event time: about half a kilobyte a
row.
"""

import gzip
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import orjson
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from ebb.errors import SourceError


@dataclass(frozen=True)
class RejectedRow:
    """A row that cannot become an event."""

    row: int
    """Index in the file, from 0; in a CSV file the header is not counted."""
    reason: str
    what: str
    body: bytes
    """The row as it is in the file, or as JSON where the file is not text."""


@dataclass(frozen=True)
class Log:
    """The readable rows of a log, in file order."""

    columns: dict[str, list[Any]]
    """Column name → one value a row."""
    rows: list[int]
    """Index of each readable row in the file."""
    broken: list[RejectedRow] = field(default_factory=list)
    """Unreadable rows: broken JSON, too few or too many fields."""

    def raw(self, index: int) -> bytes:
        """Return a readable row as JSON, for the dead-letter topic."""
        row = {name: values[index] for name, values in self.columns.items()}
        return orjson.dumps(row, default=str)


def read_log(path: Path, wanted: Sequence[str] | None = None) -> Log:
    """Read a log.

    Parameters
    ----------
    path
        `.parquet`, `.csv`, `.tsv`, `.jsonl` or `.ndjson`; the text formats also as `.gz`.
    wanted
        Columns to read; None reads all.

    Raises
    ------
    SourceError
        If the file is not there, of another format, unreadable, or lacks a column of `wanted`.
    """
    if not path.is_file():
        what = f"There is no file {path}."
        raise SourceError(what)
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    kind = suffixes[-1] if suffixes else ""
    try:
        match kind:
            case ".parquet":
                return _parquet(path, wanted)
            case ".csv" | ".tsv":
                return _csv(path, wanted, "\t" if kind == ".tsv" else ",")
            case ".jsonl" | ".ndjson" | ".json":
                return _json_lines(path, wanted)
    except (pa.ArrowException, OSError, EOFError) as error:
        what = f"{path} cannot be read as {kind.removeprefix('.')}: {error}."
        raise SourceError(what) from error
    what = f"{path} is of a format that Ebb does not read."
    raise SourceError(what, "Logs are .parquet, .csv, .tsv, .jsonl or .ndjson; the text formats also as .gz.")


def _check(path: Path, wanted: Sequence[str] | None, present: Iterable[str]) -> list[str]:
    columns = list(present)
    missing = [name for name in wanted or () if name not in columns]
    if missing:
        what = f"{path} has no column {', '.join(missing)}; its columns are {', '.join(columns)}."
        raise SourceError(what, "Map the columns by --map field=column, or choose the log's --preset.")
    return columns if wanted is None else list(dict.fromkeys(wanted))


def _parquet(path: Path, wanted: Sequence[str] | None) -> Log:
    names = _check(path, wanted, pq.read_schema(path).names)
    table = pq.read_table(path, columns=names)
    return Log({name: table.column(name).to_pylist() for name in names}, list(range(table.num_rows)))


def _csv(path: Path, wanted: Sequence[str] | None, delimiter: str) -> Log:
    broken: list[RejectedRow] = []

    def refuse(row: Any) -> str:
        what = f"{row.actual_columns} fields where the header has {row.expected_columns}"
        # Rows are numbered by the reader from 1, the header counted.
        broken.append(RejectedRow(row.number - 2, "wrong_columns", what, row.text.encode()))
        return "skip"

    parse = pa_csv.ParseOptions(delimiter=delimiter, invalid_row_handler=refuse)
    with _opened(path) as file:
        header = file.readline().decode("utf-8-sig").rstrip("\r\n")
    # The header by Arrow's own parser, which knows quoting.
    present = pa_csv.read_csv(pa.BufferReader(f"{header}\n".encode()), parse_options=parse).column_names
    names = _check(path, wanted, present)
    # All as text: the mapping decides what a value is, and one odd value must not fail a file.
    convert = pa_csv.ConvertOptions(
        include_columns=names, column_types=dict.fromkeys(names, pa.utf8()), strings_can_be_null=True, null_values=[""]
    )
    # Rows are numbered only when read by one thread.
    read = pa_csv.ReadOptions(use_threads=False)
    table = pa_csv.read_csv(path, read_options=read, parse_options=parse, convert_options=convert)
    skipped = {refusal.row for refusal in broken}
    rows = [row for row in range(table.num_rows + len(broken)) if row not in skipped]
    return Log({name: table.column(name).to_pylist() for name in names}, rows, broken)


def _json_lines(path: Path, wanted: Sequence[str] | None) -> Log:
    found: list[dict[str, Any]] = []
    rows: list[int] = []
    broken: list[RejectedRow] = []
    names: dict[str, None] = {}
    with _opened(path) as file:
        for row, line in enumerate(_lines(file)):
            try:
                value = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                broken.append(RejectedRow(row, "bad_json", str(error), line))
                continue
            if not isinstance(value, dict):
                broken.append(
                    RejectedRow(row, "wrong_type", f"The line is not an object but {type(value).__name__}", line)
                )
                continue
            found.append(value)
            rows.append(row)
            names.update(dict.fromkeys(value))
    chosen = _check(path, wanted, names) if found else list(wanted or ())
    return Log({name: [value.get(name) for value in found] for name in chosen}, rows, broken)


def _opened(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path, "rb")) if path.suffix.lower() == ".gz" else path.open("rb")


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    for line in file:
        if stripped := line.strip():
            yield stripped
