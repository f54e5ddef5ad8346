"""Pace a replay by its learner: which boundaries of a log may bring new models, so that the log waits for them.

A live system has all night to learn what a day's end brought. A replayed log has not: sent as fast as it goes, it is
days ahead of its learner. So the sender stops behind the tick that closes such a boundary until the learner has
published what it learned there, and then asks the workers, in the log itself, to use that from here on.
"""

from typing import Protocol

from ebb.settings import LabelSettings


class PaceGate(Protocol):
    """Where a replay waits for its learner."""

    def is_due(self, boundary: int, *, first: int, last: int) -> bool:
        """Return whether to wait behind the tick of a boundary; see `may_mature`."""
        ...

    def wait(self, boundary: int) -> bool:
        """Wait until the models of a boundary (day number) are published; False if stopped before."""
        ...


def may_mature(boundary: int, labels: LabelSettings, *, first: int, last: int) -> bool:
    """Return whether labels may mature at a boundary: only then does the learner learn and publish.

    Parameters
    ----------
    boundary
        Day number. The log is in order of time, and no event is late.
    first, last
        Day numbers of the first event and of the last one before the boundary. No snapshot is taken at the beginning
        of the first day, and none once everybody has been silent for the whole look-back.
    """
    snapshots = (boundary - days for days in (labels.horizon_days, labels.purchase_horizon_days))
    return any(
        taken > first and taken % labels.snapshot_every_days == 0 and taken - labels.lookback_days <= last
        for taken in snapshots
    )
