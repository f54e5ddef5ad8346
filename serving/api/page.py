"""The live page and the pages that explain problems; they hold no data and need no key."""

from pathlib import Path

from fastapi import APIRouter
from starlette.responses import FileResponse, HTMLResponse, Response

from serving.http.problem_types import KINDS, list_page, page_of
from serving.http.problems import ProblemError

PAGE = Path(__file__).parents[1] / "page"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_HEADERS = {"Cache-Control": "no-cache", "Content-Security-Policy": POLICY}

router = APIRouter(include_in_schema=False)


@router.get("/")
async def page() -> Response:
    """Return the live page."""
    return FileResponse(PAGE / "index.html", media_type="text/html", headers=_HEADERS)


@router.get("/page/{name}")
async def asset(name: str) -> Response:
    """Return a style, script or picture of the page."""
    # The name is compared with what is there, never joined to a path unseen.
    found = {path.name: path for path in PAGE.iterdir() if path.suffix in _TYPES}.get(name)
    if found is None:
        what = f"The page has no file {name!r}."
        raise ProblemError(what, kind="not-found")
    return FileResponse(found, media_type=_TYPES[found.suffix], headers=_HEADERS)


@router.get("/problems")
async def problems() -> Response:
    """List the types of problems."""
    return HTMLResponse(list_page())


@router.get("/problems/{kind}")
async def problem(kind: str) -> Response:
    """Explain a type of problem."""
    if kind not in KINDS:
        what = f"There is no problem type {kind!r}."
        raise ProblemError(what, kind="not-found")
    return HTMLResponse(page_of(kind))
