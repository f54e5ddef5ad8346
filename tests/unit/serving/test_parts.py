"""The lag meter, recent alerts, the registry and the cache before ClickHouse."""

import asyncio
import threading
import time
from datetime import timedelta
from unittest.mock import Mock

import pytest

from clickhouse.errors import RefusedError
from ebb.contracts.models import PUBLISHED, PublishedThrough
from ebb.errors import UnavailableError
from ebb.settings import Settings
from serving.background.pipeline_monitor import KEPT_SECONDS, LagMeter
from serving.cached_queries import THREADS, CachedQueries, Rows
from serving.projections.alerts import RecentAlerts
from serving.projections.models import ModelView, model_view
from tests.support.flow import wait_for
from tests.support.sender import AS_OF, make_alert, make_model


def test_lag_counts_events_and_the_age_of_the_oldest() -> None:
    meter = LagMeter()
    assert meter.observe(0, 0, end=100, committed=100).seconds == 0
    first = meter.observe(2, 0, end=200, committed=100)
    assert (first.events, first.seconds) == (100, 0)
    assert meter.observe(4, 0, end=300, committed=100).seconds == 2
    later = meter.observe(6, 0, end=300, committed=250)
    assert (later.events, later.seconds) == (50, 2)
    assert meter.observe(8, 0, end=300, committed=300).seconds == 0


def test_lag_is_measured_by_partition() -> None:
    meter = LagMeter()
    meter.observe(0, 0, end=10, committed=0)
    assert meter.observe(5, 1, end=10, committed=0).seconds == 0
    assert meter.observe(5, 0, end=10, committed=0).seconds == 5


def test_lag_is_never_negative_when_the_topic_is_recreated() -> None:
    meter = LagMeter()
    assert meter.observe(0, 0, end=5, committed=50).events == 0
    assert meter.produced_per_second() == 0


def test_rates_are_events_per_second_over_the_window() -> None:
    meter = LagMeter()
    for second in range(0, 41, 2):
        meter.observe(second, 0, end=100 * second, committed=50 * second)
        meter.observe(second, 1, end=10 * second, committed=0)
    assert meter.produced_per_second() == pytest.approx(110)
    assert meter.processed_per_second() == pytest.approx(50)


def test_lag_meter_forgets_old_samples() -> None:
    meter = LagMeter()
    for step in range(2_000):
        meter.observe(2.0 * step, 0, end=step + 1, committed=0)
    assert meter.observe(4_000, 0, end=3_000, committed=0).seconds <= KEPT_SECONDS


def alert_body(number: int) -> bytes:
    raised = AS_OF + timedelta(seconds=number)
    churn = 0.9 if number % 2 else 0.7
    return make_alert(f"c-{number}", churn, alert_id=f"a-{number}", raised_at=raised).model_dump_json().encode()


def test_recent_alerts_are_added_once_though_published_twice() -> None:
    alerts = RecentAlerts(10)
    assert len(alerts.add([alert_body(1), alert_body(2), alert_body(1)])) == 2
    assert alerts.add([alert_body(2)]) == []


def test_recent_alerts_keep_the_newest_and_refuse_invalid_ones() -> None:
    alerts = RecentAlerts(3)
    assert alerts.add([b"{", b'{"alert_id":1}']) == []
    alerts.add([alert_body(number) for number in range(5)])
    listed, following = alerts.newest(10)
    assert [body for _, body in listed] == [alert_body(4), alert_body(3), alert_body(2)]
    assert following is None


def test_recent_alerts_are_the_same_in_whatever_order_the_partitions_are_read() -> None:
    one, other = RecentAlerts(3), RecentAlerts(3)
    one.add([alert_body(number) for number in range(6)])
    for number in (5, 0, 3, 1, 4, 2):
        other.add([alert_body(number)])
    assert one.newest(10) == other.newest(10)
    assert [body for _, body in one.newest(10)[0]] == [alert_body(5), alert_body(4), alert_body(3)]


def test_recent_alerts_are_paged_and_filtered() -> None:
    alerts = RecentAlerts(100)
    alerts.add([alert_body(number) for number in (3, 1, 2, 0, 4)])
    seen: list[bytes] = []
    after = None
    while True:
        listed, after = alerts.newest(2, after=after)
        seen += [body for _, body in listed]
        if after is None:
            break
    assert seen == [alert_body(number) for number in (4, 3, 2, 1, 0)]
    assert [name for name, _ in alerts.newest(10, bands=["critical"])[0]] == ["a-3", "a-1"]
    assert alerts.newest(10, customer_id="c-2")[0] == [("a-2", alert_body(2))]
    assert [name for name, _ in alerts.newest(10, condition=lambda name: name > "a-2")[0]] == ["a-4", "a-3"]


