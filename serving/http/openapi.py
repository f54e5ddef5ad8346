"""The OpenAPI document: what FastAPI derives, with every error as a problem."""

import threading
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from serving.http.problem_types import KINDS
from serving.http.problems import MEDIA_TYPE, Problem

DESCRIPTION = """Ebb scores, live, how likely each customer is to leave.

Scores are answered from memory. `as_of` is event time: the moment that a score describes. Errors are problem details
(RFC 9457). Lists are paged by `page_size` and `page_token`. Changes and alerts come by WebSocket (`/v1/stream`) or as
server-sent events (`/v1/stream/sse`).
"""


def install_openapi(app: FastAPI) -> None:
    """Make an application document its errors as it returns them."""
    making = threading.Lock()

    def document() -> dict[str, Any]:
        with making:
            if app.openapi_schema is None:
                app.openapi_schema = _with_problems(
                    get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
                )
            return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _with_problems(document: dict[str, Any]) -> dict[str, Any]:
    components = document.setdefault("components", {}).setdefault("schemas", {})
    components.pop("HTTPValidationError", None)
    components.pop("ValidationError", None)
    components["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    document["components"].setdefault("securitySchemes", {})["WriteKey"] = {
        "type": "http",
        "scheme": "basic",
        "description": "The write key as user name, no password.",
    }
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            statuses = {421, 500}
            if path.startswith("/v1/"):
                statuses |= {401, 403, 429, 503}
            if operation.get("requestBody"):
                statuses |= {408, 413, 422}
            if operation.get("parameters"):
                statuses |= {422}
            if any(parameter["name"] == "page_token" for parameter in operation.get("parameters", ())):
                statuses |= {400}
            if "{" in path:
                statuses |= {404}
            statuses |= {int(status) for status in operation["responses"] if status[0] in "45" and status != "422"}
            for status in statuses:
                titles = sorted({kind.title for kind in KINDS.values() if kind.status == status})
                entry = {"description": "; ".join(titles), "content": content}
                response = operation["responses"].get(str(status))
                if response is None or "content" not in response or status == 422:
                    operation["responses"][str(status)] = entry
    return document
