"""Decode fetched batches into columns of accepted events, ticks and dead letters."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ebb.clock import Clock
from ebb.contracts.activity import PUBLISHED_HEADER, TEXT_LIMIT, TICK_HEADER, Activity, Properties, decode_activity
from ebb.contracts.erasures import ERASE_HEADER
from ebb.contracts.features import KIND_BY_NAME, EventKind
from ebb.errors import InvalidEventError
from ebb.metrics import AHEAD
from ebb.settings import Settings
from stream_processors.batch import TICK, Batch, DeadLetter, DictionaryColumn, ErasureRecord, Record
from stream_processors.ingest.event_table import COLUMNS, from_activities, read_events
from stream_processors.ingest.record_batches import FetchedBatch
from stream_processors.ingest.records import Records, unpack
from stream_processors.native.dictionary import codes_and_values
from stream_processors.native.hashing import hash_texts
from stream_processors.native.murmur2 import partitions_of
from stream_processors.types import AnyArray, Flags, Float64Array, Int8Array, Int64Array, RowIndices

TICK_DIGITS = 15
"""Most digits of a tick's time: in milliseconds it still has 64 bits."""
FEW = 32
"""Up to so many records, decoding one by one costs less than setting up columns."""


class Moments:
    """Event time by the clock at the time of records: no event can have occurred later.

    The broker sets that time when it appends a record (`message.timestamp.type` of the activity topic), so that no
    producer's clock can move a partition's time ahead of everybody else's.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.second = int(1000 * clock.speed)
        """Event time that passes in a real second, ms."""

    def of(self, timestamps: Int64Array | int) -> Int64Array:
        """Return the event time at the end of the milliseconds in which records were appended, ms."""
        clock = self._clock
        since = np.asarray(timestamps, np.int64) + 1 - round(clock.origin_wall * 1000)
        moved: Int64Array = np.maximum(since * clock.speed, 0).astype(np.int64) + round(clock.origin_event * 1000)
        return moved


@dataclass
class _Signals:
    """Records that are no events, each with its index among all."""

    ticks: list[tuple[int, int, int]] = field(default_factory=list)
    """With its offset and the event time that it announces, ms."""
    erasings: list[tuple[int, ErasureRecord]] = field(default_factory=list)
    refused: list[tuple[int, DeadLetter]] = field(default_factory=list)
    published: list[tuple[int, int]] = field(default_factory=list)
    """With the boundary whose models must be in use before the batch is processed."""


_Found = tuple[RowIndices, pa.Table]
"""Indices of the events among all records, and the events in order."""


class Decoder:
    """Validates records. Reusable; holds no state of its own.

    Parameters
    ----------
    settings
        Size limit, tolerance for the future, mapping of types to kinds, minor units.
    """

    def __init__(self, settings: Settings) -> None:
        self._moments = Moments(settings.clock)
        self._tolerance = settings.future_tolerance_seconds
        self._max_bytes = settings.max_event_bytes
        self._minor = settings.minor_units
        self._partitions = settings.partitions
        self._kinds = {name: int(KIND_BY_NAME[kind]) for name, kind in settings.kinds.items()}
        # As programs write them: to lower the case of every id would cost more than to look for each writing.
        spellings = ((text, text.upper(), text.title(), text.capitalize()) for text in settings.no_customers)
        self._nobody = pa.array(sorted({*(one for four in spellings for one in four), *settings.nobody}), pa.utf8())

    def decode(self, records: Sequence[Any]) -> Batch:
        """Decode some records of one partition, each with `offset`, `timestamp`, `key`, `value` and `headers`."""
        return self.decode_all([FetchedBatch.of(records)])[0]

    def decode_all(self, fetched: Sequence[FetchedBatch]) -> list[Batch]:
        """Decode fetched batches together, since most of the cost of a small one does not depend on its size.

        Nothing is raised for a bad record: it is returned in `Batch.refused`. Most of the time is spent outside the
        interpreter lock, so it is worth a thread of its own.

        Raises
        ------
        CorruptError
            If a producer's batch is damaged.
        """
        records = unpack([batch for one in fetched for batch in one.batches])
        signals = _Signals()
        events = np.ones(len(records), np.bool_)
        for place in np.flatnonzero(records.headers.sizes).tolist():
            events[place] = not self._is_signal(place, records[place], signals)
        self._refuse_misplaced(fetched, records, events, signals)
        places, table = self._read_all(records, events, signals.refused)
        places, batch = self._without_nobody(records, places, self._batch(records, places, table), signals.refused)
        rows = _with_ticks(places, batch, signals.ticks)
        return list(_cut(fetched, records.counts, *rows, signals))

    def _refuse_misplaced(
        self, fetched: Sequence[FetchedBatch], records: Records, events: Flags, signals: _Signals
    ) -> None:
        """Refuse events in another partition than their customer's: it would hold half of them."""
        homes = [-1 if one.partition is None else one.partition for one in fetched for _ in one.batches]
        home = np.repeat(homes, records.counts)
        where = partitions_of(records.text, *records.keys, self._partitions)
        for place in np.flatnonzero(events & (home >= 0) & (where >= 0) & (where != home)).tolist():
            record, right = records[place], int(where[place])
            what = (
                f"The record is in partition {int(home[place])}; its key belongs in {right} of {self._partitions}. "
                "Set the producer's partitioner to murmur2 (librdkafka: partitioner=murmur2_random)."
            )
            signals.refused.append(
                (place, _dead_letter(record, InvalidEventError(reason="wrong_partition", what=what)))
            )
            events[place] = False

    def _without_nobody(
        self, records: Records, places: RowIndices, batch: Batch, refused: list[tuple[int, DeadLetter]]
    ) -> tuple[RowIndices, Batch]:
        """Refuse events of ids that programs send where they know no customer: thousands of people would be one."""
        found = pc.is_in(batch.customers.values, value_set=self._nobody)
        if not found.true_count:
            return places, batch
        kept = ~found.to_numpy(zero_copy_only=False)[batch.customers.numbers]
        for place in places[~kept].tolist():
            record = records[place]
            what = (
                f"customer_id is {record.key or b''!r:.80}, which is no customer: programs send it where they know "
                "none (EBB_NO_CUSTOMERS). Leave such events out."
            )
            refused.append((place, _dead_letter(record, InvalidEventError(reason="no_customer", what=what))))
        return places[kept], self._batch(records, places[kept], batch.events.filter(pa.array(kept)))

    def _is_signal(self, place: int, record: Record, signals: _Signals) -> bool:
        """Sort out a tick or an erasure record, valid or not."""
        try:
            moment = tick_time(record.headers, latest=self._latest(record.timestamp))
            erasing = erasing_of(record)
        except InvalidEventError as error:
            signals.refused.append((place, _dead_letter(record, error)))
            return True
        if moment is not None:
            signals.ticks.append((place, record.offset, min(moment, int(self._moments.of(record.timestamp)))))
            if (boundary := published_of(record.headers)) is not None:
                signals.published.append((place, boundary))
        elif erasing is not None:
            signals.erasings.append((place, erasing))
        return moment is not None or erasing is not None

    def _read_all(self, records: Records, events: Flags, refused: list[tuple[int, DeadLetter]]) -> _Found:
        """Decode all events at once; then, one by one, those that may have to be refused."""
        if len(records) <= FEW:
            return self._one_by_one(records, np.flatnonzero(events), refused)
        latest = self._latest(int(records.timestamps.min()))
        table, sure = read_events(records, events, latest=latest, max_bytes=self._max_bytes)
        accepted, more = self._one_by_one(records, np.flatnonzero(events & ~sure), refused)
        if not len(accepted):
            return np.flatnonzero(sure), table
        together = np.concatenate([np.flatnonzero(sure), accepted])
        order = np.argsort(together)
        return together[order], pa.concat_tables([table, more]).take(order).combine_chunks()

    def _read(self, record: Record) -> tuple[Activity, Properties]:
        event, known = decode_activity(record.value, latest=self._latest(record.timestamp), max_bytes=self._max_bytes)
        check_key(record.key, event.customer_id)
        return event, known

    def _one_by_one(self, records: Records, places: RowIndices, refused: list[tuple[int, DeadLetter]]) -> _Found:
        accepted: list[int] = []
        events: list[tuple[Activity, Properties, bytes]] = []
        for place in places.tolist():
            record = records[place]
            try:
                event, known = self._read(record)
            except InvalidEventError as error:
                refused.append((place, _dead_letter(record, error)))
                continue
            accepted.append(place)
            events.append((event, known, record.value or b""))
        table = from_activities(events) if events else COLUMNS.empty_table()
        return np.array(accepted, np.intp), table

    def _batch(self, records: Records, places: RowIndices, events: pa.Table) -> Batch:
        amounts = _filled(events["amount"])
        occurred = events["occurred_at"].cast(pa.int64()).to_numpy() // 1_000
        appended = self._moments.of(records.timestamps[places])
        AHEAD.inc(int((occurred > appended + self._moments.second).sum()))
        return Batch(
            offsets=records.offsets[places],
            times=np.minimum(occurred, appended),
            kinds=self._kinds_of(events["type"]),
            amounts=np.rint(amounts * self._minor).astype(np.int64),
            discounted=_filled(events["discount"]) != 0,
            event_hashes=hash_texts(events["event_id"].combine_chunks()),
            events=events,
            customers=_encoded(events["customer_id"]),
            countries=_encoded(events["country"]),
            channels=_encoded(events["channel"]),
        )

    def _kinds_of(self, types: pa.ChunkedArray) -> Int8Array:
        coded = _encoded(types)
        kinds = [self._kinds.get(name, int(EventKind.OTHER)) for name in coded.values.to_pylist()]
        found: Int8Array = np.array(kinds, np.int8)[coded.numbers]
        return found

    def _latest(self, timestamp: int) -> float:
        """Return the greatest event time accepted, Unix seconds: it depends on the record's own, so a replay agrees."""
        return float(self._moments.of(timestamp)) / 1000.0 + self._tolerance


