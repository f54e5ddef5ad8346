"""`ebb simulate`: simulated customers in the foreground, joined to what runs on this home, if anything."""

import os

from ebb.errors import SettingsError
from ebb.runtime import run_file
from ebb.settings import read_settings, settings
from producers import simulator


def simulate(
    customers: simulator.Customers = None,
    rate: simulator.Rate = None,
    seed: simulator.Seed = None,
    history_days: simulator.History = None,
    shift: simulator.ShiftTexts = None,
) -> None:
    """Send the activity of simulated customers until Ctrl-C.

    The first start sends a history at once; then every event comes at its time. Stopped and started again it goes on
    with the same customers. What it knows of them beyond their activity stands in EBB_HOME/truth; `python -m
    producers.oracle` says how good a score could be at best.

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
    simulator.command(customers, rate, seed, history_days, shift)
