"""Named queries to ClickHouse with a short cache; while it is away, callers fail at once."""

import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from clickhouse.errors import RefusedError
from ebb.errors import EbbError, UnavailableError
from ebb.log import get_logger

FRESH_SECONDS = 2.0
"""However many pages are open, each query is sent once in this time."""
DOWN_SECONDS = 2.0
"""For this long after a failure, calls fail at once instead of waiting for ClickHouse."""
_AWAY = "ClickHouse does not answer."
_log = get_logger(__name__)

Rows = list[dict[str, Any]]


class Queries(Protocol):
    """The part of `clickhouse.store.Store` that is used here."""

    def query(self, name: str, **parameters: object) -> Rows:
        """Run a named query."""

    def ping(self) -> bool:
        """Return whether ClickHouse answers."""

    def close(self) -> None:
        """Close the connections."""


class CachedQueries:
    """Named queries, cached. The store is made at the first use, so that the API starts without ClickHouse.

    All methods block; call them from a thread.
    """

    def __init__(self, connect: Callable[[], Queries]) -> None:
        self._connect = connect
        self._store: Queries | None = None
        self._lock = threading.Lock()
        self._locks: dict[object, threading.Lock] = {}
        self._answers: dict[object, tuple[float, Rows]] = {}
        self._down_until = 0.0
        self.trouble: str | None = None
        """Why ClickHouse last failed to answer; None if it answered."""

    def rows(self, name: str, *, fresh_seconds: float = FRESH_SECONDS, **parameters: object) -> Rows:
        """Return the rows of a named query, at most `fresh_seconds` old.

        Raises
        ------
        UnavailableError
            If ClickHouse does not answer, or refuses this query. The address and its words are in the log only.
        """
        key = (name, *sorted(parameters.items()))
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
            if len(self._answers) > 1_000:
                self._answers.clear()
                self._locks = {key: lock}
        with lock:
            now = time.monotonic()
            answered_at, rows = self._answers.get(key, (-fresh_seconds, []))
            if now - answered_at < fresh_seconds:
                return rows
            if now < self._down_until:
                raise UnavailableError(_AWAY, "Ask again in a moment.")
            try:
                rows = self._open().query(name, **parameters)
            except RefusedError as error:  # it answers; what is wrong is this query, and others go on
                _log.error("query refused by clickhouse", query=name, error=str(error))
                what = "This cannot be answered: ClickHouse refused the query."
                raise UnavailableError(what, "The API's log has the reason.") from error
            except EbbError as error:
                if self.trouble is None:
                    _log.warning("clickhouse does not answer", query=name, error=str(error))
                self.trouble = str(error)
                self._down_until = time.monotonic() + DOWN_SECONDS
                raise UnavailableError(_AWAY, "Ask again in a moment.") from error
            self.trouble = None
            self._answers[key] = (time.monotonic(), rows)
            return rows

    def rows_or_none(self, name: str, *, fresh_seconds: float = FRESH_SECONDS, **parameters: object) -> Rows | None:
        """Return the rows, or None if ClickHouse does not answer."""
        try:
            return self.rows(name, fresh_seconds=fresh_seconds, **parameters)
        except UnavailableError:
            return None

    def answers(self) -> bool:
        """Return whether ClickHouse answers now."""
        try:
            alive = self._open().ping()
        except EbbError as error:
            self.trouble = str(error)
            return False
        self.trouble = None if alive else "It does not answer a ping."
        return alive

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            if self._store is not None:
                self._store.close()
                self._store = None

    def _open(self) -> Queries:
        with self._lock:
            if self._store is None:
                self._store = self._connect()
            return self._store
