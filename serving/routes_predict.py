"""`POST /v1/predict`: what the models in use would say of features that are given."""

import numpy as np
import orjson
from fastapi import APIRouter
from starlette.responses import Response

from ebb.messages import BANDS
from ebb.models import TARGETS
from online_ml.reasons import explain
from online_ml.scoring import cold_start
from online_ml.transforms import design
from serving.context import Here
from serving.routes_customers import JSON
from serving.schemas_models import Predicted, WhatIf
from serving.security import Keyed
from serving.what_if import vector

router = APIRouter(prefix="/v1", tags=["models"], dependencies=[Keyed])


@router.post(
    "/predict",
    response_model=Predicted,
    summary="What if",
    description="Features in, calibrated probabilities, band and reasons out, by the very models that score customers "
    "now. Nothing is stored. Names and units are those of docs/features.md.",
)
async def predict(asked: WhatIf, here: Here) -> Response:
    """Score features that are given."""
    features, left_out = vector(asked.features)
    inputs = design(features)
    scorers = {target: here.feed.registry.scorer(target) or cold_start(target, here.settings) for target in TARGETS}
    # In single precision and by six digits, as the workers tell it.
    churn, purchase = (np.float32(scorers[target].score(inputs)[0]) for target in TARGETS)
    band = BANDS[int(np.searchsorted(np.array(here.settings.band_thresholds), churn, side="right"))]
    answer = {
        "target": asked.target,
        "churn": round(float(churn), 6),
        "purchase": round(float(purchase), 6),
        "band": band.value,
        "reasons": explain(scorers[asked.target], features, inputs=inputs)[0],
        "models": {target: {"name": one.name, "version": one.version} for target, one in scorers.items()},
        "left_out": left_out,
    }
    return Response(orjson.dumps(answer), media_type=JSON)
