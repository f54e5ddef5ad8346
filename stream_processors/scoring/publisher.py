"""Publish scores and alerts of a worker's customers, and keep them as rows for ClickHouse."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Literal

import orjson

from ebb.kafka.producer import Publisher
from ebb.metrics import ALERTS, SCORES
from ebb.settings import Settings
from stream_processors.scoring.split import ServingModels
from stream_processors.scoring.updates import ScoreUpdater, ScoreUpdates, ScoringRequest
from stream_processors.sink import Sink, alert_columns
from stream_processors.state.features import describe_all

SLICE_ROWS = 2_048
"""Customers scored at once: some 5 ms, 20 if all of them are published, so that no event waits long for a sweep."""


class ScorePublisher:
    """Scores customers of all of a worker's partitions and publishes what changed.

    Parameters
    ----------
    settings
        Of the features, and of what is worth publishing.
    publisher
        Receives scores and alerts.
    sink
        Receives rows for ClickHouse.
    models
        The models in use.
    """

    def __init__(self, settings: Settings, *, publisher: Publisher, sink: Sink, models: ServingModels) -> None:
        self._topics = settings.topics
        self._minor_units = settings.minor_units
        self._publisher = publisher
        self._sink = sink
        self._updater = ScoreUpdater(settings, models)

    def publish(self, requests: Iterable[ScoringRequest], *, cause: Literal["event", "sweep"]) -> None:
        """Score customers and publish the scores that moved, or all of them where a request says so.

        Parameters
        ----------
        requests
            Each partition once, with rows that are distinct and ascending.
        cause
            Label of the metric.
        """
        for part in _slices(requests):
            updates, columns = self._updater.updates(part, describe_all(part, minor_units=self._minor_units))
            for request, update in zip(part, updates, strict=True):
                self._send(request, update)
            if columns:
                self._sink.add("scores", columns)
                SCORES.labels(cause).inc(len(columns["customer_id"]))

    def _send(self, request: ScoringRequest, update: ScoreUpdates) -> None:
        if not update.bodies:
            return
        request.changed(update.rows)
        scores = zip(update.customer_ids, update.bodies, strict=True)
        self._publisher.send_all(self._topics.scores, scores, partition=request.partition)
        if update.alerts:
            alerts = [(alert["customer_id"], orjson.dumps(alert)) for alert in update.alerts]
            self._publisher.send_all(self._topics.alerts, alerts, partition=request.partition)
            self._sink.add("alerts", alert_columns(update.alerts))
            for alert in update.alerts:
                ALERTS.labels(alert["band"]).inc()


def _slices(requests: Iterable[ScoringRequest]) -> Iterator[list[ScoringRequest]]:
    """Cut into slices of `SLICE_ROWS` across partitions; rows of erased customers are left out."""
    part: list[ScoringRequest] = []
    left = SLICE_ROWS
    for request in requests:
        rows = request.state.live_rows(request.rows)
        while len(rows):
            part.append(replace(request, rows=rows[:left]))
            rows, left = rows[left:], left - len(rows[:left])
            if not left:
                yield part
                part, left = [], SLICE_ROWS
    if part:
        yield part
