"""What the REST interface promises: problem details, OpenAPI, headers, nothing from elsewhere."""

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from httpx import ASGITransport
from pydantic import TypeAdapter

from ebb.messages import Alert, Score
from ebb.settings import Settings
from serving.app import create_app
from serving.board import Held
from serving.context import Context
from serving.problems import KINDS, Problem
from serving.routes_page import PAGE
from serving.schemas import EXAMPLE_ALERT, EXAMPLE_SCORE, Customers, Models
from serving.schemas_alerts import Alerts
from tests.support.teller import make_alert, make_model, make_score


@pytest.fixture
def app() -> FastAPI:
    """The application, its threads not started: what is in memory is put there by the test."""
    app = create_app(Settings())
    context: Context = app.state.context
    context.feed.reader._caught_up.set()
    return app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        yield client


def hold(app: FastAPI, *scores: Score) -> None:
    app.state.context.feed.board.apply([(b"", score.model_dump_json().encode()) for score in scores])


def is_problem(response: httpx.Response, kind: str) -> Problem:
    assert response.headers["content-type"] == "application/problem+json"
    problem = Problem.model_validate_json(response.content)
    assert problem.type == f"/problems/{kind}"
    assert problem.status == response.status_code == KINDS[kind].status
    assert problem.title == KINDS[kind].title
    return problem


async def test_score_is_answered_with_the_bytes_of_the_topic(app: FastAPI, client: httpx.AsyncClient) -> None:
    score = make_score("c-1", 0.83)
    hold(app, score)
    response = await client.get("/v1/customers/c-1/score")
    assert response.content == score.model_dump_json().encode()
    assert Score.model_validate_json(response.content) == score


@pytest.mark.parametrize("customer", ["a b", "ü/1", "%", "..", "x?y", "at-risk"])
async def test_any_opaque_id_that_a_path_can_carry_is_found(
    app: FastAPI, client: httpx.AsyncClient, customer: str
) -> None:
    hold(app, make_score(customer))
    path = "".join(f"%{byte:02X}" for byte in customer.encode())
    response = await client.get(f"/v1/customers/{path}/score")
    if "/" in customer:
        is_problem(response, "not-found")
    else:
        assert response.json()["customer_id"] == customer


async def test_unknown_customer_is_a_problem_that_says_so(client: httpx.AsyncClient) -> None:
    problem = is_problem(await client.get("/v1/customers/nobody/score"), "unknown-customer")
    assert "'nobody'" in problem.detail
    assert problem.instance == "/v1/customers/nobody/score"
    assert problem.hint


