"""Scores that are due: customers of several partitions described, scored, and what is told of them published."""

from collections.abc import Iterable, Iterator
from typing import Literal

import orjson

from ebb.kafka import Publisher
from ebb.metrics import ALERTS, SCORES
from ebb.settings import Settings
from stream_processors.arms import Champions
from stream_processors.features import describe_all
from stream_processors.partition import SLICE_ROWS, PartitionWorker
from stream_processors.sink import Sink, alert_columns
from stream_processors.state import Rows
from stream_processors.telling import Due, Teller, Told


class Scoring:
    """Scores customers of all of a worker's partitions.

    Parameters
    ----------
    settings
        Of the features and of what is worth telling.
    publisher
        Where scores and alerts go.
    sink
        Where rows for ClickHouse go.
    champions
        The models in use.
    """

    def __init__(self, settings: Settings, *, publisher: Publisher, sink: Sink, champions: Champions) -> None:
        self._topics = settings.topics
        self._minor_units = settings.minor_units
        self._publisher = publisher
        self._sink = sink
        self._teller = Teller(settings, champions)

    def score(self, asked: Iterable[tuple[PartitionWorker, Rows]], *, cause: Literal["event", "sweep"]) -> None:
        """Score customers and publish what is to be told.

        Who has acted is told their score at once, moved or not, so that it is seen to be of now; while records wait,
        and in a sweep, only if it moved.

        Parameters
        ----------
        asked
            Each partition once, with rows that are distinct and ascending.
        """
        for part in _slices(asked):
            due = [
                Due(worker.engine.state, rows, worker.now(), worker.board, cause == "event" and not worker.behind)
                for worker, rows in part
            ]
            told, columns = self._teller.tell(due, describe_all(due, minor_units=self._minor_units))
            for (worker, _), one in zip(part, told, strict=True):
                self._publish(worker, one)
            if columns:
                self._sink.add("scores", columns)
                SCORES.labels(cause).inc(len(columns["customer_id"]))

    def _publish(self, worker: PartitionWorker, told: Told) -> None:
        if not told.bodies:
            return
        worker.engine.touch(told.rows)
        scores = zip(told.customer_ids, told.bodies, strict=True)
        self._publisher.send_all(self._topics.scores, scores, partition=worker.partition)
        if told.alerts:
            alerts = [(alert["customer_id"], orjson.dumps(alert)) for alert in told.alerts]
            self._publisher.send_all(self._topics.alerts, alerts, partition=worker.partition)
            self._sink.add("alerts", alert_columns(told.alerts))
            for alert in told.alerts:
                ALERTS.labels(alert["band"]).inc()


def _slices(asked: Iterable[tuple[PartitionWorker, Rows]]) -> Iterator[list[tuple[PartitionWorker, Rows]]]:
    """Cut into slices of `SLICE_ROWS`, over the borders of partitions; leave out who was forgotten."""
    part: list[tuple[PartitionWorker, Rows]] = []
    room = SLICE_ROWS
    for worker, every in asked:
        rows = worker.engine.state.somebodys(every)
        while len(rows):
            part.append((worker, rows[:room]))
            rows, room = rows[room:], room - len(rows[:room])
            if not room:
                yield part
                part, room = [], SLICE_ROWS
    if part:
        yield part
