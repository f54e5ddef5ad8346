"""Many event bodies → one Arrow table, parsed by Arrow's JSON reader outside Python's interpreter lock.

It takes only what is surely fine. Whatever it has a doubt about it leaves to `ebb.events.decode_activity`, record by
record, which alone decides what is refused and why; so an event's fate never depends on the events beside it.
"""

from collections.abc import Sequence
from typing import cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from ebb.events import AMOUNT_LIMIT, NO_PROPERTIES, TEXT_LIMIT, Activity, Properties

REALS = frozenset({"amount", "discount"})
PROPERTIES: tuple[str, ...] = Properties.__struct_fields__
_KNOWN = pa.struct([(name, pa.float64() if name in REALS else pa.utf8()) for name in PROPERTIES])
_RECORD = pa.schema(
    [
        ("event_id", pa.utf8()),
        ("customer_id", pa.utf8()),
        ("type", pa.utf8()),
        ("occurred_at", pa.utf8()),
        ("properties", _KNOWN),
    ]
)
COLUMNS = pa.schema(
    [
        ("event_id", pa.utf8()),
        ("customer_id", pa.utf8()),
        ("type", pa.utf8()),
        ("occurred_at", pa.timestamp("us", "UTC")),
        *((field.name, field.type) for field in _KNOWN),
        ("body", pa.utf8()),
    ]
)
"""What a table of events holds; `body` is the record as it came, or empty if the other columns hold all of it."""

_MOMENT = r"^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)$"
"""The times that Arrow and msgspec read alike."""
LONG, NESTED = 800, 400
"""A record of more bytes is looked at for brackets; with more of them it may nest deeper than msgspec follows."""
NO_NUMBERS = (b"NaN", b"Inf")
"""Arrow takes them for numbers, also where it passes over them; JSON does not know them."""
CHUNK = 128 * 1024
"""Bytes searched at a time, so that they stay in the processor's cache."""
MOST_BYTES = 256 * 1024 * 1024
"""Arrow reads a block of at most 2 GiB."""
BARE_QUOTES = 16
"""Quotation marks of an event without properties: around four names and four texts."""
NAME_QUOTES = 2
QUOTES = {name: NAME_QUOTES + (0 if name in REALS else 2) for name in PROPERTIES}
"""Quotation marks of each property that an event has: a text has its own besides those of its name."""


class DoubtError(Exception):
    """At least one of the bodies is not surely fine."""


def read_events(found: Sequence[bytes | None], *, max_bytes: int) -> pa.Table:
    """Parse bodies, one row each, in order.

    Parameters
    ----------
    found
        The bodies; None is one that may be refused.
    max_bytes
        Greatest size accepted.

    Returns
    -------
    pyarrow.Table
        Of schema `COLUMNS`, each column in one piece.

    Raises
    ------
    DoubtError
        If any body might be refused, or read otherwise, by `decode_activity`.
    """
    bodies = cast(Sequence[bytes], found)
    try:
        text = b"\n".join(bodies)
    except TypeError:  # one is None; to look for it would take a third of the time that parsing takes
        raise DoubtError from None
    sizes = np.fromiter(map(len, bodies), np.int64, len(bodies))
    ends = np.cumsum(sizes + 1)
    if sizes.max() > max_bytes:
        raise DoubtError
    try:
        _surely_one_object_each(bodies, text, sizes, ends)
        rows = pyarrow.json.read_json(
            pa.BufferReader(text),
            pyarrow.json.ReadOptions(use_threads=False, block_size=len(text) + 1),
            pyarrow.json.ParseOptions(explicit_schema=_RECORD, unexpected_field_behavior="ignore"),
        ).combine_chunks()
        if len(rows) != len(bodies):
            raise DoubtError
        plain = {name: _whole(rows[name]) for name in _RECORD.names}
        occurred = plain["occurred_at"]
        if not _all(pc.match_substring_regex(occurred, _MOMENT)):
            raise DoubtError
        plain["occurred_at"] = occurred.cast(pa.timestamp("us", "UTC"))
    except (pa.ArrowInvalid, UnicodeDecodeError):
        raise DoubtError from None
    held = _is_utc(occurred)
    known = plain.pop("properties")
    _check_absent(known, bodies)
    plain |= dict(zip(PROPERTIES, known.flatten(), strict=True))
    _check_ranges(plain)
    letters = np.frombuffer(text, np.uint8)
    quotes = np.add.reduceat((letters == ord('"')).view(np.uint8), ends - sizes - 1, dtype=np.int32)
    held &= quotes == _quotes_held(known, plain)
    offsets = np.concatenate(([0], ends)).astype(np.int32)
    offsets[-1] -= 1  # no line break follows the last body
    lines = pa.StringArray.from_buffers(len(bodies), pa.py_buffer(offsets), pa.py_buffer(text))
    body = pa.repeat("", len(bodies)) if held.all() else pc.if_else(held, "", pc.ascii_rtrim_whitespace(lines))
    return pa.table({**plain, "body": body}, schema=COLUMNS)


