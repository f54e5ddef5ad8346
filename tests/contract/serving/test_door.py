"""The door of the API, by construction: every route asks for the key before it reads anything of who has shown none."""

import asyncio
import gzip
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

import httpx
import orjson
import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from httpx import ASGITransport
from starlette.routing import BaseRoute
from starlette.types import Message

from ebb.settings import Settings
from serving.api.collector import UNADMITTED_BYTES
from serving.app import create_app
from serving.context import Context
from serving.http.auth import RequiresRead
from serving.http.routes import GuardedRoute, PublicRoute, check_guarded
from tests.support.sender import make_alert, make_model, make_score

KEY = "alpha-long-enough"
PUBLIC = {
    *("/", "/page/{name}", "/problems", "/problems/{kind}", "/livez", "/readyz", "/metrics"),
    *("/openapi.json", "/asyncapi.json"),
}
"""All that may be asked for without a key."""


def routes_of(routes: Iterable[BaseRoute]) -> Iterator[APIRoute]:
    for route in routes:
        if isinstance(route, APIRoute):
            yield route
        elif (included := getattr(route, "original_router", None)) is not None:
            yield from routes_of(included.routes)


APP = create_app(Settings(api_keys=KEY, allowed_origins="https://shop.example"))
ROUTES = [(route.path, method) for route in routes_of(APP.router.routes) for method in sorted(route.methods or ())]
GUARDED = [(path, method) for path, method in ROUTES if path not in PUBLIC]


@pytest.fixture
def app() -> FastAPI:
    app = create_app(Settings(api_keys=KEY, allowed_origins="https://shop.example"))
    context: Context = app.state.context
    context.feed.reader._caught_up.set()
    context.feed.scores.apply([(b"", make_score("c-1", 0.5).model_dump_json().encode())])
    context.feed.alerts.add([make_alert("c-1", alert_id="a-1").model_dump_json().encode()])
    context.feed.models.apply(b"churn.logistic", make_model().encode())
    return app


class Caller:
    """Sends a request as a server passes it on, with a body that never ends, and counts what is read of it."""

    def __init__(self, method: str, path: str, headers: dict[str, str], *, stalls: bool = False) -> None:
        raw = [(b"host", b"127.0.0.1"), *((name.encode(), value.encode()) for name, value in headers.items())]
        self._scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": quote(path).encode(),
            "root_path": "",
            "query_string": b"",
            "headers": raw,
            "client": ("192.0.2.7", 1),
            "server": ("127.0.0.1", 80),
            "state": {},
        }
        self._stalls = stalls
        self.read = 0
        self.status = 0
        self.body = b""

    async def receive(self) -> Message:
        if self._stalls and self.read:
            await asyncio.Event().wait()
        self.read += 65_536
        return {"type": "http.request", "body": b"x" * 65_536, "more_body": True}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.body += message.get("body", b"")

    async def ask(self, app: FastAPI) -> int:
        async with asyncio.timeout(60):
            await app(self._scope, self.receive, self.send)
        return self.status


def filled(path: str) -> str:
    return re.sub(r"{\w+}", "x", path)


def test_the_guarded_routes_are_most_of_them() -> None:
    assert len(GUARDED) > 30
    assert {path for path, _ in ROUTES if not path.startswith("/v1/")} == PUBLIC


@pytest.mark.parametrize(("path", "method"), GUARDED)
async def test_who_shows_no_key_or_a_wrong_one_is_refused_before_anything_is_read(path: str, method: str) -> None:
    app = create_app(Settings(api_keys=KEY))
    wrong: tuple[dict[str, str], ...] = (
        {"x-api-key": "gamma-long-enough"},
        {"authorization": "Bearer gamma", "content-length": str(10**12), "expect": "100-continue"},
        {"authorization": "Basic Z2FtbWE6", "content-type": "application/json", "content-encoding": "gzip"},
        {"content-length": str(10**12)},
    )
    for headers in wrong:
        caller = Caller(method, filled(path), headers)
        assert await caller.ask(app) == 401, headers
        assert caller.read == 0, headers


