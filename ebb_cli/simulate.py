"""`ebb simulate`: the activity of simulated customers, sent to the system that runs on this home, if any."""

import os

from ebb.errors import SettingsError
from ebb.settings import read_settings, settings
from ebb_cli.local import home
from producers.simulator import app


def simulate(
    customers: app.Customers = None,
    rate: app.Rate = None,
    seed: app.Seed = None,
    history_days: app.History = None,
    shift: app.ShiftTexts = None,
) -> None:
    """Send the activity of simulated customers until Ctrl-C.

    The first start sends a history at once; then every event is sent at its time. After a restart it resumes
    with the same customers. What it knows of them beyond their activity is in EBB_HOME/truth; `python -m
    producers.simulator.oracle` prints how good a score could be at best.

    Raises
    ------
    SettingsError
        If the options contradict those with which this home was started.
    """
    joined = home.attach(read_settings())
    if joined.day_seconds < 86_400 and not joined.clock_origin_wall:
        what = "Days are compressed (EBB_DAY_SECONDS), but the origin of event time is not set."
        raise SettingsError(what, "Start `ebb up`, or set EBB_CLOCK_ORIGIN_WALL and EBB_CLOCK_ORIGIN_EVENT.")
    os.environ.update(joined.environment())
    settings.cache_clear()
    app.command(customers, rate, seed, history_days, shift)
