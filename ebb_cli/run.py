"""`ebb worker`, `ebb learner`, `ebb api`: one part in the foreground, joined to the system that runs on this home."""

import os
from typing import NoReturn

from ebb.settings import read_settings
from ebb_cli.local import home
from ebb_cli.local.parts import environment, module


def _exec(name: str) -> NoReturn:
    """Replace this process by a module's, with the settings of the running system."""
    command = module(name)
    os.execve(command[0], command, environment(home.attach(read_settings())))  # noqa: S606 - our own module


def worker() -> None:
    """Run one more stream worker here; it is assigned a share of the partitions until it is stopped."""
    _exec("stream_processors")


def learner() -> None:
    """Run the learner here. Only one is active at a time; a second one waits until the first stops."""
    _exec("online_ml")


def api() -> None:
    """Run the API here, on EBB_API_HOST and EBB_API_PORT."""
    _exec("serving")
