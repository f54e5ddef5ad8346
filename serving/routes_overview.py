"""`/v1/summary`, `/v1/models`: the whole at a glance."""

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from serving.context import Here
from serving.registry import model_view
from serving.routes_customers import JSON
from serving.schemas import Models, Summary
from serving.security import Keyed
from serving.summary import SummaryMaker

router = APIRouter(prefix="/v1", dependencies=[Keyed])


@router.get(
    "/summary",
    response_model=Summary,
    tags=["overview"],
    summary="Everything at a glance",
    description="Customers by band and by risk, movers, realised accuracy, labels, lag. At most a second old. Parts "
    "that cannot be told now are null and named in `unavailable`; the rest still answers.",
)
def summary(request: Request) -> Response:
    """Return the summary."""
    maker: SummaryMaker = request.app.state.summary
    return Response(maker.body(), media_type=JSON, headers={"Cache-Control": "no-store"})


@router.get(
    "/models",
    response_model=Models,
    tags=["models"],
    summary="The models and how they do",
    description="The latest version of each model that learning has published, champions first. Metrics are by "
    "progressive validation: on predictions made before the label was known.",
)
async def models(here: Here) -> Response:
    """Return the models."""
    views = [model_view(snapshot) for snapshot in here.feed.registry.all()]
    return Response(orjson.dumps({"models": views}), media_type=JSON)
