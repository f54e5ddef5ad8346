"""What waits to be sent to one client: bounded, in order, the latest score of a customer winning when it is full."""

import asyncio
from collections import deque

from serving.streaming.message import UNNAMED, StreamMessage

CAPACITY = 2_000
"""Messages that wait at most; their bodies are shared by all clients that they wait for."""

Waiting = tuple[StreamMessage, tuple[str, ...]]
"""A message, and the names of the client's subscriptions that it is of."""


class SendQueue:
    """A bounded queue that never makes its writer wait.

    When it is full, older scores give way to newer ones of the same customer. Alerts are never dropped: if that leaves
    too little room, the client is too slow; `overflown` is set and the outbox takes nothing more.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._waiting: deque[Waiting | str] = deque()
        self._filled = asyncio.Event()
        self.overflown = asyncio.Event()
        self.coalesced = 0
        """Scores that gave way to newer ones."""

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, one: StreamMessage | str, name: str = "") -> None:
        """Queue a message, or the text of a control message; they are sent in the order they were put.

        A message that is put for several subscriptions, one right after the other, is sent once and names them all.
        """
        if self.overflown.is_set():
            return
        waiting = self._waiting
        if isinstance(one, StreamMessage) and waiting:
            last = waiting[-1]
            if last[0] is one:
                waiting[-1] = (one, (*last[1], name))
                return
        if len(waiting) >= self._capacity:
            self._coalesce()
            # A quarter must come free, or each further message would pay for going through all of them.
            if len(self._waiting) > self._capacity * 3 // 4:
                self._waiting.clear()
                self.overflown.set()
                return
        self._waiting.append(one if isinstance(one, str) else (one, (name,) if name else UNNAMED))
        self._filled.set()

    def take(self) -> Waiting | str | None:
        """Return the next message, or None if there is none."""
        return self._waiting.popleft() if self._waiting else None

    async def filled(self) -> None:
        """Wait until there is something to send."""
        if not self._waiting:
            self._filled.clear()
            await self._filled.wait()

    async def wait(self, seconds: float) -> bool:
        """Wait until there is something to send; False if the time passed first."""
        try:
            async with asyncio.timeout(seconds):
                await self.filled()
        except TimeoutError:
            return False
        return True

    def _coalesce(self) -> None:
        # By subscription too: one that was told of the older score alone must not lose it to another's.
        latest = {
            (one[0].customer_id, one[1]): one
            for one in self._waiting
            if not isinstance(one, str) and one[0].topic == "scores"
        }
        kept = [
            one
            for one in self._waiting
            if isinstance(one, str) or one[0].topic == "alerts" or latest[one[0].customer_id, one[1]] is one
        ]
        self.coalesced += len(self._waiting) - len(kept)
        self._waiting = deque(kept)
