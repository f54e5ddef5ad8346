"""The application: its parts, its routes, its beginning and its end."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from ebb.settings import Settings
from serving import (
    routes_alerts,
    routes_collector,
    routes_customers,
    routes_erasures,
    routes_export,
    routes_health,
    routes_models,
    routes_overview,
    routes_page,
    routes_predict,
    routes_trends,
    sse,
    ws,
)
from serving.context import Context
from serving.front import Front
from serving.openapi import DESCRIPTION, install_openapi
from serving.problems import install_problems
from serving.summary import SummaryMaker


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
    )
    app.state.context = context
    app.state.summary = SummaryMaker(context)
    # Routes are tried in order, and nothing is asked for as often as a score.
    app.include_router(routes_customers.router)
    for routes in (
        routes_alerts,
        routes_collector,
        routes_erasures,
        routes_export,
        routes_models,
        routes_overview,
        routes_predict,
        sse,
        ws,
        routes_health,
        routes_page,
        routes_trends,
    ):
        app.include_router(routes.router)
    install_problems(app)
    install_openapi(app)
    if origins := list(context.door.origins):
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key", "Last-Event-ID"],
            expose_headers=["RateLimit", "RateLimit-Policy", "Retry-After"],
        )
    app.add_middleware(Front, door=context.door)
    return app