def _cut(
    fetched: Sequence[FetchedBatch], counts: list[int], places: RowIndices, together: Batch, signals: _Signals
) -> Iterator[Batch]:
    """Cut records decoded together into one batch per fetched batch, by the number of records of each."""
    left = iter(counts)
    start = 0
    for poll in fetched:
        stop = start + sum(islice(left, len(poll.batches)))
        rows = slice(*np.searchsorted(places, [start, stop]).tolist())
        yield replace(
            together if len(fetched) == 1 else together.rows(rows),
            refused=[item for place, item in signals.refused if start <= place < stop],
            erasings=[item for place, item in signals.erasings if start <= place < stop],
            published=max((boundary for place, boundary in signals.published if start <= place < stop), default=0),
            last_offset=poll.last_offset,
            produced_at=poll.produced_at / 1000.0,
            waited_since=poll.waited_since / 1000.0,
        )
        start = stop


def _with_ticks(places: RowIndices, batch: Batch, ticks: list[tuple[int, int, int]]) -> tuple[RowIndices, Batch]:
    """Merge ticks, as (index, offset, event time in ms), into the events."""
    if not ticks:
        return places, batch
    places = np.concatenate([places, np.array([place for place, _, _ in ticks], np.intp)])
    order = np.argsort(places)

    def merged(events: AnyArray, ticked: list[int]) -> AnyArray:
        together: AnyArray = np.concatenate([events, np.array(ticked, events.dtype)])[order]
        return together

    none = [0] * len(ticks)
    return places[order], replace(
        batch,
        offsets=merged(batch.offsets, [offset for _, offset, _ in ticks]),
        times=merged(batch.times, [moment for _, _, moment in ticks]),
        kinds=merged(batch.kinds, [TICK] * len(ticks)),
        amounts=merged(batch.amounts, none),
        discounted=merged(batch.discounted, none),
        event_hashes=merged(batch.event_hashes, none),
    )


