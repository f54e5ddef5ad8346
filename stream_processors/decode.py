"""Records of one poll → columns of accepted events, ticks, and what is refused."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ebb.clock import Clock
from ebb.erasures import ERASE_HEADER
from ebb.errors import InvalidEventError
from ebb.events import TICK_HEADER, Activity, Properties, decode_activity
from ebb.features import KIND_BY_NAME, Kind
from ebb.settings import Settings
from stream_processors.columnar import COLUMNS, DoubtError, from_activities, read_events
from stream_processors.hashing import hash_ids

TICK = -1
"""Row kind of a tick in `Batch.kinds`."""
HEADERS = attrgetter("headers")
_ROWS = ("offsets", "times", "kinds", "amounts", "discounted", "event_hashes")
FEW = 256
"""Up to so many records, reading them one by one costs less than Arrow's set-up, or than looking for the doubtful."""


@dataclass(frozen=True)
class Refused:
    """A record that cannot be accepted, with why."""

    record: Any
    reason: str
    detail: str


@dataclass(frozen=True)
class Erasing:
    """A record by which the partition forgets a customer."""

    offset: int
    customer_id: str
    erasure_id: str


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
    events: pa.Table
    """Of schema `columnar.COLUMNS`: a row for each row above that is no tick, in the same order."""
    refused: list[Refused] = field(default_factory=list)
    erasings: list[Erasing] = field(default_factory=list)
    last_offset: int = -1
    produced_at: float = 0.0
    """Wall time at which the newest record was produced, Unix seconds."""
    waited_since: float = 0.0
    """Wall time at which the oldest record was produced, Unix seconds."""

    def __len__(self) -> int:
        return len(self.offsets)

    def parts(self) -> Iterator[tuple["Batch", Erasing | None]]:
        """Cut the batch at its erasings: each part comes with the one that follows it, the last with none."""
        start = -1
        for erasing in self.erasings:
            yield self._between(start, erasing.offset), erasing
            start = erasing.offset
        yield (self if start < 0 else self._between(start, self.last_offset + 1)), None

    def _between(self, after: int, before: int) -> "Batch":
        """Return the records between two offsets, neither included."""
        rows = slice(np.searchsorted(self.offsets, after, side="right"), np.searchsorted(self.offsets, before))
        first = int((self.kinds[: rows.start] != TICK).sum())
        return replace(
            self,
            **{name: getattr(self, name)[rows] for name in _ROWS},
            events=self.events.slice(first, int((self.kinds[rows] != TICK).sum())),
            refused=[item for item in self.refused if after < item.record.offset < before],
            erasings=[],
            last_offset=before - 1,
        )


