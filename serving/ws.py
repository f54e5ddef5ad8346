"""`/v1/stream`: scores and alerts over a WebSocket, by subscription."""

import asyncio
import contextlib
import time
from collections import deque

from fastapi import APIRouter, WebSocket
from pydantic import ValidationError
from starlette.websockets import WebSocketDisconnect

from ebb.errors import UnavailableError
from ebb.keys import Scope
from ebb.metrics import WS_CLOSED, WS_SENT
from serving.close_codes import CloseCode
from serving.context import Context
from serving.hub import Subscription
from serving.item import Item
from serving.problems import ProblemError
from serving.protocol import (
    MESSAGES_PER_10_SECONDS,
    SAID,
    SUBSCRIBE_SECONDS,
    Heartbeat,
    Resume,
    StreamError,
    Subscribe,
    Subscribed,
    Unrecoverable,
)
from serving.security import ANYBODY, Grant

router = APIRouter()
CLOSE_SECONDS = 2.0
"""Time in which a close must get into the socket; a stalled client is cut off."""


class EndOfStreamError(Exception):
    """Ends a session; `code` is None if the client left."""

    def __init__(self, code: CloseCode | None, why: str = "") -> None:
        super().__init__(why)
        self.code = code
        self.why = why


@router.websocket("/v1/stream")
async def stream(websocket: WebSocket) -> None:
    """Serve one client. The connection is accepted before it is refused, or a browser would not see the code."""
    context: Context = websocket.app.state.context
    await websocket.accept()
    host, origin = websocket.headers.get("host"), websocket.headers.get("origin")
    if not context.door.serves_host(host) or not context.door.allows_origin(origin, host):
        await _close(websocket, CloseCode.ORIGIN, "Name the page's origin in EBB_ALLOWED_ORIGINS.")
    elif not context.hub.enter():
        await _close(websocket, CloseCode.FULL, "This replica has all the streams it may have.")
    else:
        try:
            await Session(websocket, context).run()
        finally:
            context.hub.leave()


