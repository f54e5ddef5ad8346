"""Rows for ClickHouse: collected as columns in memory, inserted in few large inserts.

Every table merges a row that was inserted twice, so an insert that may or may not have arrived is repeated.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from clickhouse.tables import SCHEMAS
from ebb.contracts.features import NAMES, EventKind
from ebb.contracts.scores import utc
from stream_processors.batch import TICK, Batch
from stream_processors.ingest.event_table import COLUMNS
from stream_processors.native.dictionary import dictionary_encode
from stream_processors.types import AnyArray, Flags, Float32Array, Int64Array

KIND_NAMES = pa.array([kind.name.lower() for kind in EventKind])
REPEATED = ("type", "currency", "channel", "country", "category", "store", "payment_method")
"""Columns of events that ClickHouse stores dictionary-encoded (`LowCardinality`)."""
MANY_ROWS = 5_000
"""Events from which on it pays to encode those columns here."""


@dataclass(frozen=True)
class Accepted:
    """The accepted events of a batch, as the engine returned them."""

    batch: Batch
    accepted: Flags
    """Shape (rows of the batch,), as is `late`."""
    late: Flags
    partition: int
    ingested_at: float
    """Unix seconds."""


class Sink:
    """Collects rows until an insert takes them."""

    def __init__(self) -> None:
        self._events: list[Accepted] = []
        self._tables: dict[str, list[pa.Table]] = {}
        self.rows = 0
        """Rows collected and not yet taken."""

    def add(self, table: str, columns: dict[str, Any]) -> None:
        """Add rows given as equally long columns."""
        rows = pa.table(columns, schema=SCHEMAS[table])
        if rows.num_rows:
            self._tables.setdefault(table, []).append(rows)
            self.rows += rows.num_rows

    def add_events(self, events: Accepted) -> None:
        """Add events; they become rows when they are taken, many batches together."""
        if count := int(events.accepted.sum()):
            self._events.append(events)
            self.rows += count

    def take(self) -> Callable[[], dict[str, pa.Table]]:
        """Empty the sink; return a function that makes an Arrow table per table of its rows, in any thread."""
        events, tables = self._events, self._tables
        self._events, self._tables, self.rows = [], {}, 0

        def build() -> dict[str, pa.Table]:
            built = {name: pa.concat_tables(parts) for name, parts in tables.items()}
            return built | ({"events": event_rows(events)} if events else {})

        return build


class Backpressure:
    """Limits of the sink: when an insert is due, and when the worker must take no further micro-batch.

    While ClickHouse is away rows collect up to twice `sink_rows`; then `has_room` is cleared, offsets stay uncommitted
    and memory stays bounded.
    """

    def __init__(self, sink: Sink, sink_rows: int) -> None:
        self._sink = sink
        self._rows = sink_rows
        self.full = asyncio.Event()
        """Set while enough rows for an insert wait."""
        self.has_room = asyncio.Event()
        """Cleared while so many rows wait that nothing may be added."""
        self.has_room.set()

    def update(self) -> None:
        """Compare the sink with its limits."""
        if self._sink.rows >= self._rows:
            self.full.set()
        if self._sink.rows >= 2 * self._rows:
            self.has_room.clear()

    def take(self) -> Callable[[], dict[str, pa.Table]]:
        """Empty the sink and lift the limits."""
        self.full.clear()
        build = self._sink.take()
        self.has_room.set()
        return build


def event_rows(parts: Sequence[Accepted]) -> pa.Table:
    """Return accepted events as rows of table `events`; columns of repeated strings may be dictionary-encoded.

    Parameters
    ----------
    parts
        At least one.
    """

    def joined(values: Iterable[AnyArray]) -> AnyArray:
        return np.concatenate(list(values))

    kept = joined(part.accepted[part.batch.kinds != TICK] for part in parts)
    events = pa.concat_tables([part.batch.events for part in parts])
    events = events if kept.all() else events.filter(pa.array(kept))
    counts = [int(part.accepted.sum()) for part in parts]
    repeated = REPEATED if events.num_rows >= MANY_ROWS else ()
    kinds = pa.array(joined(part.batch.kinds[part.accepted] for part in parts).astype(np.int8))
    columns = {
        **{name: dictionary_encode(events[name]) if name in repeated else events[name] for name in COLUMNS.names},
        "occurred_at": _times(joined(part.batch.times[part.accepted] for part in parts)),
        "kind": pa.DictionaryArray.from_arrays(kinds, KIND_NAMES),
        "partition": np.repeat(np.array([part.partition for part in parts], np.uint16), counts),
        "offset": joined(part.batch.offsets[part.accepted] for part in parts).astype(np.uint64),
        "late": joined(part.late[part.accepted] for part in parts).astype(np.uint8),
        "ingested_at": _times(np.repeat([int(part.ingested_at * 1000) for part in parts], counts)),
    }
    return pa.table({name: columns[name] for name in SCHEMAS["events"].names})


def feature_columns(
    customer_ids: Sequence[str], features: Float32Array, as_of: int, computed_at: float
) -> dict[str, Any]:
    """Return features at one moment (ms of event time) as columns of table `features`."""
    n = len(customer_ids)
    return {
        "customer_id": customer_ids,
        "day": pa.repeat(pa.scalar(utc(as_of / 1000).date(), pa.date32()), n),
        "as_of": _times(np.full(n, as_of)),
        **{name: features[:, position] for position, name in enumerate(NAMES)},
        "computed_at": _times(np.full(n, int(computed_at * 1000))),
    }


def alert_columns(alerts: list[dict[str, Any]]) -> dict[str, Any]:
    """Return alerts as columns of table `alerts`."""
    columns = {name: [alert[name] for alert in alerts] for name in SCHEMAS["alerts"].names}
    for name in ("as_of", "raised_at"):
        columns[name] = [datetime.fromisoformat(text) for text in columns[name]]
    return columns


def _times(milliseconds: Int64Array) -> pa.Array:
    return pa.array(milliseconds.astype(np.int64), pa.timestamp("ms", tz="UTC"))
