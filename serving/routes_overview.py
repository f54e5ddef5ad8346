"""`/v1/summary`: the whole at a glance."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from serving.conditional import NOT_MODIFIED, answer
from serving.routes_customers import JSON
from serving.schemas import Summary
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
    responses=NOT_MODIFIED,
)
def summary(request: Request) -> Response:
    """Return the summary."""
    maker: SummaryMaker = request.app.state.summary
    return answer(request, maker.body(), media_type=JSON)