@dataclass
class _Part:
    """Neighbouring events of a poll."""

    offsets: list[int]
    events: pa.Table

    @classmethod
    def none(cls) -> Self:
        return cls([], COLUMNS.empty_table())


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

    def decode(self, records: Sequence[Any]) -> Batch:
        """Decode one poll. Nothing is raised for a bad record: it comes back in `Batch.refused`.

        Most of the time is spent outside the interpreter lock, so it is worth a thread of its own.
        """
        refused: list[Refused] = []
        ticks: list[tuple[int, int]] = []
        erasings: list[Erasing] = []
        plain = records
        if any(map(HEADERS, records)):
            plain = [
                record
                for record in records
                if not (
                    record.headers
                    and (self._is_tick(record, ticks, refused) or self._is_erasing(record, erasings, refused))
                )
            ]
        parts = self._parts(plain, refused)
        offsets = [offset for part in parts for offset in part.offsets]
        events = pa.concat_tables([part.events for part in parts]).combine_chunks() if parts else _Part.none().events
        batch = self._batch(records, offsets, events, ticks, refused)
        batch.erasings = erasings
        return batch

    def _is_erasing(self, record: Any, erasings: list[Erasing], refused: list[Refused]) -> bool:
        """Sort out a record that makes the partition forget, also one that does not say whom."""
        try:
            erasing = erasing_of(record)
        except InvalidEventError as error:
            refused.append(Refused(record, error.reason, error.what))
            return True
        if erasing is not None:
            erasings.append(erasing)
        return erasing is not None

    def _is_tick(self, record: Any, ticks: list[tuple[int, int]], refused: list[Refused]) -> bool:
        """Sort out a tick, also one that cannot be read."""
        try:
            moment = tick_time(record.headers)
        except InvalidEventError as error:
            refused.append(Refused(record, error.reason, error.what))
            return True
        if moment is not None:
            ticks.append((record.offset, moment))
        return moment is not None

    def _parts(self, records: Sequence[Any], refused: list[Refused]) -> list[_Part]:
        """Read records all at once; where there is a doubt, in halves; where few are left, one by one."""
        if not records:
            return []
        if len(records) > FEW:
            try:
                return [self._at_once(records)]
            except DoubtError:
                half = len(records) // 2
                return [*self._parts(records[:half], refused), *self._parts(records[half:], refused)]
        return [self._one_by_one(records, refused)]

    def _at_once(self, records: Sequence[Any]) -> _Part:
        bodies = [record.value for record in records]
        if None in bodies or max(map(len, bodies)) > self._max_bytes:
            raise DoubtError
        events = read_events(bodies)
        keys = pa.array([record.key for record in records], pa.binary())
        same = pc.equal(keys, events["customer_id"].combine_chunks().cast(pa.binary()))
        if pc.all(same, skip_nulls=False).as_py() is not True:
            raise DoubtError
        earliest = min([record.timestamp for record in records])
        if pc.max(events["occurred_at"]).cast(pa.int64()).as_py() > self._latest(earliest) * 1_000_000:
            raise DoubtError
        return _Part([record.offset for record in records], events)

    def _one_by_one(self, records: Sequence[Any], refused: list[Refused]) -> _Part:
        offsets: list[int] = []
        events: list[tuple[Activity, Properties, bytes]] = []
        for record in records:
            try:
                latest = self._latest(record.timestamp)
                event, known = decode_activity(record.value, latest=latest, max_bytes=self._max_bytes)
                check_key(record.key, event.customer_id)
            except InvalidEventError as error:
                refused.append(Refused(record, error.reason, error.what))
                continue
            offsets.append(record.offset)
            events.append((event, known, record.value))
        return _Part(offsets, from_activities(events)) if events else _Part.none()

    def _batch(
        self,
        records: Sequence[Any],
        offsets: list[int],
        events: pa.Table,
        ticks: list[tuple[int, int]],
        refused: list[Refused],
    ) -> Batch:
        amounts = events["amount"].fill_null(0).to_numpy()
        discounts = events["discount"].fill_null(0).to_numpy()
        batch = Batch(
            offsets=np.array(offsets, np.int64),
            times=events["occurred_at"].cast(pa.int64()).to_numpy() // 1_000,
            kinds=self._kinds_of(events["type"]),
            amounts=np.rint(amounts * self._minor).astype(np.int64),
            discounted=discounts != 0,
            event_hashes=hash_ids(events["event_id"].to_pylist()),
            events=events,
            refused=refused,
            last_offset=records[-1].offset,
            produced_at=records[-1].timestamp / 1000.0,
            waited_since=records[0].timestamp / 1000.0,
        )
        return _with_ticks(batch, ticks) if ticks else batch

    def _kinds_of(self, types: pa.ChunkedArray) -> npt.NDArray[np.int8]:
        if not len(types):
            return np.empty(0, np.int8)
        coded = types.combine_chunks().dictionary_encode()
        coded = coded.chunk(0) if isinstance(coded, pa.ChunkedArray) else coded
        kinds = [self._kinds.get(name, int(Kind.OTHER)) for name in coded.dictionary.to_pylist()]
        found: npt.NDArray[np.int8] = np.array(kinds, np.int8)[coded.indices.to_numpy()]
        return found

    def _latest(self, produced_ms: int) -> float:
        """Greatest event time accepted: judged by when the record was produced, so that a replay judges alike."""
        return max(self._clock.at(produced_ms / 1000.0), self._clock.origin_event) + self._tolerance


def _with_ticks(batch: Batch, ticks: list[tuple[int, int]]) -> Batch:
    """Put ticks, as (offset, event time in ms), among the events."""
    offsets = np.concatenate([batch.offsets, np.array([offset for offset, _ in ticks], np.int64)])
    order = np.argsort(offsets)

    def merged(events: npt.NDArray[Any], blank: npt.NDArray[Any]) -> npt.NDArray[Any]:
        together: npt.NDArray[Any] = np.concatenate([events, blank])[order]
        return together

    n = len(ticks)
    return Batch(
        offsets=offsets[order],
        times=merged(batch.times, np.array([moment for _, moment in ticks], np.int64)),
        kinds=merged(batch.kinds, np.full(n, TICK, np.int8)),
        amounts=merged(batch.amounts, np.zeros(n, np.int64)),
        discounted=merged(batch.discounted, np.zeros(n, np.bool_)),
        event_hashes=merged(batch.event_hashes, np.zeros(n, np.uint64)),
        events=batch.events,
        refused=batch.refused,
        erasings=batch.erasings,
        last_offset=batch.last_offset,
        produced_at=batch.produced_at,
        waited_since=batch.waited_since,
    )


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


def erasing_of(record: Any) -> Erasing | None:
    """Return whom a record makes its partition forget, None if it is no such record.

    Raises
    ------
    InvalidEventError
        If it does not say whom, or for which erasure.
    """
    named = next((value for name, value in record.headers if name == ERASE_HEADER), None)
    if named is None:
        return None
    try:
        customer_id, erasure_id = (record.key or b"").decode(), named.decode()
    except UnicodeDecodeError:
        customer_id = erasure_id = ""
    if not (customer_id and erasure_id):
        what = "The record is to forget a customer and has no key, or one that is no text."
        raise InvalidEventError(reason="bad_erasure", what=what)
    return Erasing(record.offset, customer_id, erasure_id)


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
