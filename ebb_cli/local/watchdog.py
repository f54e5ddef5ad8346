"""The watchdog: stops the parts when their supervisor dies abruptly (`kill -9`, out of memory).

A process of its own: `python -m ebb_cli.local.watchdog`. The supervisor writes `+<process group>` and `-<process
group>` lines to its standard input; when that pipe closes, every group still listed gets SIGTERM, then SIGKILL.
"""

import contextlib
import os
import signal
import sys
import time

GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL."""


def _signal(groups: set[int], number: signal.Signals) -> None:
    for group in list(groups):
        try:
            os.killpg(group, number)
        except ProcessLookupError:
            groups.discard(group)
        except PermissionError:
            groups.discard(group)


def main() -> None:
    """Read the supervisor's list until the pipe closes, then stop every process group on it."""
    # The supervisor handles a terminal's Ctrl-C and a service manager's SIGTERM.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        with contextlib.suppress(ValueError):
            if line.startswith("+"):
                groups.add(int(line[1:]))
            elif line.startswith("-"):
                groups.discard(int(line[1:]))
    _signal(groups, signal.SIGTERM)
    deadline = time.monotonic() + GRACE
    while groups and time.monotonic() < deadline:
        time.sleep(0.05)
        for group in list(groups):
            with contextlib.suppress(PermissionError):
                try:
                    os.killpg(group, 0)
                except ProcessLookupError:
                    groups.discard(group)
    _signal(groups, signal.SIGKILL)


if __name__ == "__main__":
    main()