@pytest.mark.parametrize(("path", "method"), GUARDED)
async def test_body_without_end_and_without_a_key_is_hardly_read(path: str, method: str) -> None:
    caller = Caller(method, filled(path), {"content-type": "application/json"})
    assert await caller.ask(create_app(Settings(api_keys=KEY))) == 401
    # The collector takes keys that pages show in the body, and so must look for one.
    assert caller.read <= (UNADMITTED_BYTES + 65_536 if method == "POST" and b"no-key" in caller.body else 0)
    assert caller.read == 0 or path in {f"/v1/{name}" for name in ("track", "identify", "page", "screen", "group")} | {
        f"/v1/{name}" for name in ("batch", "t", "i", "p", "s", "g", "b")
    }


async def test_who_sends_a_body_for_ever_makes_room_for_the_next(app: FastAPI, client: httpx.AsyncClient) -> None:
    context: Context = app.state.context
    now = 1_000.0
    context.waiting_bodies._now = lambda: now
    slow = [Caller("POST", "/v1/t", {}, stalls=True) for _ in range(32)]
    tasks = [asyncio.create_task(one.ask(app)) for one in slow]
    while len(context.waiting_bodies) < 32:
        await asyncio.sleep(0.01)
    now += 5
    last = Caller("POST", "/v1/t", {}, stalls=True)
    tasks.append(asyncio.create_task(last.ask(app)))
    assert await tasks[0] == 429
    assert len(context.waiting_bodies) == 32
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert len(context.waiting_bodies) == 0


def test_route_that_is_neither_guarded_nor_public_by_intention_does_not_start() -> None:
    async def endpoint() -> None:
        """Do nothing."""

    plain, twice = APIRouter(), APIRouter(route_class=PublicRoute, dependencies=[RequiresRead])
    plain.add_api_route("/v1/new", endpoint)
    with pytest.raises(TypeError, match="/v1/new needs"):
        check_guarded(plain)
    with pytest.raises(TypeError, match="is public and requires"):
        twice.add_api_route("/v1/new", endpoint)
    with pytest.raises(TypeError, match="require one scope"):
        APIRouter(route_class=GuardedRoute).add_api_route("/v1/new", endpoint)


async def test_details_of_readiness_are_for_who_has_a_key_that_may_read(client: httpx.AsyncClient) -> None:
    assert "checks" not in (await client.get("/readyz")).json()
    assert (await client.get("/readyz?verbose")).status_code == 401
    assert (await client.get("/readyz?verbose=1")).status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        b'{"batch":[' + b"[]," * 1_300_000 + b"1]}",
        b'{"batch":[' + b"{}," * 1_300_000 + b"1]}",
        b'{"x":"' + b"0" * 10_000_000 + b'"}',
        gzip.compress(b"{}") * 500,
    ],
    ids=["arrays", "objects", "zeros", "members"],
)
async def test_small_gzip_that_is_large_unpacked_is_refused_with_and_without_a_key(
    client: httpx.AsyncClient, body: bytes
) -> None:
    packed = body if body[:2] == b"\x1f\x8b" else gzip.compress(body)
    assert len(packed) < 20_000
    headers = {"Content-Encoding": "gzip"}
    assert (await client.post("/v1/batch", content=packed, headers=headers)).status_code == 401
    known = await client.post("/v1/batch", content=packed, headers={**headers, "X-API-Key": KEY})
    assert known.status_code in {413, 422}


async def test_json_that_takes_long_to_parse_or_is_none_is_refused_everywhere(client: httpx.AsyncClient) -> None:
    headers = {"X-API-Key": KEY, "Content-Type": "application/json"}
    arrays = b"[" + b"[]," * 300_000 + b"1]"
    wrongs = (b'{"customer_ids":["\\ud800"]}', b'{"\\ud800":1}', b"[" * 15_000, b'{"customer_ids":NaN}', b"\xff", b"{")
    for path in ("/v1/customers/scores", "/v1/predict", "/v1/alerts/a-1/snooze", "/v1/alerts/a-1/outcome"):
        assert (await client.post(path, content=arrays, headers=headers)).status_code == 413, path
        for wrong in wrongs:
            response = await client.post(path, content=wrong, headers=headers)
            assert response.status_code == 422, (path, wrong[:40])


