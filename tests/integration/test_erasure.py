"""Forgetting a customer, over a running API, a real broker and a real ClickHouse; worker and learner are played."""

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from clickhouse.client import connect
from clickhouse.store import Store
from ebb.contracts.erasures import ERASE_HEADER, ErasurePart, ErasurePartReport, digest_of, key_of, partition_of
from ebb.kafka.producer import Publisher
from ebb.kafka.reader import read_to_end
from ebb.settings import Settings
from ebb_cli.local import parts
from stream_processors.checkpoint import restore
from tests.support.flow import Source, activity_records, linear_replay, wait_for
from tests.support.rows import table_rows
from tests.support.sender import make_alert, make_score
from tests.support.serving import Api, Listener, fresh, serving


@pytest.fixture(scope="module")
def api(stack: Settings) -> Iterator[Api]:
    with serving(fresh(stack)) as running:
        yield running


def publish_report(settings: Settings, identity: str, part: ErasurePart, report: ErasurePartReport) -> None:
    """Report as a part does."""
    publisher = Publisher(settings)
    partition = partition_of(identity, settings.partitions)
    body = report.model_dump_json().encode()
    publisher.send(settings.topics.erasures, key=key_of(identity, part), value=body, partition=partition)
    publisher.flush()


def latest(settings: Settings) -> dict[str, dict[str, Any]]:
    """Read what compaction leaves of the topic of erasures."""
    return {
        (message.key() or b"").decode(): json.loads(message.value() or b"{}")
        for message in read_to_end(settings, settings.topics.erasures, range(settings.partitions))
    }


def rows(settings: Settings, table: str) -> list[str]:
    client = connect(settings)
    result_rows = client.query(f"SELECT customer_id FROM {table} FINAL ORDER BY customer_id").result_rows  # noqa: S608
    client.close()
    return [str(row[0]) for row in result_rows]


def part(api: Api, identity: str, name: str) -> dict[str, Any]:
    parts: list[dict[str, Any]] = api.get(f"/v1/erasures/{identity}").json()["parts"]
    return next(part for part in parts if part["part"] == name)


def test_customer_is_erased_everywhere_and_the_report_proves_it(api: Api) -> None:
    settings, store = api.settings, Store(api.settings)
    before = api.subscribed()
    for customer in ("leaving", "staying"):
        api.sender.score(make_score(customer))
        api.sender.alert(make_alert(customer))
        store.insert("events", table_rows("events", [{"customer_id": customer, "event_id": "1"}]))
        store.insert("scores", table_rows("scores", [{"customer_id": customer}]))
    api.sender.flush()
    wait_for("the scores", lambda: api.get("/v1/customers/leaving/score").status_code == 200)
    wait_for("the alerts", lambda: len(api.get("/v1/alerts").json()["alerts"]) == 2)

    response = api.client.delete("/v1/customers/leaving")
    assert response.status_code == 202
    identity = response.json()["erasure_id"]
    assert response.headers["location"] == f"/v1/erasures/{identity}"
    assert response.json()["status"] == "under way"

    wait_for("the order", lambda: api.get(f"/v1/erasures/{identity}").status_code == 200)
    wait_for("the order", lambda: part(api, identity, "order")["done_at"])
    orders = [
        record
        for records in activity_records(settings).values()
        for record in records
        if (ERASE_HEADER, identity.encode()) in record.headers
    ]
    assert [(record.key, record.value) for record in orders] == [(b"leaving", b"")]
    for table in ("events", "scores"):
        wait_for("history to go at once", lambda table=table: rows(settings, table) == ["staying"])  # type: ignore[misc]
    assert [alert["customer_id"] for alert in api.get("/v1/alerts").json()["alerts"]] == ["staying"]
    assert api.client.delete("/v1/customers/leaving").json()["erasure_id"] == identity, "requested twice, done once"

    # The worker still had a row when it met the record; then it reports, and so does the learner.
    store.insert("scores", table_rows("scores", [{"customer_id": "leaving"}]))
    api.sender.erase("leaving")
    api.sender.flush()
    part_report = ErasurePartReport(
        at=datetime.now(UTC), customer_id="leaving", details={"partition": 0, "offset": 9, "event_time_ms": 2**42}
    )
    publish_report(settings, identity, ErasurePart.WORKER, part_report)
    time.sleep(0.2)
    publish_report(settings, identity, ErasurePart.LEARNER, ErasurePartReport(at=datetime.now(UTC)))
    wait_for("the end", lambda: api.get(f"/v1/erasures/{identity}").json()["status"] == "done")

    report = api.get(f"/v1/erasures/{identity}").json()
    assert report["done_at"]
    assert report["customer_digest"] == digest_of("leaving")
    assert part(api, identity, "history")["details"]["scores"] == 2, "the early one, and the one that came later"
    left = {place["where"]: place["until"] for place in report["left"]}
    assert {"ClickHouse", "outside Ebb", settings.topics.examples, settings.topics.dead_webhooks} <= set(left)
    assert left[settings.topics.examples] is None
    week, day = timedelta(days=7), timedelta(days=1)
    lasting = datetime.fromisoformat(left[settings.topics.activity]) - datetime.fromisoformat(report["requested_at"])
    assert week + day < lasting < week + day + timedelta(hours=1), "a segment of a day, then seven days"
    assert rows(settings, "scores") == ["staying"]
    assert "leaving" not in str(latest(settings)), "the topic records the erasure, not the customer"
    missing = api.get("/v1/customers/leaving/score")
    assert missing.status_code == 404
    assert missing.json()["type"] == "/problems/erased-customer"
    assert api.get("/v1/customers/leaving/history").json()["type"] == "/problems/erased-customer"
    assert api.get("/v1/customers/never/score").json()["type"] == "/problems/unknown-customer"
    connection = api.socket()
    since = {"epoch": before.answer["epoch"], "sequence": before.answer["sequence"]}
    connection.send(json.dumps({"type": "resume", "topics": ["alerts"], **since}))
    again = Listener(connection)
    assert again.answer["type"] == "subscribed"
    api.sender.alert(make_alert("third"))
    api.sender.flush()
    resumed = [again.next()["data"]["customer_id"] for _ in range(2)]
    assert resumed == ["staying", "third"], "nothing buffered about the erased customer is sent again"

    with serving(settings.model_copy(update={"api_port": _port()})) as fresh_replica:
        assert fresh_replica.get("/v1/customers/leaving/score").json()["type"] == "/problems/erased-customer"
        listed = {alert["customer_id"] for alert in fresh_replica.get("/v1/alerts").json()["alerts"]}
        assert listed == {"staying", "third"}, "alerts of the erased one are on the topic still, and not shown"
        assert fresh_replica.get(f"/v1/erasures/{identity}").json()["status"] == "done"

    api.sender.score(make_score("leaving", 0.2))
    api.sender.flush()
    wait_for("who comes back to be known", lambda: api.get("/v1/customers/leaving/score").status_code == 200)
    client = connect(settings)
    acts = client.query("SELECT action, subject, details FROM v_audit").result_rows
    client.close()
    assert [(row[0], row[1]) for row in acts] == [("customer.erase", digest_of("leaving"))]


