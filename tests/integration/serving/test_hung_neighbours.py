"""A neighbour that hangs, stopped and not ended: what needs it says so within seconds, and nothing else waits."""

import asyncio
import threading
import time

import httpx

from ebb.settings import Settings
from ebb_cli.local.supervisor import Supervisor
from tests.support.flow import wait_for
from tests.support.sender import make_score
from tests.support.serving import Api, fresh, serving
from tests.support.stopping import stopped

MANY = 60
"""More than the threads that FastAPI has for all its routes (40)."""
HISTORY = ("/v1/summary", "/v1/trends", "/v1/drift", "/v1/promotions", "/v1/customers/c-1/history", "/readyz?verbose")


async def ask_all(api: Api, paths: list[str]) -> list[httpx.Response]:
    """Ask for all paths at once."""
    async with httpx.AsyncClient(base_url=api.url, trust_env=False, timeout=90, limits=httpx.Limits()) as client:
        return list(await asyncio.gather(*(client.get(path) for path in paths)))


def clickhouse_check(api: Api) -> bool:
    checks = api.get("/readyz", verbose="").json()["checks"]
    return next(bool(check["ok"]) for check in checks if check["name"] == "clickhouse")


def test_a_clickhouse_that_hangs_holds_up_no_route_that_does_not_need_it(
    stack: Settings, stack_supervisor: Supervisor
) -> None:
    with serving(fresh(stack)) as api:
        api.sender.score(make_score("c-1", 0.9))
        api.sender.flush()
        wait_for("the score", lambda: api.get("/v1/customers/c-1/score").status_code == 200)
        wait_for("history", lambda: api.get("/v1/summary").json()["unavailable"] == [])
        with stopped(stack_supervisor, "clickhouse"):
            time.sleep(2.5)  # what was answered before is answered from memory that long
            answered: list[httpx.Response] = []
            asking = threading.Thread(
                target=lambda: answered.extend(
                    asyncio.run(ask_all(api, [HISTORY[i % len(HISTORY)] for i in range(MANY)]))
                )
            )
            asking.start()
            time.sleep(0.5)
            # Each of these needs a thread or the event loop, and none may wait for those.
            quick = asyncio.run(ask_all(api, ["/v1/customers/at-risk", "/readyz", "/livez", "/v1/alerts"] * 10))
            assert {response.status_code for response in quick} == {200}
            assert asking.is_alive() or answered
            asking.join(60)
            assert len(answered) == MANY, "requests for history wait for a ClickHouse that hangs"
            for response in answered:
                path = response.url.path
                if path in {"/v1/summary", "/v1/trends", "/readyz"}:
                    assert response.status_code == 200
                else:
                    assert response.status_code == 503
                    assert response.headers["retry-after"]
            named = [r.json()["unavailable"] for r in answered if r.url.path == "/v1/summary"]
            assert named[-1] == ["accuracy", "calibration", "dead_letters", "labels"]
            # It is known to be away: nobody waits for it any more, in whatever number they come.
            later = asyncio.run(ask_all(api, ["/v1/summary"] * MANY))
            assert {response.status_code for response in later} == {200}
            assert max(response.elapsed.total_seconds() for response in later) < 10
            assert not clickhouse_check(api)
            assert api.client.delete("/v1/customers/c-2").status_code == 503  # no erasure without its audit entry
        wait_for("history again", lambda: api.get("/v1/customers/c-1/history").status_code == 200)
        wait_for("the whole summary", lambda: api.get("/v1/summary").json()["unavailable"] == [])
        assert clickhouse_check(api)


def test_a_kafka_that_hangs_leaves_what_is_in_memory_and_is_told_within_seconds(
    stack: Settings, stack_supervisor: Supervisor
) -> None:
    event = {"userId": "c-1", "event": "view", "messageId": "m-1"}
    with serving(fresh(stack)) as api:
        api.sender.score(make_score("c-1", 0.9))
        api.sender.flush()
        wait_for("the score", lambda: api.get("/v1/customers/c-1/score").status_code == 200)
        with stopped(stack_supervisor, "kafka"):
            wait_for("/readyz to say so", lambda: api.get("/readyz").status_code == 503)
            answers = asyncio.run(ask_all(api, ["/v1/customers/at-risk", "/v1/customers/c-1/score", "/livez"] * MANY))
            assert {response.status_code for response in answers} == {200}
            assert api.client.post("/v1/track", json=event).status_code == 503
            assert api.get("/v1/summary").status_code == 200
        wait_for("/readyz to say that it is back", lambda: api.get("/readyz").status_code == 200)
        wait_for("the collector", lambda: api.client.post("/v1/track", json=event).status_code == 200)
