"""Conditional requests: an entity tag per answer, and 304 for callers who have it already (RFC 9110, section 13)."""

from hashlib import blake2b
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

NOT_MODIFIED: dict[int | str, dict[str, Any]] = {
    304: {"description": "What `If-None-Match` names is still current; no body."}
}


def tag_of(body: bytes, *, weak: bool = False) -> str:
    """Return the entity tag of a body: weak if what is sent may differ in insignificant ways."""
    tag = f'"{blake2b(body, digest_size=8).hexdigest()}"'
    return f"W/{tag}" if weak else tag


def has(request: Request, tag: str) -> bool:
    """Return whether the caller already has what a tag names; compared weakly, as `If-None-Match` is."""
    # A list may come in several headers.
    named = ",".join(request.headers.getlist("if-none-match"))
    opaque = tag.removeprefix("W/")
    return named.strip() == "*" or any(part.strip().removeprefix("W/") == opaque for part in named.split(","))


def answer(
    request: Request, body: bytes, *, media_type: str, tag: str | None = None, headers: dict[str, str] | None = None
) -> Response:
    """Return a body with its tag, or 304 without it.

    Parameters
    ----------
    tag
        The strong tag of the body, if not given.
    """
    tag = tag or tag_of(body)
    response_headers = {"ETag": tag, "Cache-Control": "private, no-cache", **(headers or {})}
    if has(request, tag):
        return Response(None, 304, response_headers)
    return Response(body, headers=response_headers, media_type=media_type)
