"""The HTTP server: one socket, limits, and an orderly end."""

import asyncio
import functools
import logging
import resource
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
from serving.http.waiting import WaitingRoom
from serving.streaming.frames import FrameProtocol
from serving.streaming.hub import Hub

DRAIN_SECONDS = 3.0
"""Time in which the close frames of the streams are sent at the end."""
_UNACKNOWLEDGED_MS = 30_000
"""The kernel drops a connection whose peer acknowledges nothing for this long; a stalled client cannot hold it."""


_FILES = 65_536
"""Open files that the process asks for: each connection is one."""
_WAITING = 4_000
"""Connections at most on which nobody was admitted yet and no request is being answered."""


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
                http=functools.partial(LimitedHttpProtocol, room=waiting_connections()),  # type: ignore[arg-type]
                ws=FrameProtocol,
                timeout_graceful_shutdown=5,
                server_header=False,
            )
        )
        logger = logging.getLogger("uvicorn.error")
        logger.filters = [FewLines(), *(one for one in logger.filters if not isinstance(one, FewLines))]
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


class FewLines(logging.Filter):
    """Lets a line through a few times a minute: anybody can make the server write it, by bytes that are no HTTP."""

    def __init__(self, a_minute: int = 10) -> None:
        super().__init__()
        self._a_minute = a_minute
        self._counts: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a line is written; the first of a minute tells how many were not in the one before."""
        text, now = str(record.msg)[:200], time.monotonic()
        began, count = self._counts.get(text, (-60.0, 0))
        if now - began >= 60:
            if left_out := max(0, count - self._a_minute):
                record.msg = f"{record.msg} ({left_out} more lines like this were left out)"
            if len(self._counts) >= 1_000:
                self._counts.clear()
            began, count = now, 0
        self._counts[text] = (began, count + 1)
        return count < self._a_minute


def waiting_connections() -> WaitingRoom:
    """Return the room of connections that nobody was admitted on, after raising the limit of files that it is part of.

    Of the process's files they may have a quarter, and a network a quarter of these.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    places = min(_WAITING, (_FILES if soft == resource.RLIM_INFINITY else soft) // 4)
    return WaitingRoom(places, places // 4)


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