def test_registry_keeps_the_latest_of_each_name_champions_first_without_payload() -> None:
    registry = ModelView(Settings())
    for model in (make_model("recency", role="challenger"), make_model(version=1), make_model(version=2)):
        registry.apply(model.name.encode(), model.encode())
    assert [(model.name, model.version) for model in registry.all()] == [("churn.logistic", 2), ("churn.recency", 3)]
    assert registry.all()[0].payload == {}
    champion = registry.champion("churn")
    assert champion is not None
    assert champion.version == 2
    assert registry.champion("purchase") is None


def test_registry_refuses_what_fails_its_checks_and_drops_what_was_withdrawn() -> None:
    registry = ModelView(Settings())
    registry.apply(b"churn.logistic", make_model().encode().replace(b'"version":3', b'"version":4'))
    registry.apply(b"churn.logistic", b"{")
    registry.apply(b"churn.logistic", make_model(schema_hash="0" * 16).encode())
    assert registry.all() == []
    registry.apply(b"churn.logistic", make_model().encode())
    registry.apply(b"churn.logistic", None)
    assert registry.all() == []


def test_what_a_paced_learner_says_of_itself_is_no_model(caplog: pytest.LogCaptureFixture) -> None:
    registry = ModelView(Settings())
    registry.apply(PUBLISHED.encode(), PublishedThrough(boundary=20_000).encode())
    assert registry.all() == []
    assert not caplog.records


def test_model_is_shown_with_a_date_for_its_day_number() -> None:
    assert model_view(make_model(trained_until=20_161))["trained_until"].isoformat() == "2025-03-14"


class Counting:
    """A stub of the store that counts its queries; the store itself is tested against ClickHouse."""

    def __init__(self) -> None:
        self.queries = 0
        self.down = False

    def query(self, name: str, **parameters: object) -> Rows:
        self.queries += 1
        time.sleep(0.02)
        if self.down:
            message = "It is away."
            raise UnavailableError(message)
        return [{"name": name, **parameters}]

    def ping(self) -> bool:
        return not self.down

    def close(self) -> None:
        pass


def test_concurrent_callers_query_clickhouse_once() -> None:
    store = Counting()
    analytics = CachedQueries(lambda: store)
    threads = [threading.Thread(target=analytics.rows, args=("one",), kwargs={"fresh_seconds": 60}) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.queries == 1
    assert analytics.rows("one", a=1) == [{"name": "one", "a": 1}]
    assert store.queries == 2


async def test_while_clickhouse_is_down_no_caller_waits_and_a_ping_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.cached_queries.PROBE_SECONDS", 0.01)
    store = Counting()
    store.down = True
    analytics = CachedQueries(lambda: store)
    with pytest.raises(UnavailableError, match=r"ClickHouse does not answer\. Ask"):
        analytics.rows("one")
    assert analytics.trouble == "It is away."
    assert analytics.rows_or_none("two") is None
    assert await analytics.run(lambda: analytics.rows_or_none("three")) is None
    with pytest.raises(UnavailableError):
        await analytics.run(lambda: None, from_memory=False)
    assert store.queries == 1
    assert not await analytics.answers()
    store.down = False
    wait_for("the probe", lambda: analytics.rows_or_none("one") == [{"name": "one"}])
    assert await analytics.answers()
    assert not analytics.trouble
    analytics.close()


async def test_a_thread_that_hangs_delays_a_request_for_seconds_and_no_later_one() -> None:
    store, hung = Counting(), threading.Event()
    analytics = CachedQueries(lambda: store, seconds=0.2)
    store.down = True  # so that the probe finds it away

    def drip() -> None:
        hung.wait(60)

    waiting = [asyncio.create_task(analytics.run(drip)) for _ in range(2 * THREADS)]
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(result, UnavailableError) for result in results)
    # Every thread is taken, and what can do without ClickHouse needs none of them.
    assert await analytics.run(lambda: analytics.rows_or_none("one")) is None
    assert store.queries == 0
    hung.set()
    analytics.close()


async def test_the_queries_of_one_request_share_its_time() -> None:
    store = Counting()
    analytics = CachedQueries(lambda: store, seconds=0.03)
    answers = await analytics.run(lambda: [analytics.rows_or_none(str(number)) for number in range(20)])
    assert answers[0] is not None
    assert answers[-1] is None
    assert await analytics.answers(), "a slow request is no ClickHouse that is away"
    analytics.close()


def test_a_query_that_clickhouse_refuses_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Counting()
    analytics = CachedQueries(lambda: store)
    with monkeypatch.context() as patched:
        refusal = RefusedError("Code: 321, at http://10.0.0.7:8123.")
        patched.setattr(store, "query", Mock(side_effect=refusal))
        with pytest.raises(UnavailableError, match="refused the query") as refused:
            analytics.rows("one")
        assert "10.0.0.7" not in str(refused.value)
        assert analytics.rows_or_none("one") is None
    assert analytics.rows("two") == [{"name": "two"}]
    assert analytics.trouble is None


def test_cache_before_clickhouse_stays_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    analytics = CachedQueries(Counting)
    for customer in range(1_500):
        analytics.rows("history", customer=customer)
    assert len(analytics._answers) <= 1_001
