"""The streams of a running API: WebSocket and server-sent events, over a real broker."""

import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import psutil
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from ebb.contracts.scores import Alert, Score
from ebb.contracts.stream import MAX_CLIENT_BYTES, MESSAGES_PER_10_SECONDS, CloseCode
from ebb.settings import Settings
from tests.support.flow import wait_for
from tests.support.sender import make_alert, make_score
from tests.support.serving import Api, Listener, fresh, serving

STREAMS = 8
"""Streams of the guarded API: more than a test leaves behind, for they are counted out a moment after their close."""


@pytest.fixture(scope="module")
def api(stack: Settings) -> Iterator[Api]:
    with serving(fresh(stack, heartbeat_seconds=1.0)) as running:
        yield running


@pytest.fixture(scope="module")
def guarded(stack: Settings) -> Iterator[Api]:
    """An API that requires a key, allows one further origin, and accepts a few streams."""
    changes = {"api_keys": "the-right-key-of-all", "allowed_origins": "https://shop.example", "stream_clients": STREAMS}
    with serving(fresh(stack, **changes)) as running:
        yield running


def closed(connection: ClientConnection, seconds: float = 30) -> tuple[int, list[dict[str, Any]]]:
    """Read until the server closes; return its code and the messages before."""
    received: list[dict[str, Any]] = []
    while True:
        try:
            received.append(json.loads(connection.recv(timeout=seconds)))
        except ConnectionClosed:
            return connection.close_code or 0, received


def test_subscriber_gets_scores_and_alerts_as_they_are_on_the_topics(api: Api) -> None:
    listener = api.subscribed()
    assert listener.answer["type"] == "subscribed"
    score, alert = make_score("ws-1", 0.85), make_alert("ws-1")
    api.sender.score(score)
    api.sender.alert(alert)
    api.sender.flush()
    received = {message["type"]: message for message in (listener.next(), listener.next())}
    assert Score.model_validate(received["score"]["data"]) == score
    assert Alert.model_validate(received["alert"]["data"]) == alert
    assert {message["sequence"] for message in received.values()} == {
        listener.answer["sequence"] + 1,
        listener.answer["sequence"] + 2,
    }
    listener.socket.close()


def test_filter_by_bands_at_the_top_level_lets_only_these_through(api: Api) -> None:
    listener = api.subscribed(bands=["high"])
    for churn in (0.1, 0.9, 0.7, 0.4, 0.65):
        api.sender.score(make_score("ws-2", churn))
    api.sender.flush()
    assert [listener.next()["data"]["churn"] for _ in range(2)] == [0.7, 0.65]
    listener.socket.close()


def test_filter_by_customer_country_minimum_and_topic(api: Api) -> None:
    criteria = {"customers": ["ws-3", "ws-4"], "countries": ["FR"], "minimum": 0.5}
    listener = api.subscribed(filter=criteria, topics=["scores"])
    api.sender.alert(make_alert("ws-3", country="FR", alert_id="not-wanted"))
    for customer, churn, country in (
        ("ws-3", 0.9, "DE"),
        ("ws-3", 0.4, "FR"),
        ("ws-5", 0.9, "FR"),
        ("ws-3", 0.6, "FR"),
    ):
        api.sender.score(make_score(customer, churn, country=country))
    api.sender.flush()
    message = listener.next()
    assert (message["type"], message["data"]["customer_id"], message["data"]["churn"]) == ("score", "ws-3", 0.6)
    listener.socket.close()


def test_second_subscribe_replaces_the_first(api: Api) -> None:
    listener = api.subscribed(filter={"customers": ["ws-6"]})
    listener.socket.send(json.dumps({"type": "subscribe", "filter": {"customers": ["ws-7"]}}))
    assert listener.next()["type"] == "subscribed"
    api.sender.score(make_score("ws-6", 0.5))
    api.sender.score(make_score("ws-7", 0.5))
    api.sender.flush()
    assert listener.next()["data"]["customer_id"] == "ws-7"
    listener.socket.close()


def heartbeat(listener: Listener) -> dict[str, Any]:
    """Return the next message, which must be a heartbeat."""
    message = listener.any()
    assert message["type"] == "heartbeat"
    return message


def test_heartbeats_come_and_carry_the_sequence_to_resume_from(api: Api) -> None:
    listener = api.subscribed(filter={"customers": ["nobody-at-all"]})
    api.sender.score(make_score("ws-8", 0.5))
    api.sender.flush()
    wait_for("a greater sequence", lambda: heartbeat(listener)["sequence"] > listener.answer["sequence"])
    assert heartbeat(listener)["data"]["event_time"]
    listener.socket.close()


def test_alert_written_twice_is_sent_once(api: Api) -> None:
    listener = api.subscribed(topics=["alerts"], filter={"customers": ["ws-9"]})
    for name in ("same", "same", "other"):
        api.sender.alert(make_alert("ws-9", alert_id=name))
    api.sender.flush()
    assert [listener.next()["data"]["alert_id"] for _ in range(2)] == ["same", "other"]
    listener.socket.close()