async def test_refusal_sends_back_little_of_what_was_sent(app: FastAPI, client: httpx.AsyncClient) -> None:
    headers = {"X-API-Key": KEY}
    too_many = {"features": {f"{number:x}": "x" for number in range(60_000)}}
    assert (await client.post("/v1/predict", content=orjson.dumps(too_many), headers=headers | JSON)).status_code == 413
    many = {"features": {f"{number:x}": "x" for number in range(10_000)}}
    bodies: list[Any] = [many, {"features": {"x" * 900_000: 1}}, {"x" * 900_000: 1}, {"target": "y" * 900_000}]
    for body in bodies:
        response = await client.post("/v1/predict", content=orjson.dumps(body), headers=headers | JSON)
        assert response.status_code == 422
        assert len(response.content) < 50_000
    for path in ("/" + "ü" * 30_000, f"/page/{'x' * 30_000}", f"/problems/{'x' * 30_000}"):
        caller = Caller("GET", path, {})
        assert await caller.ask(app) == 404
        assert len(caller.body) < 10_000


JSON = {"Content-Type": "application/json"}
GETS = [
    *("/v1/customers/c-1/score", "/v1/customers/at-risk", "/v1/customers/at-risk.csv", "/v1/alerts", "/v1/alerts.csv"),
    *("/v1/alerts/a-1", "/v1/models", "/v1/models/churn.logistic", "/v1/models/churn.logistic/artefact"),
    *(
        "/v1/erasures/none",
        "/v1/customers/none/score",
        "/v2/none",
        "/",
        "/page/accuracy_lines.js",
        "/problems",
        "/problems/no-key",
    ),
    *("/livez", "/readyz", "/openapi.json", "/asyncapi.json", "/v1/customers/at-risk?page_size=0"),
]


@pytest.mark.parametrize("path", GETS)
async def test_head_answers_as_get_does_without_a_body(client: httpx.AsyncClient, path: str) -> None:
    client.headers["X-API-Key"] = KEY
    got, head = await client.get(path), await client.head(path)
    assert (head.status_code, head.content) == (got.status_code, b"")
    varying = {"ratelimit", "content-length"} if path.endswith("/score") else {"ratelimit"}
    assert {n: v for n, v in head.headers.items() if n not in varying} == {
        n: v for n, v in got.headers.items() if n not in varying
    }
    tag = got.headers.get("etag")
    if tag:
        again = await client.head(path, headers={"If-None-Match": tag})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)


async def test_head_of_the_stream_opens_none(app: FastAPI, client: httpx.AsyncClient) -> None:
    head = await client.head("/v1/stream/sse", headers={"X-API-Key": KEY})
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"].startswith("text/event-stream")
    assert app.state.context.hub.streams == 0
    assert (await client.head("/v1/stream/sse")).status_code == 401


