"""Routes that admit before they read: the key is checked before the body, a parameter or the endpoint is looked at."""

from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, cast

import orjson
from fastapi import APIRouter
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import TypeAdapter, ValidationError
from sse_starlette import EventSourceResponse
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from ebb.contracts.api_keys import Scope
from serving.http.auth import Requires, authorize, presented_key
from serving.http.middleware import HEAD

MAX_VALUES = 250_000
"""Values in the JSON of a body. A parser holds the interpreter until it is done, also in a thread: 4 MiB of `[]` take
it 0.8 s, these 80 ms at most. A batch of 2,500 calls has some 100,000."""
MAX_FIELDS = 20_000
"""Values in the JSON of all but the collector's bodies: each that is wrong becomes an error, in 20 us."""

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def check_values(body: bytes, most: int = MAX_VALUES) -> None:
    """Make sure that a JSON text holds at most `most` values, before it is parsed.

    Raises
    ------
    HTTPException
        413 if it holds more.
    """
    if len(body) > most and body.count(b",") + body.count(b"[") + body.count(b"{") > most:
        raise HTTPException(413, f"The body has more than {most:,} commas and opening brackets")


class JsonRequest(Request):
    """A request whose JSON is strict and bounded: no lone surrogates, no NaN, no depth without end."""

    async def json(self) -> Any:
        """Return the body's value."""
        body = await self.body()
        check_values(body, MAX_FIELDS)
        return orjson.loads(body)


class PublicRoute(APIRoute):
    """A route that anybody may call, or whose endpoint authorizes by itself."""

    def get_route_handler(self) -> Handler:
        """Return the handler of requests."""
        if needed := _required(self.dependant):
            message = f"{self.path} is public and requires {needed}"
            raise TypeError(message)
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            return _for_head(request, await handler(JsonRequest(request.scope, request.receive)))

        return handle


class GuardedRoute(APIRoute):
    """A route that requires one scope, by its router's dependencies or its own.

    FastAPI alone reads and parses the body of a request before it asks the dependency that checks the key.
    """

    def get_route_handler(self) -> Handler:
        """Return the handler of requests: it authorizes, then does what any route does."""
        needed = _required(self.dependant)
        if len(needed) != 1:
            message = f"{self.path} is to require one scope, not {sorted(needed)}"
            raise TypeError(message)
        [scope] = needed
        handler = self.admitted_handler()

        async def handle(request: Request) -> Response:
            authorize(request, presented_key(request), scope)
            return _for_head(request, await handler(JsonRequest(request.scope, request.receive)))

        return handle

    def admitted_handler(self) -> Callable[[Request], Awaitable[Response]]:
        """Return the handler of requests that were authorized."""
        return super().get_route_handler()


class DirectRoute(GuardedRoute):
    """A route without dependency resolution, for the path that is requested most often.

    Its function is `async (customer_id, context, request) -> Response`. For FastAPI to document it, the function is
    annotated and the router has the dependency, as everywhere.
    """

    def admitted_handler(self) -> Callable[[Request], Awaitable[Response]]:
        """Return the handler of requests: it validates the parameter, then calls the function."""
        endpoint = cast(Callable[..., Awaitable[Response]], self.endpoint)
        validate = TypeAdapter(endpoint.__annotations__["customer_id"]).validate_python

        async def handle(request: Request) -> Response:
            try:
                customer_id = validate(request.path_params["customer_id"])
            except ValidationError as error:
                where = ("path", "customer_id")
                raise RequestValidationError([{**item, "loc": where} for item in error.errors()]) from None
            return await endpoint(customer_id=customer_id, context=request.app.state.context, request=request)

        return handle


def check_guarded(router: APIRouter) -> None:
    """Make sure that each route of a router is guarded, or public by intention.

    Raises
    ------
    TypeError
        If one is neither: it would read what anybody sends before it looks at the key.
    """
    for route in router.routes:
        if isinstance(route, APIRoute) and not isinstance(route, GuardedRoute | PublicRoute):
            message = f"{route.path} needs a router with route_class=GuardedRoute or PublicRoute"
            raise TypeError(message)


def _required(dependant: Dependant) -> set[Scope]:
    return {one.call.scope for one in _tree(dependant) if isinstance(one.call, Requires)}


def _tree(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for below in dependant.dependencies:
        yield from _tree(below)


def _for_head(request: Request, response: Response) -> Response:
    """Return what answers a HEAD: a stream is not begun, for nobody would read it."""
    if not request.scope.get(HEAD) or not isinstance(response, StreamingResponse | EventSourceResponse):
        return response
    head = Response(status_code=response.status_code)
    head.raw_headers = response.raw_headers
    return head