def test_resume_sends_each_missed_alert_exactly_once_over_many_disconnects(api: Api) -> None:
    request: dict[str, Any] = {"topics": ["alerts"], "filter": {"customers": ["ws-10"]}}
    listener = api.subscribed(**request)
    epoch, sequence = listener.answer["epoch"], listener.answer["sequence"]
    seen: list[str] = []
    for cut in range(8):
        listener.socket.close()
        for number in range(3):
            api.sender.alert(make_alert("ws-10", alert_id=f"{cut}-{number}"))
        api.sender.flush()
        connection = api.socket()
        connection.send(json.dumps({"type": "resume", "epoch": epoch, "sequence": sequence, **request}))
        listener = Listener(connection)
        assert listener.answer == {
            "type": "subscribed",
            "epoch": epoch,
            "sequence": sequence,
            "resumed": True,
            "heartbeat_seconds": 1.0,
        }
        for _ in range(3 if cut % 2 else 2):
            message = listener.next()
            seen.append(message["data"]["alert_id"])
            sequence = message["sequence"]
    while len(seen) < 24:
        seen.append(listener.next()["data"]["alert_id"])
    assert seen == [f"{cut}-{number}" for cut in range(8) for number in range(3)]
    listener.socket.close()


def test_resume_from_another_run_is_unrecoverable_and_continues_from_now(api: Api) -> None:
    connection = api.socket()
    connection.send(json.dumps({"type": "resume", "epoch": "of-long-ago", "sequence": 7, "topics": ["scores"]}))
    listener = Listener(connection)
    assert listener.answer["type"] == "unrecoverable"
    assert listener.answer["hint"] == "refetch"
    assert listener.answer["epoch"] != "of-long-ago"
    api.sender.score(make_score("ws-11", 0.5))
    api.sender.flush()
    assert listener.next()["data"]["customer_id"] == "ws-11"
    connection.close()


def test_client_that_does_not_subscribe_is_closed_in_time(api: Api) -> None:
    began = time.monotonic()
    code, received = closed(api.socket())
    assert code == CloseCode.NO_SUBSCRIBE
    assert received[0]["type"] == "error"
    assert 4 < time.monotonic() - began < 25


@pytest.mark.parametrize(
    "message",
    [
        "",
        "nonsense",
        "[]",
        "{}",
        '{"type":"listen"}',
        '{"type":"subscribe","bands":["odd"]}',
        '{"type":"subscribe","x":1}',
        '{"type":"subscribe","topics":[]}',
        '{"type":"resume","epoch":"e","sequence":-1}',
        b"\x00\x01",
    ],
)
def test_message_that_is_not_of_the_protocol_is_explained_and_closed(api: Api, message: str | bytes) -> None:
    connection = api.socket()
    connection.send(message)
    code, received = closed(connection)
    assert code == CloseCode.BAD_MESSAGE
    assert received[0]["type"] == "error"
    assert received[0]["data"]["detail"]


def test_message_above_the_size_limit_is_closed_as_too_big(api: Api) -> None:
    connection = api.socket()
    connection.send(json.dumps({"type": "subscribe", "api_key": "x" * MAX_CLIENT_BYTES}))
    assert closed(connection)[0] == 1009


def test_client_that_floods_with_messages_is_closed(api: Api) -> None:
    connection = api.socket()
    for _ in range(MESSAGES_PER_10_SECONDS + 1):
        connection.send(json.dumps({"type": "subscribe", "filter": {"customers": ["nobody"]}}))
    assert closed(connection)[0] == CloseCode.TOO_MANY_MESSAGES


def test_stream_without_or_with_a_wrong_key_is_closed_and_with_the_right_one_open(guarded: Api) -> None:
    for message in ({}, {"api_key": ""}, {"api_key": "wrong"}):
        connection = guarded.socket()
        connection.send(json.dumps({"type": "subscribe", **message}))
        code, received = closed(connection)
        assert code == CloseCode.NO_KEY
        assert "the-right-key-of-all" not in json.dumps(received)
    listener = guarded.subscribed(api_key="the-right-key-of-all")
    assert listener.answer["type"] == "subscribed"
    listener.socket.close()


def test_origin_decides_whether_a_page_may_open_the_stream(guarded: Api) -> None:
    for wrong in ("https://evil.example", "null", "http://127.0.0.1:1"):
        assert closed(guarded.socket(origin=wrong))[0] == CloseCode.ORIGIN
    for right in ("https://shop.example", guarded.url):
        connection = guarded.socket(origin=right)
        connection.send(json.dumps({"type": "subscribe", "api_key": "the-right-key-of-all"}))
        assert Listener(connection).answer["type"] == "subscribed"
        connection.close()


