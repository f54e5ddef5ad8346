"""`ebb worker`, `ebb learner`, `ebb api`: one part in the foreground, joined to what runs on this home, if anything."""

import os
from typing import NoReturn

from ebb.errors import SettingsError
from ebb.settings import read_settings, settings
from ebb_cli.local import home as run_file
from ebb_cli.local.parts import environment, module
from producers.simulator import app


def _become(name: str) -> NoReturn:
    command = module(name)
    os.execve(command[0], command, environment(run_file.attach(read_settings())))  # noqa: S606 - our own module


def worker() -> None:
    """Run one more stream worker, here; it takes its share of the partitions until it is stopped."""
    _become("stream_processors")


def learner() -> None:
    """Run the learner, here. Only one learns at a time; a second one waits for the first to leave."""
    _become("online_ml")


def api() -> None:
    """Run the API, here, on EBB_API_HOST and EBB_API_PORT."""
    _become("serving")


def simulate(
    customers: app.Customers = None,
    rate: app.Rate = None,
    seed: app.Seed = None,
    history_days: app.History = None,
    shift: app.ShiftTexts = None,
) -> None:
    """Send the activity of simulated customers until Ctrl-C.

    The first start sends a history at once; then every event comes at its time. Stopped and started again it goes on
    with the same customers. What it knows of them beyond their activity stands in EBB_HOME/truth; `python -m
    producers.simulator.oracle` says how good a score could be at best.

    Raises
    ------
    SettingsError
        If the options contradict the world that this home holds.
    """
    asked = read_settings()
    joined = run_file.attach(asked)
    if joined.day_seconds < 86_400 and not joined.clock_origin_wall:
        what = "Days are compressed (EBB_DAY_SECONDS), but nothing says when event time began."
        raise SettingsError(what, "Start `ebb up`, or set EBB_CLOCK_ORIGIN_WALL and EBB_CLOCK_ORIGIN_EVENT.")
    os.environ.update(joined.environment())
    settings.cache_clear()
    app.command(customers, rate, seed, history_days, shift)
