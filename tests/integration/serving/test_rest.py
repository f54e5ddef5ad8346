"""The API as a process, over a real broker and a real ClickHouse engine: what it answers by HTTP."""

import math
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import httpx
import pyarrow as pa
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from clickhouse.store import Store
from ebb.clock import DAY
from ebb.contracts.activity import encode_activity
from ebb.settings import Settings
from serving.api.customers import Customers, History
from serving.api.models import Models
from serving.api.summary import Summary
from serving.api.trends import Trends
from tests.support.sender import (
    AS_OF,
    TopicSender,
    day_metric,
    days_later,
    make_alert,
    make_model,
    make_score,
    outcomes,
    past_scores,
    promised,
)
from tests.support.serving import Api, fresh, serving


@pytest.fixture(scope="module")
def api(stack: Settings) -> Iterator[Api]:
    """An API that finds 300 scores, an erased customer, two models and some alerts at its start."""
    settings = fresh(stack)
    sender = TopicSender(settings)
    sender.score(make_score("erased", 0.99))
    for index in range(300):
        # Written twice: the view must keep the later one, as compaction does.
        sender.score(make_score(f"c-{index:03}", 0.5))
        sender.score(make_score(f"c-{index:03}", index / 300, trend_7d=(index - 150) / 300, country="FR"))
    sender.erase("erased")
    sender.alert(make_alert("c-299"))
    sender.model(make_model())
    sender.model(make_model("recency", role="challenger"))
    sender.flush()
    with serving(settings) as running:
        yield running


