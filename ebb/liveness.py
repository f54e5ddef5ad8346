"""Sign of life of a process: that its main loop turns, and that the threads without which it is of no use work."""

import faulthandler
import time
from collections.abc import Callable

from ebb.log import get_logger

BEAT_SECONDS = 1.0
"""How often the main loop shows that it turns."""
LATE_SECONDS = 60.0
"""Without a turn for so long, a process counts as hung. A busy machine stalls for seconds, a deadlock for ever."""
END_SECONDS = 90.0
"""Without a turn for so long, it ends itself: not everything that runs it asks for a sign of life."""
START_SECONDS = 900.0
"""Time until the first turn: what a process needs may be away, or much to read."""
_log = get_logger(__name__)


class Liveness:
    """Whether a process lives, and its end if it does not.

    The end is a C thread's, so that it comes whatever hangs: it writes the stack of every thread to stderr and ends the
    process with status 1. What restarts it finds all that counts on the topics.

    Parameters
    ----------
    ends
        Whether to end the process; off, it is only told.
    """

    def __init__(self, *, ends: bool = False) -> None:
        self._ends = ends
        self._watched: dict[str, Callable[[], str | None]] = {}
        self._turned_at: float | None = None
        self._began_at = time.monotonic()
        self._troubled = False
        self._arm(START_SECONDS)

    def watch(self, name: str, trouble: Callable[[], str | None]) -> None:
        """Ask with every beat whether a thread is dead or hangs; `trouble` returns in what way, None if it works."""
        self._watched[name] = trouble

    def beat(self) -> None:
        """Show that the main loop turns; called in it every `BEAT_SECONDS`."""
        trouble = self._thread_trouble()
        if trouble is None:
            self._turned_at = time.monotonic()
            self._arm(END_SECONDS)
        elif not self._troubled:
            _log.error("this process no longer works and has to be started again", reason=trouble)
        self._troubled = trouble is not None

    def trouble(self) -> str | None:
        """Return why the process should be started again; None if it lives. May be asked in any thread."""
        if (trouble := self._thread_trouble()) is not None:
            return trouble
        since, patience = self._turned_at, LATE_SECONDS
        if since is None:
            since, patience = self._began_at, START_SECONDS
        silent = time.monotonic() - since
        return f"the main loop has not turned for {silent:.0f} s" if silent > patience else None

    def _thread_trouble(self) -> str | None:
        return next((f"{name} {why}" for name, ask in self._watched.items() if (why := ask()) is not None), None)

    def _arm(self, seconds: float) -> None:
        if self._ends:
            faulthandler.dump_traceback_later(seconds, exit=True)
