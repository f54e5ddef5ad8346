"""Rate limiter (GCRA): one timestamp per client.

The theoretical arrival time (Turner 1986; ITU-T I.371) of a client moves on by `window / quota` with each unit taken,
and may be at most a window ahead of now. So a full quota may be spent at once and comes back evenly, with no edge
between two windows at which twice as much passes.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

_CLIENTS = 10_000
"""Clients held; beyond it those whose whole quota is back are dropped, and new ones share one quota meanwhile."""
_OTHERS = "others"
_PURGE_SECONDS = 1.0
"""Least time between two searches for clients to drop: under a flood of new ones each would go through all."""


@dataclass(frozen=True)
class Quota:
    """What is left of a client's quota after a request."""

    policy: str
    allowed: bool
    remaining: int
    reset: int
    """Seconds until the whole quota is back."""
    retry_after: int
    """Seconds to wait if the request was refused."""

    @property
    def header(self) -> str:
        """The value of the `RateLimit` header."""
        return f'"{self.policy}";r={self.remaining};t={self.reset}'


class RateLimiter:
    """A quota per client and window; each process counts its own requests.

    Parameters
    ----------
    quota
        Units within a window.
    window
        Seconds.
    """

    def __init__(self, policy: str, quota: int, window: int = 60, now: Callable[[], float] = time.monotonic) -> None:
        self.policy = policy
        self._quota = quota
        self._window = window
        self._interval = window / quota
        self._now = now
        self._arrivals: dict[str, float] = {}
        self._purged_at = -math.inf

    @property
    def header(self) -> str:
        """The value of the `RateLimit-Policy` header."""
        return f'"{self.policy}";q={self._quota};w={self._window}'

    def take(self, client: str, units: int = 1) -> Quota:
        """Take units from a client's quota, all or none; more than a whole quota counts as a whole one."""
        now = self._now()
        if len(self._arrivals) >= _CLIENTS and client not in self._arrivals:
            client = self._place(client, now)
        arrival = max(self._arrivals.get(client, now), now)
        after = arrival + min(units, self._quota) * self._interval
        excess = after - now - self._window
        # The tolerance is for rounding: a quota of 3 must not end at 2.
        allowed = excess <= 1e-9
        if allowed:
            self._arrivals[client] = arrival = after
        return Quota(
            policy=self.policy,
            allowed=allowed,
            remaining=max(0, math.floor((self._window - (arrival - now)) / self._interval + 1e-6)),
            reset=math.ceil(arrival - now),
            retry_after=0 if allowed else max(1, math.ceil(excess)),
        )

    def _place(self, client: str, now: float) -> str:
        """Return the name under which a new client counts while as many as may be are held."""
        if now - self._purged_at >= _PURGE_SECONDS:
            self._purged_at = now
            self._arrivals = {name: due for name, due in self._arrivals.items() if due > now}
        return client if len(self._arrivals) < _CLIENTS else _OTHERS
