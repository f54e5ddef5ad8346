"""Rows of a log as activity events: fields by the mapping, deterministic ids, refusals with a reason.

**What identifies an event.** A log that has no event ids gets them from the content of its rows: a hash of customer,
time, type and properties, and, for the second and further identical rows, which of them it is. So true duplicates (two
equal lines of one invoice) stay two events, while a log that is sent again, in whole or in part, gives the same ids
and adds nothing. Column order, row order and file format do not enter.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import tzinfo
from decimal import Decimal
from typing import Any

import numpy as np
import orjson

from ebb.contracts.activity import decode_activity, encode_activity
from ebb.errors import InvalidEventError, SourceError
from producers.replay.presets import IDENTITY, NUMBER_FIELDS, TEXT_FIELDS
from producers.replay.sources import Log, RejectedRow
from producers.replay.times import SECOND_US, microseconds, moment

REQUIRED = ("customer_id", "type", "occurred_at")


@dataclass(frozen=True)
class Row:
    """One accepted row, ready to be sent."""

    time: float
    """Event time, Unix seconds."""
    customer_id: str
    body: bytes


def complete_mapping(mapping: Mapping[str, str], columns: list[str]) -> dict[str, str]:
    """Return a mapping with every required field; a required field that is not mapped is a column of its own name.

    Raises
    ------
    SourceError
        If a required field is neither mapped nor a column.
    """
    full = dict(mapping) or {name: name for name in IDENTITY if name in columns}
    for name in REQUIRED:
        if name not in full and name in columns:
            full[name] = name
    missing = [name for name in REQUIRED if name not in full]
    if missing:
        what = f"No column is mapped to {', '.join(missing)}; the columns are {', '.join(columns)}."
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
    time_format
        How times that are text are written (`strptime`); None: ISO 8601 or Unix seconds.
    """

    def __init__(
        self,
        log: Log,
        mapping: Mapping[str, str],
        *,
        zone: tzinfo | None,
        latest: float,
        max_bytes: int,
        time_format: str | None = None,
    ) -> None:
        self._log = log
        self._latest = latest
        self._max_bytes = max_bytes
        count = len(log.rows)
        self._values: dict[str, list[Any]] = {
            name: [column[1:]] * count if column.startswith("=") else log.columns[column]
            for name, column in mapping.items()
        }
        self._seen: Counter[bytes] = Counter()
        self.early: list[RejectedRow] = list(log.broken)
        """Refused before the order of time could be known: broken rows, and rows without a time."""
        times = np.zeros(count, np.int64)
        known = np.ones(count, bool)
        for index, value in enumerate(self._values["occurred_at"]):
            try:
                times[index] = microseconds(value, zone, time_format)
            except InvalidEventError as error:
                known[index] = False
                self.early.append(self._refusal(index, error))
        order = np.argsort(times, kind="stable")
        self._order = order[known[order]]
        self._times = times
        self._others = [name for name in self._values if name not in (*REQUIRED, "event_id", "properties")]

    def __len__(self) -> int:
        return len(self._log.rows) + len(self._log.broken)

    def __iter__(self) -> Iterator[Row | RejectedRow]:
        for index in self._order.tolist():
            try:
                yield self._row(index)
            except InvalidEventError as error:
                yield self._refusal(index, error)

    def _refusal(self, index: int, error: InvalidEventError) -> RejectedRow:
        return RejectedRow(self._log.rows[index], error.reason, error.what, self._log.raw(index))

    def _row(self, index: int) -> Row:
        us = int(self._times[index])
        customer = text("customer_id", self._values["customer_id"][index])
        kind = text("type", self._values["type"][index])
        if customer is None or kind is None:
            name = "customer" if customer is None else "type"
            raise InvalidEventError(reason="missing_field", what=f"The row has no {name}.")
        properties = self._properties(index)
        event_id = text("event_id", self._values["event_id"][index]) if "event_id" in self._values else None
        if event_id is None:
            event_id = self._identify(customer, us, kind, properties)
        try:
            body = encode_activity(event_id, customer, kind, moment(us), properties)
        except TypeError as error:
            raise InvalidEventError(reason="wrong_type", what=str(error)) from None
        # Refused here if the worker would refuse it, while the row is still known.
        decode_activity(body, latest=self._latest, max_bytes=self._max_bytes)
        return Row(us / SECOND_US, customer, body)

    def _properties(self, index: int) -> dict[str, Any]:
        properties: dict[str, Any] = {}
        nested = self._values["properties"][index] if "properties" in self._values else None
        if isinstance(nested, str):
            try:
                nested = orjson.loads(nested)
            except orjson.JSONDecodeError:
                raise InvalidEventError(reason="bad_json", what=f"properties {nested[:80]!r} are not JSON.") from None
        if isinstance(nested, dict):
            properties |= nested
        elif nested is not None:
            raise InvalidEventError(reason="wrong_type", what=f"properties are not an object: {nested!r:.80}.")
        for name in self._others:
            value = self._values[name][index]
            value = (
                number(name, value) if name in NUMBER_FIELDS else text(name, value) if name in TEXT_FIELDS else value
            )
            if value is not None:
                properties[name] = value
        return properties

    def _identify(self, customer: str, us: int, kind: str, properties: dict[str, Any]) -> str:
        content = orjson.dumps([customer, us, kind, properties], default=str, option=orjson.OPT_SORT_KEYS)
        digest = hashlib.blake2b(content, digest_size=16)
        key = digest.digest()
        ordinal = self._seen[key]
        self._seen[key] = ordinal + 1
        return digest.hexdigest() if ordinal == 0 else f"{digest.hexdigest()}-{ordinal}"


def text(name: str, value: Any) -> str | None:
    """Return a value as text, None for none; whole numbers lose a decimal point that a reader of tables gave them.

    Raises
    ------
    InvalidEventError
        With reason `wrong_type` for anything that is not text or a whole number.
    """
    match value:
        case None | "":
            return None
        case str():
            return value
        case bool():
            pass
        case int():
            return str(value)
        case float() if math.isnan(value):
            return None
        case float() if value.is_integer():
            return str(int(value))
    raise InvalidEventError(reason="wrong_type", what=f"{name} is {value!r:.80}, which is not text.")


def number(name: str, value: Any) -> float | None:
    """Return a value as a number, None for none.

    Raises
    ------
    InvalidEventError
        With reason `wrong_type` if it is none.
    """
    if value is None or value == "":
        return None
    if isinstance(value, (int, float, Decimal, str)) and not isinstance(value, bool):
        try:
            result = float(value)
        except ValueError:
            result = math.inf
        if math.isnan(result) and not isinstance(value, str):
            return None  # how numeric tables write "none"
        if math.isfinite(result):
            return result
    raise InvalidEventError(reason="wrong_type", what=f"{name} is {value!r:.80}, which is not a number.")
