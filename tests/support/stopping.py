"""Processes stopped by SIGSTOP: they hang, as a machine that swaps or a lock that is never released makes them."""

import contextlib
import os
import signal
from collections.abc import Iterator

import psutil

from ebb_cli.local.supervisor import Supervisor
from tests.support.flow import wait_for


@contextlib.contextmanager
def stopped(supervisor: Supervisor, name: str) -> Iterator[None]:
    """Stop a part: its port accepts connections, and nothing answers. It goes on where the block ends."""
    pid = supervisor.pid(name)
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_for("the stop", lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
