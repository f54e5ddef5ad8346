"""What the REST interface promises: problem details, OpenAPI, headers, nothing from elsewhere."""

import csv
import io
import json
import re
import threading
import time
from datetime import UTC, datetime, timedelta
from html import escape
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from httpx import ASGITransport
from pydantic import TypeAdapter

from ebb.contracts.erasures import ErasureRequest, digest_of
from ebb.contracts.features import NAMES
from ebb.contracts.scores import Alert, Score
from ebb.settings import Settings
from serving.api.alerts import Alerts
from serving.api.customers import CurrentScore, Customers, ScoreResults
from serving.api.models import Models
from serving.api.page import PAGE
from serving.api.predictions import Predicted
from serving.api.types import EXAMPLE_ALERT, EXAMPLE_SCORE
from serving.app import create_app
from serving.context import Context
from serving.http.problem_types import KINDS
from serving.http.problems import Problem
from serving.projections.scores import ScoreFields
from tests.support.sender import make_alert, make_model, make_score


@pytest.fixture
def app() -> FastAPI:
    """The application, its threads not started: what is in memory is put there by the test."""
    app = create_app(Settings())
    context: Context = app.state.context
    context.feed.reader._caught_up.set()
    return app


def hold(app: FastAPI, *scores: Score) -> None:
    app.state.context.feed.scores.apply([(b"", score.model_dump_json().encode()) for score in scores])


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
    assert response.content.startswith(score.model_dump_json().encode()[:-1])
    told = response.json()
    assert 0 <= told.pop("staleness_seconds") < 60
    assert Score.model_validate(told) == score


async def test_staleness_is_the_age_of_the_very_score_that_is_told(app: FastAPI, client: httpx.AsyncClient) -> None:
    hold(app, make_score("c-1", scored_at=datetime.now(UTC) - timedelta(minutes=5)))
    told = CurrentScore.model_validate_json((await client.get("/v1/customers/c-1/score")).content)
    assert 300 <= told.staleness_seconds < 360


