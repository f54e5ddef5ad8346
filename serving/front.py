"""What every HTTP request passes first: host check, security headers, counting."""

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ebb.metrics import HTTP_REQUESTS, HTTP_SECONDS
from serving.problems import problem_response
from serving.security import Door

_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
]


class Front:
    """Outermost ASGI layer of the application; WebSockets pass untouched."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app = app
        self._door = door

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
                message["headers"] = [*message["headers"], *_HEADERS]
            await send(message)

        host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), None)
        try:
            if self._door.serves_host(host):
                await self._app(scope, receive, sending)
            else:
                what = f"This API is not served under the name {(host or '')[:80]!r}."
                refusal = problem_response("host-refused", scope["path"], what, hint="Use http://127.0.0.1.")
                await refusal(scope, receive, sending)
        finally:
            # The template of the route, never the path: ids must not become labels.
            route = getattr(scope.get("route"), "path", "unmatched")
            HTTP_REQUESTS.labels(scope["method"] if route != "unmatched" else "any", route, str(status)).inc()
            HTTP_SECONDS.labels(route).observe(time.perf_counter() - began)
