"""The live page and the pages that explain problems; they hold no data and need no key."""

import functools
from pathlib import Path

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from serving.http.etags import answer
from serving.http.problem_types import KINDS, list_page, page_of
from serving.http.problems import ProblemError
from serving.http.routes import PublicRoute

PAGE = Path(__file__).parents[1] / "page"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_HEADERS = {"Cache-Control": "no-cache", "Content-Security-Policy": POLICY}

router = APIRouter(include_in_schema=False, route_class=PublicRoute)


@functools.cache
def _files() -> dict[str, bytes]:
    """Return the page's files by their names, read once: anybody may ask for them, as often as they like."""
    return {path.name: path.read_bytes() for path in PAGE.iterdir() if path.suffix in _TYPES}


@router.get("/")
async def page(request: Request) -> Response:
    """Return the live page."""
    return answer(request, _files()["index.html"], media_type="text/html", headers=_HEADERS)


@router.get("/page/{name}")
async def asset(name: str, request: Request) -> Response:
    """Return a style, script or picture of the page."""
    # The name is compared with what is there, never joined to a path unseen.
    found = _files().get(name)
    if found is None:
        what = f"The page has no file {name[:80]!r}."
        raise ProblemError(what, kind="not-found")
    return answer(request, found, media_type=_TYPES[Path(name).suffix], headers=_HEADERS)


@router.get("/problems")
async def problems() -> Response:
    """List the types of problems."""
    return HTMLResponse(list_page())


@router.get("/problems/{kind}")
async def problem(kind: str) -> Response:
    """Explain a type of problem."""
    if kind not in KINDS:
        what = f"There is no problem type {kind[:80]!r}."
        raise ProblemError(what, kind="not-found")
    return HTMLResponse(page_of(kind))
