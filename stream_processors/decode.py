"""Records of one poll → columns of accepted events, ticks, and what is refused."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ebb.clock import Clock
from ebb.errors import InvalidEventError
from ebb.events import TICK_HEADER, Activity, Properties, decode_activity
from ebb.features import KIND_BY_NAME, Kind
from ebb.settings import Settings
from stream_processors.hashing import hash_ids

TICK = -1
"""Row kind of a tick in `Batch.kind`."""


@dataclass(frozen=True)
class Refused:
    """A record that cannot be accepted, with why."""

    record: Any
    reason: str
    detail: str


@dataclass
class Batch:
    """The accepted records of one poll of one partition, in offset order, as columns of equal length.

    Ticks are rows too, of kind `TICK`: they move time on and touch no customer.
    """

    offsets: npt.NDArray[np.int64]
    times: npt.NDArray[np.int64]
    """Event time, milliseconds since 1970 (UTC)."""
    kinds: npt.NDArray[np.int8]
    amounts: npt.NDArray[np.int64]
    """Minor units; 0 where the event has no amount."""
    discounted: npt.NDArray[np.bool_]
    event_hashes: npt.NDArray[np.uint64]
    customer_ids: list[str]
    events: list[Activity | None]
    properties: list[Properties | None]
    refused: list[Refused] = field(default_factory=list)
    last_offset: int = -1
    produced_at: float = 0.0
    """Wall time at which the newest record was produced, Unix seconds."""

    def __len__(self) -> int:
        return len(self.offsets)


class Decoder:
    """Validates records. Reusable; holds no state of its own.

    Parameters
    ----------
    settings
        Size limit, tolerance for the future, mapping of types to kinds, minor units.
    """

    def __init__(self, settings: Settings) -> None:
        self._clock = Clock.of(settings)
        self._tolerance = settings.future_tolerance_seconds
        self._max_bytes = settings.max_event_bytes
        self._minor = settings.minor_units
        self._kinds = {name: int(KIND_BY_NAME[kind]) for name, kind in settings.kinds.items()}

    def decode(self, records: list[Any]) -> Batch:
        """Decode one poll. Nothing is raised for a bad record: it comes back in `Batch.refused`."""
        offsets: list[int] = []
        times: list[int] = []
        kinds: list[int] = []
        amounts: list[int] = []
        discounted: list[bool] = []
        event_ids: list[str] = []
        customer_ids: list[str] = []
        events: list[Activity | None] = []
        properties: list[Properties | None] = []
        refused: list[Refused] = []
        kind_of = self._kinds
        other = int(Kind.OTHER)
        minor = self._minor
        for record in records:
            try:
                if record.headers and (tick := tick_time(record.headers)) is not None:
                    event, known = None, None
                    moment, kind, amount, discount = tick, TICK, 0, False
                    event_id = customer_id = ""
                else:
                    event, known = decode_activity(
                        record.value, latest=self._latest(record.timestamp), max_bytes=self._max_bytes
                    )
                    event_id, customer_id = event.event_id, event.customer_id
                    check_key(record.key, customer_id)
                    moment = int(event.occurred_at.timestamp() * 1000)
                    kind = kind_of.get(event.type, other)
                    amount = 0 if known.amount is None else round(known.amount * minor)
                    discount = bool(known.discount)
            except InvalidEventError as error:
                refused.append(Refused(record, error.reason, error.what))
                continue
            offsets.append(record.offset)
            times.append(moment)
            kinds.append(kind)
            amounts.append(amount)
            discounted.append(discount)
            event_ids.append(event_id)
            customer_ids.append(customer_id)
            events.append(event)
            properties.append(known)
        return Batch(
            offsets=np.array(offsets, np.int64),
            times=np.array(times, np.int64),
            kinds=np.array(kinds, np.int8),
            amounts=np.array(amounts, np.int64),
            discounted=np.array(discounted, np.bool_),
            event_hashes=hash_ids(event_ids),
            customer_ids=customer_ids,
            events=events,
            properties=properties,
            refused=refused,
            last_offset=records[-1].offset,
            produced_at=records[-1].timestamp / 1000.0,
        )

    def _latest(self, produced_ms: int) -> float:
        """Greatest event time accepted: judged by when the record was produced, so that a replay judges alike."""
        return max(self._clock.at(produced_ms / 1000.0), self._clock.origin_event) + self._tolerance


def tick_time(headers: Any) -> int | None:
    """Return the event time in milliseconds that a tick announces, or None if the headers hold no tick.

    Raises
    ------
    InvalidEventError
        If the tick's value is not a number of seconds.
    """
    for name, value in headers:
        if name == TICK_HEADER:
            try:
                return int(value) * 1000
            except (TypeError, ValueError):
                what = f"The tick's time is {value!r}; it must be whole Unix seconds."
                raise InvalidEventError(reason="bad_tick", what=what) from None
    return None


def check_key(key: bytes | None, customer_id: str) -> None:
    """Refuse a record that does not lie in its customer's partition.

    Raises
    ------
    InvalidEventError
        With reason `missing_key` or `wrong_key`.
    """
    if key is None:
        raise InvalidEventError(reason="missing_key", what="The record has no key; it must be the customer_id.")
    if key != customer_id.encode():
        what = f"The record's key is {key[:80]!r}, its customer_id {customer_id[:80]!r}; they must be the same."
        raise InvalidEventError(reason="wrong_key", what=what)
