"""A shard of customers as bytes: columns by name, so that code with other columns reads what it knows.

The length of a head, the head as JSON (ids; name, type and shape of each column), then the columns' bytes in order.
A column that the code does not have is passed over; one that the shard lacks keeps its fill value.
"""

import struct
from typing import Any

import numpy as np
import orjson

from ebb.errors import SchemaMismatchError
from stream_processors.state.customer_ids import Ids
from stream_processors.state.table import SERVED, STATE, Column, Table
from stream_processors.types import AnyArray

LENGTH = struct.Struct("<I")
_ADDED = {"forgotten_active_day"}
"""Columns that came after shards began to name theirs."""
_UNNAMED: tuple[Column, ...] = tuple(column for column in (*STATE, *SERVED) if column.name not in _ADDED)
"""Columns of a shard that does not name them, in their order."""


def pack_rows(state: Table, history: Table, ids: Ids, start: int, stop: int) -> bytes:
    """Pack the rows of both tables from `start` to `stop`."""
    columns = [part for table in (state, history) for part in table.slices(start, stop)]
    named = [(column.name, array.dtype.str, column.shape) for column, array in columns]
    head = orjson.dumps({"ids": ids.take(np.arange(start, stop)), "columns": named})
    return b"".join([LENGTH.pack(len(head)), head, *(array.data for _, array in columns)])


def unpack_rows(body: bytes, state: Table, history: Table, start: int) -> list[str]:
    """Load rows into both tables, which have them, from `start`; return their ids.

    Raises
    ------
    SchemaMismatchError
        If a column has another shape, or a type that this code's cannot hold.
    """
    (size,) = LENGTH.unpack_from(body)
    at = LENGTH.size + size
    head = orjson.loads(body[LENGTH.size : at])
    ids: list[str] = head["ids"]
    for name, dtype, shape in head.get("columns") or _unnamed(head["types"]):
        stored = (len(ids), *shape)
        flat: AnyArray = np.frombuffer(body, np.dtype(dtype), count=int(np.prod(stored)), offset=at)
        at += flat.nbytes
        table, column = _find(name, state, history)
        if table is not None and column is not None:
            _check(column, np.dtype(dtype), tuple(shape))
            if column.widest:
                table.widen(name, np.dtype(dtype))
            table[name][start : start + len(ids)] = flat.reshape(stored)
    return ids


def _unnamed(types: dict[str, str]) -> list[tuple[str, str, tuple[int, ...]]]:
    """Return the columns of a shard that names only the types of those that may be widened."""
    return [(one.name, types.get(one.name, np.dtype(one.dtype).str), one.shape) for one in _UNNAMED]


def _find(name: str, *tables: Table) -> tuple[Table | None, Column | None]:
    return next(((table, column) for table in tables for column in table.columns if column.name == name), (None, None))


def _check(column: Column, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    if shape != column.shape or not np.can_cast(dtype, column.widest or column.dtype, casting="safe"):
        what = (
            f"Column {column.name} of the state was stored as {dtype} {list(shape)}; "
            f"this code has {np.dtype(column.dtype)} {list(column.shape)}."
        )
        raise SchemaMismatchError(what)
