"""Middleware of every HTTP request: host and origin, limits on the body, security headers, metrics."""

import asyncio
import time

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ebb.metrics import HTTP_REQUESTS, HTTP_SECONDS
from serving.http.auth import QUOTAS, Authenticator
from serving.http.problems import problem_response

MAX_BODY_BYTES = 1_048_576
"""Largest body of a request, on the wire."""
BODY_SECONDS = 30.0
"""Time in which a whole body must arrive."""
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (b"x-frame-options", b"DENY"),
]
_NO_PAGE = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
"""For answers other than the live page: opened by a browser, they load and run nothing."""
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class RequestMiddleware:
    """Outermost ASGI layer of the application; WebSockets pass untouched."""

    def __init__(self, app: ASGIApp, authenticator: Authenticator) -> None:
        self._app = app
        self._authenticator = authenticator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *_HEADERS, *_extra_headers(scope, message)]
            await send(message)

        try:
            refusal = self._refusal(scope)
            if refusal is None:
                await self._app(scope, LimitedBody(receive).receive, sending)
            else:
                await refusal(scope, receive, sending)
        finally:
            # The template of the route, never the path: ids must not become labels.
            route = getattr(scope.get("route"), "path", "unmatched")
            HTTP_REQUESTS.labels(scope["method"] if route != "unmatched" else "any", route, str(status)).inc()
            HTTP_SECONDS.labels(route).observe(time.perf_counter() - began)

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        host = _header(scope, b"host")
        if not self._authenticator.serves_host(host):
            what = f"This API is not served under the name {(host or '')[:80]!r}."
            return problem_response("host-refused", scope["path"], what, hint="Use http://127.0.0.1.")
        origin = _header(scope, b"origin")
        # A form or script of any page may send a simple request without a preflight; it must not change anything.
        if scope["method"] not in _SAFE and not self._authenticator.allows_origin(origin, host):
            what = f"Pages of {(origin or '')[:80]!r} may not change anything here."
            return problem_response("origin-refused", scope["path"], what, hint="Name it in EBB_ALLOWED_ORIGINS.")
        length = _header(scope, b"content-length") or "0"
        if length.isascii() and length.isdigit() and len(length) < 20 and int(length) > MAX_BODY_BYTES:
            return _too_large(scope["path"], length)
        return None


class LimitedBody:
    """A request's body, refused with 413 or 408 when it exceeds the limits of size or time."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._size = 0
        self._due = 0.0
        self._ended = False

    async def receive(self) -> Message:
        """Receive the next part of the request, within the limits."""
        if self._ended:  # only the client's disconnect can follow
            return await self._receive()
        loop = asyncio.get_running_loop()
        self._due = self._due or loop.time() + BODY_SECONDS
        try:
            async with asyncio.timeout_at(self._due):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(408, f"The body has not arrived within {BODY_SECONDS:g} s") from None
        self._ended = not message.get("more_body", False)
        self._size += len(message.get("body", b""))
        if self._size > MAX_BODY_BYTES:
            raise HTTPException(413, f"The body has more than {MAX_BODY_BYTES} bytes")
        return message


def _header(scope: Scope, header: bytes) -> str | None:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == header), None)


def _too_large(path: str, length: str) -> ASGIApp:
    what = f"The body has {length} bytes; at most {MAX_BODY_BYTES} are taken."
    return problem_response("too-large", path, what)


def _extra_headers(scope: Scope, message: Message) -> list[tuple[bytes, bytes]]:
    """Return headers that depend on the answer: quotas, and a content policy where the route has set none."""
    quotas = scope.get(QUOTAS, ())
    more = [(b"ratelimit-policy", policy.encode()) for policy, _ in quotas]
    more += [(b"ratelimit", quota.header.encode()) for _, quota in quotas]
    if not any(name.lower() == _NO_PAGE[0] for name, _ in message["headers"]):
        more.append(_NO_PAGE)
    return more
