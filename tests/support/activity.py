"""Records of the activity topic as a test needs them: made by hand, without a broker."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from ebb.contracts.activity import TICK_HEADER, encode_activity

START = 19_700
"""A day number in 2023 at which the tests' time begins."""
DAY_MS = 86_400_000


@dataclass(frozen=True)
class Event:
    """One activity event, in the shortest words a test can use."""

    customer: str
    at: int
    """Milliseconds since the start of day `START`."""
    kind: str = "view"
    amount: float | None = None
    discount: float | None = None
    id: str | None = None
    country: str | None = None


@dataclass(frozen=True)
class Tick:
    """A punctuation at `at` milliseconds, a multiple of 1,000."""

    at: int


@dataclass
class Record:
    """Has what the worker reads of an `aiokafka.ConsumerRecord`."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()
    timestamp: int = START * DAY_MS + 400 * DAY_MS
    topic: str = "ebb.activity"
    partition: int = 0


@dataclass
class Log:
    """A partition of the activity topic."""

    records: list[Record] = field(default_factory=list)

    @classmethod
    def of(cls, items: Sequence[Event | Tick]) -> "Log":
        """Number the items from offset 0; events without an id get a unique one."""
        return cls([record(offset, item) for offset, item in enumerate(items)])

    def cut(self, indices: Sequence[int]) -> list[list[Record]]:
        """Cut into polls before each of `indices`; empty polls are left out."""
        edges = [0, *sorted(indices), len(self.records)]
        return [self.records[a:b] for a, b in pairwise(edges) if a < b]


def record(offset: int, item: Event | Tick) -> Record:
    """Return the record of an item."""
    if isinstance(item, Tick):
        seconds = START * 86_400 + item.at // 1000
        return Record(offset, None, b"", [(TICK_HEADER, str(seconds).encode())])
    properties: dict[str, Any] = {
        name: value
        for name, value in (("amount", item.amount), ("discount", item.discount), ("country", item.country))
        if value is not None
    }
    moment = datetime.fromtimestamp((START * DAY_MS + item.at) / 1000, UTC)
    body = encode_activity(item.id or f"e{offset}", item.customer, item.kind, moment, properties)
    return Record(offset, item.customer.encode(), body)
