"""uvicorn's fast HTTP protocol with limits on what a connection may hold before it is known, and HTTP/1.0 as it is.

Without it one connection may send headers, trailers or a body for ever, or nothing at all, and hold memory and a socket
meanwhile.
"""

import asyncio
import sys
from asyncio.events import TimerHandle
from typing import Any

from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, ASGISendEvent, Scope
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from serving.http.auth import PRINCIPAL
from serving.http.waiting import WaitingPlace, WaitingRoom

MAX_HEAD_BYTES = 32_768
"""Request line and headers together; a page token or a list of ids fits many times over. Trailers too."""
HEAD_SECONDS = 10.0
LINGER_SECONDS = 1.0
"""Time in which what a refused client still sends is thrown away, so that it can read why."""
MAX_PIPELINED = 64
"""Requests that may wait for the answer to the one before, which take a hundred times the bytes they came in."""
_BODY_HEADERS = frozenset({b"content-length", b"transfer-encoding"})
_WITHOUT_BODY = frozenset({204, 304})


def _answer(status: str) -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode()


_TOO_LARGE = _answer("431 Request Header Fields Too Large")
_TOO_SLOW = _answer("408 Request Timeout")
_MALFORMED = _answer("400 Bad Request")


class LimitedHttpProtocol(HttpToolsProtocol):
    """One connection. Between two requests uvicorn's own keep-alive time-out holds.

    Parameters
    ----------
    room
        Where connections wait that have sent no request yet for which somebody was admitted.
    """

    _head_bytes = 0
    _bytes_since_body = 0
    _in_head = True
    _timer: TimerHandle | None = None
    _refused = False
    _admitted = False
    _place: WaitingPlace | None = None

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        room: WaitingRoom | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._room = room

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer of the first head."""
        super().connection_made(transport)
        self._timer = self.loop.call_later(HEAD_SECONDS, self._cut, _TOO_SLOW)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._settle()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count the bytes received while a head is incomplete, and those of a body that are not its content."""
        if self._refused:
            return
        if self._in_head:
            self._head_bytes += len(data)
        else:
            self._bytes_since_body += len(data)
        super().data_received(data)
        self._check_sizes()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; a trailer comes after the body, when all has been decided by the headers, and is dropped."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """End the head; one that arrived whole and is too large is answered in its turn."""
        self._settle()
        if self._refused:
            return
        if len(self.pipeline) >= MAX_PIPELINED:
            self._refused = True
            self.transport.close()
            return
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        served = self.app
        if size > MAX_HEAD_BYTES:
            self.app = _head_too_large
        try:
            super().on_headers_complete()
        finally:
            self.app = served

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._bytes_since_body = 0
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Reset the counters for the next request."""
        if not self._refused:
            super().on_message_complete()
        self._in_head = True
        self._bytes_since_body = 0

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._admitted = self._admitted or PRINCIPAL in self.cycle.scope
        self._wait()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's words
        """Answer what is no HTTP; after a request that is still being answered the connection just ends."""
        if self.cycle is None or self.cycle.response_complete:
            self._cut(_MALFORMED)
        else:
            self._refused = True
            self.transport.close()

    def handle_websocket_upgrade(self) -> None:
        """Hand over to the WebSocket's protocol."""
        self._settle()
        super().handle_websocket_upgrade()

    def linger(self) -> None:
        """Close, once the client has had the time to read the answer.

        Closed with bytes unread, the connection would be reset and the answer lost on the way.
        """
        self._settle()
        self._refused = True
        if not self.transport.is_closing():
            self.flow.resume_reading()
            if self.transport.can_write_eof():
                self.transport.write_eof()
            self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        has_body = any(name in _BODY_HEADERS for name, _ in cycle.scope["headers"])
        if has_body:
            cycle.transport = _LingeringTransport(self, cycle)  # type: ignore[assignment]
        if has_body or cycle.scope["http_version"] == "1.0":
            keeps = any(n == b"connection" and v.strip().lower() == b"keep-alive" for n, v in cycle.scope["headers"])
            app = _Framed(app, cycle, keeps=keeps)
        super()._start_asgi_task(cycle, app)

    def _check_sizes(self) -> None:
        if self._refused:
            return
        if self._bytes_since_body > MAX_HEAD_BYTES:
            self._cut(_MALFORMED)
        elif self._in_head and self._head_bytes:
            if self._head_bytes > MAX_HEAD_BYTES:
                self._cut(_TOO_LARGE)
            elif self._timer is None:
                self._timer = self.loop.call_later(HEAD_SECONDS, self._cut, _TOO_SLOW)

    def _wait(self) -> None:
        if self._room is not None and self._place is None and not self._admitted and not self._refused:
            self._place = self._room.enter(self.client[0] if self.client else "", self._make_room)

    def _make_room(self) -> None:
        self._place = None
        if self.cycle is None or self._head_bytes:
            self._cut(_TOO_SLOW)
        elif self.cycle.response_complete:
            self.transport.close()

    def _settle(self) -> None:
        self._head_bytes = 0
        self._in_head = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._place is not None and self._room is not None:
            self._room.leave(self._place)
            self._place = None

    def _cut(self, answer: bytes) -> None:
        self._settle()
        if not self.transport.is_closing():
            self.transport.write(answer)
            self.linger()


class _LingeringTransport:
    """The transport of a request with a body: closed before the body came whole, it lingers."""

    def __init__(self, protocol: LimitedHttpProtocol, cycle: RequestResponseCycle) -> None:
        self._protocol = protocol
        self._cycle = cycle
        self.write = protocol.transport.write
        self.is_closing = protocol.transport.is_closing

    def close(self) -> None:
        """Close, at once or after a while."""
        if self._cycle.more_body:
            self._protocol.linger()
        else:
            self._protocol.transport.close()


class _Framed:
    """An application whose answers end as the request's version and its body ask for.

    A client whose body is not wanted is told so by the end of the connection. HTTP/1.0 knows no chunks: what has no
    length ends with the connection; what has one need not, if the client keeps it alive.
    """

    def __init__(self, app: ASGI3Application, cycle: RequestResponseCycle, *, keeps: bool) -> None:
        self._app = app
        self._cycle = cycle
        self._old = cycle.scope["http_version"] == "1.0"
        self._keeps = keeps
        self._unsized = False
        if self._old:
            cycle.waiting_for_100_continue = False

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Serve one request."""

        async def sending(message: ASGISendEvent) -> None:
            if message["type"] == "http.response.start":
                if self._old:
                    message["headers"] = self._begin(message["status"], list(message.get("headers", ())))
                if self._cycle.more_body:
                    self._cycle.keep_alive = False
            elif message["type"] == "http.response.body" and self._unsized and not message.get("more_body", False):
                self._cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        await self._app(scope, receive, sending)

    def _begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        cycle, names = self._cycle, {name.lower() for name, _ in headers}
        if b"content-length" in names or status in _WITHOUT_BODY or cycle.scope["method"] == "HEAD":
            if self._keeps and b"connection" not in names and not cycle.more_body:
                cycle.keep_alive = True
                headers.append((b"connection", b"keep-alive"))
            return headers
        self._unsized = True
        cycle.chunked_encoding = False
        cycle.expected_content_length = sys.maxsize
        return headers


async def _head_too_large(_scope: Scope, _receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    headers = [(b"content-length", b"0"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 431, "headers": headers, "trailers": False})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
