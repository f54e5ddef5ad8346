"""`ebb worker`, `ebb learner`, `ebb api`: one part in the foreground, joined to what runs on this home, if anything."""

import os
from typing import NoReturn

from ebb.settings import read_settings
from ebb_cli.local import home
from ebb_cli.local.parts import environment, module


def _become(name: str) -> NoReturn:
    command = module(name)
    os.execve(command[0], command, environment(home.attach(read_settings())))  # noqa: S606 - our own module


def worker() -> None:
    """Run one more stream worker, here; it takes its share of the partitions until it is stopped."""
    _become("stream_processors")


def learner() -> None:
    """Run the learner, here. Only one learns at a time; a second one waits for the first to leave."""
    _become("online_ml")


def api() -> None:
    """Run the API, here, on EBB_API_HOST and EBB_API_PORT."""
    _become("serving")
