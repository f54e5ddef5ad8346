"""uvicorn's fast HTTP protocol with bounds on the head of a request, which comes before any password is shown."""

import asyncio
from asyncio.events import TimerHandle

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 1024 * 1024
"""Request line and headers together. As large as a ClickHouse server takes: parameters of a query are in its URL."""
HEAD_SECONDS = 10.0
"""Time in which a head must arrive, from its first byte, or from the connection."""


class BoundedHeadProtocol(HttpToolsProtocol):
    """One connection; closed without an answer if a head is too large or too slow."""

    _head_bytes = 0
    _in_head = True
    _timer: TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer of the first head."""
        super().connection_made(transport)
        self._timer = self.loop.call_later(HEAD_SECONDS, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._end_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count the bytes received while a head is incomplete."""
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if not self._in_head or not self._head_bytes or self.transport.is_closing():
            return
        if self._head_bytes > MAX_HEAD_BYTES:
            self.transport.close()
        elif self._timer is None:
            self._timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def on_headers_complete(self) -> None:
        """End the head."""
        self._end_head()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Begin the next head."""
        super().on_message_complete()
        self._in_head = True

    def _end_head(self) -> None:
        self._head_bytes = 0
        self._in_head = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
