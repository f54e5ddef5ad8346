"""Ids in paths: `%2F` in a segment is part of the id, never a border between two.

A server decodes the path before anything routes it, so that `/v1/customers/a%2Fb/score` would have one segment more.
`EncodedSegments` splits the path while it is still encoded and routes with `/` and `%` of a segment left encoded;
`Segment` decodes them where a route takes the segment.
"""

from urllib.parse import unquote_to_bytes

from pydantic import BeforeValidator
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.http.problems import problem_response


class EncodedSegments:
    """ASGI layer that routes by the segments of the path as it was sent."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, its path re-encoded if it held an escape; one that is not UTF-8 is refused.

        Decoded with a replacement character, bytes that are no UTF-8 would name another customer.
        """
        if scope["type"] == "http" and b"%" in (raw := scope.get("raw_path") or b""):
            try:
                scope["path"] = "/".join(_held(segment) for segment in raw.split(b"/"))
            except UnicodeDecodeError:
                what = "The path is not percent-encoded UTF-8."
                hint = "Encode ids as UTF-8 before percent-encoding them, as encodeURIComponent does."
                await problem_response("invalid-request", "/", what, hint=hint)(scope, receive, send)
                return
        if scope["type"] == "http" and b"%" in scope["query_string"]:
            try:
                unquote_to_bytes(scope["query_string"]).decode()
            except UnicodeDecodeError:
                what = "The query is not percent-encoded UTF-8."
                hint = "Encode values as UTF-8 before percent-encoding them, as encodeURIComponent does."
                await problem_response("invalid-request", scope["path"], what, hint=hint)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _held(segment: bytes) -> str:
    return unquote_to_bytes(segment).decode().replace("%", "%25").replace("/", "%2F")


def _decoded(segment: object) -> object:
    # The order matters: what the id itself held as `%2F` was sent as `%252F`.
    return segment.replace("%2F", "/").replace("%25", "%") if isinstance(segment, str) else segment


Segment = BeforeValidator(_decoded)
"""In the annotation of a path parameter: decodes what `EncodedSegments` left encoded."""
