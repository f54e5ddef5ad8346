"""`/openapi.json`, and `/asyncapi.json`: the stream's protocol as a document made from the models of its messages."""

import functools
from importlib.metadata import version
from typing import Any, get_args

import orjson
from fastapi import APIRouter
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from ebb.contracts import stream as protocol
from ebb.contracts.stream import CloseCode, may_reconnect
from serving.api.types import JSON
from serving.http.etags import answer
from serving.http.routes import PublicRoute

DESCRIPTION = f"""Scores and alerts as they come, over one WebSocket.

The client speaks first, within {protocol.SUBSCRIBE_SECONDS:g} s, by `subscribe` or `resume`, with the key in it.
A connection has up to {protocol.MAX_SUBSCRIPTIONS} subscriptions, each with an `id` of the client's choice, or one with
none. Sequences rise within an epoch, which names a run of a replica. After a disconnect, `resume` first sends what was
missed: every alert, and the latest score of each customer. `unrecoverable` means that it is no longer held: fetch it
by REST.

A client may send {protocol.MESSAGES_PER_10_SECONDS} messages in 10 s, each of up to {protocol.MAX_CLIENT_BYTES} bytes.
Reconnect after close codes from 3000 to 3499, not after 3500 to 3999 and 44xx (`x-close-codes`).
"""
router = APIRouter(include_in_schema=False, route_class=PublicRoute)


@router.get("/openapi.json")
async def openapi(request: Request) -> Response:
    """Return the OpenAPI document; it is made once, which takes a good part of a second."""
    state = request.app.state
    if not hasattr(state, "openapi_body"):
        state.openapi_body = await run_in_threadpool(lambda: orjson.dumps(request.app.openapi()))
    return answer(request, state.openapi_body, media_type=JSON)


@router.get("/asyncapi.json")
async def asyncapi(request: Request) -> Response:
    """Return the document, with this replica as its server."""
    scheme = "wss" if request.url.scheme == "https" else "ws"
    servers = {"replica": {"host": request.headers.get("host", ""), "protocol": scheme}}
    body = document() if document.cache_info().currsize else await run_in_threadpool(document)
    return Response(orjson.dumps({**body, "servers": servers}), media_type=JSON)


@functools.cache
def document() -> dict[str, Any]:
    """Return the AsyncAPI document; it names no server."""
    received, sent = _models(protocol.ClientMessage), _models(protocol.ServerMessage)
    schemas = models_json_schema(
        [
            *((model, "validation") for model in received.values()),
            *((model, "serialization") for model in sent.values()),
        ],
        ref_template="#/components/schemas/{model}",
    )[1]["$defs"]
    codes = {str(int(code)): {"name": code.name.lower(), "reconnect": may_reconnect(code)} for code in CloseCode}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Ebb's stream", "version": version("ebb"), "description": DESCRIPTION},
        "defaultContentType": "application/json",
        "channels": {
            "stream": {
                "address": "/v1/stream",
                "description": "The WebSocket. Its twin, `/v1/stream/sse`, is in /openapi.json.",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in {**received, **sent}},
                "bindings": {"ws": {"method": "GET", "bindingVersion": "0.1.0"}},
                "x-close-codes": codes,
            }
        },
        "operations": {
            "receive": {"action": "receive", "summary": "What a client may send.", **_in_stream(received)},
            "send": {"action": "send", "summary": "What the server sends.", **_in_stream(sent)},
        },
        "components": {
            "messages": {name: _message(name, model) for name, model in {**received, **sent}.items()},
            "schemas": schemas,
        },
    }


def _models(union: Any) -> dict[str, type[BaseModel]]:
    """Return the models of one side of the protocol by their `type`."""
    return {model.model_fields["type"].annotation.__args__[0]: model for model in get_args(get_args(union)[0])}


def _in_stream(models: dict[str, type[BaseModel]]) -> dict[str, Any]:
    messages = [{"$ref": f"#/channels/stream/messages/{name}"} for name in models]
    return {"channel": {"$ref": "#/channels/stream"}, "messages": messages}


def _message(name: str, model: type[BaseModel]) -> dict[str, Any]:
    summary = (model.__doc__ or "").strip()
    return {"name": name, "summary": summary, "payload": {"$ref": f"#/components/schemas/{model.__name__}"}}