def test_dns_rebinding_opens_no_stream_without_keys(api: Api) -> None:
    port = api.settings.api_port
    address, here = f"ws://evil.example:{port}/v1/stream", socket.create_connection(("127.0.0.1", port))
    with connect(address, sock=here, origin=Origin(f"http://evil.example:{port}"), proxy=None) as connection:
        assert closed(connection)[0] == CloseCode.ORIGIN


def test_streams_above_the_limit_are_closed_with_try_again_later(guarded: Api) -> None:
    until_streams(guarded, 0)
    held = [guarded.subscribed(api_key="the-right-key-of-all") for _ in range(STREAMS)]
    above = guarded.socket()
    above.send(json.dumps({"type": "subscribe", "api_key": "the-right-key-of-all"}))
    assert closed(above)[0] == CloseCode.FULL
    held.pop().socket.close()
    until_streams(guarded, STREAMS - 1)
    again = guarded.subscribed(api_key="the-right-key-of-all")
    for listener in (*held, again):
        listener.socket.close()


def until_streams(api: Api, count: int) -> None:
    """Wait until the API counts so many streams."""
    wait_for(f"{count} streams", lambda: f"ebb_ws_clients {count}.0\n" in api.get("/metrics").text)


def test_stalled_client_is_cut_off_and_others_lose_nothing(api: Api) -> None:
    stalled = stalled_client(api)
    listener = api.subscribed(topics=["alerts"], filter={"customers": ["ws-12"]})
    long = "x" * 2_000
    seen: list[str] = []

    def listen() -> None:
        while len(seen) < 4_000:
            seen.append(listener.next()["data"]["alert_id"])

    thread = threading.Thread(target=listen)
    thread.start()
    for number in range(4_000):
        api.sender.alert(make_alert("ws-12", alert_id=f"flood-{number}", why=long))
        if number % 1_000 == 999:
            # At the pace of the reading client, however busy the machine is: only the queue of the other one grows.
            api.sender.flush()
            wait_for("the client who reads", lambda until=number: len(seen) > until)  # type: ignore[misc]
    thread.join(60)
    assert seen == [f"flood-{number}" for number in range(4_000)]
    listener.socket.close()
    cut_off = f'ebb_ws_closed_total{{code="{int(CloseCode.SLOW)}"}} 1.0'
    wait_for("the stalled client to be closed", lambda: cut_off in api.get("/metrics").text)
    stalled.close()


def stalled_client(api: Api) -> socket.socket:
    """Open a WebSocket by hand, subscribe to everything and never read."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    connection.connect(("127.0.0.1", api.settings.api_port))
    connection.sendall(
        b"GET /v1/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    assert b"101" in connection.recv(200)
    message = b'{"type":"subscribe","topics":["alerts"]}'
    # A text frame with a mask of zeros, which leaves the payload as it is.
    connection.sendall(bytes([0x81, 0x80 | len(message), 0, 0, 0, 0]) + message)
    return connection


def test_server_sent_events_carry_the_same_messages_and_resume_by_their_id(api: Api) -> None:
    def read(headers: Mapping[str, str], count: int) -> list[tuple[str, str, dict[str, Any]]]:
        events: list[tuple[str, str, dict[str, Any]]] = []
        fields: dict[str, str] = {}
        query = {"topics": "alerts", "customer": "sse-1"}
        with api.client.stream("GET", "/v1/stream/sse", params=query, headers=headers) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            for line in answer.iter_lines():
                if line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                    continue
                if fields.get("event") != "heartbeat":
                    events.append((fields.get("event", ""), fields.get("id", ""), json.loads(fields["data"])))
                    if fields["event"] == "subscribed" and not headers:
                        for number in range(2):
                            api.sender.alert(make_alert("sse-1", alert_id=f"sse-{number}"))
                        api.sender.flush()
                fields = {}
                if len(events) == count:
                    break
        return events

    first = read({}, 2)
    assert [event for event, _, _ in first] == ["subscribed", "alert"]
    assert first[1][2]["alert_id"] == "sse-0"
    second = read({"Last-Event-ID": first[1][1]}, 2)
    assert [event for event, _, _ in second] == ["subscribed", "alert"]
    assert second[1][2]["alert_id"] == "sse-1"
    for unknown in ("other:1", "x:²", "1" * 5_000, ":", "x:-1"):  # ² is a digit that is no number
        assert read(httpx.Headers({"Last-Event-ID": unknown}, encoding="latin-1"), 1)[0][0] == "unrecoverable"


def test_sigterm_closes_streams_with_a_code_to_reconnect_and_ends_the_process(stack: Settings) -> None:
    with serving(fresh(stack)) as running:
        listeners = [running.subscribed() for _ in range(5)]
        pid = running.supervisor.pid("api")
        assert pid is not None
        process = psutil.Process(pid)
        process.terminate()
        assert [closed(listener.socket)[0] for listener in listeners] == [CloseCode.GOING_AWAY] * 5
        assert process.wait(60) == 0
        with pytest.raises(httpx.ConnectError):
            running.client.get("/livez")
