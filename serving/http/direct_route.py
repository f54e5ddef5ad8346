"""A FastAPI route without dependency resolution, for the path that is requested most often."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, cast

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from ebb.contracts.api_keys import Scope
from serving.http.auth import authorize, presented_key


class DirectRoute(APIRoute):
    """A route whose function is `async (customer_id, context, request) -> Response`, for keys of scope `read`.

    For FastAPI to document it, the function is annotated and the router has the dependency, as everywhere.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler of requests: it authorizes, validates the parameter, then calls the function."""
        endpoint = cast(Callable[..., Awaitable[Response]], self.endpoint)
        validate = TypeAdapter(endpoint.__annotations__["customer_id"]).validate_python

        async def handle(request: Request) -> Response:
            authorize(request, presented_key(request), Scope.READ)
            try:
                customer_id = validate(request.path_params["customer_id"])
            except ValidationError as error:
                where = ("path", "customer_id")
                raise RequestValidationError([{**item, "loc": where} for item in error.errors()]) from None
            return await endpoint(customer_id=customer_id, context=request.app.state.context, request=request)

        return handle
