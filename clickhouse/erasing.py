"""Delete the rows of erased customers, many at once: one mutation a table and batch, sent once and waited for.

ClickHouse rewrites every part that holds a row to delete, and runs the mutations of a table one after another: a
mutation a customer, or one sent again because the answer was late, would keep it rewriting for days. A batch is in the
table `erasing`: which customers, up to where, and what it deletes. Mutations name the batch and no customer, because
`system.mutations` and the query log keep their text. A process that follows one that died, or was not answered, finds
the batch there and its mutations in `system.mutations`, and continues.
"""

import contextlib
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import Error as ClickHouseError

from clickhouse.client import connect
from clickhouse.errors import reraise
from ebb.settings import PlaceSettings

LARGEST_BATCH = 10_000
"""Customers of one batch at most: their rows are a set in memory while a mutation runs."""
_COLUMNS = (
    *("batch", "early", "erasure_id", "customer_id", "quoted", "partition", "offset", "event_time_ms", "wall_ms"),
    *("table", "rows", "added_at"),
)


@dataclass(frozen=True)
class _Erasable:
    """A table whose rows are deleted: the columns that name a row, and which rows of a customer to delete.

    `t` is the table, `e` the customer's row of the batch. What a customer does after the erasure is kept, so each table
    is deleted up to it.
    """

    key: tuple[str, ...]
    condition: str
    made_at: str = ""
    """Column of the wall time at which a row was made, if there is one."""
    quoted: str = ""
    """Rows that name a customer only in a text."""


_BEFORE = "t.as_of <= fromUnixTimestamp64Milli(e.event_time_ms)"
_READ_BEFORE = "t.partition != e.partition OR t.offset <= e.offset"
TABLES: dict[str, _Erasable] = {
    "events": _Erasable(("customer_id", "partition", "offset"), _READ_BEFORE, "ingested_at"),
    "features": _Erasable(("customer_id", "as_of"), _BEFORE, "computed_at"),
    "scores": _Erasable(("customer_id", "as_of"), _BEFORE, "scored_at"),
    "alerts": _Erasable(("customer_id", "alert_id", "as_of"), _BEFORE, "raised_at"),
    "alert_handling": _Erasable(("customer_id", "alert_id", "as_of"), _BEFORE, "acted_at"),
    "outcomes": _Erasable(
        ("customer_id", "snapshot_day"), "t.snapshot_day <= toDate(toDateTime(intDiv(e.event_time_ms, 1000), 'UTC'))"
    ),
    # Rows from before the column, and those of a wrong key, which name two customers, are found by the id they quote.
    "dead_letters": _Erasable(
        ("topic", "partition", "offset"),
        _READ_BEFORE,
        "seen_at",
        "(t.customer_id = '' OR t.reason = 'wrong_key') AND position(t.detail, e.quoted) > 0",
    ),
}


@dataclass(frozen=True)
class Until:
    """Where in the stream a customer was erased; by default at the end of everything."""

    partition: int = -1
    offset: int = 2**63
    """Of the record in the activity topic; rows of other partitions are deleted whatever their offset."""
    event_time_ms: int = 4_102_444_800_000
    """Greatest event time of rows written before; 2100-01-01 if unknown."""
    wall_ms: int = 4_102_444_800_000
    """Rows made later, by the clock of what made them, are kept; 2100-01-01 if none are."""


@dataclass(frozen=True)
class Deletion:
    """The rows of one customer to delete, for an erasure."""

    erasure_id: str
    customer_id: str
    until: Until = Until()
    early: bool = False
    """Whether rows of the customer may still be written, so that another deletion follows."""


@dataclass
class DeletionBatch:
    """Deletions that are under way together."""

    name: str
    early: dict[str, bool] = field(default_factory=dict)
    """By erasure: whether another deletion follows."""
    rows: dict[str, dict[str, int]] | None = None
    """Rows to delete by erasure and table; None until they are counted."""


