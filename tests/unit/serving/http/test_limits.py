"""Connections on which nobody was admitted make room for others; those on which somebody was stay."""

import asyncio
import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from serving.http import limits
from serving.http.auth import PRINCIPAL
from serving.http.limits import LimitedHttpProtocol
from serving.http.waiting import WaitingRoom


async def app(scope: Any, _receive: Any, send: Any) -> None:
    if scope["path"] == "/known":
        scope[PRINCIPAL] = "somebody"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})


@asynccontextmanager
async def serving(room: WaitingRoom) -> AsyncIterator[int]:
    """Serve `app` as the API is served; yields the port."""
    protocol: Any = functools.partial(LimitedHttpProtocol, room=room)
    server = uvicorn.Server(
        uvicorn.Config(app, http=protocol, log_config=None, lifespan="off", port=0, timeout_keep_alive=300)
    )
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await task


async def until(room: WaitingRoom, count: int) -> None:
    async with asyncio.timeout(30):
        while len(room) != count:
            await asyncio.sleep(0.01)


async def test_connection_that_waits_longest_makes_room_unless_somebody_was_admitted_on_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "HEAD_SECONDS", 300.0)
    now = 100.0
    room = WaitingRoom(100, 2, lambda: now)
    async with serving(room) as port, asyncio.timeout(60):
        known_reader, known = await asyncio.open_connection("127.0.0.1", port)
        known.write(b"GET /known HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await known_reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        await until(room, 0)
        idle = []
        for begun in (b"GET / HTTP/1.1\r\nX-", b""):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(begun)
            idle.append((reader, writer))
            await until(room, len(idle))
            now += 5
        asker_reader, asker = await asyncio.open_connection("127.0.0.1", port)
        assert (await idle[0][0].read()).startswith(b"HTTP/1.1 408"), "the oldest"
        asker.write(b"GET /public HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await asker_reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        known.write(b"GET /known HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await known_reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200"), "it took no place"
        for writer in (known, asker, *(writer for _, writer in idle)):
            writer.close()
        await until(room, 0)