@pytest.mark.parametrize(("path", "method"), [one for one in ROUTES if one[1] != "HEAD"])
async def test_method_that_a_path_does_not_take_is_405_and_allow_names_those_it_takes(path: str, method: str) -> None:
    transport = ASGITransport(APP, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        refused = await client.request("PATCH", filled(path))
        assert refused.status_code == 405
        allowed = set(refused.headers["allow"].split(", "))
        assert allowed >= {method, "OPTIONS"} | ({"HEAD"} if method == "GET" else set())
        options = await client.options(filled(path))
        assert (options.status_code, options.content) == (204, b"")
        assert set(options.headers["allow"].split(", ")) == allowed
        assert (await client.options("/v2/none")).status_code == 404


async def test_path_of_several_routes_names_the_methods_of_all(client: httpx.AsyncClient) -> None:
    assert (await client.options("/v1/customers/at-risk")).headers["allow"] == "GET, HEAD, DELETE, OPTIONS"


async def test_pages_of_allowed_origins_may_send_and_see_what_they_need(client: httpx.AsyncClient) -> None:
    asked = "authorization,x-api-key,content-type,content-encoding,if-none-match,last-event-id"
    preflight = {"Access-Control-Request-Headers": asked}
    for path, method in (("/v1/models", "GET"), ("/v1/models", "HEAD"), ("/v1/track", "POST"), ("/v1/x", "DELETE")):
        ask = {**preflight, "Access-Control-Request-Method": method}
        answer = await client.options(path, headers={"Origin": "https://shop.example", **ask})
        assert answer.status_code == 200, answer.text
        assert answer.headers["access-control-allow-origin"] == "https://shop.example"
        assert method in answer.headers["access-control-allow-methods"]
        other = await client.options(path, headers={"Origin": "https://evil.example", **ask})
        assert "access-control-allow-origin" not in other.headers
    seen = await client.get("/v1/models", headers={"Origin": "https://shop.example", "X-API-Key": KEY})
    exposed = {name.strip().lower() for name in seen.headers["access-control-expose-headers"].split(",")}
    safelisted = {"cache-control", "content-language", "content-length", "content-type", "expires", "last-modified"}
    security = {"content-security-policy", "cross-origin-opener-policy", "cross-origin-resource-policy", "vary"} | {
        *("permissions-policy", "referrer-policy", "x-content-type-options", "x-frame-options"),
    }
    ours = {name for name in seen.headers if not name.startswith("access-control-")} - safelisted - security
    assert ours <= exposed, "what a client needs of our headers"
    assert {"etag", "retry-after", "ratelimit", "location", "content-disposition"} <= exposed


async def test_tags_are_compared_as_http_says(client: httpx.AsyncClient) -> None:
    client.headers["X-API-Key"] = KEY
    tag = (await client.get("/v1/models")).headers["etag"]
    for named in ("*", tag, f"W/{tag}", f'"a,b" , {tag}', f'W/"x",W/{tag}'):
        assert (await client.get("/v1/models", headers={"If-None-Match": named})).status_code == 304, named
    twice = [("If-None-Match", '"x"'), ("If-None-Match", tag)]
    assert (await client.get("/v1/models", headers=twice)).status_code == 304
    for other in ("", '"x"', tag.strip('"'), "W/*", f"{tag[:-1]}"):
        assert (await client.get("/v1/models", headers={"If-None-Match": other})).status_code == 200, other


async def test_parts_and_encodings_are_not_sent_and_the_whole_is(client: httpx.AsyncClient) -> None:
    client.headers["X-API-Key"] = KEY
    for path in ("/", "/page/accuracy_lines.js", "/v1/models", "/openapi.json"):
        whole = await client.get(path)
        for headers in (
            {"Range": "bytes=0-3"},
            {"Range": "bytes=" + ",".join(f"{n}-{n}" for n in range(500))},
            {"Accept-Encoding": "gzip;q=0, identity;q=0"},
            {"Accept-Encoding": "*;q=0"},
        ):
            answer = await client.get(path, headers=headers)
            assert (answer.status_code, answer.content) == (200, whole.content)
            assert "content-encoding" not in answer.headers


@pytest.mark.parametrize(
    ("version", "hosts", "expected"),
    [
        ("1.1", [], 400),
        ("1.0", [], 200),
        ("1.0", ["127.0.0.1"], 200),
        ("1.1", ["127.0.0.1", "127.0.0.1"], 400),
        ("1.0", ["127.0.0.1", "evil.example"], 400),
        ("1.1", ["a@127.0.0.1"], 400),
        ("1.1", ["127.0.0.1/x"], 400),
        ("1.1", ["127.0.0.1 x"], 400),
        ("1.1", ["x" * 300], 400),
        ("1.1", ["[::1]:8000"], 200),
        ("1.1", ["evil.example"], 421),
        ("1.0", ["evil.example"], 421),
    ],
)
async def test_host_is_given_once_and_is_a_name(version: str, hosts: list[str], expected: int) -> None:
    caller = Caller("GET", "/livez", {})
    caller._scope["http_version"] = version
    caller._scope["headers"] = [(b"host", host.encode()) for host in hosts]
    app = create_app(Settings())
    assert await caller.ask(app) in ({expected, 503} if expected == 200 else {expected})
    if expected == 400:
        assert json.loads(caller.body)["type"] == "/problems/malformed-request"


async def test_methods_of_any_name_are_one_label(client: httpx.AsyncClient) -> None:
    for method in ("PROPFIND", "PATCH", "MKCOL", "BREW"):
        await client.request(method, "/v1/models")
    text = (await client.get("/metrics")).text
    assert 'method="other",route="/v1/models",status="405"' in text
    assert not {"PROPFIND", "MKCOL", "BREW"} & set(re.findall(r'method="(\w+)"', text))
