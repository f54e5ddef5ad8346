"""Decode many event bodies into one Arrow table, outside Python's interpreter lock.

It accepts only what is certainly valid. Each doubtful body is left to
`ebb.contracts.activity.decode_activity`, which alone decides what is refused and why; so an event's fate never depends
on the events beside it.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from ebb.contracts.activity import AMOUNT_LIMIT, NO_PROPERTIES, Activity, Properties
from stream_processors.ingest.json_tokens import NONE
from stream_processors.ingest.records import Records
from stream_processors.ingest.scanner import FIELDS, PROPERTIES, REALS, REQUIRED, Scanned, gather, scan
from stream_processors.types import ByteArray, Flags, Int32Array

COLUMNS = pa.schema(
    [
        ("event_id", pa.utf8()),
        ("customer_id", pa.utf8()),
        ("type", pa.utf8()),
        ("occurred_at", pa.timestamp("us", "UTC")),
        *((name, pa.float64() if name in REALS else pa.utf8()) for name in PROPERTIES),
        ("body", pa.utf8()),
    ]
)
"""Schema of events; `body` is the record as it came, or empty if the other columns hold all of it."""
_TEXTS = frozenset(COLUMNS.names) - {*REALS, "occurred_at"}
_NAMES = (*FIELDS, "body")
"""Columns by the scanner's field numbers."""

MOST_BYTES = 2**31 - 1
"""An offset into the text, like one into an Arrow column, has 32 bits."""
BARE_QUOTES = 16
"""Quotation marks of an event without properties: around four names and four values."""
NAME_QUOTES = 2
QUOTES = {name: NAME_QUOTES + (0 if name in REALS else 2) for name in PROPERTIES}
"""Quotation marks of each property: a string has its own besides those of its name."""


def read_events(records: Records, wanted: Flags, *, latest: float, max_bytes: int) -> tuple[pa.Table, Flags]:
    """Parse the values of records, in order, except those that `decode_activity` might refuse or read otherwise.

    Parameters
    ----------
    records
        The records, at least one.
    wanted
        Which of them to read.
    latest
        Greatest `occurred_at` accepted, Unix seconds.
    max_bytes
        Greatest size accepted.

    Returns
    -------
    events : pyarrow.Table
        Of schema `COLUMNS`, each column in one piece; a row for each record that is certainly valid, its key too.
    sure : ndarray of bool
        Which records those are.
    """
    if len(records.text) > MOST_BYTES:
        return COLUMNS.empty_table(), np.zeros(len(records), np.bool_)
    scanned = scan(records, wanted & (records.values.sizes > 0) & (records.values.sizes <= max_bytes))
    np.logical_and(scanned.sure, scanned.moments <= int(latest * 1_000_000), out=scanned.sure)
    _read_with_care(records.text, scanned)
    rows = np.flatnonzero(scanned.sure)
    told = scanned.sizes[:, rows] != NONE
    texts = [number for number, name in enumerate(_NAMES) if name in _TEXTS and told[number].any()]
    columns = {
        _NAMES[number]: _texts(*written, told[number])
        for number, written in zip(texts, gather(records.text, scanned, texts, rows), strict=True)
    }
    for name, values in zip(REALS, scanned.reals, strict=True):
        columns[name] = pa.array(values[rows], mask=~told[FIELDS.index(name)])
    columns["occurred_at"] = pa.array(scanned.moments[rows]).cast(COLUMNS.field("occurred_at").type)
    nothing = pa.nulls(len(rows), pa.utf8())
    return pa.table([columns.get(name, nothing) for name in COLUMNS.names], schema=COLUMNS), scanned.sure


def _read_with_care(text: ByteArray, scanned: Scanned) -> None:
    """Parse the numbers that the scanner left undecided."""
    for name, values in zip(REALS, scanned.reals, strict=True):
        number = FIELDS.index(name)
        for row in np.flatnonzero(scanned.sure & np.isnan(values)).tolist():
            begin = scanned.begins[number, row]
            values[row] = float(text[begin : begin + scanned.sizes[number, row]].tobytes())
            scanned.sure[row] &= abs(values[row]) <= AMOUNT_LIMIT


def _texts(offsets: Int32Array, written: ByteArray, told: Flags) -> pa.StringArray:
    nulls = len(told) - int(np.count_nonzero(told))
    present = pa.py_buffer(np.packbits(told, bitorder="little")) if nulls else None
    return pa.StringArray.from_buffers(len(told), pa.py_buffer(offsets), pa.py_buffer(written), present, nulls)


def from_activities(events: Sequence[tuple[Activity, Properties, bytes]]) -> pa.Table:
    """Build the same columns from events that were decoded one by one.

    Parameters
    ----------
    events
        Each with its known properties and its body.
    """
    columns: dict[str, list[object]] = {name: [getattr(event, name) for event, _, _ in events] for name in REQUIRED}
    columns |= {name: [getattr(known, name) for _, known, _ in events] for name in PROPERTIES}
    columns["body"] = ["" if _holds_all(*event) else event[2].decode() for event in events]
    return pa.table(columns, schema=COLUMNS)


def _holds_all(event: Activity, known: Properties, body: bytes) -> bool:
    """Return whether an event's columns hold all that its body does; see `_quotes_held`."""
    quotes = BARE_QUOTES + (0 if event.properties is NO_PROPERTIES else NAME_QUOTES)
    quotes += sum(marks for name, marks in QUOTES.items() if getattr(known, name) is not None)
    return not event.occurred_at.utcoffset() and body.count(b'"') == quotes
