"""`/v1/customers/at-risk.csv`, `/v1/alerts.csv`: the lists whole, for spreadsheets."""

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from serving.context import Here
from serving.export import IN_OPENAPI
from serving.routes_alerts import Chosen, alerts_csv
from serving.routes_customers import Filters, SortBy, at_risk_csv
from serving.security import Keyed

router = APIRouter(prefix="/v1", dependencies=[Keyed])
_CSV: dict[str, Any] = {"response_class": Response, "responses": {200: {"content": IN_OPENAPI}}}
_WHOLE = (
    "All that the filters let through, without pages. Text that a spreadsheet would run as a formula is marked as text."
)


@router.get(
    "/customers/at-risk.csv", tags=["customers"], summary="Customers by risk, as CSV", description=_WHOLE, **_CSV
)
async def customers_at_risk_csv(here: Here, wanted: Filters, sort: SortBy = "churn") -> Response:
    """Return customers by falling risk or value, as CSV."""
    return at_risk_csv(here, wanted, sort)


@router.get("/alerts.csv", tags=["alerts"], summary="Recent alerts, as CSV", description=_WHOLE, **_CSV)
async def recent_alerts_csv(here: Here, chosen: Chosen) -> Response:
    """Return the newest alerts with what was done about them, as CSV."""
    return alerts_csv(here, chosen)
