"""A TCP proxy that cuts streams in the middle of whatever they carry."""

import asyncio
import contextlib
import random
from collections.abc import Sequence
from typing import Self


class Cutter:
    """Passes connections on to the upstream ports in turn, and cuts each WebSocket after some bytes.

    Parameters
    ----------
    ports
        Where connections go, one after the other.
    cuts
        How often to cut; after that connections stay.
    silently
        Leave a cut connection open and forward no more, like a host that has vanished.
    """

    def __init__(self, ports: Sequence[int], cuts: int, *, silently: bool = False) -> None:
        self._ports = list(ports)
        self._left = cuts
        self._silently = silently
        self._taken = 0
        self._random = random.Random(7)  # noqa: S311 - places to cut at, the same in each run
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self.cuts = 0
        self.port = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        """Begin to listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop listening and end every connection."""
        assert self._server is not None
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await self._pass_on(reader, writer)
        writer.transport.abort()
        self._open.discard(task)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.read(65_536)
        is_stream = head.startswith(b"GET /v1/stream")
        if is_stream:
            self._taken += 1
        port = self._ports[self._taken % len(self._ports)]
        there, onward = await asyncio.open_connection("127.0.0.1", port)
        onward.write(head)
        budget = self._random.randint(50, 6_000) if is_stream and self._left > 0 else None
        up = asyncio.create_task(_pump(reader, onward))
        try:
            while data := await there.read(1_024):
                if budget is not None:
                    data = data[:budget]
                    budget -= len(data)
                writer.write(data)
                await writer.drain()
                if budget == 0 and self._left > 0:
                    self._left -= 1
                    self.cuts += 1
                    await asyncio.sleep(3_600 if self._silently else 0)
                    return
        finally:
            up.cancel()
            onward.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