def eventually(look: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < end, "the condition did not hold in time"
        time.sleep(0.05)


def test_api_is_ready_only_with_all_scores_that_were_on_the_topic(api: Api) -> None:
    ready = api.client.get("/readyz?verbose")
    assert ready.status_code == 200
    checks = {check["name"]: check for check in ready.json()["checks"]}
    assert set(checks) == {"scores", "kafka", "serving", "clickhouse", "event time"}
    assert all(check["ok"] for check in checks.values())
    assert api.get("/v1/customers/c-150/score").json()["churn"] == 0.5
    assert api.get("/v1/customers/c-299/score").json()["churn"] == pytest.approx(299 / 300)
    assert api.get("/v1/customers/erased/score").status_code == 404
    assert api.get("/livez").json() == {"status": "ok"}


def test_pages_at_risk_cover_all_customers_exactly_once(api: Api) -> None:
    seen: list[str] = []
    token: str | None = None
    while True:
        query = {"page_size": "37", "country": "FR", **({"page_token": token} if token else {})}
        page = Customers.model_validate_json(api.client.get("/v1/customers/at-risk", params=query).content)
        seen += [customer.customer_id for customer in page.customers]
        token = page.next_page_token
        if token is None:
            break
    assert seen == [f"c-{index:03}" for index in reversed(range(300))]


def test_new_score_and_tombstone_are_seen_within_a_moment(api: Api) -> None:
    api.sender.score(make_score("arriving", 0.7, country="XX"))
    api.sender.flush()
    eventually(lambda: api.get("/v1/customers/arriving/score").status_code == 200)
    api.sender.erase("arriving")
    api.sender.flush()
    eventually(lambda: api.get("/v1/customers/arriving/score").status_code == 404)


def test_record_that_is_no_score_does_not_stop_the_flow(api: Api) -> None:
    api.sender.raw(api.settings.topics.scores, "odd", b"{not json")
    api.sender.raw(api.settings.topics.alerts, "odd", b"{not json")
    api.sender.raw(api.settings.topics.models, "odd", b"{not json")
    api.sender.score(make_score("after-the-odd", 0.2, country="XX"))
    api.sender.flush()
    eventually(lambda: api.get("/v1/customers/after-the-odd/score").status_code == 200)
    assert api.get("/v1/customers/odd/score").status_code == 404


def test_models_are_listed_champion_first(api: Api) -> None:
    models = Models.model_validate_json(api.get("/v1/models").content).models
    assert [(model.name, model.role) for model in models] == [
        ("churn.logistic", "champion"),
        ("churn.recency", "challenger"),
    ]


def test_summary_counts_the_scores_in_memory(api: Api) -> None:
    summary = Summary.model_validate_json(api.get("/v1/summary").content)
    assert summary.customers >= 300
    assert sum(band.customers for band in summary.bands) == summary.customers == sum(summary.histogram.counts)
    assert len(summary.histogram.counts) == 20
    assert [band.from_churn for band in summary.bands] == [0, 0.3, 0.6, 0.8]
    assert summary.value_at_risk == pytest.approx(sum(band.value_at_risk for band in summary.bands), abs=0.1)
    assert [mover.customer_id for mover in summary.movers.up][:2] == ["c-299", "c-298"]
    assert [mover.customer_id for mover in summary.movers.down][:2] == ["c-000", "c-001"]
    assert summary.model is not None
    assert summary.model.name == "churn.logistic"
    assert summary.as_of == AS_OF
    assert summary.unavailable == []
    assert summary.labels.matured == 0


def test_summary_has_the_realised_accuracy_of_served_scores_and_baselines(api: Api) -> None:
    store = Store(api.settings)
    store.insert("outcomes", outcomes(20_150, "served", [0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1]))
    for candidate, value in (("served", 0.9), ("logistic", 0.92), ("tree", 0.8), ("recency", 0.7), ("prior", math.nan)):
        store.insert("model_metrics", day_metric(20_150, candidate, value, 4))
    store.close()

    def summarised() -> Summary:
        return Summary.model_validate_json(api.get("/v1/summary").content)

    eventually(lambda: summarised().labels.matured == 4)  # the answer from before is kept for some seconds
    summary = summarised()
    assert summary.accuracy is not None
    lines = {line.candidate: line for line in summary.accuracy.lines}
    assert {name: line.role for name, line in lines.items()} == {
        "served": "served",
        "logistic": "champion",
        "tree": "challenger",
        "recency": "baseline",
    }
    assert lines["served"].latest == 0.9
    assert lines["served"].points[0].day.isoformat() == "2025-03-03"
    assert lines["served"].points[0].labels == 4
    assert summary.labels.matured == 4
    assert summary.labels.first_due_seconds is None
    assert summary.calibration
    assert sum(group.labels for group in summary.calibration) == 4


def test_history_is_paged_from_the_newest_and_each_page_runs_forward(api: Api) -> None:
    moments = [days_later(day) for day in range(5)]
    rows = len(moments)
    store = Store(api.settings)
    store.insert(
        "scores",
        pa.table(
            {
                "customer_id": ["c-007"] * rows,
                "as_of": pa.array(moments, pa.timestamp("ms", "UTC")),
                "churn": [0.1 * day for day in range(rows)],
                "purchase": [0.2] * rows,
                "band": ["low"] * rows,
                "previous": pa.array([None] * rows, pa.float64()),
                "trend_7d": pa.array([None] * rows, pa.float64()),
                "reasons": ['[{"feature":"recency","contribution":1.0,"text":"quiet"}]'] * rows,
                "value_at_risk": [1.0] * rows,
                "expected_gain": [1.0] * rows,
                "country": ["DE"] * rows,
                "channel": ["web"] * rows,
                "model": ["churn.logistic"] * rows,
                "model_version": pa.array([3] * rows, pa.uint32()),
                "scored_at": pa.array(moments, pa.timestamp("ms", "UTC")),
            }
        ),
    )
    store.close()
    newest = History.model_validate_json(api.get("/v1/customers/c-007/history", page_size=2).content)
    assert [score.as_of for score in newest.scores] == moments[3:]
    assert newest.scores[0].reasons[0].text == "quiet"
    older = api.get("/v1/customers/c-007/history", page_size=10, page_token=newest.next_page_token)
    page = History.model_validate_json(older.content)
    assert [score.as_of for score in page.scores] == moments[:3]
    assert page.next_page_token is None
    assert api.get("/v1/customers/c-001/history").json()["scores"] == []
    assert api.get("/v1/customers/nobody/history").status_code == 404


def test_lag_is_what_the_workers_have_not_committed(api: Api) -> None:
    settings = api.settings
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap})
    body = encode_activity("e-1", "c-1", "view", datetime.now(UTC))
    for _ in range(50):
        producer.produce(settings.topics.activity, value=body, partition=2)
    assert producer.flush(30) == 0
    worker = Consumer({"bootstrap.servers": settings.kafka_bootstrap, "group.id": settings.group("worker")})

    def lag() -> dict[int, int]:
        pipeline = Summary.model_validate_json(api.get("/v1/summary").content).pipeline
        # None while Kafka has not answered for a while.
        return {partition.partition: partition.lag_events for partition in pipeline.partitions} if pipeline else {}

    eventually(lambda: lag() == {0: 0, 1: 0, 2: 50, 3: 0})
    worker.commit(offsets=[TopicPartition(settings.topics.activity, 2, 30)], asynchronous=False)
    eventually(lambda: lag().get(2) == 20)
    worker.commit(offsets=[TopicPartition(settings.topics.activity, 2, 50)], asynchronous=False)
    eventually(lambda: lag().get(2) == 0)
    worker.close()


