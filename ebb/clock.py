"""Event time: wall time, or wall time compressed so that a day passes in `day_seconds`."""

import time
from dataclasses import dataclass
from datetime import date, timedelta

DAY = 86_400
"""Seconds of event time in a day."""
_EPOCH = date(1970, 1, 1)


def date_of(day: int) -> date:
    """Return a day number as a date (UTC)."""
    return _EPOCH + timedelta(days=day)


@dataclass(frozen=True)
class Clock:
    """A map from wall time to event time, both Unix seconds.

    Parameters
    ----------
    origin_wall, origin_event
        A moment on both scales.
    speed
        Seconds of event time that pass in one real second.
    """

    origin_wall: float = 0.0
    origin_event: float = 0.0
    speed: float = 1.0

    def now(self) -> float:
        """Return the current event time."""
        return self.at(time.time())

    def at(self, wall: float) -> float:
        """Return the event time at a wall time."""
        return self.origin_event + (wall - self.origin_wall) * self.speed

    def wall(self, event: float) -> float:
        """Return the wall time at which event time reaches `event`."""
        return self.origin_wall + (event - self.origin_event) / self.speed


def day_of(event_time: float) -> int:
    """Return the UTC day number (days since 1970-01-01) that holds an event time."""
    return int(event_time // DAY)
