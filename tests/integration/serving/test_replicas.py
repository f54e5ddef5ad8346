"""Replicas of the API side by side, from their start to their end."""

import json
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from ebb.contracts.stream import CloseCode
from ebb.settings import Settings
from ebb_cli.local.parts import api as api_part
from ebb_cli.local.parts import api_url
from ebb_cli.local.ports import free_port
from tests.support.flow import wait_for
from tests.support.sender import TopicSender, make_alert, make_score
from tests.support.serving import fresh, serving

CUSTOMERS = 20_000
"""So many that a replica which starts can be seen reading them."""


def replica(settings: Settings, logs: Path) -> "subprocess.Popen[bytes]":
    """Start the API without waiting until it is ready."""
    part = api_part(settings)
    with (logs / "replica.log").open("wb") as log:
        return subprocess.Popen(part.command, env=dict(part.environment), stderr=log, stdout=log)


def readiness(settings: Settings) -> tuple[int, dict[str, Any]] | None:
    """Return the status and the body of `/readyz?verbose`, None while no server listens."""
    try:
        response = httpx.get(f"{api_url(settings)}/readyz?verbose", trust_env=False, timeout=30)
    except httpx.TransportError:
        return None
    return response.status_code, response.json()


def test_replicas_answer_the_same_and_one_that_starts_is_ready_only_when_it_has_read_all(
    stack: Settings, tmp_path: Path
) -> None:
    settings = fresh(stack)
    later = settings.model_copy(update={"api_port": free_port()})
    sender = TopicSender(settings)
    for number in range(1_200):
        # Of one partition, so that the newest thousand all lie there.
        sender.alert(make_alert("r-1", alert_id=f"r-{number}"))
    with serving(settings) as first:
        for number in range(CUSTOMERS):
            sender.score(make_score(f"r-{number}", number / CUSTOMERS))
        sender.flush()
        started = replica(later, tmp_path)
        try:
            not_ready = 0
            while (response := readiness(later)) is None or response[0] != 200:
                if response is not None:
                    assert response[0] == 503
                    not_ready += 1
                    held = next(check for check in response[1]["checks"] if check["name"] == "scores")
                    assert not held["ok"] or response[1]["checks"][1]["name"] == "kafka"
                assert started.poll() is None
                time.sleep(0.01)
            assert not_ready, "the test did not see the replica before it was ready"
            assert int(response[1]["checks"][0]["why"].split()[0].replace(",", "")) == CUSTOMERS, (
                "ready, and not caught up"
            )
            paths = [
                "/v1/customers/r-17/score",
                f"/v1/customers/r-{CUSTOMERS - 1}/score",
                "/v1/customers/at-risk?page_size=500",
                "/v1/customers/at-risk?page_size=500&band=low",
            ]
            held = response[1]["checks"][0]
            wait_for(
                "the first", lambda: (result := readiness(settings)) is not None and result[1]["checks"][0] == held
            )
            with httpx.Client(base_url=api_url(later), trust_env=False, timeout=30) as second:
                for path in paths:
                    one, other = first.client.get(path).json(), second.get(path).json()
                    # Only the staleness of a score at the request may differ.
                    assert one | {"staleness_seconds": 0} == other | {"staleness_seconds": 0}, path
                mine, yours = alerts(first.client), alerts(second)
            assert mine == yours
            assert len(mine) == 1_000
        finally:
            started.terminate()
            assert started.wait(60) == 0


def alerts(client: httpx.Client) -> list[str]:
    """Return the ids of all alerts that a replica holds, page by page."""
    listed: list[str] = []
    token: dict[str, str] = {}
    while True:
        page = client.get("/v1/alerts", params={"page_size": 500, **token}).json()
        listed += [alert["alert_id"] for alert in page["alerts"]]
        if page["next_page_token"] is None:
            return listed
        token = {"page_token": page["next_page_token"]}


def test_replica_that_still_reads_asks_streams_to_reconnect(stack: Settings, tmp_path: Path) -> None:
    settings = fresh(stack)
    sender = TopicSender(settings)
    for number in range(30_000):
        sender.score(make_score(f"r-{number}"))
    sender.flush()
    started = replica(settings, tmp_path)
    try:
        address = f"{api_url(settings).replace('http', 'ws', 1)}/v1/stream"
        codes: set[int] = set()
        while True:
            assert started.poll() is None
            try:
                with connect(address, proxy=None) as stream:
                    stream.send('{"type":"subscribe"}')
                    answer = json.loads(stream.recv(timeout=30))
                assert answer["type"] == "subscribed"
                response = readiness(settings)
                assert response is not None
                assert response[1]["checks"][0]["ok"], "a stream was opened before all was read"
                break
            except ConnectionClosed as closed:
                codes.add(closed.rcvd.code if closed.rcvd else 0)
            except OSError:
                time.sleep(0.005)
        assert codes <= {CloseCode.NOT_READY}
        assert codes, "the test did not see the replica before it was ready"
    finally:
        started.terminate()
        assert started.wait(60) == 0


def test_sigterm_ends_readiness_first_then_streams_and_answers_pending_requests(
    stack: Settings, tmp_path: Path
) -> None:
    # Time enough to see what is served meanwhile, and no heartbeat between the messages.
    settings = fresh(stack, drain_seconds=10.0, heartbeat_seconds=120.0)
    sender = TopicSender(settings)
    running = replica(settings, tmp_path)
    try:
        wait_for("the API", lambda: (readiness(settings) or (0,))[0] == 200)
        url = api_url(settings)
        with connect(f"{url.replace('http', 'ws', 1)}/v1/stream", proxy=None) as stream:
            stream.send('{"type":"subscribe","topics":["alerts"]}')
            assert json.loads(stream.recv(timeout=30))["type"] == "subscribed"
            # A request whose body is still being sent when the signal arrives and when the listener closes.
            slow = socket.create_connection(("127.0.0.1", settings.api_port), timeout=60)
            body = b'{"type":"track","userId":"c-1","event":"Seen"}'
            head = f"POST /v1/track HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
            slow.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + body[:10])
            time.sleep(0.2)
            began = time.monotonic()
            running.send_signal(signal.SIGTERM)
            wait_for("503 of /readyz", lambda: (readiness(settings) or (0,))[0] == 503, seconds=9)
            assert httpx.get(f"{url}/v1/alerts", trust_env=False, timeout=30).status_code == 200, (
                "all is served while it drains"
            )
            sender.alert(make_alert("r-1", alert_id="while-it-drains"))
            sender.flush()
            message = json.loads(stream.recv(timeout=30))
            assert message["data"]["alert_id"] == "while-it-drains"
            with pytest.raises(ConnectionClosed) as closed:
                stream.recv(timeout=30)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == CloseCode.GOING_AWAY
            assert time.monotonic() - began > 9.5, "the streams were closed before the time to drain had passed"
        finish = threading.Timer(0.5, slow.sendall, [body[10:]])
        finish.start()
        assert slow.recv(4_096).startswith(b"HTTP/1.1 200")
        slow.close()
        assert running.wait(60) == 0
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{url}/livez", trust_env=False)
    finally:
        running.kill()
        running.wait()
