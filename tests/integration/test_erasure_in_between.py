"""What is made about a customer between the request and the erasure, many erasures at once, and what hinders them.

Over a running API, a real broker and a real ClickHouse; worker and learner are played.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from clickhouse.client import connect
from clickhouse.store import Store
from ebb.contracts.erasures import (
    ERASED_AT_MS,
    ErasurePart,
    ErasurePartReport,
    ErasureRequest,
    digest_of,
    key_of,
    partition_of,
)
from ebb.kafka.producer import Publisher
from ebb.settings import Settings
from ebb_cli.local.supervisor import Supervisor
from tests.support.flow import wait_for
from tests.support.rows import table_rows
from tests.support.sender import make_alert, make_score
from tests.support.serving import Api, fresh, serving


@pytest.fixture(scope="module")
def api(stack: Settings) -> Iterator[Api]:
    with serving(fresh(stack)) as running:
        yield running


def publish(settings: Settings, part: ErasurePart, reports: dict[str, ErasureRequest | ErasurePartReport]) -> None:
    """Write a record of several erasures, as their parts do."""
    publisher = Publisher(settings)
    for identity, report in reports.items():
        partition = partition_of(identity, settings.partitions)
        body = report.model_dump_json().encode()
        publisher.send(settings.topics.erasures, key=key_of(identity, part), value=body, partition=partition)
    publisher.flush()


def worker_report(customer: str, erased_at: datetime) -> ErasurePartReport:
    details = {"partition": 0, "offset": 9, "event_time_ms": 2**42, ERASED_AT_MS: int(erased_at.timestamp() * 1_000)}
    return ErasurePartReport(at=datetime.now(UTC), customer_id=customer, details=details)


def mutations(settings: Settings, *, open_only: bool = False) -> int:
    client = connect(settings)
    query = "SELECT count() FROM system.mutations WHERE database = {name:String} AND (is_done = 0 OR {all:Bool})"
    count = client.query(query, parameters={"name": settings.database, "all": not open_only}).result_rows[0][0]
    client.close()
    return int(count)


def scores(settings: Settings) -> int:
    client = connect(settings)
    count = client.query("SELECT count() FROM scores").result_rows[0][0]
    client.close()
    return int(count)


def test_what_is_made_before_the_worker_erases_is_shown_nowhere_and_what_follows_is_of_a_new_customer(
    api: Api,
) -> None:
    listener = api.subscribed(topics=["scores", "alerts"])
    since = {"epoch": listener.answer["epoch"], "sequence": listener.answer["sequence"]}
    store = Store(api.settings)
    api.sender.score(make_score("leaving", 0.99, trend_7d=0.5))
    api.sender.score(make_score("staying", 0.10, trend_7d=-0.2))
    first = make_alert("leaving", alert_id="first")
    api.sender.alert(first)
    api.sender.flush()
    assert [listener.next()["data"]["customer_id"] for _ in range(3)].count("leaving") == 2
    summary = api.get("/v1/summary")
    assert summary.json()["customers"] == 2
    score_tag = api.get("/v1/customers/leaving/score").headers["etag"]

    identity = api.client.delete("/v1/customers/leaving").json()["erasure_id"]

    def hidden() -> None:
        tagged = {"If-None-Match": score_tag}
        assert api.client.get("/v1/customers/leaving/score", headers=tagged).status_code == 404
        assert api.get("/v1/customers/leaving/history").json()["type"] == "/problems/erased-customer"
        found = api.client.post("/v1/customers/scores", json={"customer_ids": ["leaving"]}).json()["results"]
        assert found[0]["status"] == "erased"
        told = api.client.get("/v1/summary", headers={"If-None-Match": summary.headers["etag"]})
        assert told.status_code == 200
        assert told.json()["customers"] == 1
        paths = ("/v1/summary", "/v1/customers/at-risk", "/v1/customers/at-risk.csv", "/v1/alerts", "/v1/alerts.csv")
        for path in paths:
            assert "leaving" not in api.get(path).text, path
        for alert in ("first", "between"):
            assert api.get(f"/v1/alerts/{alert}").status_code == 404
            assert api.client.post(f"/v1/alerts/{alert}/acknowledge").status_code == 404

    hidden()
    # The worker has not met the record yet: it scores on, and raises an alert; rows reach ClickHouse too.
    api.sender.score(make_score("leaving", 0.95))
    between = make_alert("leaving", 0.95, alert_id="between")
    api.sender.alert(between)
    api.sender.score(make_score("staying", 0.11))
    api.sender.flush()
    store.insert("scores", table_rows("scores", [{"customer_id": "leaving", "scored_at": datetime.now(UTC)}]))
    alert_row = {**between.model_dump(mode="python"), "band": str(between.band), "previous_band": "high"}
    store.insert("alerts", table_rows("alerts", [alert_row]))
    assert listener.next()["data"]["customer_id"] == "staying", "nothing of the customer came before it"
    hidden()
    resumed = api.socket()
    resumed.send(json.dumps({"type": "resume", "topics": ["scores", "alerts"], **since}))
    assert json.loads(resumed.recv(timeout=30))["type"] == "subscribed"
    assert json.loads(resumed.recv(timeout=30))["data"]["customer_id"] == "staying"

    # It erases them; somebody comes under the same id, before it has reported.
    erased_at = datetime.now(UTC)
    time.sleep(0.01)
    api.sender.score(make_score("leaving", 0.2))
    api.sender.alert(make_alert("leaving", 0.35, alert_id="after"))
    api.sender.score(make_score("staying", 0.12))
    api.sender.flush()
    assert listener.next()["data"]["customer_id"] == "staying"
    publish(api.settings, ErasurePart.WORKER, {identity: worker_report("leaving", erased_at)})
    news = [listener.next() for _ in range(2)]
    assert {one["type"]: one["data"].get("churn") for one in news} == {"score": 0.2, "alert": 0.35}
    assert api.get("/v1/customers/leaving/score").json()["churn"] == 0.2
    assert [one["alert_id"] for one in api.get("/v1/alerts").json()["alerts"]] == ["after"]
    assert api.get("/v1/alerts/between").status_code == 404, "though its row is in ClickHouse"
    assert api.get("/v1/customers/leaving/history").json()["scores"] == []
    with serving(api.settings.model_copy(update={"api_port": _port()})) as other:
        listed = [one["alert_id"] for one in other.get("/v1/alerts").json()["alerts"]]
        assert listed == ["after"], "a replica that reads all of it afterwards tells them apart as well"
    store.close()


@pytest.mark.timeout(600)
def test_ten_thousand_erasures_are_a_handful_of_mutations(stack: Settings) -> None:
    settings, customers = fresh(stack), [f"c-{number}" for number in range(10_001)]
    store = Store(settings)
    store.insert("scores", table_rows("scores", [{"customer_id": one} for one in [*customers, "staying"]]))
    at = datetime.now(UTC)
    requests: dict[str, ErasureRequest | ErasurePartReport] = {
        f"e{number}": ErasureRequest(
            erasure_id=f"e{number}", customer_id=one, digest=digest_of(one), requested_at=at, requested_by="k"
        )
        for number, one in enumerate(customers)
    }
    with serving(settings) as api:
        publish(settings, ErasurePart.REQUEST, requests)
        wait_for("history to go", lambda: scores(settings) == 1, seconds=240)
        early = mutations(settings)
        assert early <= 6, "one table held rows; the requests came in a few readings"
        store.insert("scores", table_rows("scores", [{"customer_id": one} for one in customers]))
        publish(settings, ErasurePart.WORKER, {f"e{n}": worker_report(one, at) for n, one in enumerate(customers)})
        publish(settings, ErasurePart.LEARNER, {one: ErasurePartReport(at=datetime.now(UTC)) for one in requests})
        last = f"e{len(customers) - 1}"
        wait_for("the end of all", lambda: "ebb_erasures_open 0.0" in api.get("/metrics").text, seconds=240)
        assert mutations(settings) - early <= 6
        assert scores(settings) == 1
        parts = api.get(f"/v1/erasures/{last}").json()["parts"]
        assert next(part for part in parts if part["part"] == "history")["details"]["scores"] == 2
    store.close()


@contextmanager
def stopped_merges(settings: Settings, table: str) -> Iterator[None]:
    """Let no mutation of a table advance, as if its parts were huge."""
    client = connect(settings)
    client.command(f"SYSTEM STOP MERGES `{settings.database}`.{table}")
    try:
        yield
    finally:
        client.command(f"SYSTEM START MERGES `{settings.database}`.{table}")
        client.close()


def test_a_slow_mutation_outlives_the_api_and_is_not_sent_again(stack: Settings) -> None:
    settings = fresh(stack)
    store = Store(settings)
    store.insert("scores", table_rows("scores", [{"customer_id": "leaving"}, {"customer_id": "staying"}]))
    with stopped_merges(settings, "scores"):
        for _ in range(2):
            with serving(settings) as api:
                identity = api.client.delete("/v1/customers/leaving").json()["erasure_id"]
                wait_for("its mutation", lambda: mutations(settings) > 0)
                time.sleep(2)
                assert api.get(f"/v1/erasures/{identity}").json()["status"] == "under way"
        assert mutations(settings) == 1
    with serving(settings):
        wait_for("the rows to go", lambda: scores(settings) == 1)
        assert mutations(settings) == 1
    store.close()


def test_an_erasure_asked_for_while_clickhouse_is_away_hides_nothing_and_one_under_way_waits(
    stack: Settings, stack_supervisor: Supervisor
) -> None:
    settings = fresh(stack)
    with serving(settings) as api:
        api.sender.score(make_score("leaving"))
        api.sender.flush()
        wait_for("the score", lambda: api.get("/v1/customers/leaving/score").status_code == 200)
        stack_supervisor.take_down("clickhouse", hard=True)
        assert api.client.delete("/v1/customers/leaving").status_code == 503, "no act without its audit entry"
        assert api.get("/v1/customers/leaving/score").status_code == 200
        request = ErasureRequest(
            erasure_id="e1",
            customer_id="leaving",
            digest=digest_of("leaving"),
            requested_at=datetime.now(UTC) - timedelta(seconds=1),
            requested_by="k",
        )
        publish(settings, ErasurePart.REQUEST, {"e1": request})
        wait_for("the order", lambda: _ordered(api, "e1"))
        assert api.get("/v1/customers/leaving/score").status_code == 404
        publish(settings, ErasurePart.WORKER, {"e1": worker_report("leaving", datetime.now(UTC))})
        publish(settings, ErasurePart.LEARNER, {"e1": ErasurePartReport(at=datetime.now(UTC))})
        stack_supervisor.bring_up("clickhouse")
        wait_for("the end", lambda: api.get("/v1/erasures/e1").json()["status"] == "done")


def _ordered(api: Api, identity: str) -> bool:
    answer = api.get(f"/v1/erasures/{identity}")
    return answer.status_code == 200 and answer.json()["parts"][0]["done_at"] is not None


def _port() -> int:
    from ebb_cli.local.ports import free_port  # noqa: PLC0415

    return free_port()
