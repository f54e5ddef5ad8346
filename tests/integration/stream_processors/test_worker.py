"""A real worker on a real broker and a real ClickHouse: events in; features, scores, alerts, labels, refusals out."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import orjson
import pytest
from clickhouse_connect.driver.client import Client
from confluent_kafka import Message
from confluent_kafka.admin import AdminClient

from clickhouse.client import connect
from ebb.contracts import examples as blocks
from ebb.contracts.scores import Alert, Score, utc
from ebb.kafka.admin import create_topics
from ebb.kafka.config import client_config
from ebb.kafka.reader import read_to_end
from ebb.settings import Settings
from ebb_cli.local import parts
from stream_processors.checkpoint import restore
from tests.support.flow import Source, linear_replay, wait_for
from tests.support.workers import hurried

DAY = 86_400
T0 = 19_700 * DAY


@pytest.fixture
def settings(space: Settings) -> Settings:
    """A namespace whose time is moved by its records alone, with short intervals."""
    return hurried(
        space,
        checkpoint_seconds=0.3,
        sweep_seconds=0.5,
        horizon_days=5,
        purchase_horizon_days=space.purchase_horizon_days,
    )


@pytest.fixture
def client(settings: Settings) -> Iterator[Client]:
    """ClickHouse, in the database of the test."""
    client = connect(settings)
    yield client
    client.close()


def latest_scores(settings: Settings) -> dict[str, Score]:
    scores = {}
    for message in read_to_end(settings, settings.topics.scores, range(settings.partitions)):
        score = Score.model_validate_json(message.value() or b"")
        scores[score.customer_id] = score
    return scores


def pairs(rows: Sequence[Sequence[Any]]) -> dict[Any, Any]:
    return {row[0]: row[1] for row in rows}


def count(client: Client, table: str, where: str = "1") -> int:
    return int(client.query(f"SELECT count() FROM {table} FINAL WHERE {where}").result_rows[0][0])  # noqa: S608


def test_events_become_features_scores_labels_and_a_silent_customer_rises_in_risk(
    settings: Settings, client: Client, run_part: Callable[[parts.ManagedProcess], Any]
) -> None:
    run_part(parts.worker(settings))
    source = Source(settings)

    def live(day: int, *, silent: bool) -> None:
        for hour in range(8, 20, 3):
            source.event("loyal", T0 + day * DAY + hour * 3_600, "purchase", amount=20.0, country="NL", channel="web")
            if not silent:
                source.event("silent", T0 + day * DAY + hour * 3_600, "view", country="DE")
        source.tick(T0 + (day + 1) * DAY)

    for day in range(15):
        live(day, silent=False)
    source.flush()
    wait_for("first scores", lambda: len(latest_scores(settings)) == 2)
    for day in range(15, 30):
        live(day, silent=True)
    source.event("curious", T0 + 30 * DAY, "levitate", amount=3.0, colour="blue")
    source.tick(T0 + 31 * DAY)
    source.flush()
    sent = source.sent

    wait_for("every event in ClickHouse", lambda: count(client, "events") == sent)

    def all_scores() -> dict[str, Score] | None:
        known = latest_scores(settings)
        # The silent one rises with no event of theirs, by sweeps alone: their last event was on day 14.
        return known if len(known) == 3 and known["silent"].as_of.timestamp() > T0 + 20 * DAY else None

    scores = wait_for("a score for all", all_scores)

    # Those of a boundary: where in the stream a checkpoint describes whom it finds is a matter of chance.
    of_day = (
        "SELECT events_30d, purchases_7d, spend_total FROM features FINAL "
        "WHERE customer_id = 'loyal' AND day = {day:Date}"
    )
    parameters = {"day": utc(T0 + 30 * DAY).date()}
    rows = wait_for("the features at day 30", lambda: client.query(of_day, parameters=parameters).result_rows)
    assert rows == [(4 * 30, 4 * 7, 4 * 30 * 20.0)]
    # An event of an unmapped type is stored and counts as activity.
    assert client.query("SELECT kind FROM events FINAL WHERE type = 'levitate'").result_rows == [("other",)]
    wait_for(
        "a high risk of the silent one",
        lambda: latest_scores(settings)["silent"].churn > latest_scores(settings)["loyal"].churn + 0.4,
    )
    assert scores["loyal"].country == "NL"
    assert scores["loyal"].value_at_risk > 0
    assert scores["silent"].reasons

    def alerts_raised() -> list[Alert]:
        return [
            Alert.model_validate_json(message.value() or b"")
            for message in read_to_end(settings, settings.topics.alerts, range(settings.partitions))
        ]

    wait_for("an alert for the silent one", lambda: "silent" in {alert.customer_id for alert in alerts_raised()})
    alerts = alerts_raised()
    assert len({alert.alert_id for alert in alerts}) == len(alerts)

    records = [
        blocks.decode(message.value() or b"")
        for message in read_to_end(settings, settings.topics.examples, range(settings.partitions))
    ]
    for partition in range(settings.partitions):
        closed = [b.boundary for b in records if isinstance(b, blocks.Close) and b.partition == partition]
        assert closed == sorted(set(closed))
    snapshots = {
        (b.boundary, b.partition): b.customer_ids.to_pylist() for b in records if isinstance(b, blocks.Snapshot)
    }
    churned = {
        customer
        for b in records
        if isinstance(b, blocks.Labels) and b.target == "churn"
        for customer, label in zip(snapshots[b.snapshot_boundary, b.partition], b.labels.tolist(), strict=True)
        if label == 1
    }
    assert churned == {"silent"}


def test_invalid_records_are_dead_lettered_with_their_reason_and_processing_continues(
    settings: Settings, client: Client, run_part: Callable[[parts.ManagedProcess], Any]
) -> None:
    run_part(parts.worker(settings))
    source = Source(settings)
    good = {"event_id": "g", "customer_id": "c", "type": "view", "occurred_at": "2023-12-09T10:00:00Z"}
    wrong = {
        "bad_json": b'{"event_id": ',
        "missing_field": orjson.dumps({"event_id": "x", "type": "view", "occurred_at": "2023-12-09T10:00:00Z"}),
        "naive_time": orjson.dumps(good | {"occurred_at": "2023-12-09T10:00:00"}),
        "wrong_type": orjson.dumps(good | {"properties": {"amount": "ten"}}),
        "far_future": orjson.dumps(good | {"occurred_at": "2222-12-09T10:00:00Z"}),
        "too_large": orjson.dumps(good | {"properties": {"note": "n" * settings.max_event_bytes}}),
    }
    for body in wrong.values():
        source.raw(body, key=b"c")
    source.raw(orjson.dumps(good), key=None, partition=1)
    source.raw(orjson.dumps(good), key=b"c")
    source.flush()

    expected = dict.fromkeys((*wrong, "missing_key"), 1)
    reasons = "SELECT reason, count() FROM dead_letters FINAL GROUP BY reason"
    wait_for("the refusals in ClickHouse", lambda: pairs(client.query(reasons).result_rows) == expected)
    wait_for("the good event", lambda: count(client, "events") == 1)

    def dead_letters() -> list[Message] | None:
        # Rows in ClickHouse do not wait for records on Kafka.
        rows = list(read_to_end(settings, settings.topics.dead_letters, range(settings.partitions)))
        return rows if len(rows) >= len(expected) else None

    by_reason = {
        dict(message.headers() or [])["reason"].decode(): message  # type: ignore[union-attr]
        for message in wait_for("the dead letters", dead_letters)
    }
    assert by_reason.keys() == expected.keys()
    for reason, body in wrong.items():
        assert by_reason[reason].value() == body, "the bytes must be unchanged"
        headers = dict(by_reason[reason].headers() or [])
        assert headers["topic"] == settings.topics.activity.encode()
        assert {"stage", "partition", "offset", "detail"} <= headers.keys()


def test_an_idle_partition_advances_by_itself(
    settings: Settings, client: Client, run_part: Callable[[parts.ManagedProcess], Any]
) -> None:
    # A day in half a second: after ten quiet seconds, the labels of a five-day horizon have matured without an event.
    live = settings.model_copy(update={"idle_after_seconds": 0.5, "day_seconds": 0.5, "hold_after_hours": 0.0})
    run_part(parts.worker(live))
    source = Source(live)
    source.event("alone", T0 + 3_600, "purchase", amount=5.0)
    source.flush()

    def labels() -> list[int]:
        return [
            label
            for message in read_to_end(live, live.topics.examples, range(live.partitions))
            if isinstance(block := blocks.decode(message.value() or b""), blocks.Labels) and block.target == "churn"
            for label in block.labels.tolist()
        ]

    assert wait_for("a matured label", labels)[0] == 1

    def risen() -> bool:
        score = latest_scores(live).get("alone")
        return score is not None and score.previous is not None and score.churn > score.previous

    wait_for("a rise without an event", risen)


def test_a_topic_made_anew_stops_the_worker_with_what_to_do_unless_told_to_begin_anew(
    settings: Settings, run_part: Callable[[parts.ManagedProcess], Any]
) -> None:
    worker = parts.worker(settings)
    supervisor = run_part(worker)
    source = Source(settings)
    for number in range(40):
        source.event(f"c{number}", T0 + number, "view")
    source.flush()
    known = range(settings.partitions)
    wait_for("checkpoints", lambda: sum(restore(settings, number)[0].offset + 1 for number in known) == 40)
    supervisor.take_down("worker-0")

    admin = AdminClient(client_config(settings))
    for deleted in admin.delete_topics([settings.topics.activity]).values():
        deleted.result(timeout=30)
    wait_for("the topic to go", lambda: settings.topics.activity not in admin.list_topics(timeout=10).topics)
    create_topics(settings)
    other = Source(settings)
    for number in range(80):  # more than before: the offsets alone look as if nothing had happened
        other.event(f"d{number}", T0 + DAY + number, "view")
    other.flush()

    refused = subprocess.run(
        [sys.executable, "-m", "stream_processors"],
        env=os.environ | settings.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = refused.stdout + refused.stderr
    assert refused.returncode != 0
    assert "made anew or moved" in said
    assert "EBB_BEGIN_ANEW" in said
    assert "checkpoint.py" not in said, "no traceback of an error that says itself what to do"

    run_part(parts.worker(settings.model_copy(update={"begin_anew": True})))
    wait_for("the new topic", lambda: sum(restore(settings, number)[0].offset + 1 for number in known) == 80)


def test_state_equals_a_linear_replay_after_kills(
    settings: Settings, client: Client, run_part: Callable[[parts.ManagedProcess], Any]
) -> None:
    supervisor = run_part(parts.worker(settings))
    source, repeated = Source(settings), 0
    for day in range(12):
        for n in range(400):
            customer = f"c{(n * 7 + day) % 150}"
            source.event(customer, T0 + day * DAY + n * 200, "purchase" if n % 9 == 0 else "view", amount=1.1)
        if day % 3 == 0:  # a producer that repeats itself
            source.event(customer, T0 + day * DAY + n * 200, event_id=f"event-{source.sent}")
            repeated += 1
        source.tick(T0 + (day + 1) * DAY)
        source.flush()
        if day in {3, 6, 9}:
            supervisor.take_down("worker-0", hard=True)
            supervisor.bring_up("worker-0")
    wait_for("every event in ClickHouse", lambda: count(client, "events") == source.sent - repeated)
    judge = linear_replay(settings)

    def states() -> bool:
        return all(restore(settings, partition)[0].offset == engine.offset for partition, engine in judge.items())

    wait_for("the last checkpoint", states)
    for partition, engine in judge.items():
        restored, _, _ = restore(settings, partition)
        assert restored.state.digest() == engine.state.digest()
        assert restored.labeller.pending.keys() == engine.labeller.pending.keys()
