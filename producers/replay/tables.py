"""Parquet, by Arrow: columns of any type as Python values, in the precision that they have."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ebb.errors import SourceError
from producers.replay.log import Ints, Log, check_wanted, distinct_names, printable, taken_from

_YEARS_US = (-62_135_596_800_000_000, 253_402_300_799_999_999)
"""Microseconds since 1970 that Python's times can hold: the years 1 to 9999."""


class ParquetSource:
    """A Parquet file; a column of a nested one is named by its path (`user.id`).

    Raises
    ------
    SourceError
        If it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.words = ["Parquet"]
        try:
            self._schema = pq.read_schema(path)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise _damaged(path, error) from error
        self.names = distinct_names(self._schema.names, self.words)

    def read(self, wanted: Sequence[str]) -> Log:
        """Return the rows, with these columns.

        Raises
        ------
        SourceError
            If the file is damaged or lacks a column of `wanted`.
        """
        paths = {name: _path(self._schema, self.names, name) for name in wanted}
        nested = [name for name, path in paths.items() if path and name not in self.names]
        names = check_wanted(self._path.name, wanted, [*self.names, *nested])
        tops = [self._schema.names[path[0]] for name in names if (path := paths[name])]
        columns = {}
        try:
            # A name that is there twice is read with all columns: Arrow chooses by name.
            repeated = len(set(self._schema.names)) < len(self._schema.names)
            file = pq.ParquetFile(self._path)
            table = file.read(columns=None if repeated else sorted(set(tops)))
            for name in names:
                index, *fields = paths[name] or []
                column = table.column(index if repeated else self._schema.names[index])
                column = pc.struct_field(column, fields) if fields else column
                columns[name] = _plain_types(self._path, name, column)
            count = file.metadata.num_rows
        except (pa.ArrowException, OSError, ValueError) as error:
            raise _damaged(self._path, error) from error
        return Log(self._path.name, names, ColumnStore(columns, count), np.arange(count), words=list(self.words))


class ColumnStore:
    """Columns of Arrow.

    Parameters
    ----------
    columns
        Of types that `_plain_types` returns, all of `count` values.
    """

    def __init__(self, columns: dict[str, pa.Array], count: int) -> None:
        self._columns = columns
        self._count = count

    def __len__(self) -> int:
        return self._count

    def take(self, indices: Ints, names: Sequence[str]) -> dict[str, list[Any]]:
        """Return columns of some rows as Python values."""
        return {name: taken_from(self._columns[name], indices) for name in names}


def _damaged(path: Path, error: Exception) -> SourceError:
    what = f"{path} cannot be read as Parquet: {_said(error)}."
    return SourceError(what, "It is damaged, cut off or of another format: fetch or write it again.")


def _said(error: Exception) -> str:
    return printable(" ".join(str(error).split()).rstrip("."))


def _path(schema: pa.Schema, names: Sequence[str], name: str) -> list[Any] | None:
    """Return the index of a column and the fields inside it, None if it is not there."""
    if name in names:
        return [names.index(name)]
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        top, fields = ".".join(parts[:cut]), parts[cut:]
        if top not in names:
            continue
        kind = schema.field(names.index(top)).type
        for field in fields:
            if not pa.types.is_struct(kind) or kind.get_field_index(field) < 0:
                break
            kind = kind.field(field).type
        else:
            return [names.index(top), *fields]
    return None


def _plain_types(path: Path, name: str, column: pa.ChunkedArray) -> pa.Array:
    """Return a column whose values are the same in whichever of Arrow's types they were stored."""
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        column, kind = pa.chunked_array([part.storage for part in column.chunks], kind.storage_type), kind.storage_type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_string(kind) or pa.types.is_string_view(kind):
        column = column.cast(pa.large_string())  # in one piece it may be longer than 2 GiB
    elif pa.types.is_binary(kind) or pa.types.is_binary_view(kind) or pa.types.is_fixed_size_binary(kind):
        column = column.cast(pa.large_binary())
    elif pa.types.is_float16(kind) or pa.types.is_float32(kind):
        # 49.9 in single precision is 49.9 to whoever wrote it, not 49.90000152587890625.
        column = pc.cast(column.cast(pa.float32()).cast(pa.string()), pa.float64())
    elif pa.types.is_timestamp(kind):
        column = _microseconds(column, kind)
    try:
        column.validate(full=True)
    except pa.ArrowInvalid as error:
        what = f"Column {printable(name)} of {path.name} is not what its type says: {_said(error)}."
        raise SourceError(what, "Text must be UTF-8: write the file again.") from error
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _microseconds(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    unit = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}[kind.unit]
    limits = pc.min_max(column.cast(pa.int64()))
    least, most = limits["min"].as_py(), limits["max"].as_py()
    if least is not None:
        first, last = (bound * unit // 1_000_000 for bound in _YEARS_US)
        if least < first or most > last:
            return column.cast(pa.timestamp(kind.unit)).cast(pa.large_string())  # refused a row at a time
    # Instants are the same in UTC, and no time zone need be known here.
    return column.cast(pa.timestamp("us", "UTC" if kind.tz else None), safe=False)
