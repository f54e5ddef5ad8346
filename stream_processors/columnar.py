"""Many event bodies → one Arrow table, parsed by Arrow's JSON reader outside Python's interpreter lock.

It takes only what is surely fine. Each body that it has a doubt about it leaves to `ebb.events.decode_activity`, which
alone decides what is refused and why; so an event's fate never depends on the events beside it.
"""

import re
from collections.abc import Sequence
from contextlib import suppress

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
REQUIRED = frozenset({"event_id", "customer_id", "type", "occurred_at"})
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
NOTHING = b"{}"
"""What is parsed in place of a body that is not surely fine, so that rows and bodies stay beside each other."""
PIECE = 1024
"""Bodies parsed together once a doubt is found: a call costs 0.2 ms, and a body that cannot be parsed costs another."""
TRIES = 8
"""Bodies of a piece that may turn out not to be parsed, before all of it is left to be read one by one."""
_ROW = re.compile(r" in row (\d+)$")

Flags = npt.NDArray[np.bool_]


class _UnparsedError(Exception):
    """Bodies could not be parsed together, perhaps for that in one place."""

    def __init__(self, place: int | None = None) -> None:
        self.place = place


def read_events(found: Sequence[bytes | None], *, max_bytes: int) -> tuple[pa.Table, Flags]:
    """Parse bodies, in order, those aside that `decode_activity` might refuse or read otherwise.

    Parameters
    ----------
    found
        The bodies, at least one.
    max_bytes
        Greatest size accepted.

    Returns
    -------
    events : pyarrow.Table
        Of schema `COLUMNS`, each column in one piece; a row for each body that is surely fine.
    sure : ndarray of bool
        Which bodies are.
    """
    bodies = [body or b"" for body in found]
    text = b"\n".join(bodies)
    sizes = np.fromiter(map(len, bodies), np.int64, len(bodies))
    ends = np.cumsum(sizes + 1)
    sure = _surely_objects(bodies, text, sizes, ends) & (sizes <= max_bytes)
    if not sure.any() or len(text) >= MOST_BYTES:
        return COLUMNS.empty_table(), np.zeros(len(bodies), np.bool_)
    rows = _parsed(bodies, text, sure)
    plain: dict[str, pa.Array] = {name: _whole(rows[name]) for name in _RECORD.names}
    occurred, known = plain["occurred_at"], plain.pop("properties")
    for place in np.flatnonzero(sure & _flags(known.is_null())).tolist() if known.null_count else ():
        # Events may have no properties; `null` in their place is refused.
        sure[place] = b'"properties"' not in bodies[place] and b"\\" not in bodies[place]
    plain["occurred_at"] = _moments(occurred, sure)
    plain |= dict(zip(PROPERTIES, known.flatten(), strict=True))
    _doubt_values(plain, sure)
    if not sure.any():
        return COLUMNS.empty_table(), sure
    letters = np.frombuffer(text, np.uint8)
    held = _is_utc(occurred) & (_quotes(letters, sizes, ends) == _quotes_held(known, plain))
    if not (held | ~sure).all():  # what the columns hold has been looked at; what Arrow passed over has not
        for name in NO_NUMBERS:
            rows_with = np.searchsorted(ends, _places(letters, name), side="right")
            sure[rows_with] &= held[rows_with]
    offsets = np.concatenate(([0], ends)).astype(np.int32)
    offsets[-1] -= 1  # no line break follows the last body
    body = pa.StringArray.from_buffers(len(bodies), pa.py_buffer(offsets), pa.py_buffer(text))
    if not sure.all():
        only = pa.array(sure)
        plain = {name: column.filter(only) for name, column in plain.items()}
        body, held = body.filter(only), held[sure]
    body = pa.repeat("", len(body)) if held.all() else pc.if_else(held, "", pc.ascii_rtrim_whitespace(body))
    return pa.table({**plain, "body": body}, schema=COLUMNS), sure


def _quotes(
    letters: npt.NDArray[np.uint8], sizes: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]
) -> npt.NDArray[np.unsignedinteger]:
    """Count the quotation marks of each body, in the narrowest numbers that hold them: it takes a quarter the time."""
    starts = np.minimum(ends - sizes - 1, len(letters) - 1)
    return np.add.reduceat((letters == ord('"')).view(np.uint8), starts, dtype=np.min_scalar_type(sizes.max()))


