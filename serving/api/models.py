"""`/v1/models`, `/v1/promotions`, `/v1/drift`: published models, their accuracy, changes of champion, drift."""

from datetime import date, datetime
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Path, Query
from pydantic import ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from ebb.contracts.models import TARGETS, ModelSnapshot, Target
from ebb.errors import EbbError, UnavailableError
from online_ml.model_card import card as write_card
from serving.api.types import JSON, Answer, PageSize, PageToken
from serving.context import Context, ContextDep, asks_clickhouse
from serving.http.auth import RequiresRead
from serving.http.etags import NOT_MODIFIED, answer
from serving.http.page_tokens import page_token, read_token
from serving.http.path_segments import Segment
from serving.http.problems import ProblemError
from serving.http.routes import GuardedRoute
from serving.projections.models import model_view

MARKDOWN = "text/markdown"
_NEWEST = 2**32
"""Above every version."""
_TEXT = {200: {"content": {MARKDOWN: {"schema": {"type": "string"}}}}, **NOT_MODIFIED}
_FILE = {200: {"content": {JSON: {"schema": {"type": "object"}}}}, **NOT_MODIFIED}


class Model(Answer):
    """The latest version of one model, as learning published it."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "name": "churn.logistic",
                "target": "churn",
                "candidate": "logistic",
                "version": 12,
                "role": "champion",
                "share": 0.0,
                "trained_until": "2025-03-14",
                "examples": 48211,
                "metrics": {"roc_auc": 0.871, "log_loss": 0.41},
                "schema_hash": "0123456789abcdef",
            }
        }
    )

    name: str
    target: Target
    candidate: str
    version: int
    role: Literal["champion", "challenger"]
    trained_until: date = Field(description="Every label that had matured by this day (UTC) has been learned.")
    share: float = Field(description="Share of the customers whom it scores as a challenger, in the champion's place.")
    examples: int = Field(description="Labels learned.")
    metrics: dict[str, float] = Field(
        description="Progressive validation: predictions made before the label was known. `arm_…` are of the customers "
        "whom it really scored while they were split, beside `arm_labels`, their number."
    )
    schema_hash: str = Field(description="Feature schema that it was trained on.")


class Models(Answer):
    """The models, champions first."""

    models: list[Model]


class MetricDay(Answer):
    """What was measured on a day on which labels matured."""

    day: date
    labels: int
    metrics: dict[str, float | None] = Field(description="Null where a metric is not defined on these labels.")


class Metrics(Answer):
    """Metrics of a model over time, oldest first: predictions made at snapshots, evaluated when labels matured."""

    name: str
    window: Literal["day", "rolling"]
    days: list[MetricDay]


class Version(Answer):
    """A published version of a model, trained on all labels until a day."""

    version: int
    role: Literal["champion", "challenger"]
    trained_until: date
    examples: int
    metrics: dict[str, float | None]
    schema_hash: str
    checksum: str
    published_at: datetime


class Versions(Answer):
    """Published versions, newest first."""

    name: str
    versions: list[Version]
    next_page_token: str | None = Field(description="Give it as `page_token` for older versions; null on the last.")


class Promotion(Answer):
    """A change of the champion of a target, or a request for one."""

    target: Target
    decided_day: date
    cause: str = Field(description="`rule`, or what was requested.")
    request_id: str
    former: str
    champion: str
    version: int
    outcome: str = Field(description="`done`, `refused`, or `overruled` while something is held by request.")
    why: str
    decided_at: datetime


class Promotions(Answer):
    """Changes of champion, newest first."""

    promotions: list[Promotion]


class DriftValue(Answer):
    """The latest value of one statistic of drift."""

    kind: Literal["feature", "score", "error"]
    target: str = Field(description="Empty for features: all targets share them.")
    name: str
    statistic: str
    value: float | None
    day: date


class ModelDrift(Answer):
    """How far features, scores and errors are from their reference, the farthest of each kind first."""

    drift: list[DriftValue]


ModelName = Annotated[
    str, Segment, Path(min_length=1, max_length=100, description="Name of the model.", examples=["churn.logistic"])
]
router = APIRouter(prefix="/v1", tags=["models"], dependencies=[RequiresRead], route_class=GuardedRoute)


@router.get(
    "/models",
    response_model=Models,
    summary="The models and their accuracy",
    description="The latest version of each model that learning has published, champions first. Metrics are by "
    "progressive validation: on predictions made before the label was known.",
    responses=NOT_MODIFIED,
)
async def models(context: ContextDep, request: Request) -> Response:
    """Return the models."""
    views = [model_view(snapshot) for snapshot in context.feed.models.all()]
    return answer(request, orjson.dumps({"models": views}), media_type=JSON)


@router.get("/models/{name}", response_model=Model, summary="One model", responses=NOT_MODIFIED)
async def model(name: ModelName, context: ContextDep, request: Request) -> Response:
    """Return the latest version of a model."""
    return answer(request, orjson.dumps(model_view(_find(context, name)[0])), media_type=JSON)


@router.get(
    "/models/{name}/metrics",
    response_model=Metrics,
    summary="Metrics of a model over time",
    description="By the days on which labels matured, oldest first: on the labels of each day alone, or over the "
    "window of the latest labels (`rolling`). Answered by ClickHouse.",
)
@asks_clickhouse
def metrics(
    name: ModelName,
    context: ContextDep,
    window: Annotated[Literal["day", "rolling"], Query(description="Labels that the metrics are of.")] = "rolling",
    days: Annotated[int, Query(ge=1, le=730, description="Label dates to return, counted back from the last.")] = 60,
) -> Response:
    """Return the metrics of a model, day by day."""
    snapshot, _ = _find(context, name)
    by_day: dict[Any, dict[str, Any]] = {}
    for row in context.queries.rows(
        "candidate_metrics", target=snapshot.target, candidate=snapshot.candidate, window=window, days=days
    ):
        day = by_day.setdefault(row["matured_day"], {"day": row["matured_day"], "labels": 0, "metrics": {}})
        day["labels"] = max(day["labels"], int(row["labels"]))
        day["metrics"][row["metric"]] = row["value"]
    return Response(orjson.dumps({"name": name, "window": window, "days": list(by_day.values())}), media_type=JSON)


@router.get(
    "/models/{name}/versions",
    response_model=Versions,
    summary="The published versions of a model",
    description="Each was trained on all labels until a day. Newest first, from ClickHouse.",
)
@asks_clickhouse
def versions(
    name: ModelName,
    context: ContextDep,
    page_size: PageSize = 50,
    page_token_: Annotated[PageToken, Query(alias="page_token")] = None,
) -> Response:
    """Return the versions of a model."""
    _find(context, name)
    query = ["versions", name]
    after = read_token(query, page_token_)
    before = min(max(int(after[0]), 0), _NEWEST) if after else _NEWEST
    rows = context.queries.rows("model_versions_page", model=name, before=before, limit=page_size + 1)
    page = [{**row, "metrics": orjson.Fragment(row["metrics"])} for row in rows[:page_size]]
    following = (float(page[-1]["version"]), name) if len(rows) > page_size else None
    body = {"name": name, "versions": page, "next_page_token": page_token(query, following)}
    return Response(orjson.dumps(body), media_type=JSON)


@router.get(
    "/models/{name}/card",
    response_class=Response,
    summary="The card of a model",
    description="What it is, how far to trust it and for whom, as Markdown, from what was measured and nothing else.",
    responses=_TEXT,
)
@asks_clickhouse
def card(name: ModelName, context: ContextDep, request: Request) -> Response:
    """Return the model card."""
    _, body = _find(context, name)
    text = write_card(ModelSnapshot.decode(body), context.feed.models.all(), context.queries.rows)
    return answer(request, text.encode(), media_type=MARKDOWN)


@router.get(
    "/models/{name}/artefact",
    response_class=Response,
    summary="A version of a model, whole",
    description="The snapshot as it was published, with its checksum; loading it executes nothing. The latest version, "
    "unless a version is given.",
    responses=_FILE,
)
@asks_clickhouse
def artefact(
    name: ModelName,
    context: ContextDep,
    request: Request,
    version: Annotated[int | None, Query(ge=0, lt=_NEWEST, description="A published version.")] = None,
) -> Response:
    """Return a snapshot as it was published."""
    snapshot, body = _find(context, name)
    if version not in {None, snapshot.version}:
        rows = context.queries.rows("model_version", model=name, version=version)
        try:
            body = ModelSnapshot.from_row(rows[0]).encode() if rows else b""
        except EbbError as error:
            raise ProblemError(error.what, error.hint, kind="unknown-model") from None
        if not body:
            what = f"No version {version} of {name} was published."
            raise ProblemError(what, f"GET /v1/models/{name}/versions lists them.", kind="unknown-model")
    known = snapshot.version if version is None else version
    headers = {"Content-Disposition": f'attachment; filename="{snapshot.name}-{known}.json"'}
    return answer(request, body, media_type=JSON, headers=headers)


@router.get(
    "/promotions",
    response_model=Promotions,
    summary="Changes of champion",
    description="By the rule or by request, carried out or not, newest first. Answered by ClickHouse.",
)
@asks_clickhouse
def promotions(
    context: ContextDep,
    target: Annotated[Target, Query(description="Whose champion.")] = "churn",
    page_size: PageSize = 50,
) -> Response:
    """Return the changes of a target's champion."""
    rows = context.queries.rows("promotions", target=target, limit=page_size)
    return Response(orjson.dumps({"promotions": [{"target": target, **row} for row in rows]}), media_type=JSON)


