"""The door of a running API: keys made and revoked by the command line, scopes, limits, the collector behind them."""

import base64
import gzip
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from clickhouse.client import connect
from ebb.contracts.api_keys import KeyRecord, Scope, make_key
from ebb.contracts.stream import CloseCode
from ebb.kafka.producer import Publisher
from ebb.settings import Settings
from ebb_cli.local.parts import environment
from serving.http import limits as http_protocol
from serving.http.middleware import MAX_BODY_BYTES
from stream_processors.ingest.decoder import Decoder
from tests.support.flow import activity_records, wait_for
from tests.support.serving import Api, Listener, fresh, serving


@pytest.fixture(scope="module")
def api(stack: Settings) -> Iterator[Api]:
    """An API that requires keys and allows one further origin."""
    changes = {"require_key": True, "allowed_origins": "https://shop.example", "rate_limit_events": 3_000}
    with serving(fresh(stack, **changes)) as running:
        yield running


def ebb(settings: Settings, *arguments: str) -> str:
    command = [str(Path(sys.executable).with_name("ebb")), *arguments]
    done = subprocess.run(command, env=environment(settings), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def create_key(api: Api, *scopes: str) -> str:
    """Put a key on the topic, and wait until the API knows it."""
    record, key = make_key("test", [Scope(scope) for scope in scopes])
    publish(api, record)
    wait_until_known(api, key)
    return key


def wait_until_known(api: Api, key: str) -> None:
    """Wait until the API has read a key."""

    def known() -> bool:
        # Each request with an unknown key is one of the sixty refusals that an address has in a minute, and
        # beyond them the answer is another: more than one a second would use up those of the tests.
        if status(api, "GET", "/v1/models", key) in {200, 403}:
            return True
        time.sleep(1)
        return False

    time.sleep(0.3)
    wait_for("the key", known)


def publish(api: Api, record: KeyRecord) -> None:
    publisher = Publisher(api.settings)
    publisher.send(api.settings.topics.keys, key=record.id, value=record.model_dump_json().encode(), partition=0)
    publisher.flush()


def status(api: Api, method: str, path: str, key: str | None = None, **more: Any) -> int:
    headers = {**({"Authorization": f"Bearer {key}"} if key else {}), **more.pop("headers", {})}
    return api.client.request(method, path, headers=headers, **more).status_code


def call(**fields: Any) -> dict[str, Any]:
    return {"type": "track", "userId": "c-1", "event": "Product Viewed", **fields}


@pytest.fixture(scope="module")
def keys(api: Api) -> dict[str, str]:
    """One key a scope."""
    return {scope: create_key(api, scope) for scope in Scope}


def test_each_scope_opens_its_routes_and_no_other(api: Api, keys: dict[str, str]) -> None:
    for path in ("/v1/models", "/v1/alerts", "/v1/customers/at-risk"):
        assert status(api, "GET", path) == 401
        assert status(api, "GET", path, "ebb_000000000000_wrong") == 401
        assert [status(api, "GET", path, keys[scope]) for scope in Scope] == [200, 200, 403, 200]
    assert status(api, "POST", "/v1/track", json=call()) == 401
    assert [status(api, "POST", "/v1/track", keys[scope], json=call()) for scope in Scope] == [403, 403, 200, 200]
    for act in ("acknowledge", "snooze", "outcome"):
        path, body = f"/v1/alerts/none/{act}", {"snooze": {"hours": 1}, "outcome": {"outcome": "left"}}.get(act)
        assert [status(api, "POST", path, keys[scope], json=body) for scope in Scope] == [403, 404, 403, 404]
    assert status(api, "DELETE", "/v1/customers/c-1", keys["act"]) == 403


def test_streams_require_a_key_that_may_read(api: Api, keys: dict[str, str]) -> None:
    refused = api.subscribed(api_key=keys["write"])
    assert refused.answer["type"] == "error"
    assert closed(refused) == CloseCode.WRONG_SCOPE
    headers = {"Authorization": f"Bearer {keys['write']}"}
    assert api.client.get("/v1/stream/sse", headers=headers).status_code == 403


def test_key_made_and_revoked_by_the_command_line_opens_and_ends_streams_and_is_in_the_audit_log(api: Api) -> None:
    key = ebb(api.settings, "keys", "create", "a page [/y] :+1:", "--scope=read", "--days=1").splitlines()[-1]
    identity, secret = key.split("_", 2)[1:]
    wait_until_known(api, key)
    listener = api.subscribed(api_key=key)
    assert listener.answer["type"] == "subscribed"
    headers = {"Authorization": f"Bearer {key}"}
    with (
        httpx.Client(base_url=api.url, trust_env=False, timeout=60) as client,
        client.stream("GET", "/v1/stream/sse", headers=headers) as events,
    ):
        assert f"Key {identity} (a page [/y] :+1:) is revoked" in ebb(api.settings, "keys", "revoke", identity)
        assert "subscribed" in "".join(events.iter_text()), "the event stream ends by itself"
    assert closed(listener) == CloseCode.KEY_ENDED
    assert api.client.get("/v1/models", headers=headers).json()["type"] == "/problems/ended-key"
    again = api.socket()
    again.send(json.dumps({"type": "subscribe", "api_key": key}))
    assert json.loads(again.recv(timeout=30))["data"]["code"] == str(int(CloseCode.NO_KEY))
    listed = ebb(api.settings, "keys", "list")
    assert identity in listed
    assert "a page [/y] :+1:" in listed
    assert secret not in listed
    client_ = connect(api.settings)
    text = "SELECT action, actor, details FROM v_audit WHERE subject = {subject:String} ORDER BY acted_at"
    rows = client_.query(text, parameters={"subject": identity}).result_rows
    client_.close()
    assert [row[0] for row in rows] == ["key.create", "key.revoke"]
    assert all(row[1].startswith("cli:") for row in rows)
    assert json.loads(rows[0][2]) == {"name": "a page [/y] :+1:", "scopes": ["read"]}
    assert secret not in str(rows)


def closed(listener: Listener) -> int:
    """Read until the server closes; return its code."""
    for _ in range(100):
        try:
            listener.socket.recv(timeout=30)
        except ConnectionClosed:
            break
    return listener.socket.close_code or 0


def test_key_that_expires_is_refused_from_that_moment_and_ends_its_streams(api: Api) -> None:
    record, key = make_key("short", [Scope.READ], datetime.now(UTC) + timedelta(seconds=15))
    publish(api, record)
    wait_until_known(api, key)
    assert closed(api.subscribed(api_key=key)) == CloseCode.KEY_ENDED
    assert status(api, "GET", "/v1/models", key) == 401


def test_pages_of_other_origins_change_nothing_and_listed_ones_may(api: Api, keys: dict[str, str]) -> None:
    for origin, expected in (("https://evil.example", 403), ("null", 403), ("https://shop.example", 200)):
        answer = api.client.post(
            "/v1/track",
            content=json.dumps({**call(), "writeKey": keys["write"]}),
            headers={"Origin": origin, "Content-Type": "text/plain"},
        )
        assert answer.status_code == expected
    preflight = {
        "Origin": "https://shop.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    assert api.client.options("/v1/track", headers=preflight).status_code == 200


def test_responses_have_quota_and_security_headers(api: Api, keys: dict[str, str]) -> None:
    answer = api.client.get("/v1/models", headers={"X-API-Key": keys["read"]})
    assert answer.headers["ratelimit-policy"] == '"requests";q=60000;w=60'
    assert answer.headers["ratelimit"].startswith('"requests";r=59')
    assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert answer.headers["x-content-type-options"] == "nosniff"
    page = api.client.get("/")
    assert page.headers.get_list("content-security-policy") == [page.headers["content-security-policy"]]
    assert "script-src 'self'" in page.headers["content-security-policy"]


def test_collector_above_its_quota_is_429_with_retry_after(api: Api) -> None:
    key = create_key(api, "write")
    batch = {"batch": [call(event="x")] * 2_000, "writeKey": key}
    first = api.client.post("/v1/batch", json=batch)
    assert first.status_code == 200
    assert '"events";r=1000' in first.headers["ratelimit"]
    second = api.client.post("/v1/batch", json=batch)
    assert second.status_code == 429
    assert int(second.headers["retry-after"]) > 0
    assert second.json()["type"] == "/problems/too-many-requests"


def test_body_and_head_have_their_limits(api: Api, keys: dict[str, str]) -> None:
    large = b"x" * (MAX_BODY_BYTES + 1)
    headers = {"X-API-Key": keys["write"]}
    assert api.client.post("/v1/batch", content=large, headers=headers).json()["type"] == "/problems/too-large"

    def pieces() -> Iterator[bytes]:
        for _ in range(20):
            yield b"x" * 65_536

    assert api.client.post("/v1/batch", content=pieces(), headers=headers).status_code == 413
    assert api.client.get("/livez", headers={"X-Long": "x" * 40_000}).status_code == 431
    assert api.client.get("/livez", headers={"X-Long": "x" * 20_000}).status_code == 200


def raw(api: Api, *sent: bytes) -> bytes:
    """Send bytes, then read until the server closes."""
    with socket.create_connection(("127.0.0.1", api.settings.api_port), timeout=30) as peer:
        for piece in sent:
            peer.sendall(piece)
            time.sleep(0.01)
        answer = b""
        while piece := peer.recv(65_536):
            answer += piece
        return answer


def test_head_without_end_is_cut_off(api: Api) -> None:
    # The last chunk exceeds the limit: a client that sends more after the response may find the connection closed.
    pieces = [b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: ", *[b"x" * 8_192] * 4]
    assert raw(api, *pieces).startswith(b"HTTP/1.1 431")


async def test_missing_head_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio  # noqa: PLC0415

    import uvicorn  # noqa: PLC0415

    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.3)

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    config = uvicorn.Config(app, http=http_protocol.LimitedHttpProtocol, log_config=None, lifespan="off", port=0)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    for begun in (b"", b"GET / HTTP/1.1\r\nHost: x\r\nX-"):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(begun)
        assert (await asyncio.wait_for(reader.read(), 30)).startswith(b"HTTP/1.1 408")
        writer.close()

    async def partial_head() -> asyncio.TimerHandle:
        """Wait until the server has read the beginning of a head; return what will cut it off."""
        async with asyncio.timeout(30):
            while True:
                for connection in server.server_state.connections:
                    assert isinstance(connection, http_protocol.LimitedHttpProtocol)
                    if connection._head_bytes and connection._timer:
                        return connection._timer
                await asyncio.sleep(0.01)

    # So long that no pause of this machine uses it up: when it would be over is looked at instead.
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 60.0)
    timers: list[asyncio.TimerHandle] = []
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(3):  # an active connection stays open, and each head has its own timeout
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n")
        timers.append(await partial_head())
        writer.write(b"\r\n")
        assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)).startswith(b"HTTP/1.1 200")
        assert timers[-1].cancelled()
        await asyncio.sleep(0.05)
    assert timers[0].when() < timers[1].when() < timers[2].when()
    writer.close()
    server.should_exit = True
    await task


