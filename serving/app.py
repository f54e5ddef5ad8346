"""The application: its parts, routes, start-up and shutdown."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from ebb.settings import Settings
from serving.api import (
    alerts,
    asyncapi,
    collector,
    customers,
    erasures,
    health,
    models,
    page,
    predictions,
    sse,
    summary,
    trends,
    websocket,
)
from serving.api.summary import CachedSummary
from serving.context import Context
from serving.http.middleware import METHODS, RequestMiddleware
from serving.http.openapi import DESCRIPTION, install_openapi
from serving.http.path_segments import EncodedSegments
from serving.http.problems import install_problems
from serving.http.routes import check_guarded

_READ_HEADERS = (
    *("Authorization", "X-API-Key", "Content-Type", "Content-Encoding", "Accept", "If-None-Match", "Last-Event-ID"),
    "Cache-Control",
)
"""Headers that pages of allowed origins may send: those that are read here, and what `EventSource` polyfills add."""
_SENT_HEADERS = (
    *("ETag", "Retry-After", "RateLimit", "RateLimit-Policy", "Location", "Content-Disposition", "Allow"),
    "WWW-Authenticate",
)
"""Headers of answers that they may see."""


def create_app(settings: Settings) -> FastAPI:
    """Build the API for some settings; its threads run from start-up to shutdown."""
    context = Context.of(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        context.start()
        try:
            yield
        finally:
            await context.stop()

    app = FastAPI(
        title="Ebb",
        version=version("ebb"),
        description=DESCRIPTION,
        lifespan=lifespan,
        # The stock documentation pages load their scripts from the internet.
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        # `DELETE /v1/customers/a/` must not be sent on to the customer `a`.
        redirect_slashes=False,
    )
    app.state.context = context
    app.state.summary = CachedSummary(context)
    # Routes are tried in order, and scores are requested most often.
    check_guarded(customers.router)
    check_guarded(customers.by_query)
    app.include_router(customers.router)
    app.include_router(customers.by_query)
    for routes in (
        alerts,
        collector,
        erasures,
        models,
        summary,
        predictions,
        sse,
        asyncapi,
        websocket,
        health,
        page,
        trends,
    ):
        check_guarded(routes.router)
        app.include_router(routes.router)
    install_problems(app)
    install_openapi(app)
    if origins := list(context.authenticator.origins):
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=METHODS,
            allow_headers=_READ_HEADERS,
            expose_headers=_SENT_HEADERS,
        )
    app.add_middleware(EncodedSegments)
    app.add_middleware(RequestMiddleware, authenticator=context.authenticator)
    return app
