"""`/v1/summary`: everything at a glance, computed at most once a second."""

import time
from datetime import date, datetime
from typing import Any, Literal

import numpy as np
import orjson
from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from ebb.clock import DAY
from ebb.contracts.models import BASELINES, SERVED
from ebb.contracts.scores import BANDS, Band, Score, utc
from serving.api.models import Model
from serving.api.types import JSON, Answer
from serving.background.pipeline_monitor import PartitionLag, PipelineStatus
from serving.cached_queries import Rows
from serving.context import Context, ContextDep, asks_clickhouse
from serving.http.auth import RequiresRead
from serving.http.etags import NOT_MODIFIED, answer
from serving.http.routes import GuardedRoute
from serving.projections.models import model_view
from serving.projections.ranking import movers
from serving.projections.scores import NO_BAND, ScoreView

BINS = 20
MOVERS = 6
ACCURACY_DAYS = 60
_FRESH_SECONDS = 1.0


class BandCount(Answer):
    """Customers of a band."""

    band: Band
    customers: int
    value_at_risk: float
    from_churn: float = Field(description="Churn probability at which the band begins.")


class Histogram(Answer):
    """Customers by churn probability, in 20 equal bins."""

    edges: list[float]
    counts: list[int]


class Movers(Answer):
    """Customers whose risk moved most over 7 days of event time."""

    up: list[Score]
    down: list[Score]


class AccuracyPoint(Answer):
    """Realised accuracy on the labels that matured on a day."""

    day: date
    value: float
    labels: int


class AccuracyLine(Answer):
    """Realised accuracy of one candidate over label dates."""

    candidate: str
    role: Literal["champion", "challenger", "baseline", "served"]
    latest: float | None
    points: list[AccuracyPoint]


class Accuracy(Answer):
    """Realised accuracy by the day on which labels matured: what was predicted against what happened."""

    metric: Literal["roc_auc"]
    lines: list[AccuracyLine]


class CalibrationBin(Answer):
    """Predictions of a range against outcomes."""

    predicted: float
    observed: float
    labels: int


class LabelCounts(Answer):
    """Labels of the churn target."""

    matured: int | None
    pending: int | None = Field(description="Snapshots whose outcome is not known yet.")
    horizon_days: int
    first_due_seconds: float | None = Field(
        description="Real seconds until the first labels mature; null if some have, or if there are no events yet."
    )


class PartitionHealth(Answer):
    """How far the workers are behind in one partition of the activity topic."""

    partition: int
    lag_events: int
    lag_seconds: float


class PipelineHealth(Answer):
    """The flow from activity to scores."""

    lag_events: int
    lag_seconds: float
    partitions: list[PartitionHealth]
    events_per_second: float = Field(description="Events arriving.")
    processed_per_second: float = Field(description="Events whose effect was made durable.")
    last_event_at: datetime | None = Field(description="When the last event from anybody was received.")
    time_held: bool = Field(description="No event has come for so long that event time is held: nobody's risk moves.")


class DeadLetters(Answer):
    """Records that could not be accepted."""

    total: int | None
    by_reason: dict[str, int] | None


class Summary(Answer):
    """Everything at a glance. A part that is not available now is null and named in `unavailable`."""

    event_time: datetime = Field(description="The clock of event time, now.")
    day_seconds: float = Field(description="Real seconds that a day of event time takes.")
    as_of: datetime | None = Field(description="Latest event time that a score describes.")
    scored_at: datetime | None = Field(description="Wall time of the latest score.")
    staleness_seconds: float | None = Field(description="Real seconds since the latest score.")
    customers: int
    value_at_risk: float
    bands: list[BandCount]
    histogram: Histogram
    movers: Movers
    model: Model | None = Field(description="Champion of the churn target; null before the first.")
    accuracy: Accuracy | None
    calibration: list[CalibrationBin] | None
    labels: LabelCounts
    pipeline: PipelineHealth | None
    dead_letters: DeadLetters
    streams: int = Field(description="Clients connected to the streams of this replica.")
    unavailable: list[str]


router = APIRouter(prefix="/v1", dependencies=[RequiresRead], route_class=GuardedRoute)


@router.get(
    "/summary",
    response_model=Summary,
    tags=["overview"],
    summary="Everything at a glance",
    description="Customers by band and by risk, movers, realised accuracy, labels, lag. At most a second old. Parts "
    "that are not available now are null and named in `unavailable`; the rest still answers.",
    responses=NOT_MODIFIED,
)
@asks_clickhouse
def summary(request: Request, context: ContextDep) -> Response:  # noqa: ARG001 - by it the threads are chosen
    """Return the summary."""
    cached: CachedSummary = request.app.state.summary
    return answer(request, cached.body(), media_type=JSON)


