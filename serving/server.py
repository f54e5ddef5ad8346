"""The HTTP server: one socket, limits, and an orderly end."""

import asyncio
import signal
import socket
import time
from types import FrameType

import uvicorn
from fastapi import FastAPI

from ebb.contracts.stream import MAX_CLIENT_BYTES
from ebb.errors import SetupError
from ebb.liveness import BEAT_SECONDS, Liveness
from ebb.settings import PlaceSettings
from serving.http.limits import LimitedHttpProtocol
from serving.streaming.frames import FrameProtocol
from serving.streaming.hub import Hub

DRAIN_SECONDS = 3.0
"""Time in which the close frames of the streams are sent at the end."""
_UNACKNOWLEDGED_MS = 30_000
"""The kernel drops a connection whose peer acknowledges nothing for this long; a stalled client cannot hold it."""


class DrainingServer(uvicorn.Server):
    """A server that drains on SIGTERM and ends with exit status 0.

    `/readyz` answers 503 from that moment; after `drain_seconds`, in which all is served as before, the streams are
    closed with a code that asks to reconnect, and requests in flight are answered.
    """

    def __init__(self, app: FastAPI, drain_seconds: float = 0.0, liveness: Liveness | None = None) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                log_level="warning",
                ws_max_size=MAX_CLIENT_BYTES,
                ws_ping_interval=20,
                ws_ping_timeout=20,
                # Compressing each message for each client would cost more than the loopback or LAN bytes it saves.
                ws_per_message_deflate=False,
                http=LimitedHttpProtocol,
                ws=FrameProtocol,
                timeout_graceful_shutdown=5,
                server_header=False,
            )
        )
        self._hub: Hub = app.state.context.hub
        self._drain_seconds = drain_seconds
        self._stop_at: float | None = None
        self._liveness = liveness
        self._beat_at = 0.0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Begin to end gracefully; a second interrupt ends at once."""
        if not self._hub.draining:
            self._hub.draining = True
            self._stop_at = time.monotonic() + self._drain_seconds
        elif sig == signal.SIGINT:
            self.should_exit = self.force_exit = True

    async def on_tick(self, counter: int) -> bool:
        """Stop once the load balancer has had the time to see that the API is no longer ready."""
        if self._stop_at is not None and time.monotonic() >= self._stop_at:
            self.should_exit = True
        if self._liveness is not None and time.monotonic() >= self._beat_at:
            self._liveness.beat()
            self._beat_at = time.monotonic() + BEAT_SECONDS
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the streams, then the rest; requests in flight are answered."""
        hub = self._hub
        hub.closing.set()
        for _ in range(int(DRAIN_SECONDS / 0.05)):
            if not hub.streams:
                break
            await asyncio.sleep(0.05)
        await super().shutdown(sockets)


def listen(settings: PlaceSettings) -> socket.socket:
    """Open the socket of the API.

    Raises
    ------
    SetupError
        If the port is taken or the address is not of this machine.
    """
    family = socket.AF_INET6 if ":" in settings.api_host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED_MS)
    try:
        opened.bind((settings.api_host, settings.api_port))
    except OSError as error:
        opened.close()
        what = f"The API cannot listen on {settings.api_host}:{settings.api_port}: {error.strerror}."
        raise SetupError(what, "Set EBB_API_PORT to a free port.") from error
    opened.listen(2_048)
    opened.setblocking(False)
    return opened
