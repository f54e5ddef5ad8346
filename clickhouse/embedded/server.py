"""ClickHouse's HTTP interface over the embedded engine, for clickhouse-connect, curl and Grafana alike."""

import asyncio
import json
import logging
import re
import uuid
from collections.abc import AsyncIterator, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from clickhouse.embedded import encodings
from clickhouse.embedded.engine import DEFAULT_FORMAT, EmbeddedEngine, EngineAnswer, EngineRequest
from clickhouse.embedded.errors import (
    LIMIT_EXCEEDED,
    NOT_IMPLEMENTED,
    SOCKET_TIMEOUT,
    TOO_MANY_SIMULTANEOUS_QUERIES,
    EngineError,
)
from clickhouse.embedded.gate import Gate

BODY_LIMIT = 512 * 1024 * 1024
"""Bytes of one request's body, before and after its encoding is undone."""
THREADS = 16
"""Statements that run at once, on the engine's own threads."""
WAITING = 100
"""Statements that may run or wait for a thread before more are refused."""
PAUSE_SECONDS = 30.0
"""Longest pause between two pieces of a body."""
_QUERY_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)

_NOT_SETTINGS = {
    "query", "database", "default_format", "session_id", "session_timeout", "session_check", "close_session",
    "query_id", "quota_key", "user", "password", "compress", "decompress", "wait_end_of_query", "buffer_size", "role",
    "stacktrace", "client_protocol_version", "http_headers_progress_interval_ms",
}  # fmt: skip
"""URL parameters of the interface itself; any other is a setting of the engine or `param_<name>`."""
_TYPES = {
    "JSON": "application/json",
    "JSONCompact": "application/json",
    "JSONEachRow": "application/x-ndjson",
    "CSV": "text/csv",
    "TabSeparated": "text/tab-separated-values",
    "TSV": "text/tab-separated-values",
}


class Server:
    """The HTTP interface of one engine; `app` is the ASGI application.

    Parameters
    ----------
    directory
        The engine's data.
    user, password
        What a caller must present.

    Raises
    ------
    SetupError
        If another process has the directory, or the password is empty.
    """

    def __init__(self, directory: Path, *, password: str, user: str = "default") -> None:
        router = Starlette(
            routes=[
                Route("/ping", self._ping, methods=["GET", "HEAD"]),
                Route("/", self._statement, methods=["GET", "POST"]),
            ]
        )
        self.app = Gate(router, user=user, password=password)
        self._engine = EmbeddedEngine(directory)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="query")
        self._running = 0

    def close(self) -> None:
        """Wait for running statements and stop the engine; what was acknowledged is on disk."""
        self._threads.shutdown(wait=True)
        self._engine.close()

    async def _ping(self, _: HttpRequest) -> Response:
        return PlainTextResponse("Ok.\n")

    async def _statement(self, http: HttpRequest) -> Response:
        asked = http.query_params.get("query_id", "")
        query_id = asked if _QUERY_ID.fullmatch(asked) else str(uuid.uuid4())
        headers = {
            "X-ClickHouse-Server-Display-Name": "ebb",
            "X-ClickHouse-Query-Id": query_id,
            "X-ClickHouse-Timezone": self._engine.timezone,
        }
        try:
            if http.method == "GET" and "query" not in http.query_params and not int(_length(http)):
                return PlainTextResponse("Ok.\n", headers=headers)
            request = await self._read(http)
            if self._running >= WAITING:
                what = f"Too many simultaneous queries: {self._running}."
                raise EngineError.of(TOO_MANY_SIMULTANEOUS_QUERIES, "TOO_MANY_SIMULTANEOUS_QUERIES", what)
            self._running += 1
            try:
                answer = await self._in_thread(request)
            finally:
                self._running -= 1
        except EngineError as error:
            headers["X-ClickHouse-Exception-Code"] = str(error.code)
            body = f"{error.text} (version {self._engine.version})\n"
            return PlainTextResponse(body, status_code=error.status, headers=headers)
        return self._respond(http, answer, headers)

    async def _in_thread(self, request: EngineRequest) -> EngineAnswer:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._engine.execute, request)

    async def _read(self, http: HttpRequest) -> EngineRequest:
        given = dict(http.query_params)
        if http.headers.get("content-type", "").startswith("multipart/") or given.get("decompress") == "1":
            what = "Forms of several parts and ClickHouse's own block compression are not served here."
            raise EngineError.of(NOT_IMPLEMENTED, "NOT_IMPLEMENTED", what)
        encoding = http.headers.get("content-encoding", "").lower()
        body = encodings.decode(await _body(http), encoding, BODY_LIMIT)
        settings = {
            name: value for name, value in given.items() if name not in _NOT_SETTINGS and not name.startswith("param_")
        }
        if http.method == "GET":
            settings["readonly"] = "2"
        return EngineRequest(
            sql=given.get("query", "").encode(),
            body=body,
            database=given.get("database", http.headers.get("x-clickhouse-database", "")),
            format=given.get("default_format", http.headers.get("x-clickhouse-format", DEFAULT_FORMAT)),
            parameters={
                name.removeprefix("param_"): value for name, value in given.items() if name.startswith("param_")
            },
            settings=settings,
            whole=given.get("wait_end_of_query") == "1",
        )

    def _respond(self, http: HttpRequest, answer: EngineAnswer, headers: dict[str, str]) -> Response:
        headers["X-ClickHouse-Format"] = answer.format
        headers["X-ClickHouse-Summary"] = json.dumps(
            {
                "read_rows": str(answer.read_rows),
                "read_bytes": str(answer.read_bytes),
                "written_rows": str(answer.written_rows),
                "written_bytes": str(answer.written_bytes),
                "total_rows_to_read": "0",
                "elapsed_ns": str(int(answer.seconds * 1e9)),
            }
        )
        kind = _TYPES.get(answer.format, "application/octet-stream")
        encoding = ""
        if http.query_params.get("enable_http_compression") == "1":
            encoding = encodings.choose(http.headers.get("accept-encoding", ""))
        if answer.rest is None:
            body = answer.first
            if encoding and body:
                headers["Content-Encoding"] = encoding
                body = b"".join(encodings.encode((body,), encoding))
            return Response(body, media_type=kind, headers=headers)
        tag = uuid.uuid4().hex[:16]
        headers["X-ClickHouse-Exception-Tag"] = tag
        result = _Result(answer.first, answer.rest, tag)
        chunks: Iterator[bytes] = iter(result)
        if encoding:
            headers["Content-Encoding"] = encoding
            chunks = encodings.encode(chunks, encoding)
        return StreamingResponse(self._pull(chunks, result), media_type=kind, headers=headers)

    async def _pull(self, chunks: Iterator[bytes], result: "_Result") -> AsyncIterator[bytes]:
        """Fetch chunk by chunk as the client reads; after an error the body is left without its end."""
        loop = asyncio.get_running_loop()
        try:
            while (chunk := await loop.run_in_executor(self._threads, next, chunks, None)) is not None:
                yield chunk
        finally:
            await loop.run_in_executor(self._threads, result.rest.close)
        if result.error is not None:
            raise result.error