def test_first_labels_are_announced_from_the_first_event_on(stack: Settings) -> None:
    now = time.time()
    settings = fresh(stack, day_seconds=2.0, clock_origin_wall=now, clock_origin_event=now)
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap})
    producer.produce(settings.topics.activity, value=b"not an event", partition=1)
    producer.produce(
        settings.topics.activity, value=encode_activity("e", "c", "view", datetime.fromtimestamp(now, UTC)), partition=0
    )
    assert producer.flush(30) == 0
    with serving(settings) as api:

        def get_summary() -> Summary:
            return Summary.model_validate_json(api.get("/v1/summary").content)

        eventually(lambda: get_summary().labels.first_due_seconds is not None)
        summary = get_summary()
        # The next day boundary is at most a day away, and the horizon is 14 days of 2 s. A summary may be a second old:
        # how much of that has passed depends on its own clock.
        passed = (summary.event_time.timestamp() - now) / DAY * 2.0
        assert 0 <= (summary.labels.first_due_seconds or 0) <= max(0.0, 30 - passed) + 0.01


def test_while_clickhouse_is_down_scores_are_served_and_the_rest_names_what_is_missing(stack: Settings) -> None:
    settings = fresh(stack)
    sender = TopicSender(settings)
    sender.score(make_score("c-1", 0.7))
    sender.flush()
    with serving(settings.model_copy(update={"clickhouse_url": "http://127.0.0.1:9"})) as api:
        assert api.get("/v1/customers/c-1/score").json()["churn"] == 0.7
        summary = Summary.model_validate_json(api.get("/v1/summary").content)
        assert summary.customers == 1
        assert summary.accuracy is None
        assert summary.unavailable == ["accuracy", "calibration", "dead_letters", "labels"]
        history = api.get("/v1/customers/c-1/history")
        assert history.status_code == 503
        assert history.headers["retry-after"]
        assert history.headers["content-type"] == "application/problem+json"
        ready = api.client.get("/readyz?verbose")
        assert ready.status_code == 200
        assert [check["ok"] for check in ready.json()["checks"] if check["name"] == "clickhouse"] == [False]


def test_api_that_cannot_reach_kafka_lives_but_is_not_ready(stack: Settings) -> None:
    import subprocess  # noqa: PLC0415 - only here is a process started that never becomes ready
    import sys  # noqa: PLC0415

    from ebb_cli.local.parts import environment  # noqa: PLC0415
    from ebb_cli.local.ports import free_port  # noqa: PLC0415

    settings = stack.model_copy(update={"kafka_bootstrap": "127.0.0.1:9", "api_port": free_port()})
    process = subprocess.Popen([sys.executable, "-m", "serving"], env=environment(settings), stderr=subprocess.DEVNULL)
    base = f"http://127.0.0.1:{settings.api_port}"
    try:

        def alive() -> bool:
            try:
                return httpx.get(f"{base}/livez", trust_env=False, timeout=30).status_code == 200
            except httpx.HTTPError:
                return False

        eventually(alive)
        ready = httpx.get(f"{base}/readyz?verbose", trust_env=False, timeout=30)
        assert ready.status_code == 503
        failed = {check["name"] for check in ready.json()["checks"] if not check["ok"]}
        assert {"scores", "kafka"} <= failed
        assert httpx.get(f"{base}/v1/customers/c-1/score", trust_env=False, timeout=30).status_code == 503
    finally:
        process.terminate()
        assert process.wait(60) == 0


def test_trends_have_bands_by_day_expected_accuracy_and_countries_to_filter_by(stack: Settings) -> None:
    settings = fresh(stack)
    sender = TopicSender(settings)
    sender.score(make_score("ann", 0.9, country="JP"))
    sender.flush()
    store = Store(settings)
    store.insert("scores", past_scores("ann", [(20_150, 0.1), (20_152, 0.9)]))
    store.insert("scores", past_scores("bob", [(20_151, 0.4)]))
    store.insert("expected_metrics", promised(20_164, 0.88, 500))
    store.close()
    with serving(settings) as running:
        trends = Trends.model_validate_json(running.get("/v1/trends").content)
    assert trends.bands is not None
    assert [[band.customers for band in day.bands] for day in trends.bands] == [
        [1, 0, 0, 0],
        [1, 1, 0, 0],
        [0, 1, 0, 1],
    ]
    assert trends.bands[-1].bands[0].value_at_risk == 0
    assert trends.bands[-1].bands[3].value_at_risk == 90
    assert trends.estimated is not None
    assert [(day.estimated, day.realised, day.customers) for day in trends.estimated] == [(0.88, None, 500)]
    assert trends.drift is not None
    assert trends.drift.features == 0
    assert trends.countries == ["JP"]