class Session:
    """One client from its first message to the close."""

    def __init__(self, websocket: WebSocket, context: Context) -> None:
        self._websocket = websocket
        self._context = context
        self._hub = context.hub
        self._subscription: Subscription | None = None
        self._grant: Grant | None = None
        self._heard: deque[float] = deque(maxlen=MESSAGES_PER_10_SECONDS)

    async def run(self) -> None:
        """Serve until either side ends."""
        try:
            try:
                async with asyncio.timeout(SUBSCRIBE_SECONDS):
                    subscription = self._subscription = self._follow(await self._hear())
            except TimeoutError:
                what = f"No subscribe message came within {SUBSCRIBE_SECONDS:g} s."
                raise EndOfStreamError(CloseCode.NO_SUBSCRIBE, what) from None
            await self._serve(subscription)
        except EndOfStreamError as end:
            if end.code is not None:
                await self._bow_out(end.code, end.why)
        finally:
            if self._subscription is not None:
                self._hub.remove(self._subscription)

    async def _serve(self, subscription: Subscription) -> None:
        parts = [
            asyncio.ensure_future(self._listen()),
            asyncio.ensure_future(self._send(subscription)),
            asyncio.ensure_future(self._overflow(subscription)),
            asyncio.ensure_future(self._going_away()),
            asyncio.ensure_future(self._key_ended()),
        ]
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for part in parts:
                part.cancel()
            ended = await asyncio.gather(*parts, return_exceptions=True)
        for part, outcome in zip(parts, ended, strict=True):
            if part in done and isinstance(outcome, BaseException):
                raise outcome

    async def _listen(self) -> None:
        while True:
            self._follow(await self._hear())

    async def _send(self, subscription: Subscription) -> None:
        outbox, every = subscription.outbox, self._context.settings.heartbeat_seconds
        due = time.monotonic() + every
        while True:
            await outbox.wait(max(0.0, due - time.monotonic()))
            while (one := outbox.take()) is not None:
                await self._say(one.text if isinstance(one, Item) else one)
                WS_SENT.labels(one.type if isinstance(one, Item) else "control").inc()
            if time.monotonic() >= due:
                # The outbox is empty, so all up to the newest sequence has been sent or was not wanted.
                await self._say(self._heartbeat())
                WS_SENT.labels("heartbeat").inc()
                due = time.monotonic() + every

    async def _overflow(self, subscription: Subscription) -> None:
        await subscription.outbox.overflown.wait()
        raise EndOfStreamError(CloseCode.SLOW, "The client reads too slowly for its subscription.")

    async def _going_away(self) -> None:
        await self._hub.gone.wait()
        raise EndOfStreamError(CloseCode.GOING_AWAY, "The server stops; connect again.")

    async def _key_ended(self) -> None:
        await self._context.door.until_ended(self._grant or ANYBODY)
        raise EndOfStreamError(CloseCode.KEY_ENDED, "The API key was revoked or has expired.")

    def _heartbeat(self) -> str:
        data = {"event_time": self._context.event_time().isoformat()}
        return Heartbeat(sequence=self._hub.sequence, data=data).model_dump_json()

    async def _hear(self) -> Subscribe | Resume:
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise EndOfStreamError(None)
        now = time.monotonic()
        if len(self._heard) == MESSAGES_PER_10_SECONDS and now - self._heard[0] < 10:
            what = f"More than {MESSAGES_PER_10_SECONDS} messages came in 10 s."
            raise EndOfStreamError(CloseCode.TOO_MANY_MESSAGES, what)
        self._heard.append(now)
        try:
            return SAID.validate_json(message.get("text") or message.get("bytes") or b"")
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise EndOfStreamError(CloseCode.BAD_MESSAGE, f"{where}: {first['msg']}".lstrip(": ")) from None

    def _follow(self, said: Subscribe | Resume) -> Subscription:
        key = said.api_key.get_secret_value() if said.api_key else None
        if self._grant is None:
            self._grant = self._admit(key)
        hub = self._hub
        subscription = self._subscription or Subscription(said.topics, said.wanted)
        subscription.topics, subscription.wanted = said.topics, said.wanted
        missed = hub.missed(said.epoch, said.sequence, subscription) if isinstance(said, Resume) else []
        if missed is None:
            subscription.outbox.put(Unrecoverable(epoch=hub.epoch, sequence=hub.sequence).model_dump_json())
        else:
            since = said.sequence if isinstance(said, Resume) else hub.sequence
            answer = Subscribed(epoch=hub.epoch, sequence=since, resumed=isinstance(said, Resume))
            subscription.outbox.put(answer.model_dump_json())
            for item in missed:
                subscription.outbox.put(item)
        hub.add(subscription)
        return subscription

    def _admit(self, key: str | None) -> Grant:
        client = self._websocket.client
        try:
            return self._context.door.admit(key, Scope.READ, client.host if client else "")
        except UnavailableError as error:
            raise EndOfStreamError(CloseCode.NOT_READY, error.what) from None
        except ProblemError as error:
            codes = {"wrong-scope": CloseCode.WRONG_SCOPE, "too-many-requests": CloseCode.TOO_MANY_MESSAGES}
            what = f"{error.what} Send a key that may read as api_key in the subscribe message."
            raise EndOfStreamError(codes.get(error.kind, CloseCode.NO_KEY), what) from None

    async def _say(self, text: str) -> None:
        try:
            await self._websocket.send({"type": "websocket.send", "text": text})
        except (WebSocketDisconnect, RuntimeError):
            raise EndOfStreamError(None) from None

    async def _bow_out(self, code: CloseCode, why: str) -> None:
        if code >= 4400:
            error = StreamError(sequence=self._hub.sequence, data={"code": str(int(code)), "detail": why})
            with contextlib.suppress(EndOfStreamError, TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._say(error.model_dump_json())
        await _close(self._websocket, code, why)


async def _close(websocket: WebSocket, code: CloseCode, why: str) -> None:
    WS_CLOSED.labels(str(int(code))).inc()
    with contextlib.suppress(WebSocketDisconnect, RuntimeError, TimeoutError):
        async with asyncio.timeout(CLOSE_SECONDS):
            # A close frame carries at most 123 bytes of reason.
            await websocket.close(int(code), why.encode()[:120].decode(errors="ignore"))
