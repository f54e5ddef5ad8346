"""Middleware of every HTTP request: host and origin, limits on the body, security headers, metrics."""

import asyncio
import re
import time

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ebb.metrics import HTTP_REQUESTS, HTTP_SECONDS
from serving.http.auth import PRINCIPAL, QUOTAS, Authenticator
from serving.http.problems import problem_response

MAX_BODY_BYTES = 1_048_576
"""Largest body of a request, on the wire."""
BODY_SECONDS = 30.0
"""Time in which a whole body must arrive."""
HEAD, BODY = "ebb.head", "ebb.body"
"""Keys of a request's scope: whether it is a HEAD, which is served as a GET; its `LimitedBody`."""
METHODS = ("GET", "HEAD", "POST", "DELETE", "OPTIONS")
"""Methods that some route takes."""
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
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[\w.~!$&'()*+,;=%-]{0,255})(:[0-9]{0,5})?", re.ASCII)
"""What a `Host` may hold: no user, no path, no blank."""


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
        method = scope["method"] if scope["method"] in METHODS else "other"
        body = LimitedBody(receive, _header(scope, b"content-length"))
        # Served as a GET, a HEAD has its status and its headers; the server's own scope keeps the method.
        served = {**scope, "method": "GET", HEAD: True} if method == "HEAD" else scope
        served[BODY] = body

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                body.answered = True
                message["headers"] = [*message["headers"], *_HEADERS, *_extra_headers(served, message)]
            elif served is not scope and message.get("body"):
                message = {**message, "body": b""}
            await send(message)

        try:
            refusal = self._refusal(scope)
            if refusal is None:
                await self._app(served, body.receive, sending)
            else:
                await refusal(scope, receive, sending)
        finally:
            if PRINCIPAL in served:
                scope[PRINCIPAL] = served[PRINCIPAL]
            # The template of the route, never the path: ids must not become labels.
            route = getattr(served.get("route"), "path", "unmatched")
            HTTP_REQUESTS.labels(method if route != "unmatched" else "any", route, str(status)).inc()
            HTTP_SECONDS.labels(route).observe(time.perf_counter() - began)

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        host = hosts[0] if hosts else None
        # Programs of old may leave it out; no browser does, and none speaks HTTP/1.0.
        if len(hosts) != 1 and (hosts or scope["http_version"] != "1.0"):
            what = f"The request has {len(hosts)} Host headers; HTTP/1.1 asks for one."
            return problem_response("malformed-request", scope["path"], what, hint="Send one Host.")
        if host is not None and not _HOST.fullmatch(host):
            what = f"The Host {host[:80]!r} is not a name or address with, at most, a port."
            return problem_response("malformed-request", scope["path"], what, hint="Send the API's own name.")
        if host is not None and not self._authenticator.serves_host(host):
            what = f"This API is not served under the name {(host or '')[:80]!r}."
            return problem_response("host-refused", scope["path"], what, hint="Use http://127.0.0.1.")
        origin = _header(scope, b"origin")
        # A form or script of any page may send a simple request without a preflight; it must not change anything.
        if scope["method"] not in _SAFE and not self._authenticator.allows_origin(origin, host):
            what = f"Pages of {(origin or '')[:80]!r} may not change anything here."
            return problem_response("origin-refused", scope["path"], what, hint="Name it in EBB_ALLOWED_ORIGINS.")
        return None


class LimitedBody:
    """A request's body, refused with 413 or 408 when it exceeds the limits of size or time.

    Parameters
    ----------
    length
        The `Content-Length`: what is too large is refused before any of it is read.
    """

    def __init__(self, receive: Receive, length: str | None = None) -> None:
        self.answered = False
        """Whether the answer has begun: what is read then is not the body any more, but whether the client left."""
        self._receive = receive
        digits = length is not None and length.isascii() and length.isdigit() and len(length) < 20
        self._declared = int(length) if digits and length is not None else 0
        self._largest = MAX_BODY_BYTES
        self._seconds = BODY_SECONDS
        self._size = 0
        self._due = 0.0
        self._ended = False
        self._timeout: asyncio.Timeout | None = None
        self._makes_room = False

    def tighten(self, largest: int, seconds: float) -> None:
        """Take at most so many bytes in so many seconds, before any was read: of a caller who has shown no key yet."""
        self._largest, self._seconds = largest, seconds

    def make_room(self) -> None:
        """Refuse the rest with 429, since others wait."""
        self._makes_room = True
        if self._timeout is not None:
            self._timeout.reschedule(0.0)

    async def receive(self) -> Message:
        """Receive the next part of the request, within the limits."""
        if self._ended:  # only the client's disconnect can follow
            return await self._receive()
        if self._declared > self._largest:
            if self.answered:
                return {"type": "http.disconnect"}
            raise HTTPException(413, f"The body has {self._declared} bytes; at most {self._largest} are taken")
        loop = asyncio.get_running_loop()
        self._due = self._due or loop.time() + self._seconds
        try:
            async with asyncio.timeout_at(0.0 if self._makes_room else self._due) as self._timeout:
                message = await self._receive()
        except TimeoutError:
            if self.answered:
                return {"type": "http.disconnect"}
            if self._makes_room:
                raise HTTPException(429, "Too many bodies are on their way", {"Retry-After": "1"}) from None
            raise HTTPException(408, f"The body has not arrived within {self._seconds:g} s") from None
        finally:
            self._timeout = None
        self._ended = not message.get("more_body", False)
        self._size += len(message.get("body", b""))
        if self._size > self._largest:
            if self.answered:
                return {"type": "http.disconnect"}
            raise HTTPException(413, f"The body has more than {self._largest} bytes")
        return message


def _header(scope: Scope, header: bytes) -> str | None:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == header), None)


def _extra_headers(scope: Scope, message: Message) -> list[tuple[bytes, bytes]]:
    """Return headers that depend on the answer: quotas, and a content policy where the route has set none."""
    quotas = scope.get(QUOTAS, ())
    more = [(b"ratelimit-policy", policy.encode()) for policy, _ in quotas]
    more += [(b"ratelimit", quota.header.encode()) for _, quota in quotas]
    if not any(name.lower() == _NO_PAGE[0] for name, _ in message["headers"]):
        more.append(_NO_PAGE)
    return more
