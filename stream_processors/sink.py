"""What goes to ClickHouse: rows gathered as columns in memory, handed over in few large inserts.

Every table takes a row twice without counting it twice, so an insert that may or may not have arrived is repeated.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from clickhouse.tables import SCHEMAS
from ebb.features import NAMES, Kind
from ebb.messages import utc
from stream_processors.columnar import COLUMNS
from stream_processors.decode import TICK, Batch, Refused

KIND_NAMES = pa.array([kind.name.lower() for kind in Kind])


class Sink:
    """Gathers rows until a checkpoint takes them."""

    def __init__(self) -> None:
        self._tables: dict[str, list[pa.Table]] = {}
        self.rows = 0
        """Rows gathered and not yet taken."""

    def add(self, table: str, columns: dict[str, Any]) -> None:
        """Add rows given as equally long columns."""
        rows = pa.table(columns, schema=SCHEMAS[table])
        if rows.num_rows:
            self._tables.setdefault(table, []).append(rows)
            self.rows += rows.num_rows

    def take(self) -> dict[str, pa.Table]:
        """Hand over all rows, one Arrow table each, and begin anew."""
        taken, self._tables, self.rows = self._tables, {}, 0
        return {name: pa.concat_tables(parts) for name, parts in taken.items()}


def event_columns(
    batch: Batch, accepted: npt.NDArray[np.bool_], late: npt.NDArray[np.bool_], partition: int, ingested_at: float
) -> dict[str, Any]:
    """Return the accepted events of a batch as columns of table `events`."""
    is_event = batch.kinds != TICK
    kept = accepted[is_event]
    events = batch.events if kept.all() else batch.events.filter(pa.array(kept))
    n = len(events)
    return {
        **{name: events[name] for name in COLUMNS.names},
        "occurred_at": _times(batch.times[accepted]),
        "kind": KIND_NAMES.take(pa.array(batch.kinds[accepted])),
        "partition": np.full(n, partition, np.uint16),
        "offset": batch.offsets[accepted].astype(np.uint64),
        "late": late[accepted].astype(np.uint8),
        "ingested_at": _times(np.full(n, int(ingested_at * 1000))),
    }


def feature_columns(
    customer_ids: Sequence[str], features: npt.NDArray[np.float32], as_of: int, computed_at: float
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


def refusal_columns(refused: list[Refused], topic: str, partition: int, seen_at: float) -> dict[str, Any]:
    """Return refused records as columns of table `dead_letters`."""
    return {
        "topic": [topic] * len(refused),
        "partition": [partition] * len(refused),
        "offset": [item.record.offset for item in refused],
        "stage": ["decode"] * len(refused),
        "reason": [item.reason for item in refused],
        "detail": [item.detail[:500] for item in refused],
        "size": [len(item.record.value or b"") for item in refused],
        "seen_at": [utc(seen_at)] * len(refused),
    }


def _times(milliseconds: npt.NDArray[np.int64]) -> pa.Array:
    return pa.array(milliseconds.astype(np.int64), pa.timestamp("ms", tz="UTC"))
