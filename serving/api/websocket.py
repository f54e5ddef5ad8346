"""`/v1/stream`: scores and alerts over a WebSocket, by subscription."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence

from fastapi import APIRouter, WebSocket
from pydantic import ValidationError
from starlette.websockets import WebSocketDisconnect

from ebb.contracts.api_keys import Scope
from ebb.contracts.stream import (
    CLIENT_MESSAGE,
    MAX_SUBSCRIPTIONS,
    MESSAGES_PER_10_SECONDS,
    SUBSCRIBE_SECONDS,
    CloseCode,
    ErrorData,
    Heartbeat,
    HeartbeatData,
    Ping,
    Pong,
    Resume,
    StreamError,
    Subscribe,
    Subscribed,
    Unrecoverable,
    Unsubscribe,
    Unsubscribed,
)
from ebb.errors import UnavailableError
from ebb.metrics import WS_CLOSED, WS_SENT
from serving.context import Context
from serving.http.auth import LOCAL_PRINCIPAL, Principal, presented_key
from serving.http.problems import ProblemError
from serving.streaming.frames import WRITER
from serving.streaming.message import framed
from serving.streaming.send_queue import SendQueue
from serving.streaming.subscriptions import Subscription

CLOSE_SECONDS = 2.0
"""Time in which a close frame must be written; a stalled client is cut off."""
_DESCRIBED_ERRORS = 20
"""Wrong fields of a message up to which the first is described: of the 6,500 that fit it would take 50 ms."""
_STOPS = "The server stops; connect again."
_WRITE_BYTES = 32_768
"""Frames written at once; beyond it the socket is drained first."""
_SENT = {kind: WS_SENT.labels(kind) for kind in ("score", "alert", "control", "heartbeat")}
router = APIRouter()


class EndOfStreamError(Exception):
    """Ends a session; `code` is None if the client left."""

    def __init__(self, code: CloseCode | None, why: str = "") -> None:
        super().__init__(why)
        self.code = code
        self.why = why


@router.websocket("/v1/stream")
async def stream(websocket: WebSocket) -> None:
    """Serve one client. Even a refused one is accepted first: otherwise a browser would not see the close code."""
    context: Context = websocket.app.state.context
    await websocket.accept()
    host, origin = websocket.headers.get("host"), websocket.headers.get("origin")
    if not context.authenticator.serves_host(host) or not context.authenticator.allows_origin(origin, host):
        await _close(websocket, CloseCode.ORIGIN, "Name the page's origin in EBB_ALLOWED_ORIGINS.")
    elif context.hub.closing.is_set():
        await _close(websocket, CloseCode.GOING_AWAY, _STOPS)
    else:
        await Session(websocket, context).run()


class Session:
    """A client's connection, from its first message to the close."""

    def __init__(self, websocket: WebSocket, context: Context) -> None:
        self._websocket = websocket
        self._context = context
        self._hub = context.hub
        self._queue = SendQueue()
        self._subscriptions: dict[str, Subscription] = {}
        self._principal: Principal | None = None
        self._connected = False
        """Whether it counts as one of the replica's streams."""
        self._patience: asyncio.Timeout | None = None
        self._makes_room = False
        self._received_at: deque[float] = deque(maxlen=MESSAGES_PER_10_SECONDS)
        self._write: Callable[[bytes], Awaitable[None]] = websocket.scope["extensions"][WRITER]

    async def run(self) -> None:
        """Serve until either side closes."""
        try:
            self._begin(await self._first_message())
            await self._serve()
        except EndOfStreamError as end:
            if end.code is not None:
                await self._close_with(end.code, end.why)
        finally:
            for subscription in self._subscriptions.values():
                self._hub.remove(subscription)
            if self._connected:
                self._hub.disconnect()

    async def _first_message(self) -> Subscribe | Resume | Unsubscribe | Ping:
        key = presented_key(self._websocket)
        if key is not None:
            self._principal = self._authenticate(key)
        elif not self._context.authenticator.needs_key:
            self._principal = LOCAL_PRINCIPAL
        try:
            async with asyncio.timeout(SUBSCRIBE_SECONDS) as self._patience:
                with self._waiting():
                    return await self._receive()
        except TimeoutError:
            if self._makes_room:
                what = "Too many connections wait to show a key. Reconnect later."
                raise EndOfStreamError(CloseCode.FULL, what) from None
            what = f"No subscribe message came within {SUBSCRIBE_SECONDS:g} s."
            raise EndOfStreamError(CloseCode.NO_SUBSCRIBE, what) from None

    @contextlib.contextmanager
    def _waiting(self) -> Iterator[None]:
        """Wait among those who have not shown a key yet; who has shown one takes no place there."""
        if self._principal is not None:
            yield
            return
        room, client = self._context.waiting_streams, self._websocket.client
        place = room.enter(client.host if client else "", self._make_room)
        try:
            yield
        finally:
            room.leave(place)

    def _make_room(self) -> None:
        self._makes_room = True
        if self._patience is not None:
            self._patience.reschedule(0.0)

    async def _serve(self) -> None:
        tasks = [
            asyncio.ensure_future(self._listen()),
            asyncio.ensure_future(self._send()),
            asyncio.ensure_future(self._heartbeat()),
            asyncio.ensure_future(self._until_overflow()),
            asyncio.ensure_future(self._until_closing()),
            asyncio.ensure_future(self._until_key_ended()),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        for task, outcome in zip(tasks, ended, strict=True):
            if task in done and isinstance(outcome, BaseException):
                raise outcome

    async def _listen(self) -> None:
        while True:
            self._handle(await self._receive())

    async def _send(self) -> None:
        queue = self._queue
        while True:
            await queue.filled()
            frames, size = [], 0
            scores = alerts = control = 0
            while size < _WRITE_BYTES and (waiting := queue.get()) is not None:
                if isinstance(waiting, str):
                    frames.append(framed(waiting.encode()))
                    control += 1
                else:
                    message, names = waiting
                    frames.append(message.frame(names))
                    if message.topic == "scores":
                        scores += 1
                    else:
                        alerts += 1
                size += len(frames[-1])
            await self._send_frames(frames)
            for kind, count in (("score", scores), ("alert", alerts), ("control", control)):
                if count:
                    _SENT[kind].inc(count)

    async def _heartbeat(self) -> None:
        every = self._context.settings.heartbeat_seconds
        while True:
            await asyncio.sleep(every)
            # With an empty queue, everything up to the newest sequence was sent or did not match. Otherwise messages
            # are on their way already, or the client reads too slowly to be sent more.
            if not len(self._queue):
                data = HeartbeatData(event_time=self._context.event_time().isoformat())
                await self._send_frames([framed(Heartbeat(sequence=self._hub.sequence, data=data).text().encode())])
                _SENT["heartbeat"].inc()

    async def _until_overflow(self) -> None:
        await self._queue.overflowed.wait()
        raise EndOfStreamError(CloseCode.SLOW, "The client reads too slowly for its subscription.")

    async def _until_closing(self) -> None:
        await self._hub.closing.wait()
        raise EndOfStreamError(CloseCode.GOING_AWAY, _STOPS)

    async def _until_key_ended(self) -> None:
        await self._context.authenticator.until_ended(self._principal or LOCAL_PRINCIPAL)
        raise EndOfStreamError(CloseCode.KEY_ENDED, "The API key was revoked or has expired.")

    async def _receive(self) -> Subscribe | Resume | Unsubscribe | Ping:
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise EndOfStreamError(None)
        now = time.monotonic()
        if len(self._received_at) == MESSAGES_PER_10_SECONDS and now - self._received_at[0] < 10:
            what = f"More than {MESSAGES_PER_10_SECONDS} messages came in 10 s."
            raise EndOfStreamError(CloseCode.TOO_MANY_MESSAGES, what)
        self._received_at.append(now)
        try:
            return CLIENT_MESSAGE.validate_json(message.get("text") or message.get("bytes") or b"")
        except ValidationError as error:
            if error.error_count() > _DESCRIBED_ERRORS:
                what = f"{error.error_count()} fields are wrong or not known."
                raise EndOfStreamError(CloseCode.BAD_MESSAGE, what) from None
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise EndOfStreamError(CloseCode.BAD_MESSAGE, f"{where}: {first['msg']}".lstrip(": ")) from None

    def _begin(self, message: Subscribe | Resume | Unsubscribe | Ping) -> None:
        if not isinstance(message, Subscribe | Resume):
            what = f"The first message must be subscribe or resume, not {message.type}."
            raise EndOfStreamError(CloseCode.BAD_MESSAGE, what)
        if self._principal is None:
            self._principal = self._authenticate(message.api_key.get_secret_value() if message.api_key else None)
        if not self._context.feed.reader.caught_up:
            # Older alerts would be neither sent here nor returned by REST, so a reconnecting client would miss them.
            what = "This replica is still reading the topics. Reconnect in a moment."
            raise EndOfStreamError(CloseCode.NOT_READY, what)
        self._connected = self._hub.connect()
        if not self._connected:
            if self._hub.closing.is_set():
                raise EndOfStreamError(CloseCode.GOING_AWAY, _STOPS)
            raise EndOfStreamError(CloseCode.FULL, "This replica has all the streams it may have.")
        self._subscribe(message)

    def _handle(self, message: Subscribe | Resume | Unsubscribe | Ping) -> None:
        if isinstance(message, Ping):
            self._queue.put(Pong(sequence=self._hub.sequence).text())
        elif isinstance(message, Unsubscribe):
            if (ended := self._subscriptions.pop(message.id, None)) is not None:
                self._hub.remove(ended)
            self._queue.put(Unsubscribed(id=message.id, sequence=self._hub.sequence).text())
        else:
            self._subscribe(message)

    def _subscribe(self, message: Subscribe | Resume) -> None:
        if message.id not in self._subscriptions and len(self._subscriptions) >= MAX_SUBSCRIPTIONS:
            what = f"A connection has at most {MAX_SUBSCRIPTIONS} subscriptions."
            raise EndOfStreamError(CloseCode.BAD_MESSAGE, what)
        hub, queue, every = self._hub, self._queue, self._context.settings.heartbeat_seconds
        if (former := self._subscriptions.pop(message.id, None)) is not None:
            hub.remove(former)
        subscription = self._subscriptions[message.id] = Subscription(
            message.topics, message.effective_filter, queue, message.id
        )
        missed = hub.missed(message.epoch, message.sequence, subscription) if isinstance(message, Resume) else []
        if missed is None:
            answer = Unrecoverable(id=message.id, epoch=hub.epoch, sequence=hub.sequence, heartbeat_seconds=every)
            queue.put(answer.text())
        else:
            resumed = isinstance(message, Resume)
            since = message.sequence if isinstance(message, Resume) else hub.sequence
            queue.put(
                Subscribed(
                    id=message.id, epoch=hub.epoch, sequence=since, resumed=resumed, heartbeat_seconds=every
                ).text()
            )
            for missed_message in missed:
                queue.put(missed_message, message.id)
        hub.add(subscription)

    def _authenticate(self, key: str | None) -> Principal:
        client = self._websocket.client
        try:
            return self._context.authenticator.authenticate(key, Scope.READ, client.host if client else "")
        except UnavailableError as error:
            raise EndOfStreamError(CloseCode.NOT_READY, error.what) from None
        except ProblemError as error:
            codes = {"wrong-scope": CloseCode.WRONG_SCOPE, "too-many-requests": CloseCode.TOO_MANY_MESSAGES}
            what = f"{error.what} Send a key that may read as api_key in the subscribe message."
            raise EndOfStreamError(codes.get(error.kind, CloseCode.NO_KEY), what) from None

    async def _send_frames(self, frames: Sequence[bytes]) -> None:
        try:
            await self._write(b"".join(frames))
        except OSError:
            raise EndOfStreamError(None) from None

    async def _close_with(self, code: CloseCode, why: str) -> None:
        if code >= 4400:
            error = StreamError(sequence=self._hub.sequence, data=ErrorData(code=str(int(code)), detail=why))
            with contextlib.suppress(EndOfStreamError, TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._send_frames([framed(error.text().encode())])
        await _close(self._websocket, code, why)


async def _close(websocket: WebSocket, code: CloseCode, why: str) -> None:
    WS_CLOSED.labels(str(int(code))).inc()
    with contextlib.suppress(WebSocketDisconnect, RuntimeError, TimeoutError):
        async with asyncio.timeout(CLOSE_SECONDS):
            # A close frame carries at most 123 bytes of reason.
            await websocket.close(int(code), why.encode()[:120].decode(errors="ignore"))
