"""One supervised process: its log, its process group and how it ends."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

from ebb_cli.local.parts import ManagedProcess

LOG_LIMIT = 32 * 1024 * 1024
"""Bytes above which a log is rotated when its part starts; one older file is kept."""


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