def test_calls_as_sdks_send_them_arrive_as_events_that_workers_accept(api: Api, keys: dict[str, str]) -> None:
    ahead = datetime.now(UTC) + timedelta(hours=3)
    sent = [
        call(messageId="sdk-1", event="Order Completed", properties={"revenue": 49.9, "currency": "EUR"}),
        {"type": "identify", "userId": "c-2", "messageId": "sdk-2", "traits": {"email": "jo@example.com"}},
        {"type": "page", "anonymousId": "a-3", "messageId": "sdk-3", "properties": {"path": "/shoes"}},
        {"type": "screen", "anonymousId": "a-4", "messageId": "sdk-4", "name": "Basket"},
        {"type": "group", "userId": "c-5", "messageId": "sdk-5", "groupId": "g"},
        {"type": "alias", "userId": "c-6", "previousId": "a-6", "messageId": "sdk-6"},
        call(messageId="sdk-7", userId=None),
        call(messageId="sdk-8", timestamp="2026-03-01T10:00:00"),
    ]
    for payload in sent[:6]:
        payload["timestamp"] = (ahead - timedelta(minutes=5)).isoformat()
    body = {
        "batch": sent,
        "sentAt": ahead.isoformat(),
        "context": {"library": {"name": "analytics-python"}, "location": {"country": "NL"}},
    }
    headers = {
        "Authorization": "Basic " + base64.b64encode(f"{keys['write']}:".encode()).decode(),
        "Content-Type": "application/json",
        "Content-Encoding": "gzip",
        "User-Agent": "analytics-python/2.3",
    }
    answer = api.client.post("/v1/batch", content=gzip.compress(json.dumps(body).encode()), headers=headers)
    assert answer.status_code == 200
    payload = answer.json()
    assert (payload["success"], payload["accepted"], payload["refused"]) == (True, 5, 3)
    reasons = {verdict["message_id"]: verdict["reason"] for verdict in payload["verdicts"]}
    assert reasons == {
        **{f"sdk-{n}": None for n in range(1, 6)},
        "sdk-6": "unknown_call",
        "sdk-7": "no_customer",
        "sdk-8": "naive_time",
    }
    batches = [Decoder(api.settings).decode(records) for records in activity_records(api.settings).values() if records]
    assert not [refused for batch in batches for refused in batch.refused]
    events = {event["event_id"]: event for batch in batches for event in batch.events.to_pylist()}
    arrived = {name: events[name] for name in events if name.startswith("sdk-")}
    assert {name: (event["customer_id"], event["type"]) for name, event in arrived.items()} == {
        "sdk-1": ("c-1", "order_completed"),
        "sdk-2": ("c-2", "identify"),
        "sdk-3": ("a-3", "page"),
        "sdk-4": ("a-4", "screen"),
        "sdk-5": ("c-5", "group"),
    }
    for event in arrived.values():
        assert abs((datetime.now(UTC) - timedelta(minutes=5) - event["occurred_at"]).total_seconds()) < 60, (
            "clock corrected"
        )
    assert json.loads(arrived["sdk-1"]["body"])["properties"] == {
        "revenue": 49.9,
        "amount": 49.9,
        "currency": "EUR",
        "country": "NL",
    }
    assert "jo@" not in arrived["sdk-2"]["body"]


def test_browser_sdk_sends_plain_text_with_the_key_in_the_body_to_a_short_path(api: Api, keys: dict[str, str]) -> None:
    body = {"writeKey": keys["write"], "userId": "c-9", "event": "Signed In", "messageId": "ajs-next-1"}
    answer = api.client.post("/v1/t", content=json.dumps(body), headers={"Content-Type": "text/plain"})
    assert answer.json()["accepted"] == 1
    refused = api.client.post("/v1/t", json={**body, "userId": "jo@example.com"})
    assert refused.status_code == 422
    assert refused.json()["type"] == "/problems/event-refused"
    assert refused.json()["errors"][0]["reason"] == "personal_id"


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"batch": 1}', b"\xff"])
def test_invalid_batch_is_refused_and_only_callers_with_a_key_learn_why(
    api: Api, keys: dict[str, str], body: bytes
) -> None:
    assert api.client.post("/v1/batch", content=body).status_code == 401
    answer = api.client.post("/v1/batch", content=body, headers={"X-API-Key": keys["write"]})
    assert answer.status_code == 422
    assert answer.json()["detail"]
