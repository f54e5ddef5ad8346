"""`/v1/trends`: the bands by day, the accuracy expected while labels are pending, drift."""

from datetime import date, timedelta
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import Response

from ebb.contracts.models import SERVED
from ebb.contracts.scores import BANDS, Band
from serving.api.types import JSON, Answer
from serving.cached_queries import Rows
from serving.context import ContextDep, asks_clickhouse
from serving.http.auth import RequiresRead
from serving.http.routes import GuardedRoute

MOVED_PSI = 0.25
"""Above it a distribution counts as moved, as in the alert rules of `prometheus/`."""
ESTIMATES = 60
"""Snapshots listed."""
FRESH_SECONDS = 10.0
"""The bands over time read every score of the last days; their result moves in days."""


class BandTotals(Answer):
    """A band at the end of a day."""

    band: Band
    customers: int
    value_at_risk: float


class BandDay(Answer):
    """The bands at the end of a day of event time."""

    day: date
    bands: list[BandTotals] = Field(description="All four, low first.")


class Estimate(Answer):
    """ROC-AUC of a day's snapshot: expected from its probabilities, and realised once labels are known."""

    snapshot_day: date
    due_day: date = Field(description="When the labels are known.")
    estimated: float
    realised: float | None
    customers: int


class MovedFeature(Answer):
    """A feature whose values moved away from their reference."""

    name: str
    psi: float = Field(description="Population stability index against the reference.")


class DriftSummary(Answer):
    """How far inputs and scores are from their reference."""

    score_psi: float | None
    features: int = Field(description="Features watched.")
    moved: list[MovedFeature] = Field(description="Features with a PSI above 0.25, the largest first.")


class Trends(Answer):
    """What changes in days rather than seconds. A part that is not available now is null."""

    bands: list[BandDay] | None
    estimated: list[Estimate] | None
    drift: DriftSummary | None
    countries: list[str] = Field(description="Countries of the customers held, to filter by.")


router = APIRouter(prefix="/v1", dependencies=[RequiresRead], route_class=GuardedRoute)


@router.get(
    "/trends",
    response_model=Trends,
    tags=["overview"],
    summary="What moves in days",
    description="Customers and value at risk by band at the end of each of the last days; the ROC-AUC that calibrated "
    "scores promise while their labels are pending, beside the realised one; drift. At most ten seconds old.",
)
@asks_clickhouse
def trends(
    context: ContextDep, days: Annotated[int, Query(ge=1, le=365, description="Days of event time.")] = 30
) -> Response:
    """Return what changes in days."""
    query = context.queries.rows_or_none
    body = {
        "bands": _bands(query("bands_over_time", fresh_seconds=FRESH_SECONDS, days=days)),
        "estimated": _estimated(
            query("expected_and_realised", target="churn", candidate=SERVED, metric="roc_auc", limit=ESTIMATES)
        ),
        "drift": _drift(query("drift_latest", kind="feature"), query("drift_latest", kind="score")),
        "countries": context.feed.scores.countries(),
    }
    return Response(orjson.dumps(body), media_type=JSON, headers={"Cache-Control": "no-store"})


def _bands(rows: Rows | None) -> list[dict[str, Any]] | None:
    if rows is None:
        return None
    if not rows:
        return []
    total = {band.value: [0, 0.0] for band in BANDS}
    changes: dict[date, Rows] = {}
    for row in rows:
        changes.setdefault(row["day"], []).append(row)
    days = []
    day, last = min(changes), max(changes)
    while day <= last:  # a day without scores ended as the day before
        for row in changes.get(day, []):
            total[row["band"]][0] += int(row["customers"])
            total[row["band"]][1] += row["value_at_risk"]
        ends = [
            # Adding and subtracting floats leaves rounding errors, also below 0.
            {"band": band, "customers": customers, "value_at_risk": max(0.0, round(value, 2))}
            for band, (customers, value) in total.items()
        ]
        days.append({"day": day, "bands": ends})
        day += timedelta(days=1)
    return days


def _estimated(rows: Rows | None) -> list[dict[str, Any]] | None:
    if rows is None:
        return None
    named = ("snapshot_day", "due_day", "realised", "customers")
    return [{**{name: row[name] for name in named}, "estimated": row["expected"]} for row in reversed(rows)]


def _drift(features: Rows | None, scores: Rows | None) -> dict[str, Any] | None:
    if features is None or scores is None:
        return None
    moved = [{"name": row["name"], "psi": row["latest"]} for row in features if row["latest"] > MOVED_PSI]
    score = next((row["latest"] for row in scores if row["target"] == "churn"), None)
    return {"score_psi": score, "features": len(features), "moved": moved}
