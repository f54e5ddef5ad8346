"""Scores and alerts last published about each customer of a partition."""

from stream_processors.state.table import DAY_MS, NEVER, SERVED, Table
from stream_processors.types import Float32Array, RowIndices

TREND_DAYS = 7
HISTORY = 8
"""Boundaries whose score is kept, so that the one seven days ago is at hand."""


class ScoreHistory:
    """Columns of a partition beside those of its state: they depend on models and sweeps, and are no part of it."""

    def __init__(self) -> None:
        self.table = Table(SERVED)
        self.remembered = 0
        """Last boundary whose scores are in `history`."""

    def erase(self, row: int) -> None:
        """Erase what was published about the customer of a row."""
        if row < self.table.rows:
            self.table.clear(row)

    def remember(self, boundary: int) -> None:
        """Keep the current scores as those of a boundary, for the trend."""
        first = max(self.remembered + 1, boundary - HISTORY + 1)
        for day in range(first, boundary + 1):
            self.table["history"][:, day % HISTORY] = self.table["churn"]
        self.remembered = max(self.remembered, boundary)

    def week_ago(self, rows: RowIndices, now: int) -> Float32Array:
        """Return the scores of seven days before `now` (event time, ms); NaN where there is none."""
        day = min(now // DAY_MS, self.remembered + 1) - TREND_DAYS
        scores: Float32Array = self.table["history"][rows, day % HISTORY]
        return scores

    def last_alert(self, row: int) -> tuple[int, int] | None:
        """Return when (event time, ms) and for which level of band the last alert about a customer was raised."""
        at = int(self.table["alerted_at"][row])
        return None if at == NEVER else (at, int(self.table["alerted_band"][row]))

    def record_alert(self, row: int, level: int, now: int) -> None:
        """Record that an alert was raised."""
        self.table["alerted_at"][row], self.table["alerted_band"][row] = now, level