def test_worker_and_learner_erase_a_customer_and_report_it(
    stack: Settings, run_part: Callable[[parts.ManagedProcess], Any]
) -> None:
    t0, day = 19_700 * 86_400, 86_400
    settings = fresh(
        stack,
        idle_after_seconds=0.0,
        checkpoint_seconds=0.3,
        sweep_seconds=0.5,
        horizon_days=3,
        purchase_horizon_days=2,
    )
    run_part(parts.worker(settings))
    run_part(parts.learner(settings))
    source = Source(settings)

    def live(number: int, *customers: str) -> None:
        for customer in customers:
            source.event(customer, t0 + number * day + 3_600, "purchase", amount=20.0, country="NL")
        source.tick(t0 + (number + 1) * day + 7_200)
        source.flush()

    with serving(settings) as api:
        for number in range(6):
            live(number, "leaving", "staying")
        wait_for("their scores", lambda: api.get("/v1/customers/leaving/score").status_code == 200)
        wait_for("an outcome", lambda: "leaving" in rows(settings, "outcomes"))
        identity = api.client.delete("/v1/customers/leaving").json()["erasure_id"]
        wait_for("the worker", lambda: part(api, identity, "worker")["done_at"] if known(api, identity) else None)
        wait_for("the score to go", lambda: api.get("/v1/customers/leaving/score").status_code == 404)
        assert part(api, identity, "learner")["done_at"] is None, "the learner follows at the next boundary"
        for number in range(6, 12):
            live(number, "staying")
        wait_for("the end", lambda: api.get(f"/v1/erasures/{identity}").json()["status"] == "done")
        assert part(api, identity, "learner")["details"]["rows"] >= 3
        wait_for("outcomes of the others", lambda: len(rows(settings, "outcomes")) > 40)
        for table in ("events", "features", "scores", "alerts", "outcomes"):
            assert "leaving" not in rows(settings, table), table
            assert "staying" in rows(settings, table) or table == "alerts"
        assert "leaving" not in str(latest(settings))

        def checkpointed() -> bool:
            return all(
                restore(settings, number)[0].offset == engine.offset
                for number, engine in linear_replay(settings).items()
            )

        wait_for("the last checkpoint", checkpointed)
        for number, engine in linear_replay(settings).items():
            assert restore(settings, number)[0].state.digest() == engine.state.digest()
        live(12, "leaving")
        wait_for("who comes back to be known", lambda: api.get("/v1/customers/leaving/score").status_code == 200)
        assert api.get("/v1/customers/leaving/score").json()["previous"] is None, "as a new customer"


def known(api: Api, identity: str) -> bool:
    return api.get(f"/v1/erasures/{identity}").status_code == 200


def _port() -> int:
    from ebb_cli.local.ports import free_port  # noqa: PLC0415

    return free_port()


def test_erasing_requires_an_admin_and_a_writable_audit_log(stack: Settings) -> None:
    settings = fresh(stack, api_keys="root-key-of-tests").model_copy(update={"clickhouse_url": "http://127.0.0.1:9"})
    with serving(settings) as guarded:
        assert guarded.client.delete("/v1/customers/c-1").status_code == 401
        assert guarded.client.get("/v1/erasures/x").status_code == 401
        headers = {"X-API-Key": "root-key-of-tests"}
        refused = guarded.client.delete("/v1/customers/c-1", headers=headers, timeout=30)
        assert refused.status_code == 503, "no action without its audit record"
        assert guarded.client.get("/v1/erasures/x", headers=headers).json()["type"] == "/problems/unknown-erasure"
        assert latest(guarded.settings) == {}
