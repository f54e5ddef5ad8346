"""The store that other rooms use: insert rows, run named queries."""

import re
import threading
import time
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any

import pyarrow as pa
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import Error as ClickHouseError
from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_exponential_jitter

from clickhouse.client import connect, is_local
from clickhouse.errors import InsertRefusedError, hint_for, is_transient, reraise, unavailable
from clickhouse.tables import DEFAULTED, SCHEMAS
from ebb.errors import UnavailableError
from ebb.log import get_logger
from ebb.metrics import INSERT_RETRIES, INSERT_ROWS, INSERT_SECONDS
from ebb.settings import PlaceSettings

__all__ = ["InsertRefusedError", "Store", "query_text"]

FIRST_RETRY_SECONDS = 0.1
LONGEST_RETRY_SECONDS = 5.0
"""Waits between retries grow to this, so that a recovered server is used within seconds."""
STOP_CHECK_SECONDS = 0.1
"""How soon a waiting insert notices that the process stops."""
_PARAMETER = re.compile(r"\{(\w+)\s*:")
_INSERT_SETTINGS = {
    # Rows of one key are merged in the background and by FINAL; merging within each batch doubles the cost.
    "optimize_on_insert": 0,
    # A log of many years spreads one batch over more months than the default of 100 allows.
    "max_partitions_per_insert_block": 0,
}

log = get_logger(__name__)


@cache
def query_text(name: str) -> str:
    """Return the text of a named query.

    Raises
    ------
    KeyError
        If there is none of that name.
    """
    path = files("clickhouse") / "queries" / f"{name}.sql"
    if not name.isidentifier() or not path.is_file():
        raise KeyError(name)
    return path.read_text("utf-8")