def _filled(column: pa.ChunkedArray) -> Float64Array:
    """Return the numbers of a column, 0 where there is none."""
    found: Float64Array = (column.fill_null(0) if column.null_count else column).to_numpy()
    return found


def _encoded(column: pa.ChunkedArray) -> DictionaryColumn:
    return DictionaryColumn(*codes_and_values(column.combine_chunks()))


def _dead_letter(record: Record, error: InvalidEventError) -> DeadLetter:
    key = (record.key or b"").decode(errors="replace")
    customer_id = key if error.customer_id is None else error.customer_id
    return DeadLetter(record, error.reason, error.what, customer_id[:TEXT_LIMIT])


def tick_time(headers: Any, *, latest: float) -> int | None:
    """Return the event time in milliseconds that a tick announces, or None if the headers hold no tick.

    Parameters
    ----------
    latest
        Greatest time accepted, Unix seconds.

    Raises
    ------
    InvalidEventError
        If the tick's value is not a number of seconds, is before 1970 or ahead of the clock.
    """
    values = [value for name, value in headers if name == TICK_HEADER]
    if not values:
        return None
    value = values[0]
    if value is None or not value.isdigit() or len(value) > TICK_DIGITS:
        what = f"The tick's time is {value!r:.80}; it must be whole Unix seconds since 1970, as digits."
        raise InvalidEventError(reason="bad_tick", what=what)
    if int(value) > latest:
        what = f"The tick's time, {int(value)} Unix seconds, is ahead of the clock. Are these milliseconds?"
        raise InvalidEventError(reason="bad_tick", what=what)
    return int(value) * 1000


def published_of(headers: Any) -> int | None:
    """Return the boundary whose models a tick asks for; None if it asks for none that could be."""
    value = next((value for name, value in headers if name == PUBLISHED_HEADER), None)
    return None if value is None or not value.isdigit() or len(value) > TICK_DIGITS else int(value)


def erasing_of(record: Record) -> ErasureRecord | None:
    """Parse an erasure record; None if it is no such record.

    Raises
    ------
    InvalidEventError
        If it does not name the customer or the erasure.
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
    return ErasureRecord(record.offset, customer_id, erasure_id)


def check_key(key: bytes | None, customer_id: str) -> None:
    """Refuse a record whose key is not its customer: it would be in another partition.

    Raises
    ------
    InvalidEventError
        With reason `missing_key` or `wrong_key`.
    """
    if key is None:
        what = "The record has no key; it must be the customer_id."
        raise InvalidEventError(reason="missing_key", what=what, customer_id=customer_id)
    if key != customer_id.encode():
        what = f"The record's key is {key[:80]!r}, its customer_id {customer_id[:80]!r}; they must be the same."
        raise InvalidEventError(reason="wrong_key", what=what, customer_id=customer_id)