@router.get(
    "/drift",
    response_model=ModelDrift,
    summary="Drift",
    description="The latest statistics of drift of features, of scores and of errors. Answered by ClickHouse.",
)
@asks_clickhouse
def drift(
    context: ContextDep,
    kind: Annotated[list[Literal["feature", "score", "error"]] | None, Query(description="Kinds to return.")] = None,
) -> Response:
    """Return the latest statistics of drift."""
    rows = [
        {"kind": drifting, **{name: row[name] for name in ("target", "name", "statistic")}}
        | {"value": row["latest"], "day": row["as_of_day"]}
        for drifting in dict.fromkeys(kind or ("error", "score", "feature"))
        for row in context.queries.rows("drift_latest", kind=drifting)
    ]
    return Response(orjson.dumps({"drift": rows}), media_type=JSON)


def _find(context: Context, name: str) -> tuple[ModelSnapshot, bytes]:
    """Return the latest version of a model, without its payload, and its record."""
    record = context.feed.models.get(name)
    if record is not None:
        return record
    if not context.feed.reader.caught_up:
        what = "The models are still being read from Kafka."
        raise UnavailableError(what, "Ask again in a moment; see /readyz.")
    known = ", ".join(snapshot.name for snapshot in context.feed.models.all())
    what = f"There is no model {name!r}; there are {known or 'none yet'}."
    raise ProblemError(what, f"A name is a target ({', '.join(TARGETS)}), a dot and a candidate.", kind="unknown-model")
