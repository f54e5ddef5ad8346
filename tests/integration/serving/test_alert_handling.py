"""What people do about alerts: every replica agrees, a restart loses nothing, reports find it in ClickHouse."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from clickhouse.client import connect
from clickhouse.store import Store
from ebb.contracts.alert_handling import Act, HandlingRecord, Outcome, key_of
from ebb.contracts.erasures import ErasurePart, ErasurePartReport
from ebb.contracts.scores import Alert
from ebb.kafka.reader import read_to_end
from ebb.settings import Settings
from ebb_cli.local.ports import free_port
from serving.api.alerts import Alerts, HandledAlert
from tests.integration.test_erasure import publish_report
from tests.support.flow import wait_for
from tests.support.rows import table_rows
from tests.support.sender import make_alert
from tests.support.serving import Api, fresh, serving

KEYS = {"X-API-Key": "root-key-of-tests"}
NOW = datetime.now(UTC)


def request(api: Api, method: str, path: str, **more: Any) -> httpx.Response:
    return api.client.request(method, path, headers=KEYS, **more)


def get_alert(api: Api, alert_id: str) -> HandledAlert:
    return HandledAlert.model_validate_json(request(api, "GET", f"/v1/alerts/{alert_id}").content)


def do(api: Api, alert_id: str, act: str, **body: Any) -> HandledAlert:
    answer = request(api, "POST", f"/v1/alerts/{alert_id}/{act}", json=body or None)
    assert answer.status_code == 200, answer.text
    return HandledAlert.model_validate_json(answer.content)


def listed(api: Api, **query: Any) -> list[str]:
    page = Alerts.model_validate_json(request(api, "GET", "/v1/alerts", params=query).content)
    return sorted(alert.alert_id for alert in page.alerts)


@pytest.fixture(scope="module")
def settings(stack: Settings) -> Settings:
    return fresh(stack, api_keys="root-key-of-tests")


@pytest.fixture(scope="module")
def api(settings: Settings) -> Iterator[Api]:
    with serving(settings) as running:
        for name in ("acknowledged", "snoozed", "closed", "open", "brief", "leaving"):
            running.sender.alert(make_alert(f"c-{name}", alert_id=name))
        running.sender.flush()
        wait_for("the alerts", lambda: len(listed(running)) == 6)
        yield running


def test_handling_is_the_same_on_all_replicas_and_survives_a_restart(api: Api, settings: Settings) -> None:
    with serving(settings.model_copy(update={"api_port": free_port()})) as other:
        assert get_alert(api, "open").handling.status == "open"
        done = do(api, "acknowledged", "acknowledge")
        assert (done.handling.status, done.customer_id) == ("acknowledged", "c-acknowledged")
        assert done.handling.by
        assert done.handling.by.startswith("settings-")
        until = datetime.now(UTC) + timedelta(hours=2)
        assert do(other, "snoozed", "snooze", until=until.isoformat()).handling.until == until
        do(api, "closed", "snooze", hours=1)
        closed = do(other, "closed", "outcome", outcome="retained", note="Took the yearly plan.")
        assert (closed.handling.outcome, closed.handling.note) == ("retained", "Took the yearly plan.")
        for replica in (api, other):
            wait_for("agreement", lambda replica=replica: get_alert(replica, "closed").handling == closed.handling)  # type: ignore[misc]
            wait_for("agreement", lambda replica=replica: listed(replica, status="snoozed") == ["snoozed"])  # type: ignore[misc]
            wait_for("agreement", lambda replica=replica: listed(replica, status="acknowledged") == ["acknowledged"])  # type: ignore[misc]
    with serving(settings.model_copy(update={"api_port": free_port()})) as later:
        assert get_alert(later, "closed").handling == closed.handling
        assert get_alert(later, "acknowledged").handling == done.handling
        assert listed(later, status="open") == ["brief", "leaving", "open"]
        assert listed(later, status=["closed", "snoozed"]) == ["closed", "snoozed"]


def test_closed_alert_can_be_corrected_and_nothing_else(api: Api) -> None:
    do(api, "closed", "outcome", outcome="left")
    for act, body in (("acknowledge", None), ("snooze", {"hours": 1})):
        refused = request(api, "POST", f"/v1/alerts/closed/{act}", json=body)
        assert refused.status_code == 409
        assert refused.json()["type"] == "/problems/alert-closed"
    assert do(api, "closed", "outcome", outcome="retained").handling.outcome is Outcome.RETAINED


def test_alert_reopens_when_its_snooze_ends(api: Api) -> None:
    # So long that it has not ended yet when it is looked at, however slow the machine is.
    until = datetime.now(UTC) + timedelta(seconds=12)
    assert do(api, "brief", "snooze", until=until.isoformat()).handling.status == "snoozed"
    assert "brief" not in listed(api, status="open")
    wait_for("the end of the snooze", lambda: "brief" in listed(api, status="open"))
    assert datetime.now(UTC) >= until


@pytest.mark.parametrize(
    ("act", "body"),
    [
        ("snooze", {}),
        ("snooze", {"hours": 0}),
        ("snooze", {"hours": 200}),
        ("snooze", {"until": "2020-01-01T00:00:00Z"}),
        ("snooze", {"until": "2035-01-01T00:00:00"}),
        ("snooze", {"hours": 1, "until": "2035-01-01T00:00:00Z"}),
        ("outcome", {"outcome": "promoted"}),
        ("outcome", {"outcome": "left", "note": "x" * 501}),
    ],
)
def test_invalid_act_is_refused(api: Api, act: str, body: dict[str, Any]) -> None:
    answer = request(api, "POST", f"/v1/alerts/open/{act}", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["type"] == "/problems/invalid-request"
    assert get_alert(api, "open").handling.status == "open"


def test_alert_that_is_no_longer_in_memory_can_be_handled(api: Api, settings: Settings) -> None:
    old = make_alert("c-old", alert_id="old").model_dump()
    store = Store(settings)
    store.insert("alerts", table_rows("alerts", [{**old, "band": "high"}]))
    store.close()
    assert do(api, "old", "outcome", outcome="not_reached").handling.status == "closed"
    assert get_alert(api, "old").customer_id == "c-old"
    unknown = request(api, "POST", "/v1/alerts/none/acknowledge")
    assert unknown.json()["type"] == "/problems/unknown-alert"


def history(settings: Settings) -> list[tuple[Any, ...]]:
    client = connect(settings)
    text = "SELECT alert_id, act, outcome, note, actor FROM v_alert_handling ORDER BY acted_at"
    rows = [tuple(row) for row in client.query(text).result_rows]
    client.close()
    return rows


def test_every_act_is_in_clickhouse_and_alerts_have_their_outcome(api: Api, settings: Settings) -> None:
    do(api, "acknowledged", "outcome", outcome="no_action", note="Known.")
    wait_for("the row", lambda: any(row[:2] == ("acknowledged", "outcome") for row in history(settings)))
    acts = [row[1:4] for row in history(settings) if row[0] == "acknowledged"]
    assert acts == [("acknowledge", None, ""), ("outcome", "no_action", "Known.")]
    store = Store(settings)
    store.insert("alerts", table_rows("alerts", [{"alert_id": "acknowledged"}, {"alert_id": "unhandled"}]))
    store.close()
    client = connect(settings)
    text = (
        "SELECT alert_id, outcome, first_acted_at IS NULL FROM alert_outcomes WHERE alert_id != 'old' ORDER BY alert_id"
    )
    assert client.query(text).result_rows == [("acknowledged", "no_action", 0), ("unhandled", None, 1)]
    client.close()


def test_erasure_deletes_the_handling_of_the_customers_alerts(api: Api, settings: Settings) -> None:
    do(api, "leaving", "acknowledge")
    do(api, "leaving", "outcome", outcome="left", note="Moved to the coast.")
    wait_for("the rows", lambda: any(row[0] == "leaving" for row in history(settings)))
    identity = request(api, "DELETE", "/v1/customers/c-leaving").json()["erasure_id"]
    assert request(api, "GET", "/v1/alerts/leaving").status_code in {200, 404}
    wait_for("the alert to go", lambda: request(api, "GET", "/v1/alerts/leaving").status_code == 404)
    report = ErasurePartReport(
        at=datetime.now(UTC), customer_id="c-leaving", details={"partition": 0, "offset": 9, "event_time_ms": 2**42}
    )
    publish_report(settings, identity, ErasurePart.WORKER, report)
    publish_report(settings, identity, ErasurePart.LEARNER, ErasurePartReport(at=datetime.now(UTC)))
    wait_for("the end", lambda: request(api, "GET", f"/v1/erasures/{identity}").json().get("status") == "done")
    assert not [row for row in history(settings) if row[0] == "leaving"]
    latest: dict[bytes | str | None, bytes | str | None] = {}
    for message in read_to_end(settings, settings.topics.handling, [0]):
        latest[message.key()] = message.value()
    deleted_keys = {key_of("leaving", act).encode() for act in (Act.ACKNOWLEDGE, Act.OUTCOME)}
    assert {key for key, body in latest.items() if body is None} == deleted_keys


def test_record_of_the_topic_names_the_alert_it_is_about() -> None:
    alert: Alert = make_alert("c-1")
    about = {"customer_id": alert.customer_id, "as_of": alert.as_of, "raised_at": alert.raised_at}
    record = HandlingRecord(alert_id="a", act=Act.SNOOZE, by="k", at=NOW, until=NOW, **about)
    assert HandlingRecord.model_validate_json(record.model_dump_json()) == record