async def test_score_that_the_caller_has_is_not_sent_again_until_it_changes(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    hold(app, make_score("c-1", 0.5))
    tag = (await client.get("/v1/customers/c-1/score")).headers["etag"]
    for named in (tag, f'"other", {tag}', tag.removeprefix("W/"), "*"):
        again = await client.get("/v1/customers/c-1/score", headers={"If-None-Match": named})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    hold(app, make_score("c-1", 0.6))
    changed = await client.get("/v1/customers/c-1/score", headers={"If-None-Match": tag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != tag


async def test_models_and_summary_are_conditional_too(app: FastAPI, client: httpx.AsyncClient) -> None:
    registry = app.state.context.feed.models
    registry.apply(b"churn.logistic", make_model().encode())
    paths = ("/v1/models", "/v1/models/churn.logistic", "/v1/models/churn.logistic/artefact")
    tags = {path: (await client.get(path)).headers["etag"] for path in paths}
    for path, tag in tags.items():
        assert (await client.get(path, headers={"If-None-Match": tag})).status_code == 304
    registry.apply(b"churn.logistic", make_model(version=4).encode())
    for path, tag in tags.items():
        assert (await client.get(path, headers={"If-None-Match": tag})).status_code == 200


async def test_many_scores_are_looked_up_in_the_order_asked(app: FastAPI, client: httpx.AsyncClient) -> None:
    hold(app, make_score("c-1"), make_score('c"2'))
    asked_at = datetime.now(UTC)
    gone = ErasureRequest(
        erasure_id="e", customer_id=None, digest=digest_of("gone"), requested_at=asked_at, requested_by="k"
    )
    app.state.context.feed.erasures.apply([(b"e/request", gone.model_dump_json().encode())])
    asked = ["never", 'c"2', "gone", "c-1", "c-1"]
    response = await client.post("/v1/customers/scores", json={"customer_ids": asked})
    found = ScoreResults.model_validate_json(response.content).results
    assert [one.customer_id for one in found] == asked
    assert [one.status for one in found] == ["never_seen", "found", "erased", "found", "found"]
    assert [one.score.customer_id if one.score else None for one in found] == [None, 'c"2', None, "c-1", "c-1"]
    for wrong in ([], ["x"] * 1_001, [""], [1]):
        is_problem(await client.post("/v1/customers/scores", json={"customer_ids": wrong}), "invalid-request")
    app.state.context.feed.reader._caught_up.clear()
    early = await client.post("/v1/customers/scores", json={"customer_ids": asked})
    is_problem(early, "unavailable")


async def test_lists_come_as_csv_by_accept_or_by_path_whole_and_harmless(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    names = [f"c-{place:04}" for place in range(1_200)]
    wild = ["=HYPERLINK(1)", "+1", "-1", "@x", "\t=1", 'a,"b"\n=c', "\uff1d1"]
    hold(app, *(make_score(name, 0.5, trend_7d=-0.25) for name in [*names, *wild]), make_score("first", 0.9))
    hold(app, make_score("elsewhere", country="FR"))
    for path, headers in (("/v1/customers/at-risk", {"Accept": "text/csv"}), ("/v1/customers/at-risk.csv", {})):
        response = await client.get(path, params={"country": "DE", "page_size": 5}, headers=headers)
        assert response.headers["content-type"] == "text/csv; charset=utf-8"
        assert response.headers["vary"] == "Accept"
        assert 'filename="at-risk.csv"' in response.headers["content-disposition"]
        rows = list(csv.DictReader(io.StringIO(response.text, newline="")))
        assert len(rows) == 1_208
        assert (rows[0]["customer_id"], rows[0]["churn"], rows[0]["previous"]) == ("first", "0.9", "")
        told = {row["customer_id"] for row in rows}
        assert told == {"first", *names, *(f"'{one}" for one in wild if not one.startswith("a")), 'a,"b"\n=c'}
        assert {row["trend_7d"] for row in rows} == {"-0.25", ""}, "numbers stay numbers"
        assert rows[0]["reasons"].startswith("No activity")
    context: Context = app.state.context
    context.feed.alerts.add([make_alert("=1+1", alert_id="a").model_dump_json().encode()])
    for path, headers in (("/v1/alerts", {"Accept": "text/csv"}), ("/v1/alerts.csv", {})):
        [row] = csv.DictReader(io.StringIO((await client.get(path, headers=headers)).text, newline=""))
        assert (row["customer_id"], row["handling_status"], row["handling_by"]) == ("'=1+1", "open", "")
    plain = await client.get("/v1/alerts", headers={"Accept": "text/csv;q=0.5, application/json"})
    assert plain.headers["content-type"] == "application/json"


async def test_prediction_names_what_is_unknown_needed_or_impossible(client: httpx.AsyncClient) -> None:
    wrong = {"recency_day": 1, "tenure_days": -1}
    problem = is_problem(await client.post("/v1/predict", json={"features": wrong}), "invalid-request")
    assert {(one["where"], one["message"]) for one in problem.errors or []} == {
        ("body.features.recency_day", "there is no such feature"),
        ("body.features.recency_days", "is needed"),
        ("body.features.tenure_days", "cannot be below 0"),
    }
    assert all(name in (problem.hint or "") for name in NAMES)


async def test_prediction_follows_the_features_and_says_what_was_left_out(client: httpx.AsyncClient) -> None:
    async def said(**features: float) -> Predicted:
        given = {"tenure_days": 100, "active_days_total": 40, "active_hl14": 3.0, **features}
        return Predicted.model_validate_json((await client.post("/v1/predict", json={"features": given})).content)

    near, far = await said(recency_days=0.5), await said(recency_days=40)
    assert near.churn < far.churn
    assert (near.band, far.band) == ("low", "critical")
    assert far.reasons[0].feature in {"recency", "rhythm"}
    assert far.models["churn"].version == 0, "the cold start, before the first champion"
    assert set(far.left_out) == set(NAMES) - {"tenure_days", "active_days_total", "active_hl14", "recency_days"}
    asked = {"features": {"recency_days": 1, "tenure_days": 9}, "target": "purchase"}
    told = Predicted.model_validate_json((await client.post("/v1/predict", json=asked)).content)
    assert all("chance of a purchase" in reason.text for reason in told.reasons)


@pytest.mark.parametrize("customer", ["a b", "ü/1", "%", "..", "x?y", "at-risk", "%2F", "a%2Fb/", "//"])
async def test_any_opaque_id_that_a_path_can_carry_is_found(
    app: FastAPI, client: httpx.AsyncClient, customer: str
) -> None:
    hold(app, make_score(customer))
    path = "".join(f"%{byte:02X}" for byte in customer.encode())
    response = await client.get(f"/v1/customers/{path}/score")
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
    assert response.headers["allow"] == "GET, HEAD, OPTIONS"
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

    monkeypatch.setattr(app.state.context.feed.scores, "score", broken)
    response = await client.get("/v1/customers/c-1/score")
    is_problem(response, "internal")
    assert "secret" not in response.text


@pytest.mark.parametrize("kind", KINDS)
async def test_every_type_of_problem_has_a_page(client: httpx.AsyncClient, kind: str) -> None:
    response = await client.get(f"/problems/{kind}")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    about = KINDS[kind]
    assert all(escape(text) in response.text for text in (about.title, about.meaning, about.remedy, str(about.status)))
    assert f'href="/problems/{kind}"' in (await client.get("/problems")).text
    is_problem(await client.get(f"/problems/{kind}-not"), "not-found")


async def test_host_that_is_not_loopback_is_refused_without_keys(client: httpx.AsyncClient) -> None:
    is_problem(await client.get("/v1/models", headers={"Host": "evil.example"}), "host-refused")


async def test_keys_guard_the_data_and_not_the_health() -> None:
    transport = ASGITransport(create_app(Settings(api_keys="alpha-long-enough,beta-is-long-enough")))
    async with httpx.AsyncClient(transport=transport, base_url="http://shop.example") as client:
        response = await client.get("/v1/models")
        is_problem(response, "no-key")
        assert response.headers["www-authenticate"].startswith("Bearer")
        for path in ("/v1/models", "/v1/alerts", "/v1/customers/c/score", "/v1/stream/sse"):
            is_problem(await client.get(path, headers={"X-API-Key": "gamma"}), "wrong-key")
        assert (await client.get("/v1/models", headers={"X-API-Key": "beta-is-long-enough"})).status_code == 200
        assert (
            await client.get("/v1/models", headers={"Authorization": "Bearer alpha-long-enough"})
        ).status_code == 200
        is_problem(await client.get("/v1/models?api_key=alpha-long-enough"), "no-key")
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
    context.feed.models.apply(b"churn.logistic", make_model().encode())
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
    assert set(ScoreFields.__struct_fields__) <= set(Score.model_fields)


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


async def test_a_look_up_is_let_in_and_refused_as_every_other_request() -> None:
    app = create_app(Settings(api_keys="alpha-long-enough"))
    hold(app, make_score("c-1"))
    shown: list[dict[str, str]] = [
        {},
        {"X-API-Key": "alpha-long-enough"},
        {"X-API-Key": "gamma"},
        {"Authorization": "Bearer alpha-long-enough"},
        {"Authorization": "bearer alpha-long-enough"},
        {"Authorization": "Bearer gamma", "X-API-Key": "alpha-long-enough"},
        {"Authorization": "Bearer", "X-API-Key": "alpha-long-enough"},
        {"Authorization": "Basic YWxwaGE=", "X-API-Key": "alpha-long-enough"},
        {"Authorization": "Basic YWxwaGE="},
    ]
    async with httpx.AsyncClient(transport=ASGITransport(app), base_url="http://shop.example") as client:
        for headers in shown:
            look_up = await client.get("/v1/customers/c-1/score", headers=headers)
            other = await client.get("/v1/customers/at-risk", headers=headers)
            assert look_up.status_code == other.status_code, headers
            if look_up.is_error:
                assert look_up.json()["type"] == other.json()["type"], headers
        right = {"X-API-Key": "alpha-long-enough"}
        assert (await client.get("/v1/customers/c-1/score", headers=right)).headers["ratelimit"]
        long = await client.get(f"/v1/customers/{'x' * 257}/score", headers=right)
        other = await client.get(f"/v1/customers/{'x' * 257}/history", headers=right)
        assert long.status_code == other.status_code == 422
        assert long.json()["errors"] == other.json()["errors"]


async def test_livez_names_the_thread_that_died_or_hangs(app: FastAPI, client: httpx.AsyncClient) -> None:
    context: Context = app.state.context
    assert (await client.get("/livez")).json() == {"status": "ok"}
    context.feed.reader._follower._handling_since = time.monotonic() - 120
    hung = await client.get("/livez")
    assert hung.status_code == 503
    assert hung.json()["status"] == "the reader of the topics has been at one batch for 120 s"
    context.feed.reader._follower._handling_since = None
    dead = threading.Thread(target=lambda: None)
    dead.start()
    dead.join()
    context.producer._thread = dead
    assert (await client.get("/livez")).json()["status"] == "the thread of delivery reports has died"
    context.pipeline_monitor._thread = dead
    assert (await client.get("/livez")).json()["status"] == "the pipeline monitor has died"
    context.erasure_worker._follower._thread = dead
    context.producer._thread = threading.Thread()
    context.pipeline_monitor._thread = None
    answer = await client.get("/livez")
    assert (answer.status_code, answer.json()["status"]) == (503, "the erasure worker has died")