def _is_utc(occurred: pa.StringArray) -> npt.NDArray[np.bool_]:
    """Tell which times, of the form of `_MOMENT`, are told in UTC; the column does not hold any other offset."""
    _, places, text = occurred.buffers()
    letters = np.frombuffer(text, np.uint8)
    ends = np.frombuffer(places, np.int32)[occurred.offset + 1 :][: len(occurred)]
    found = np.ones(len(ends), np.bool_)
    for back, digit in enumerate(b"00:00"[::-1], 1):
        found &= letters[ends - back] == digit
    found |= (letters[ends - 1] | 0x20) == ord("z")
    return found


def _quotes_held(known: pa.StructArray, columns: dict[str, pa.Array]) -> npt.NDArray[np.int32]:
    """Count the quotation marks that each body has if it says nothing that the columns do not hold.

    Each name has two and each text has two; whatever a body says besides, it has at least the two of a name more.
    """
    found = np.full(len(known), BARE_QUOTES, np.int32)
    for column, marks in ((known, NAME_QUOTES), *((columns[name], marks) for name, marks in QUOTES.items())):
        if column.null_count < len(column):
            found += np.int32(marks) * column.is_valid().to_numpy(zero_copy_only=False)
    return found


def _surely_one_object_each(
    bodies: Sequence[bytes], text: bytes, sizes: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]
) -> None:
    """Make sure that as many rows as bodies means one row each.

    Each body begins and ends with a brace, so each yields a row at least; none can go on into the next, since a line
    break cannot stand within a string.
    """
    if not len(text) < MOST_BYTES or not sizes.min() > 1:
        raise DoubtError
    letters = np.frombuffer(text, np.uint8)
    braced = (letters[ends - sizes - 1] == ord("{")) & (letters[ends - 2] == ord("}"))
    if not braced.all() or any(_holds(letters, name) for name in NO_NUMBERS):
        raise DoubtError
    if any(
        bodies[place].count(b"[") + bodies[place].count(b"{") > NESTED
        for place in np.flatnonzero(sizes > LONG).tolist()
    ):
        raise DoubtError
    if not text.isascii():
        text.decode()  # the reader does not look at the encoding of what it passes over


def _holds(letters: npt.NDArray[np.uint8], word: bytes) -> bool:
    """Tell whether a short word stands anywhere; unlike `bytes.find`, without holding the interpreter lock."""
    for start in range(0, len(letters), CHUNK):
        part = letters[start : start + CHUNK + len(word) - 1]
        last = len(part) - len(word) + 1
        found = part[: max(last, 0)] == word[0]
        for place, letter in enumerate(word[1:], 1):
            found &= part[place : last + place] == letter
        if found.any():
            return True
    return False


def _check_absent(known: pa.StructArray, bodies: Sequence[bytes]) -> None:
    """Events may have no properties; `null` in their place is refused."""
    if known.null_count and any(b'"properties"' in bodies[place] or b"\\" in bodies[place] for place in _nulls(known)):
        raise DoubtError


def _check_ranges(columns: dict[str, pa.Array]) -> None:
    for name in ("event_id", "customer_id", "type", "occurred_at"):
        if columns[name].null_count:
            raise DoubtError
    for name in ("event_id", "customer_id", "type"):
        if pc.min(pc.binary_length(columns[name])).as_py() == 0:
            raise DoubtError
    if pc.min(columns["occurred_at"]).cast(pa.int64()).as_py() < 0:
        raise DoubtError
    for name, column in columns.items():
        if column.null_count == len(column) or name == "occurred_at":
            continue
        if name in REALS:
            limits = pc.min_max(column).as_py()
            if not -AMOUNT_LIMIT <= limits["min"] <= limits["max"] <= AMOUNT_LIMIT:
                raise DoubtError
        elif pc.max(pc.binary_length(column)).as_py() > TEXT_LIMIT:
            raise DoubtError


def _nulls(column: pa.Array) -> list[int]:
    found: list[int] = np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False)).tolist()
    return found


def _all(flags: pa.Array) -> bool:
    return pc.all(flags, skip_nulls=False).as_py() is True


def _whole(column: pa.ChunkedArray) -> pa.Array:
    found = column.combine_chunks()
    return found.chunk(0) if isinstance(found, pa.ChunkedArray) else found


def from_activities(events: Sequence[tuple[Activity, Properties, bytes]]) -> pa.Table:
    """Put events that were decoded one by one into the same columns.

    Parameters
    ----------
    events
        Each with its known properties and its body.
    """
    columns: dict[str, list[object]] = {
        name: [getattr(event, name) for event, _, _ in events]
        for name in ("event_id", "customer_id", "type", "occurred_at")
    }
    columns |= {name: [getattr(known, name) for _, known, _ in events] for name in PROPERTIES}
    columns["body"] = ["" if _holds_all(*event) else event[2].decode() for event in events]
    return pa.table(columns, schema=COLUMNS)


def _holds_all(event: Activity, known: Properties, body: bytes) -> bool:
    """Tell whether an event's columns hold all that its body says; see `_quotes_held`."""
    quotes = BARE_QUOTES + (0 if event.properties is NO_PROPERTIES else NAME_QUOTES)
    quotes += sum(marks for name, marks in QUOTES.items() if getattr(known, name) is not None)
    return not event.occurred_at.utcoffset() and body.count(b'"') == quotes