async def test_while_scores_are_read_an_unknown_customer_is_unavailable_not_unknown(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    app.state.context.feed.reader._caught_up.clear()
    response = await client.get("/v1/customers/c-1/score")
    is_problem(response, "unavailable")
    assert response.headers["retry-after"]


async def test_unknown_path_wrong_method_and_wrong_parameters_are_problems(client: httpx.AsyncClient) -> None:
    is_problem(await client.get("/v2/nothing"), "not-found")
    response = await client.post("/v1/summary")
    is_problem(response, "method-not-allowed")
    assert response.headers["allow"] == "GET"
    problem = is_problem(await client.get("/v1/customers/at-risk?page_size=0&band=odd"), "invalid-request")
    assert problem.errors is not None
    assert {one["where"] for one in problem.errors} == {"query.page_size", "query.band.0"}
    is_problem(await client.get("/v1/customers/at-risk?page_token=junk"), "bad-page-token")


async def test_defect_is_a_problem_without_its_details(
    app: FastAPI, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: str) -> bytes:
        message = "inner secret"
        raise RuntimeError(message)

    monkeypatch.setattr(app.state.context.feed.board, "score", broken)
    response = await client.get("/v1/customers/c-1/score")
    is_problem(response, "internal")
    assert "secret" not in response.text


@pytest.mark.parametrize("kind", KINDS)
async def test_every_type_of_problem_has_a_page(client: httpx.AsyncClient, kind: str) -> None:
    response = await client.get(f"/problems/{kind}")
    assert response.status_code == 200
    assert KINDS[kind].title in response.text


async def test_host_that_is_not_loopback_is_refused_without_keys(client: httpx.AsyncClient) -> None:
    is_problem(await client.get("/v1/models", headers={"Host": "evil.example"}), "host-refused")


async def test_keys_guard_the_data_and_not_the_health() -> None:
    transport = ASGITransport(create_app(Settings(api_keys="alpha,beta")))
    async with httpx.AsyncClient(transport=transport, base_url="http://shop.example") as client:
        response = await client.get("/v1/models")
        is_problem(response, "no-key")
        assert response.headers["www-authenticate"].startswith("Bearer")
        for path in ("/v1/models", "/v1/alerts", "/v1/customers/c/score", "/v1/stream/sse"):
            is_problem(await client.get(path, headers={"X-API-Key": "gamma"}), "wrong-key")
        assert (await client.get("/v1/models", headers={"X-API-Key": "beta"})).status_code == 200
        assert (await client.get("/v1/models", headers={"Authorization": "Bearer alpha"})).status_code == 200
        is_problem(await client.get("/v1/models?api_key=alpha"), "no-key")
        for path in ("/", "/metrics", "/problems/no-key"):
            assert (await client.get(path)).status_code == 200


async def test_only_listed_origins_may_read_across_origins() -> None:
    transport = ASGITransport(create_app(Settings(allowed_origins="https://shop.example")))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        allowed = await client.get("/v1/models", headers={"Origin": "https://shop.example"})
        assert allowed.headers["access-control-allow-origin"] == "https://shop.example"
        refused = await client.get("/v1/models", headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in refused.headers


async def test_lists_and_models_fit_their_schemas(app: FastAPI, client: httpx.AsyncClient) -> None:
    hold(app, make_score("c-1", 0.9), make_score("c-2", 0.4))
    context: Context = app.state.context
    context.feed.alerts.add([make_alert("c-1").model_dump_json().encode()])
    context.feed.registry.take(b"churn.logistic", make_model().encode())
    customers = Customers.model_validate_json((await client.get("/v1/customers/at-risk?page_size=1")).content)
    assert [one.customer_id for one in customers.customers] == ["c-1"]
    query = {"page_size": "1", "page_token": customers.next_page_token or ""}
    following = Customers.model_validate_json((await client.get("/v1/customers/at-risk", params=query)).content)
    assert [one.customer_id for one in following.customers] == ["c-2"]
    assert following.next_page_token is None
    assert Alerts.model_validate_json((await client.get("/v1/alerts?band=critical")).content).alerts
    assert not Alerts.model_validate_json((await client.get("/v1/alerts?band=low")).content).alerts
    models = Models.model_validate_json((await client.get("/v1/models")).content)
    assert models.models[0].trained_until.isoformat() == "2025-03-14"


async def test_metrics_name_routes_and_never_customers(app: FastAPI, client: httpx.AsyncClient) -> None:
    hold(app, make_score("c-very-secret"))
    await client.get("/v1/customers/c-very-secret/score")
    await client.get("/nothing/c-very-secret")
    text = (await client.get("/metrics")).text
    assert 'route="/v1/customers/{customer_id}/score",status="200"' in text
    assert "c-very-secret" not in text


def document(app: FastAPI) -> dict[str, Any]:
    return app.openapi()


def test_openapi_names_every_route_with_words_and_problems(app: FastAPI) -> None:
    paths = document(app)["paths"]
    assert set(paths) >= {
        "/v1/customers/{customer_id}/score",
        "/v1/customers/at-risk",
        "/v1/customers/{customer_id}/history",
        "/v1/models",
        "/v1/summary",
        "/v1/alerts",
        "/v1/stream/sse",
        "/livez",
        "/readyz",
        "/metrics",
    }
    for path, operations in paths.items():
        for operation in operations.values():
            assert operation["summary"], path
            for status, answer in operation["responses"].items():
                if status[0] in "45" and path.startswith("/v1"):
                    assert list(answer["content"]) == ["application/problem+json"], (path, status)
        if "{customer_id}" in path:
            assert all("404" in operation["responses"] for operation in operations.values())
    assert "HTTPValidationError" not in json.dumps(document(app))


def test_every_reference_of_the_openapi_document_leads_somewhere(app: FastAPI) -> None:
    text = json.dumps(document(app))
    references = set(re.findall(r'"\$ref": "#/components/schemas/([^"]+)"', text))
    assert references
    assert references <= set(document(app)["components"]["schemas"])


def test_examples_of_the_openapi_document_fit_their_schemas(app: FastAPI) -> None:
    for model in (Customers, Alerts, Models, Problem):
        schema = document(app)["components"]["schemas"][model.__name__]
        example = schema.get("example")
        if example is None:
            example = {"models": [document(app)["components"]["schemas"]["Model"]["example"]]}
        TypeAdapter(model).validate_python(example)
    Score.model_validate(EXAMPLE_SCORE)
    Alert.model_validate(EXAMPLE_ALERT)


def test_what_the_board_sorts_by_are_fields_of_a_score() -> None:
    assert set(Held.__struct_fields__) <= set(Score.model_fields)


async def test_page_loads_its_own_files_under_a_strict_policy(client: httpx.AsyncClient) -> None:
    response = await client.get("/")
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for name in re.findall(r'(?:href|src)="(/page/[^"]+)"', response.text):
        assert (await client.get(name)).status_code == 200
    is_problem(await client.get("/page/nothing.js"), "not-found")
    is_problem(await client.get("/page/%2e%2e%2fapp.py"), "not-found")


def test_no_file_of_the_page_names_another_host() -> None:
    for path in PAGE.iterdir():
        found = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"')]*", path.read_text()))
        assert {one for one in found if "www.w3.org" not in one} == set(), path.name


def test_page_builds_no_markup_from_text() -> None:
    for path in PAGE.glob("*.js"):
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", path.read_text()), (
            path.name
        )


def test_every_import_of_the_page_is_a_file_of_the_page() -> None:
    for path in PAGE.glob("*.js"):
        for name in re.findall(r'from "\./([^"]+)"', path.read_text()):
            assert (PAGE / name).is_file(), f"{path.name} imports {name}"
