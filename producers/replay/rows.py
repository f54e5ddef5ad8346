"""Rows of a log as activity events: fields by the mapping, deterministic ids, refusals with a reason.

**What identifies an event.** A log that has no event ids gets them from the content of its rows: a hash of customer,
time, type and properties, and, for the second and further identical rows, which of them it is. So true duplicates (two
equal lines of one invoice) stay two events, while a log that is sent again, in whole or in part, gives the same ids
and adds nothing. Column order, row order and file format do not enter (`canonical`).
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from ebb.contracts.activity import decode_activity, encode_activity
from ebb.errors import InvalidEventError, SourceError
from ebb.values.customer_ids import NOBODY, read_customer_id
from ebb.values.times import SECOND_US
from producers.replay.canonical import ABSENT, ColumnReader, free, number, text, trimmed
from producers.replay.decimals import DecimalMarks
from producers.replay.log import AS_FOUND, DecimalMark, Ints, Log, ReadOptions, RejectedRow, listed, printable
from producers.replay.presets import IDENTITY, NUMBER_FIELDS, TEXT_FIELDS
from producers.replay.times import DoubtfulDateError, TimeReader, moment

REQUIRED = ("customer_id", "type", "occurred_at")
_Event = tuple[int, str, str | None, str | None, Any, tuple[Any, ...]]


@dataclass(frozen=True)
class Row:
    """One accepted row, ready to be sent."""

    time: float
    """Event time, Unix seconds."""
    customer_id: str
    body: bytes


def complete_mapping(mapping: Mapping[str, str], columns: list[str]) -> dict[str, str]:
    """Return a mapping to which columns that are named as a field are added.

    Raises
    ------
    SourceError
        If a required field is neither mapped nor a column.
    """
    taken = set(mapping.values())
    full = dict(mapping) | {
        name: name for name in IDENTITY if name in columns and name not in mapping and name not in taken
    }
    missing = [name for name in REQUIRED if name not in full]
    if missing:
        what = f"No column is mapped to {', '.join(missing)}; the columns are {listed(columns)}."
        raise SourceError(what, "Map them by --map field=column (field==text for a constant), or choose a --preset.")
    return full


def columns_of(mapping: Mapping[str, str]) -> list[str]:
    """Return the columns that a mapping reads."""
    return [column for column in mapping.values() if not column.startswith("=")]


class Rows:
    """The events of a log in order of event time; rows of one time keep the order of the file.

    Parameters
    ----------
    zone
        Zone of times that state none; None refuses them.
    latest
        Greatest event time accepted, Unix seconds.
    max_bytes
        Greatest size of an event.
    options
        What is known of how values are written; what is not is found in the log.
    nobody
        Texts, in lower case, that are no customer.

    Raises
    ------
    SourceError
        If dates or numbers of the log can be read in two ways.
    """

    def __init__(
        self,
        log: Log,
        mapping: Mapping[str, str],
        *,
        zone: tzinfo | None,
        latest: float,
        max_bytes: int,
        options: ReadOptions = AS_FOUND,
        nobody: frozenset[str] = NOBODY,
    ) -> None:
        self._log = log
        self._latest = latest
        self._max_bytes = max_bytes
        self._mapping = dict(mapping)
        self._seen: Counter[bytes] = Counter()
        self._seen_at: int | None = None
        self.words = list(log.words)
        """How the log was read, for people."""
        self.early: list[RejectedRow] = list(log.broken)
        """Refused before the order of time could be known: broken rows, and rows without a time."""
        self._times, known, decimal = self._scan(zone, options)
        order = np.argsort(self._times, kind="stable")
        self._order = order[known[order]]
        if decimal == ",":
            self.words.append("decimal comma")
        self._readers = {name: self._reader(name, decimal, nobody) for name in self._mapping if name != "occurred_at"}
        self._others = [name for name in self._readers if name not in (*REQUIRED, "event_id", "properties")]

    def __len__(self) -> int:
        return len(self._log) + len(self._log.broken)

    def __iter__(self) -> Iterator[Row | RejectedRow]:
        columns = columns_of({name: self._mapping[name] for name in self._readers})
        for indices, block in self._log.blocks(list(dict.fromkeys(columns)), self._order):
            refused: dict[int, InvalidEventError] = {}
            values: dict[str, list[Any]] = {}
            for name, read in self._readers.items():
                column = self._mapping[name]
                given = [column[1:]] * len(indices) if column.startswith("=") else block[column]
                values[name] = read(given, refused)
            events = self._events(self._times[indices].tolist(), values)
            for position, (index, event) in enumerate(zip(indices.tolist(), events, strict=True)):
                try:
                    if position in refused:
                        raise refused[position]
                    yield self._row(event)
                except InvalidEventError as error:
                    yield self._refusal(index, error)

    def _events(self, times: list[int], values: dict[str, list[Any]]) -> Iterator[_Event]:
        """Yield time, customer, type, id, nested properties and the others of each row of a block."""
        none = [None] * len(times)
        others = zip(*(values[name] for name in self._others), strict=True) if self._others else [()] * len(times)
        ids, nested = values.get("event_id", none), values.get("properties", none)
        return zip(times, values["customer_id"], values["type"], ids, nested, others, strict=True)

    def _refusal(self, index: int, error: InvalidEventError) -> RejectedRow:
        log = self._log
        return RejectedRow(int(log.rows[index]), error.reason, error.what, log.raw(index), log.line(index))

    def _scan(
        self, zone: tzinfo | None, options: ReadOptions
    ) -> tuple[Ints, npt.NDArray[np.bool_], DecimalMark | None]:
        """Return the time of each row, whether it has one, and the decimal mark of the numbers."""
        times, known = np.zeros(len(self._log), np.int64), np.ones(len(self._log), bool)
        column = self._mapping["occurred_at"]
        constant = column[1:] if column.startswith("=") else None
        reader = TimeReader(column if constant is None else "occurred_at", zone, options)
        marks = DecimalMarks(self._log)
        numbers = columns_of({name: self._mapping[name] for name in self._mapping.keys() & NUMBER_FIELDS})
        numbers = [] if options.decimal else sorted(set(numbers))
        doubtful: list[tuple[int, Any, DoubtfulDateError]] = []

        def refuse(index: int, error: InvalidEventError) -> None:
            known[index] = False
            self.early.append(self._refusal(index, error))

        wanted = list(dict.fromkeys([*([] if constant is not None else [column]), *numbers]))
        for indices, block in self._log.blocks(wanted):
            for name in numbers:
                marks.see(name, indices, block[name])
            values = block[column] if constant is None else [constant] * len(indices)
            at_once = reader.read_block(values)
            if at_once is not None:
                times[indices] = at_once
                continue
            for index, value in zip(indices.tolist(), values, strict=True):
                try:
                    times[index] = reader.read(value)
                except DoubtfulDateError as error:
                    doubtful.append((index, value, error))
                except InvalidEventError as error:
                    refuse(index, error)
        if doubtful:
            reader.settle(f"{self._log.file}, {self._log.place(doubtful[0][0])}", doubtful[0][2])
        for index, value, _ in doubtful:
            try:
                times[index] = reader.read(value)
            except InvalidEventError as error:
                refuse(index, error)
        self.words += reader.words()
        # Where semicolons stand between fields, a comma may be before the fraction and a point between thousands.
        in_doubt: DecimalMark | None = None if "semicolon" in self._log.words else "."
        return times, known, options.decimal or marks.decide(in_doubt=in_doubt)

    def _reader(self, name: str, decimal: DecimalMark | None, nobody: frozenset[str]) -> ColumnReader:
        column = self._mapping[name]
        field = name if column.startswith("=") else printable(column)
        if name == "properties":
            return ColumnReader(_object)
        if name == "customer_id":
            return ColumnReader(lambda value: read_customer_id(_present(value), field=field, nobody=nobody))
        if name in NUMBER_FIELDS:
            return ColumnReader(lambda value: number(field, value, decimal))
        if name in TEXT_FIELDS:
            return ColumnReader(lambda value: text(field, value))
        return ColumnReader(lambda value: free(name, value, decimal))

    def _row(self, event: _Event) -> Row:
        us, customer, kind, event_id, nested, others = event
        if kind is None:
            raise InvalidEventError(reason="missing_field", what="The row has no type.")
        properties: dict[str, Any] = dict(nested or {})
        properties |= {name: value for name, value in zip(self._others, others, strict=True) if value is not None}
        try:
            if event_id is None:
                event_id = self._identify(customer, us, kind, properties)
            body = encode_activity(event_id, customer, kind, moment(us), properties)
        except (TypeError, RecursionError) as error:
            raise InvalidEventError(reason="wrong_type", what=f"The row cannot be written as JSON: {error}.") from None
        # Refused here if the worker would refuse it, while the row is still known.
        decode_activity(body, latest=self._latest, max_bytes=self._max_bytes)
        return Row(us / SECOND_US, customer, body)

    def _identify(self, customer: str, us: int, kind: str, properties: dict[str, Any]) -> str:
        content = orjson.dumps([customer, us, kind, properties], default=str, option=orjson.OPT_SORT_KEYS)
        digest = hashlib.blake2b(content, digest_size=16)
        key = digest.digest()
        if us != self._seen_at:  # rows come in order of time, and equal ones have one time
            self._seen.clear()
            self._seen_at = us
        ordinal = self._seen[key]
        self._seen[key] = ordinal + 1
        return digest.hexdigest() if ordinal == 0 else f"{digest.hexdigest()}-{ordinal}"


def _present(value: Any) -> Any:
    return None if isinstance(value, str) and trimmed(value) in ABSENT else value


def _object(nested: Any) -> dict[str, Any] | None:
    """Return properties, which may be JSON text."""
    if isinstance(nested, str):
        if trimmed(nested) in ABSENT:
            return None
        try:
            nested = orjson.loads(nested)
        except orjson.JSONDecodeError:
            raise InvalidEventError(reason="bad_json", what=f"properties {nested[:80]!r} are not JSON.") from None
    if nested is None:
        return None
    if not isinstance(nested, dict):
        raise InvalidEventError(reason="wrong_type", what=f"properties are not an object: {nested!r:.80}.")
    plain: dict[str, Any] = free("properties", nested, None)
    return plain
