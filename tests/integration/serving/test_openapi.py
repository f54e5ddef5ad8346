"""The OpenAPI document against a running API: nothing generated from it breaks the API or gets an undocumented answer,
and its examples are answered as it says."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck
from hypothesis import settings as bounded
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from clickhouse.store import Store
from ebb.settings import Settings
from online_ml.registry import model_rows
from serving.api.types import EXAMPLE_ALERT
from serving.app import create_app
from tests.support.sender import TopicSender, make_alert, make_model, make_score
from tests.support.serving import ANSWER_SECONDS, Api, fresh, serving

KEY = {"X-API-Key": "root-key-of-tests"}
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
DOCUMENT = create_app(Settings()).openapi()
# The events of the stream never end; its own tests read them.
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT).exclude(path="/v1/stream/sse")


@pytest.fixture(scope="module")
def api(stack: Settings) -> Iterator[Api]:
    """An API that holds what the examples of the document ask for."""
    settings = fresh(stack, api_keys="root-key-of-tests")
    model = make_model(version=12)
    store = Store(settings)
    store.insert("models", model_rows([model.sealed()]))
    store.close()
    sender = TopicSender(settings)
    for name in ("c-1042", "c-7", "c-8"):
        sender.score(make_score(name, 0.83, trend_7d=0.34, previous=0.71))
    for name in ("c-1042", "c-7"):
        sender.alert(make_alert(name, alert_id=EXAMPLE_ALERT["alert_id"] if name == "c-1042" else f"alert-{name}"))
    sender.model(model)
    sender.flush()
    with serving(settings) as running:
        yield running


def test_document_is_the_one_that_the_api_serves(api: Api) -> None:
    assert api.get("/openapi.json").json() == DOCUMENT


PLACES = {"customer_id": "c-1042", "alert_id": "31de46b6d801c56dc328b595", "name": "churn.logistic"}
"""What stands for the parameters of paths."""


def example(content: dict[str, Any]) -> Any:
    """Return the example of a body, its own or that of its schema; None if it has none."""
    told = content.get("application/json", {})
    schema = told.get("schema", {})
    if reference := schema.get("$ref"):
        schema = DOCUMENT["components"]["schemas"][reference.rpartition("/")[2]]
    return told.get("example", schema.get("example"))


EXAMPLES = [
    (method, path, example(operation.get("requestBody", {}).get("content", {})), documented)
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
    if (documented := example(operation["responses"].get("200", {}).get("content", {}))) is not None
    or "requestBody" in operation
]


MAY_BE_NULL = {"until", "outcome", "note"}
"""Fields that an example may lack: those of the handling depend on what was done last."""


def alike(told: Any, documented: Any, where: str = "") -> None:
    """Hold an answer to the form of its example: the same fields, of the same kinds."""
    if where.endswith("metrics"):  # named by what was measured
        return
    if isinstance(documented, dict):
        assert documented.keys() <= told.keys(), where
        more = {name for name in told.keys() - documented.keys() if told[name] is not None}
        assert more <= MAY_BE_NULL, f"{where} has {more}, which the example lacks"
        for name, value in documented.items():
            alike(told[name], value, f"{where}.{name}")
    elif isinstance(documented, list) and documented and told:
        alike(told[0], documented[0], f"{where}[0]")
    elif told is not None and not isinstance(documented, dict | list):
        assert isinstance(told, float | int) == isinstance(documented, float | int), where


def test_every_body_that_can_be_sent_has_an_example() -> None:
    assert {path for _, path, sent, _ in EXAMPLES if sent is not None} == {
        path for path, operations in DOCUMENT["paths"].items() for one in operations.values() if "requestBody" in one
    }


@pytest.mark.parametrize(("method", "path", "sent", "documented"), EXAMPLES, ids=[f"{m} {p}" for m, p, *_ in EXAMPLES])
def test_example_of_the_document_is_answered_as_it_says(
    method: str, path: str, sent: Any, documented: Any, api: Api
) -> None:
    needed = DOCUMENT["paths"][path][method].get("parameters", ())
    query = {one["name"]: PLACES[one["name"]] for one in needed if one["in"] == "query" and one.get("required")}
    answer = api.client.request(method, path.format(**PLACES), params=query, json=sent, headers=KEY)
    assert answer.status_code == 200, answer.text
    if documented is not None:
        alike(answer.json(), documented)


@SCHEMA.parametrize()
@bounded(max_examples=8, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
def test_whatever_the_document_allows_gets_an_answer_that_it_names(case: "schemathesis.Case[Any]", api: Api) -> None:
    case.call_and_validate(base_url=api.url, headers=KEY, checks=CHECKS, timeout=ANSWER_SECONDS)
