"""One supervised process: its log, its process group and how it ends."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ebb_cli.local.parts import ManagedProcess

LOG_LIMIT = 32 * 1024 * 1024
"""Bytes above which a log is rotated when its part starts; one older file is kept."""


ASK_SECONDS = 5.0
"""Time between two questions for a sign of life; shorter where a part may hang for less than six of them."""


class _SignOfLife:
    """Asks a part whether it lives, in threads, so that the answer of one that hangs is waited for by nobody.

    Time counts from the first question that failed: a supervisor that was suspended itself has asked nothing.
    """

    def __init__(self, alive: Callable[[], bool], pause: float) -> None:
        self._alive = alive
        self._pause = pause
        self._next_at = 0.0
        self._failing_since: float | None = None
        self._asking: threading.Thread | None = None

    def silent_seconds(self) -> float:
        """Ask again if it is time, and return for how long there has been no answer."""
        now = time.monotonic()
        if now >= self._next_at and (self._asking is None or not self._asking.is_alive()):
            self._next_at = now + self._pause
            self._asking = threading.Thread(target=self._ask, name="sign-of-life", daemon=True)
            self._asking.start()
        since = self._failing_since
        return 0.0 if since is None else now - since

    def _ask(self) -> None:
        if self._alive():
            self._failing_since = None
        elif self._failing_since is None:
            self._failing_since = time.monotonic()


class Process:
    """A part that has been started. It leads a session and process group of its own.

    So Ctrl-C in a terminal reaches the supervisor alone, which stops the parts in order, and all processes that a part
    starts can be killed with it.
    """

    def __init__(self, part: ManagedProcess, log: Path) -> None:
        self.part = part
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > LOG_LIMIT:
            log.replace(log.with_suffix(".log.1"))
        with log.open("ab") as output:
            self._log_start = output.tell()
            self._popen = subprocess.Popen(  # noqa: S603 - the commands are our own
                part.command,
                env=part.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid = self._popen.pid
        self.started = time.monotonic()
        pause = min(ASK_SECONDS, part.hang_seconds / 6)
        self._life = None if part.alive is None else _SignOfLife(part.alive, pause)

    def silent_seconds(self) -> float:
        """Return for how long it has given no sign of life; never waits."""
        return 0.0 if self._life is None else self._life.silent_seconds()

    @property
    def age(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self.started

    def code(self) -> int | None:
        """Return its exit code, or None while it runs."""
        return self._popen.poll()

    def ask_to_stop(self) -> None:
        """Send SIGTERM to the part itself, which stops the processes that it started."""
        if self.code() is None:
            self._popen.send_signal(signal.SIGTERM)

    def finish(self, grace: float) -> bool:
        """Wait for the end, then kill what is left of the group.

        Returns
        -------
        bool
            Whether the part ended by itself within `grace` seconds.
        """
        try:
            self._popen.wait(max(0.0, grace))
            ended = True
        except subprocess.TimeoutExpired:
            ended = False
        self.kill()
        return ended

    def kill(self) -> None:
        """Kill the whole group at once and reap the part."""
        # It may have ended already; macOS reports "not permitted" for a group of zombies.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()

    def last_lines(self, count: int = 8) -> list[str]:
        """Return the last lines that it has written to its log, without those of earlier runs."""
        with self.log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(self._log_start, size - 16_384))
            text = file.read().decode(errors="replace")
        return [line for line in text.splitlines() if line.strip()][-count:]


def ending(code: int) -> str:
    """Describe how a process ended: `exit code 1`, or `killed by SIGKILL`."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
