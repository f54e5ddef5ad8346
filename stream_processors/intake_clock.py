"""The event time of the whole intake, at which quiet partitions stand: it goes on with the clock while events come.

An event anywhere sets it, never back. Between events it passes as the clock does, until nothing at all has come for so
long that the source must have stopped: then it is held, since silence of everyone is no churn of everyone. When events
come again it goes on from where it was held, with them; so the backlog of an outage is not late.
"""

import math
from dataclasses import dataclass


@dataclass
class IntakeClock:
    """Event time by the events that have come.

    Parameters
    ----------
    speed
        Seconds of event time that pass in a real second.
    hold_after
        Real seconds without any event after which time is held; 0: never.
    """

    speed: float
    hold_after: float
    time: int | None = None
    """Event time (ms) at `at`; None before the first event."""
    at: float = 0.0
    """Wall time, Unix seconds."""
    event_at: float = -math.inf
    """When the last event came, Unix seconds; minus infinity before the first."""

    def observe(self, event_time: int, appended: float, *, has_event: bool = True) -> None:
        """Take notice of a time that a partition has reached.

        Parameters
        ----------
        event_time
            The partition's time, ms.
        appended
            When the record that moved it there was appended, Unix seconds.
        has_event
            Whether an event came with it; otherwise ticks alone did.
        """
        now = self.now(appended)
        if has_event:
            self.event_at = max(self.event_at, appended)
        if now is None or event_time > now:
            self.time, self.at = event_time, appended
        elif appended > self.at:
            self.time, self.at = now, appended

    def now(self, wall: float) -> int | None:
        """Return the event time at a wall time, ms, never less than before; None before the first event."""
        if self.time is None:
            return None
        until = min(wall, self.event_at + self.hold_after) if self.hold_after else wall
        return self.time + int(max(until - self.at, 0.0) * self.speed * 1000)

    def silent_seconds(self, wall: float) -> float:
        """Return the real seconds since the last event; 0 before the first."""
        return max(wall - self.event_at, 0.0) if math.isfinite(self.event_at) else 0.0

    def is_held(self, wall: float) -> bool:
        """Return whether nothing has come for so long that time does not go on."""
        return bool(self.hold_after) and self.silent_seconds(wall) > self.hold_after