class CachedSummary:
    """The summary, computed at most once a second for all clients. Call it in `CachedQueries.run`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._cached: tuple[float, int, bytes] = (-_FRESH_SECONDS, 0, b"")

    def body(self) -> bytes:
        """Return the summary as JSON."""
        computed_at, version, body = self._cached
        # Whom it must leave out is asked before it is computed: one erased meanwhile makes it be computed again.
        erased = self._context.feed.erased_version
        if time.monotonic() - computed_at >= _FRESH_SECONDS or version != erased:
            body = orjson.dumps(self._compute())
            self._cached = (time.monotonic(), erased, body)
        return body

    def _compute(self) -> dict[str, Any]:
        context = self._context
        scores, pipeline = context.feed.scores, context.pipeline_monitor.pipeline
        champion = context.feed.models.champion("churn")
        accuracy = _accuracy(
            context.queries.rows_or_none("accuracy_by_label_date", target="churn", days=ACCURACY_DAYS),
            champion.candidate if champion else None,
        )
        totals = context.queries.rows_or_none("labels_by_day", target="churn")
        reliability = context.queries.rows_or_none("reliability", target="churn", candidate=SERVED, days=30)
        dead_letters = context.queries.rows_or_none("dead_letters_by_reason")
        parts = {"accuracy": accuracy, "calibration": reliability, "labels": totals, "dead_letters": dead_letters}
        unavailable = sorted(name for name, part in parts.items() if part is None)
        return {
            "event_time": context.event_time(),
            "day_seconds": context.settings.day_seconds,
            "as_of": _time(scores.latest_as_of),
            "scored_at": _time(scores.latest_scored_at),
            "staleness_seconds": max(0.0, time.time() - scores.latest_scored_at) if scores.latest_scored_at else None,
            **_customers(scores, context.settings.band_thresholds),
            "movers": {
                "up": [orjson.Fragment(body) for body in movers(scores, "up", MOVERS)],
                "down": [orjson.Fragment(body) for body in movers(scores, "down", MOVERS)],
            },
            "model": model_view(champion) if champion else None,
            "accuracy": accuracy,
            "calibration": _calibration(reliability),
            "labels": self._labels(totals, pipeline),
            "pipeline": _health(pipeline),
            "dead_letters": {
                "total": pipeline.dead_letters if pipeline else None,
                "by_reason": _by_reason(dead_letters),
            },
            "streams": context.hub.streams,
            "unavailable": unavailable if pipeline else sorted([*unavailable, "pipeline"]),
        }

    def _labels(self, totals: Rows | None, pipeline: PipelineStatus | None) -> dict[str, Any]:
        settings, clock = self._context.settings, self._context.clock
        matured = None if totals is None else sum(int(row["matured"]) for row in totals)
        pending = None if totals is None else sum(int(row["pending"]) for row in totals)
        due = None
        if not matured and pipeline and pipeline.first_event is not None:
            days = settings.horizon_days + settings.label_delay_days
            first_snapshot = (pipeline.first_event // DAY + 1) * DAY
            due = max(0.0, clock.wall(first_snapshot + days * DAY) - time.time())
        return {
            "matured": matured,
            "pending": pending,
            "horizon_days": settings.horizon_days,
            "first_due_seconds": due,
        }


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else utc(seconds)


def _customers(scores: ScoreView, thresholds: tuple[float, float, float]) -> dict[str, Any]:
    rows, columns = scores.rows, scores.columns
    held = columns.band[:rows] != NO_BAND
    band, churn, value = columns.band[:rows][held], columns.churn[:rows][held], columns.value_at_risk[:rows][held]
    counts = np.bincount(band, minlength=len(BANDS))
    values = np.bincount(band, weights=value, minlength=len(BANDS))
    bins, edges = np.histogram(churn, bins=BINS, range=(0.0, 1.0))
    return {
        "customers": int(held.sum()),
        "value_at_risk": round(float(value.sum()), 2),
        "bands": [
            {
                "band": name.value,
                "customers": int(counts[code]),
                "value_at_risk": round(float(values[code]), 2),
                "from_churn": (0.0, *thresholds)[code],
            }
            for code, name in enumerate(BANDS)
        ],
        "histogram": {"edges": [round(float(edge), 2) for edge in edges], "counts": bins.tolist()},
    }


def _accuracy(rows: Rows | None, champion: str | None) -> dict[str, Any] | None:
    if rows is None:
        return None
    lines: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        point = {"day": row["matured_day"], "value": row["roc_auc"], "labels": int(row["labels"])}
        if point["value"] is not None and np.isfinite(point["value"]):
            lines.setdefault(row["candidate"], []).append(point)
    ordered = [
        {"candidate": name, "role": _role(name, champion), "latest": points[-1]["value"], "points": points}
        for name, points in lines.items()
    ]
    order = ["champion", "served", "challenger", "baseline"]
    ordered.sort(key=lambda line: (order.index(line["role"]), line["candidate"]))
    return {"metric": "roc_auc", "lines": ordered}


def _role(candidate: str, champion: str | None) -> str:
    if candidate == SERVED:
        return "served"
    if candidate in BASELINES:
        return "baseline"
    return "champion" if candidate == champion else "challenger"


def _calibration(rows: Rows | None) -> list[dict[str, Any]] | None:
    if rows is None:
        return None
    return [{"predicted": row["predicted"], "observed": row["observed"], "labels": int(row["labels"])} for row in rows]


def _by_reason(rows: Rows | None) -> dict[str, int] | None:
    if rows is None:
        return None
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["reason"]] = counts.get(row["reason"], 0) + int(row["records"])
    return counts


def _health(pipeline: PipelineStatus | None) -> dict[str, Any] | None:
    if pipeline is None:
        return None
    return {
        "lag_events": pipeline.lag_events,
        "lag_seconds": round(pipeline.lag_seconds, 1),
        "partitions": [_partition(lag) for lag in pipeline.lags],
        "events_per_second": round(pipeline.produced_per_second, 1),
        "processed_per_second": round(pipeline.processed_per_second, 1),
        "last_event_at": _time(pipeline.event_at),
        "time_held": pipeline.time_held,
    }


def _partition(lag: PartitionLag) -> dict[str, Any]:
    return {"partition": lag.partition, "lag_events": lag.events, "lag_seconds": round(lag.seconds, 1)}