def _surely_objects(
    bodies: Sequence[bytes], text: bytes, sizes: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]
) -> Flags:
    """Tell which bodies are text in braces, not nested deeply."""
    if not text:
        return np.zeros(len(bodies), np.bool_)
    letters = np.frombuffer(text, np.uint8)
    first = np.minimum(ends - sizes - 1, len(text) - 1)
    sure: Flags = (sizes > 1) & (letters[first] == ord("{")) & (letters[ends - 2] == ord("}"))
    for place in np.flatnonzero(sizes > LONG).tolist():
        sure[place] &= bodies[place].count(b"[") + bodies[place].count(b"{") <= NESTED
    if not (text.isascii() or _is_utf8(text)):  # the reader does not look at the encoding of what it passes over
        sure &= np.fromiter(map(_is_utf8, bodies), np.bool_, len(bodies))
    return sure


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _places(letters: npt.NDArray[np.uint8], word: bytes) -> npt.NDArray[np.int64]:
    """Return where a short word stands; unlike `bytes.find`, without holding the interpreter lock."""
    places = []
    for start in range(0, len(letters), CHUNK):
        part = letters[start : start + CHUNK + len(word) - 1]
        last = max(len(part) - len(word) + 1, 0)
        found = part[:last] == word[0]
        for place, letter in enumerate(word[1:], 1):
            found &= part[place : last + place] == letter
        if found.any():
            places.append(np.flatnonzero(found) + start)
    return np.concatenate(places) if places else np.empty(0, np.int64)


def _parsed(bodies: Sequence[bytes], text: bytes, sure: Flags) -> pa.Table:
    """Parse bodies, a row each, those that are not sure as nothing; mark those that turn out not to be."""
    if sure.all():
        with suppress(_UnparsedError):
            return _rows(text, len(bodies))
    pieces = range(0, len(bodies), PIECE)
    return pa.concat_tables([_piece(bodies[at : at + PIECE], sure[at : at + PIECE]) for at in pieces])


def _piece(bodies: Sequence[bytes], sure: Flags) -> pa.Table:
    parsed = list(bodies)
    for place in np.flatnonzero(~sure).tolist():
        parsed[place] = NOTHING
    for _ in range(TRIES):
        try:
            return _rows(b"\n".join(parsed), len(bodies))
        except _UnparsedError as error:
            if error.place is None:
                break
            sure[error.place] = False
            parsed[error.place] = NOTHING
    sure[:] = False
    return _rows(b"\n".join([NOTHING] * len(bodies)), len(bodies))


def _rows(text: bytes, count: int) -> pa.Table:
    """Parse text made of so many bodies.

    As many rows as bodies means one row each: each body begins and ends with a brace, so each yields a row at least;
    none can go on into the next, since a line break cannot stand within a string.

    Raises
    ------
    _UnparsedError
        With the place of the body at which the reader gave up, where it tells.
    """
    try:
        rows = pyarrow.json.read_json(
            pa.BufferReader(text),
            pyarrow.json.ReadOptions(use_threads=False, block_size=len(text) + 1),
            pyarrow.json.ParseOptions(explicit_schema=_RECORD, unexpected_field_behavior="ignore"),
        )
    except pa.ArrowInvalid as error:
        told = _ROW.search(str(error))
        place = int(told[1]) if told else count
        raise _UnparsedError(place if place < count else None) from None
    if len(rows) != count:
        raise _UnparsedError
    return rows


def _moments(told: pa.StringArray, sure: Flags) -> pa.TimestampArray:
    """Read times; mark those that are none, or that are not of the form of `_MOMENT`."""
    formed = pc.match_substring_regex(told, _MOMENT)
    if not _all(formed):
        sure &= _flags(formed)
        told = pc.if_else(pa.array(sure), told, None)
    return _cast(told, sure)


def _cast(told: pa.StringArray, sure: Flags) -> pa.TimestampArray:
    try:
        return told.cast(pa.timestamp("us", "UTC"))
    except pa.ArrowInvalid:
        if len(told) == 1:
            sure[0] = False
            return pa.nulls(1, pa.timestamp("us", "UTC"))
        half = len(told) // 2
        return pa.concat_arrays([_cast(told[:half], sure[:half]), _cast(told[half:], sure[half:])])


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


def _doubt_values(columns: dict[str, pa.Array], sure: Flags) -> None:
    """Mark the bodies that lack what they must have, or that say what is out of range."""
    for name, column in columns.items():
        if name in REQUIRED and column.null_count:
            sure &= ~_flags(column.is_null())
        if column.null_count == len(column):
            continue
        least: float
        most: float
        if name == "occurred_at":
            measured, least, most = column.cast(pa.int64()), 0, np.iinfo(np.int64).max
        elif name in REALS:
            sure &= ~_flags(pc.is_nan(column))
            measured, least, most = column, -AMOUNT_LIMIT, AMOUNT_LIMIT
        else:
            measured, least, most = pc.binary_length(column), int(name in REQUIRED), TEXT_LIMIT
        found = pc.min_max(measured).as_py()
        if not least <= found["min"] <= found["max"] <= most:
            sure &= ~_flags(pc.or_(pc.less(measured, least), pc.greater(measured, most)))


def _flags(column: pa.Array) -> Flags:
    found: Flags = column.fill_null(False).to_numpy(zero_copy_only=False)
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
