"""uvicorn's fast HTTP protocol with limits on the head of a request: its size, and the time in which it must arrive.

Without it one connection may send headers for ever, or nothing at all, and hold memory and a socket meanwhile.
"""

import asyncio
from asyncio.events import TimerHandle

from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 32_768
"""Request line and headers together; a page token or a list of ids fits many times over."""
HEAD_SECONDS = 10.0
LINGER_SECONDS = 1.0
"""Time in which what a refused client still sends is thrown away, so that it can read why."""
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class LimitedHttpProtocol(HttpToolsProtocol):
    """One connection. Between two requests uvicorn's own keep-alive time-out holds."""

    _head_bytes = 0
    _in_head = True
    _timer: TimerHandle | None = None
    _refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer of the first head."""
        super().connection_made(transport)
        self._timer = self.loop.call_later(HEAD_SECONDS, self._cut, _TOO_SLOW)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._settle()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count the bytes received while a head is incomplete."""
        if self._refused:
            return
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes:
            if self._head_bytes > MAX_HEAD_BYTES:
                self._cut(_TOO_LARGE)
            elif self._timer is None:
                self._timer = self.loop.call_later(HEAD_SECONDS, self._cut, _TOO_SLOW)

    def on_headers_complete(self) -> None:
        """End the head; one that arrived whole and is too large is answered in its turn."""
        self._settle()
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        served = self.app
        if size > MAX_HEAD_BYTES:
            self.app = _head_too_large
        try:
            super().on_headers_complete()
        finally:
            self.app = served

    def on_message_complete(self) -> None:
        """Reset the counters for the next request."""
        super().on_message_complete()
        self._in_head = True

    def _settle(self) -> None:
        self._head_bytes = 0
        self._in_head = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _cut(self, answer: bytes) -> None:
        self._settle()
        if not self.transport.is_closing():
            self.transport.write(answer)
            # Closed with bytes unread, the connection would be reset and the answer lost on the way.
            self._refused = True
            self.loop.call_later(LINGER_SECONDS, self.transport.close)


async def _head_too_large(_scope: Scope, _receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    headers = [(b"content-length", b"0"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 431, "headers": headers, "trailers": False})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