class RowEraser:
    """Deletes rows in batches. Not thread-safe; every method blocks for one short statement or a few.

    All methods raise `UnavailableError` if ClickHouse does not answer, `RefusedError` if it refuses; called again, they
    go on where they were.
    """

    def __init__(self, settings: PlaceSettings) -> None:
        self._settings = settings
        self._client: Client | None = None

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close_connections()
            self._client = None

    def under_way(self) -> list[DeletionBatch]:
        """Return the batches that were begun and not ended, by whomever."""
        statement = "SELECT batch, early, erasure_id, table, rows FROM erasing ORDER BY batch, erasure_id, table"
        batches: dict[str, DeletionBatch] = {}
        with self._connected() as client:
            found = client.query(statement).result_rows
        for name, early, erasure_id, table, rows in found:
            batch = batches.setdefault(name, DeletionBatch(name))
            if not table:
                batch.early[erasure_id] = bool(early)
            else:
                batch.rows = batch.rows or {}
                batch.rows.setdefault(erasure_id, {})[table] = rows
        return list(batches.values())

    def begin(self, deletions: Sequence[Deletion]) -> DeletionBatch:
        """Write a batch down, at most `LARGEST_BATCH` deletions; `advance` deletes.

        Its name begins with the id of its first erasure.
        """
        name = f"{deletions[0].erasure_id}-{secrets.token_hex(4)}"
        rows = [
            self._row(
                name,
                one.erasure_id,
                early=one.early,
                customer_id=one.customer_id,
                # Texts quote an id cut as `stream_processors.ingest.decoder` cuts it.
                quoted=repr(one.customer_id[:80]),
                partition=one.until.partition,
                offset=one.until.offset,
                event_time_ms=one.until.event_time_ms,
                wall_ms=one.until.wall_ms,
            )
            for one in deletions
        ]
        self._insert(rows)
        return DeletionBatch(name, {one.erasure_id: one.early for one in deletions})

    def advance(self, batch: DeletionBatch) -> str | None:
        """Count the rows of a batch, send the mutations that were not sent, and look how far they are.

        Returns
        -------
        str or None
            Why it is not done yet; None once no row is left, and `batch.rows` says how many there were.
        """
        if batch.rows is None:
            batch.rows = self._count(batch)
        tables = {table for rows in batch.rows.values() for table, count in rows.items() if count}
        with self._connected() as client:
            found = client.query(
                "SELECT table, is_done, latest_fail_reason FROM system.mutations "
                "WHERE database = {database:String} AND position(command, {batch:String}) > 0",
                parameters={"database": self._settings.database, "batch": batch.name},
            ).result_rows
            for table in sorted(tables - {row[0] for row in found}):
                # Not waited for here: one that takes longer than an answer may would look lost, and be sent again.
                client.command(self._mutation(table, batch.name), settings={"mutations_sync": 0})
        done = {table for table, is_done, _ in found if is_done}
        failed = [f"{table}: {reason}" for table, is_done, reason in found if reason and not is_done]
        if tables <= done:
            return None
        return "; ".join(failed) or f"ClickHouse is deleting from {', '.join(sorted(tables - done))}"

    def end(self, batch: DeletionBatch) -> None:
        """Forget a batch that is done, and with it the ids of its customers."""
        with self._connected() as client:
            client.command(f"ALTER TABLE erasing DROP PARTITION '{batch.name}'")

    def _count(self, batch: DeletionBatch) -> dict[str, dict[str, int]]:
        counts: dict[str, dict[str, int]] = {erasure_id: dict.fromkeys(TABLES, 0) for erasure_id in batch.early}
        with self._connected() as client:
            for table in TABLES:
                counted = f"SELECT erasure_id, count() FROM ({self._rows(table, batch.name)}) GROUP BY erasure_id"  # noqa: S608 - all of it ours
                for erasure_id, count in client.query(counted).result_rows:
                    counts[erasure_id][table] = int(count)
        self._insert(
            [
                self._row(batch.name, erasure_id, early=batch.early[erasure_id], table=table, rows=count)
                for erasure_id, tables in counts.items()
                for table, count in tables.items()
            ]
        )
        return counts

    def _mutation(self, table: str, batch: str) -> str:
        erasable, database = TABLES[table], self._settings.database
        key = ", ".join(erasable.key)
        rows = f"SELECT {key} FROM ({self._rows(table, batch)})"  # noqa: S608 - all of it ours
        # The customers alone first: they are in the order of most tables, so that few parts of it are read.
        of_batch = f"customer_id IN ({self._customers(batch)}) AND " if not erasable.quoted else ""
        return f"ALTER TABLE `{database}`.{table} DELETE WHERE {of_batch}({key}) IN ({rows})"

    def _rows(self, table: str, batch: str) -> str:
        """Return the query of the rows of a batch in a table: erasure and key of each."""
        erasable, database = TABLES[table], self._settings.database
        columns = ", ".join(("e.erasure_id AS erasure_id", *(f"t.{name} AS {name}" for name in erasable.key)))
        of_batch = f"(SELECT * FROM `{database}`.erasing WHERE batch = '{batch}' AND table = '') AS e"  # noqa: S608
        made = f" AND t.{erasable.made_at} <= fromUnixTimestamp64Milli(e.wall_ms)" if erasable.made_at else ""
        named = (
            f"SELECT {columns} FROM `{database}`.{table} AS t INNER JOIN {of_batch} ON t.customer_id = e.customer_id "  # noqa: S608
            f"WHERE t.customer_id IN ({self._customers(batch)}) AND ({erasable.condition}){made}"
        )
        if not erasable.quoted:
            return named
        quoted = f"SELECT {columns} FROM `{database}`.{table} AS t CROSS JOIN {of_batch} WHERE {erasable.quoted}{made}"  # noqa: S608
        return f"{named} UNION DISTINCT {quoted}"

    def _customers(self, batch: str) -> str:
        return f"SELECT customer_id FROM `{self._settings.database}`.erasing WHERE batch = '{batch}' AND table = ''"  # noqa: S608

    def _row(self, batch: str, erasure_id: str, **given: object) -> list[object]:
        values: dict[str, object] = {
            "customer_id": "",
            "quoted": "",
            "partition": 0,
            "offset": 0,
            "event_time_ms": 0,
            "wall_ms": 0,
            "table": "",
            "rows": 0,
            **given,
            "batch": batch,
            "erasure_id": erasure_id,
            "added_at": datetime.now(UTC),
        }
        return [values[name] for name in _COLUMNS]

    def _insert(self, rows: list[list[object]]) -> None:
        with self._connected() as client:
            client.insert("erasing", rows, column_names=_COLUMNS)

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Client]:
        try:
            if self._client is None:
                self._client = connect(self._settings)
            yield self._client
        except ClickHouseError as error:
            reraise(error, self._settings)