class _Result:
    """A streamed result; an error in the middle is written into the body, where clients find it by the tag."""

    def __init__(self, first: bytes, rest: Generator[bytes, None, None], tag: str) -> None:
        self._first = first
        self.rest = rest
        self._tag = tag
        self.error: EngineError | None = None

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield self._first
            yield from self.rest
        except EngineError as error:
            self.error = error
            text = f"{error.text}\n".encode()
            yield f"\r\n__exception__\r\n{self._tag}\r\n".encode() + text
            yield f"{len(text)} {self._tag}\r\n__exception__\r\n".encode()


class BrokenResultFilter(logging.Filter):
    """Logs a result that failed midway in one line, where uvicorn would print a traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Turn the record of a `EngineError` into a warning of one line."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, EngineError):
            record.levelno, record.levelname, record.exc_info = logging.WARNING, "WARNING", None
            record.msg = f"result failed midway: {error.text}"
        return True


async def _body(http: HttpRequest) -> bytes:
    parts: list[bytes] = []
    size, announced = 0, int(_length(http))
    stream = http.stream()
    while max(size, announced) <= BODY_LIMIT:
        try:
            async with asyncio.timeout(PAUSE_SECONDS):
                part = await anext(stream, None)
        except TimeoutError:
            what = f"Nothing more of the body came for {PAUSE_SECONDS:.0f} seconds."
            raise EngineError.of(SOCKET_TIMEOUT, "SOCKET_TIMEOUT", what) from None
        if part is None:
            return b"".join(parts)
        parts.append(part)
        size += len(part)
    raise EngineError.of(LIMIT_EXCEEDED, "LIMIT_EXCEEDED", f"The body holds more than {BODY_LIMIT} bytes.")


def _length(http: HttpRequest) -> str:
    return http.headers.get("content-length", "0" if "transfer-encoding" not in http.headers else "1")
