"""`/v1/summary`, `/v1/models`, `/v1/alerts`: the whole at a glance."""

from typing import Annotated

import orjson
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from ebb.messages import Band
from serving.context import Here
from serving.registry import model_view
from serving.routes_customers import JSON, PageSize, PageToken
from serving.schemas import Alerts, Models, Summary
from serving.security import Keyed
from serving.summary import SummaryMaker
from serving.tokens import page_token, read_token

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


@router.get(
    "/alerts",
    response_model=Alerts,
    tags=["alerts"],
    summary="Recent alerts",
    description="The newest alerts, newest first; a thousand are held. New ones come over `/v1/stream`.",
)
async def alerts(
    here: Here,
    band: Annotated[list[Band] | None, Query(description="Bands to list; give it again for more.")] = None,
    customer_id: Annotated[str | None, Query(max_length=256)] = None,
    page_size: PageSize = 50,
    page_token_: Annotated[PageToken, Query(alias="page_token")] = None,
) -> Response:
    """Return the newest alerts."""
    bands = tuple(sorted(set(band or ())))
    query = ["alerts", bands, customer_id]
    after = read_token(query, page_token_)
    bodies, following = here.feed.alerts.newest(page_size, bands=bands, customer_id=customer_id, after=after)
    token = orjson.dumps(page_token(query, following))
    return Response(b'{"alerts":[%b],"next_page_token":%b}' % (b",".join(bodies), token), media_type=JSON)
