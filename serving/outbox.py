"""What waits to be sent to one client: bounded, in order, the latest score of a customer winning when it is full."""

import asyncio
from collections import deque

from serving.item import Item

CAPACITY = 2_000
"""Messages that wait at most; their bodies are shared by all clients that they wait for."""


class Outbox:
    """A bounded queue that never makes its writer wait.

    When it is full, older scores give way to newer ones of the same customer. Alerts are never dropped: if that leaves
    too little room, the client is too slow; `overflown` is set and the outbox takes nothing more.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._waiting: deque[Item | str] = deque()
        self._filled = asyncio.Event()
        self.overflown = asyncio.Event()
        self.coalesced = 0
        """Scores that gave way to newer ones."""

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, item: Item | str) -> None:
        """Queue a message, or the text of a control message; they are sent in the order they were put."""
        if self.overflown.is_set():
            return
        if len(self._waiting) >= self._capacity:
            self._coalesce()
            # A quarter must come free, or each further message would pay for going through all of them.
            if len(self._waiting) > self._capacity * 3 // 4:
                self._waiting.clear()
                self.overflown.set()
                return
        self._waiting.append(item)
        self._filled.set()

    def take(self) -> Item | str | None:
        """Return the next message, or None if there is none."""
        return self._waiting.popleft() if self._waiting else None

    async def wait(self, seconds: float) -> bool:
        """Wait until there is something to send; False if the time passed first."""
        if self._waiting:
            return True
        self._filled.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._filled.wait()
        except TimeoutError:
            return False
        return True

    def _coalesce(self) -> None:
        latest = {one.customer_id: one for one in self._waiting if isinstance(one, Item) and one.topic == "scores"}
        kept = [
            one
            for one in self._waiting
            if isinstance(one, str) or one.topic == "alerts" or latest[one.customer_id] is one
        ]
        self.coalesced += len(self._waiting) - len(kept)
        self._waiting = deque(kept)
