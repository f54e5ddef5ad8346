"""Recorded logs and tables of any form that Ebb reads: what a file is, its bytes say."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from ebb.errors import SourceError
from producers.replay.delimited import DelimitedSource
from producers.replay.json_lines import JsonLinesSource, looks_like_json
from producers.replay.log import AS_FOUND, Log, LogSource, ReadOptions
from producers.replay.tables import ParquetSource
from producers.replay.text_files import PACKED_SUFFIXES, packed_by, refusing_damage, text_file

DELIMITED = {".csv", ".tsv", ".tab", ".psv", ".txt"}
JSON_LINES = {".jsonl", ".ndjson", ".json"}
_FORMS = (
    "Logs are CSV (comma, semicolon, tab, pipe), JSON lines or Parquet; the text formats also as .gz, .zst, .bz2, .xz."
)
_FOREIGN = (
    (b"PK\x03\x04", "a zip archive or a workbook", "Unpack it, or save the sheet as CSV or Parquet."),
    (b"\xd0\xcf\x11\xe0", "a workbook of an older spreadsheet", "Save the sheet as CSV."),
    (b"ARROW1", "an Arrow (Feather) file", "Write it as Parquet."),
    (b"ORC", "an ORC file", "Write it as Parquet."),
    (b"Obj\x01", "an Avro file", "Write it as Parquet or JSON lines."),
    (b"SQLite format 3", "an SQLite database", "Export the table as CSV."),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "Unpack it."),
    (b"Rar!", "a rar archive", "Unpack it."),
    (b"\x04\x22\x4d\x18", "compressed by lz4", "Unpack it, or compress it by gzip or zstd."),
)


def open_log(path: Path, options: ReadOptions = AS_FOUND) -> LogSource:
    """Find out what a file is and which columns it has.

    Raises
    ------
    SourceError
        If the file is not there, damaged, of a form that is not read, or if something about it must be told.
    """
    if not path.exists():
        what = f"There is no file {path}."
        raise SourceError(what)
    if not path.is_file():
        what = f"{path} is not a file."
        raise SourceError(what, "Name one file; files of one log can be joined before.")
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in PACKED_SUFFIXES]
    suffix = suffixes[-1] if suffixes else ""
    with refusing_damage(path), path.open("rb") as file:
        start = file.read(16)
    if not start:
        what = f"{path} is empty."
        raise SourceError(what)
    if start.startswith(b"PAR1") or suffix == ".parquet":
        if packed_by(path):
            what = f"{path} is a compressed Parquet file."
            raise SourceError(what, "Unpack it: Parquet is compressed inside.")
        return ParquetSource(path)
    for magic, kind, hint in _FOREIGN:
        if start.startswith(magic):
            what = f"{path} is {kind}, which Ebb does not read."
            raise SourceError(what, f"{hint} {_FORMS}")
    if suffix and suffix not in DELIMITED | JSON_LINES and not packed_by(path):
        what = f"{path} is of a format that Ebb does not read."
        raise SourceError(what, f"{_FORMS} Rename it if it is one of them.")
    text = text_file(path, options.encoding)
    if suffix in JSON_LINES:
        return JsonLinesSource(text)
    with refusing_damage(path), text.open() as file:
        is_json = looks_like_json(islice(text.lines(file), 100))
    return JsonLinesSource(text) if is_json and suffix in {"", ".txt"} else DelimitedSource(text, options)


def read_log(path: Path, wanted: Sequence[str] | None = None, options: ReadOptions = AS_FOUND) -> Log:
    """Read a log or a table.

    Parameters
    ----------
    wanted
        Columns to read; None reads all.

    Raises
    ------
    SourceError
        If the file is not there, damaged, of a form that is not read, or lacks a column of `wanted`; or if something
        about it must be told.
    """
    source = open_log(path, options)
    return source.read(source.names if wanted is None else wanted)