class Store:
    """Reads from and writes to the database of the settings; all methods may be called from several threads.

    Guarantee: when `insert` returns, the rows are stored; a batch that is inserted again changes nothing that the
    views show. A batch may have been stored though `insert` raised.

    Parameters
    ----------
    stopping
        Called while an insert waits; once true, the insert gives up with `UnavailableError`.
    seconds
        How long to wait for a connection, for an answer, and for a query to run; None: as patient as inserts are.
    """

    def __init__(
        self, settings: PlaceSettings, *, stopping: Callable[[], bool] = lambda: False, seconds: int | None = None
    ) -> None:
        self._settings = settings
        self._stopping = stopping
        self._seconds = seconds
        self._opening = threading.Lock()
        self._client: Client | None = None
        self._failed: tuple[float, UnavailableError | None] = (0.0, None)
        """When the latest attempt to connect failed, and why."""

    def insert(self, table: str, rows: pa.Table) -> None:
        """Store rows in one request; blocks, for as long as ClickHouse is down or too busy.

        Parameters
        ----------
        rows
            Columns of `SCHEMAS[table]` in any order; those of `DEFAULTED` may be missing. A text column may be an Arrow
            dictionary, which spares ClickHouse work if the column is `LowCardinality` there.

        Raises
        ------
        InsertRefusedError
            If the rows do not fit the table, or the table or database is gone.
        UnavailableError
            If ClickHouse is down and the process stops.
        """
        if not rows.num_rows:
            return
        names, body = self._body(table, rows)
        started = time.monotonic()
        tries = Retrying(
            retry=retry_if_exception_type(UnavailableError),
            stop=lambda _: self._stopping(),
            wait=wait_exponential_jitter(multiplier=FIRST_RETRY_SECONDS, max=LONGEST_RETRY_SECONDS),
            sleep=self._sleep,
            before_sleep=lambda state: _log_retry(table, state),
            reraise=True,
        )
        tries(self._send, table, names, body)
        INSERT_SECONDS.labels(table).observe(time.monotonic() - started)
        INSERT_ROWS.labels(table).inc(rows.num_rows)

    def query(self, name: str, **parameters: object) -> list[dict[str, Any]]:
        """Run a named query (`queries/<name>.sql`).

        Parameters
        ----------
        parameters
            Exactly the `{name:Type}` parameters of the query.

        Returns
        -------
        list of dict
            A row each, by column; times are aware.

        Raises
        ------
        KeyError
            If there is no such query.
        TypeError
            If a parameter is missing or not known.
        UnavailableError
            If ClickHouse does not answer.
        RefusedError
            If it refuses the query.
        """
        text = query_text(name)
        expected = set(_PARAMETER.findall(text))
        if expected != set(parameters):
            message = f"query {name} takes {sorted(expected)}, not {sorted(parameters)}"
            raise TypeError(message)
        # What nobody waits for any more is not to go on there either.
        limits = {} if self._seconds is None else {"max_execution_time": self._seconds}
        try:
            return list(self._connected().query(text, parameters=parameters, settings=limits).named_results())
        except ClickHouseError as error:
            reraise(error, self._settings)

    def ping(self) -> bool:
        """Return whether ClickHouse answers now."""
        try:
            return self._connected().ping(self._seconds)
        except UnavailableError:
            return False

    def close(self) -> None:
        """Close the connections."""
        with self._opening:
            if self._client is not None:
                self._client.close_connections()
                self._client = None

    def _connected(self) -> Client:
        asked_at = time.monotonic()
        with self._opening:
            if self._client is None:
                failed_at, failure = self._failed
                if failure is not None and failed_at > asked_at:  # while this thread waited: not once more for each
                    raise UnavailableError(failure.what, failure.hint) from failure
                try:
                    self._client = connect(self._settings, seconds=self._seconds)
                except UnavailableError as error:
                    self._failed = (time.monotonic(), error)
                    raise
            return self._client

    def _body(self, table: str, rows: pa.Table) -> tuple[list[str], memoryview]:
        schema = SCHEMAS.get(table)
        if schema is None:
            raise InsertRefusedError(table, "there is no such table.", f"The tables are {', '.join(SCHEMAS)}.")
        given = set(rows.column_names)
        unknown, missing = given - set(schema.names), set(schema.names) - given - DEFAULTED
        if unknown or missing:
            reason = f"columns missing: {sorted(missing)}, columns unknown: {sorted(unknown)}."
            raise InsertRefusedError(table, reason)
        target = pa.schema([_sent_as(column, rows.field(column.name)) for column in schema if column.name in given])
        try:
            fitting = rows.select(target.names).cast(target).combine_chunks()
        except (pa.ArrowException, ValueError) as error:
            raise InsertRefusedError(table, f"{error}.") from error
        empty = [name for name in target.names if not target.field(name).nullable and fitting.column(name).null_count]
        if empty:
            raise InsertRefusedError(table, f"nulls in {empty}.")
        options = pa.ipc.IpcWriteOptions(compression=None if is_local(self._settings) else "lz4")
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, target, options=options) as writer:
            writer.write_table(fitting)
        return target.names, memoryview(sink.getvalue())

    def _send(self, table: str, names: list[str], body: memoryview) -> None:
        try:
            # A view is sent without a copy, with the statement in the URL; bytes would be appended to the statement.
            self._connected().raw_insert(table, names, body, _INSERT_SETTINGS, "ArrowStream")  # type: ignore[arg-type]
        except ClickHouseError as error:
            if is_transient(error):
                raise unavailable(self._settings, error) from error
            raise InsertRefusedError(table, str(error), hint_for(error, self._settings)) from error

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stopping() and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, STOP_CHECK_SECONDS))


def _sent_as(column: pa.Field, given: pa.Field) -> pa.Field:
    """Return the field as which a column is sent: that of the schema, but a dictionary may stay one."""
    if pa.types.is_dictionary(given.type) and given.type.value_type == column.type:
        return column.with_type(given.type)
    return column


def _log_retry(table: str, state: RetryCallState) -> None:
    INSERT_RETRIES.labels(table).inc()
    error = state.outcome.exception() if state.outcome else None
    if state.attempt_number in {1, 10} or state.attempt_number % 50 == 0:
        log.warning("insert waits for ClickHouse", table=table, tries=state.attempt_number, error=str(error))
