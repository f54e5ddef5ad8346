"""`POST /v1/predict`: what the models in use predict for given features."""

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import orjson
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from ebb.contracts import derived_features
from ebb.contracts.features import FEATURES, INDEX, NAMES, WIDTH
from ebb.contracts.models import TARGETS, Target
from ebb.contracts.scores import BANDS, Band, ModelRef, Probability, Reason
from online_ml.scoring.cold_start import cold_start
from online_ml.scoring.inputs import design
from online_ml.scoring.reasons import explain
from serving.api.types import JSON, Answer
from serving.context import ContextDep
from serving.http.auth import RequiresRead
from serving.http.problems import ProblemError
from serving.http.routes import GuardedRoute

EXAMPLE_FEATURES: dict[str, Any] = {
    "recency_days": 12.0,
    "tenure_days": 210.0,
    "events_30d": 9,
    "active_days_total": 41,
    "active_hl14": 1.3,
    "purchases_total": 3,
    "spend_total": 187.5,
}
NEEDED = ("recency_days", "tenure_days")
"""Cannot be derived, and 0 would be wrong: a customer who is new and active this very moment."""
_NEVER_NEGATIVE = frozenset(feature.name for feature in FEATURES if feature.unit in {"days", "events"})


class WhatIf(BaseModel):
    """Features of a customer, as they are or as they might be."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"features": EXAMPLE_FEATURES}})

    features: dict[Annotated[str, Field(max_length=64)], Annotated[float, Field(ge=-1e12, le=1e12)]] = Field(
        description="By name, in the units of docs/features.md. `recency_days` and `tenure_days` are needed; what else "
        "is left out follows from the rest where it is defined by it, and is 0 otherwise."
    )
    target: Target = Field(default="churn", description="Target whose reasons are returned.")


class Predicted(Answer):
    """Predictions of the models in use."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "target": "churn",
                "churn": 0.61,
                "purchase": 0.09,
                "band": "high",
                "reasons": [
                    {
                        "feature": "recency",
                        "contribution": 1.4,
                        "text": "No activity for 12 days; usually every 5 days: associated with a higher risk",
                    }
                ],
                "models": {
                    "churn": {"name": "churn.logistic", "version": 12},
                    "purchase": {"name": "purchase.logistic", "version": 12},
                },
                "left_out": ["trend"],
            }
        }
    )

    target: Target
    churn: Probability = Field(description="Calibrated, as in a score.")
    purchase: Probability
    band: Band = Field(description="By the thresholds alone; a customer's own band falls with hysteresis.")
    reasons: list[Reason]
    models: dict[Target, ModelRef] = Field(description="The models that predicted; version 0 is the cold start.")
    left_out: list[str] = Field(description="Features that were not given.")


router = APIRouter(prefix="/v1", tags=["models"], dependencies=[RequiresRead], route_class=GuardedRoute)


@router.post(
    "/predict",
    response_model=Predicted,
    summary="What if",
    description="Features in, calibrated probabilities, band and reasons out, by the very models that score customers "
    "now. Nothing is stored. Names and units are those of docs/features.md.",
)
async def predict(query: WhatIf, context: ContextDep) -> Response:
    """Score features that are given."""
    features, left_out = vector(query.features)
    inputs = design(features)
    scorers = {target: context.feed.models.scorer(target) or cold_start(target, context.settings) for target in TARGETS}
    # In single precision and to six digits, as the workers publish it.
    churn, purchase = (np.float32(scorers[target].score(inputs)[0]) for target in TARGETS)
    band = BANDS[int(np.searchsorted(np.array(context.settings.band_thresholds), churn, side="right"))]
    answer = {
        "target": query.target,
        "churn": round(float(churn), 6),
        "purchase": round(float(purchase), 6),
        "band": band.value,
        "reasons": explain(scorers[query.target], features, inputs=inputs)[0],
        "models": {target: {"name": one.name, "version": one.version} for target, one in scorers.items()},
        "left_out": left_out,
    }
    return Response(orjson.dumps(answer), media_type=JSON)


def vector(given: Mapping[str, float]) -> tuple[npt.NDArray[np.float32], list[str]]:
    """Return features of shape (1, `features.WIDTH`), and the names of those that were not given.

    What is left out follows from the rest where the catalogue defines it by the rest; the mean gap is then that of
    even gaps between the active days. All else counts as 0.

    Raises
    ------
    ProblemError
        `invalid-request` if a feature is not known, is needed and missing, or is below 0 and cannot be.
    """
    errors = [_error(name, "there is no such feature") for name in given if name not in INDEX]
    errors += [_error(name, "is needed") for name in NEEDED if name not in given]
    errors += [_error(name, "cannot be below 0") for name in given if name in _NEVER_NEGATIVE and given[name] < 0]
    if errors:
        what = "; ".join(f"{one['where']}: {one['message']}" for one in errors)
        raise ProblemError(what, f"The features are {', '.join(NAMES)}.", kind="invalid-request", errors=errors)
    known = {**dict.fromkeys(NAMES, 0.0), **_derived(given), **given}
    row = np.zeros((1, WIDTH), np.float32)
    for name, value in known.items():
        row[0, INDEX[name]] = value
    return row, [name for name in NAMES if name not in given]


def _error(name: str, message: str) -> dict[str, str]:
    return {"where": f"body.features.{name}", "message": message}


def _derived(given: Mapping[str, float]) -> dict[str, float]:
    def of(name: str) -> float:
        return given.get(name, 0.0)

    recency, tenure, days = of("recency_days"), of("tenure_days"), of("active_days_total")
    gap = given.get("gap_mean_days", max(tenure - recency, 0.0) / (days - 1) if days >= 2 else tenure)
    return {
        "purchase_recency_days": tenure,
        "order_value": derived_features.order_value(of("spend_total"), of("purchases_total")),
        "gap_mean_days": gap,
        "recency_over_gap": derived_features.recency_over_gap(recency, gap),
        "trend": derived_features.trend(of("events_7d"), of("events_30d")),
        "view_to_cart": derived_features.view_to_cart(of("carts_30d"), of("views_30d")),
        "cart_to_purchase": derived_features.cart_to_purchase(of("purchases_30d"), of("carts_30d")),
    }
