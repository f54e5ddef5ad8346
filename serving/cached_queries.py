"""Named queries to ClickHouse: on threads of their own, with a short cache, and without a wait while it is away."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from starlette.concurrency import run_in_threadpool

from clickhouse.errors import RefusedError
from ebb.errors import EbbError, UnavailableError
from ebb.log import get_logger

FRESH_SECONDS = 2.0
"""However many pages are open, each query is sent once in this time."""
PROBE_SECONDS = 1.0
"""While ClickHouse is away, the time from one ping to the next."""
THREADS = 16
"""Requests that ask ClickHouse at once; a ClickHouse that hangs holds these threads and no others."""
WAITING = 400
"""Requests that ask or wait for a thread; the next are answered at once, without ClickHouse."""
_AWAY = "ClickHouse does not answer."
_LATER = "Ask again in a moment."
_log = get_logger(__name__)

Rows = list[dict[str, Any]]
T = TypeVar("T")


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

    A failure makes ClickHouse count as away: from then on every call fails at once, while a thread of its own pings
    until there is an answer. So a ClickHouse that hangs delays the requests under way, and no later ones.

    Parameters
    ----------
    connect
        Makes the store; its calls should not take much longer than `seconds`.
    seconds
        How long the queries of one request may take together.
    """

    def __init__(self, connect: Callable[[], Queries], *, seconds: float = 3.0) -> None:
        self._connect = connect
        self._seconds = seconds
        self._store: Queries | None = None
        self._lock = threading.Lock()
        self._opening = threading.Lock()
        self._locks: dict[object, threading.Lock] = {}
        self._answers: dict[object, tuple[float, Rows]] = {}
        self._away = False
        self._closed = threading.Event()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="history")
        self._asking = 0
        self._budget = threading.local()
        """`until`: when the time of the request that this thread works on is up."""
        self.trouble: str | None = None
        """Why ClickHouse last failed to answer; None if it answered."""

    async def run(self, work: Callable[[], T], *, from_memory: bool = True) -> T:
        """Return the result of work that asks ClickHouse, done in a thread kept for that.

        Parameters
        ----------
        from_memory
            Whether the work has an answer without ClickHouse, or raises by itself, where its queries fail at once.

        Raises
        ------
        UnavailableError
            If ClickHouse does not answer, or too many requests wait for it.
        """
        if self._away or self._asking >= WAITING:
            if not from_memory:
                raise UnavailableError(_AWAY, _LATER)
            return await run_in_threadpool(self._within, 0.0, work)
        self._asking += 1
        try:
            # The queries end by themselves within their time; a name that does not resolve, or bytes that drip, do not.
            async with asyncio.timeout(2 * self._seconds + 1):
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self._threads, self._within, self._seconds, work)
        except TimeoutError:
            self._fail("It holds its answers back.")
            raise UnavailableError(_AWAY, _LATER) from None
        finally:
            self._asking -= 1

    def rows(self, name: str, *, fresh_seconds: float = FRESH_SECONDS, **parameters: object) -> Rows:
        """Return the rows of a named query, at most `fresh_seconds` old; blocks, so call it in `run`.

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
        if not lock.acquire(blocking=not self._must_not_wait()):
            raise UnavailableError(_AWAY, _LATER)
        try:
            answered_at, rows = self._answers.get(key, (-fresh_seconds, []))
            if time.monotonic() - answered_at < fresh_seconds:
                return rows
            if self._must_not_wait():
                raise UnavailableError(_AWAY, _LATER)
            rows = self._ask(name, parameters)
            self._answers[key] = (time.monotonic(), rows)
            return rows
        finally:
            lock.release()

    def rows_or_none(self, name: str, *, fresh_seconds: float = FRESH_SECONDS, **parameters: object) -> Rows | None:
        """Return the rows, or None if ClickHouse does not answer."""
        try:
            return self.rows(name, fresh_seconds=fresh_seconds, **parameters)
        except UnavailableError:
            return None

    async def answers(self) -> bool:
        """Return whether ClickHouse answers now."""
        try:
            alive = await self.run(self._ping, from_memory=False)
        except UnavailableError:
            return False
        if not alive:
            self._fail(self.trouble or "It does not answer a ping.")
        return alive

    def close(self) -> None:
        """Close the connections; what is under way ends by itself."""
        self._closed.set()
        self._threads.shutdown(wait=False, cancel_futures=True)
        with self._opening:
            if self._store is not None:
                self._store.close()
                self._store = None

    def _within(self, seconds: float, work: Callable[[], T]) -> T:
        self._budget.until = time.monotonic() + seconds
        try:
            return work()
        finally:
            del self._budget.until

    def _must_not_wait(self) -> bool:
        return self._away or time.monotonic() >= getattr(self._budget, "until", float("inf"))

    def _ask(self, name: str, parameters: dict[str, object]) -> Rows:
        try:
            rows = self._open().query(name, **parameters)
        except RefusedError as error:  # it answers; what is wrong is this query, and others go on
            _log.error("query refused by clickhouse", query=name, error=str(error))
            what = "This cannot be answered: ClickHouse refused the query."
            raise UnavailableError(what, "The API's log has the reason.") from error
        except EbbError as error:
            self._fail(str(error), query=name)
            raise UnavailableError(_AWAY, _LATER) from error
        self.trouble = None
        return rows

    def _fail(self, why: str, **context: str) -> None:
        """Let every call fail at once, until a ping is answered."""
        with self._lock:
            first, self._away, self.trouble = not self._away, True, why
        if first and not self._closed.is_set():
            _log.warning("clickhouse does not answer", error=why, **context)
            threading.Thread(target=self._probe, name="history-probe", daemon=True).start()

    def _probe(self) -> None:
        while not self._ping():
            if self._closed.wait(PROBE_SECONDS):
                return
        with self._lock:
            self._away, self.trouble = False, None
        _log.info("clickhouse answers")

    def _ping(self) -> bool:
        try:
            return self._open().ping()
        except EbbError as error:
            self.trouble = str(error)
            return False

    def _open(self) -> Queries:
        with self._opening:
            if self._store is None:
                self._store = self._connect()
            return self._store
