"""The messages to be sent to one client: bounded and in order; when full, only a customer's latest score is kept."""

import asyncio
from collections import deque
from collections.abc import Callable

from serving.streaming.message import UNNAMED, StreamMessage

CAPACITY = 2_000
"""Messages in a queue at most; their bodies are shared by the queues of all clients."""

QueuedMessage = tuple[StreamMessage, tuple[str, ...]]
"""A message, and the names of the client's subscriptions that it matches."""


class SendQueue:
    """A bounded queue whose writer never waits.

    When it is full, scores are dropped for newer ones of the same customer. Alerts are never dropped: if that leaves
    too little room, the client is too slow; `overflowed` is set and the queue accepts nothing more.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._waiting: deque[QueuedMessage | str] = deque()
        self._filled = asyncio.Event()
        self.overflowed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, message: StreamMessage | str, name: str = "") -> None:
        """Queue a message, or the text of a control message; they are sent in the order they were put.

        A message that is put for several subscriptions, one right after the other, is sent once and names them all.
        """
        if self.overflowed.is_set():
            return
        waiting = self._waiting
        if isinstance(message, StreamMessage) and waiting:
            last = waiting[-1]
            if last[0] is message:
                waiting[-1] = (message, (*last[1], name))
                return
        if len(waiting) >= self._capacity:
            self._coalesce()
            # A quarter must become free, or each further message would go through all of them again.
            if len(self._waiting) > self._capacity * 3 // 4:
                self._waiting.clear()
                self.overflowed.set()
                return
        self._waiting.append(message if isinstance(message, str) else (message, (name,) if name else UNNAMED))
        self._filled.set()

    def get(self) -> QueuedMessage | str | None:
        """Remove and return the next message, or None if there is none."""
        return self._waiting.popleft() if self._waiting else None

    def forget(self, condition: Callable[[StreamMessage], bool]) -> None:
        """Drop the waiting messages for which a condition holds."""
        self._waiting = deque(one for one in self._waiting if isinstance(one, str) or not condition(one[0]))

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
        # By subscription too: one that matched only the older score must not lose it to another's newer one.
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
        self._waiting = deque(kept)
