"""The learner against a real broker and a real ClickHouse engine: killed anywhere, it becomes what it would have."""

import os
import re
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
import psutil
import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient

from clickhouse.client import connect
from ebb.contracts.examples import Close, Labels, encode
from ebb.contracts.models import SERVED, ModelSnapshot
from ebb.errors import CorruptError
from ebb.kafka.producer import Publisher
from ebb.kafka.reader import read_to_end
from ebb.settings import Settings
from ebb_cli.local.parts import ManagedProcess, learner
from ebb_cli.local.supervisor import Supervisor
from online_ml.checkpoint import MANIFEST, LearnerCheckpointer
from online_ml.learning.learner import Learner
from online_ml.learning.sample import draw_sample
from tests.support.examples import FIRST_DAY, World

# Processes start several times in a test, which takes a busy machine minutes.
pytestmark = pytest.mark.timeout(600)
WORLD = World(partitions=4, days=14, rows=60)
RunPart = Callable[[ManagedProcess], Supervisor]


@pytest.fixture
def learner_settings(space: Settings) -> Settings:
    return space.model_copy(
        update={
            "horizon_days": WORLD.churn_horizon,
            "purchase_horizon_days": WORLD.purchase_horizon,
            "checkpoint_seconds": 0.3,
            "tree_labels": 12,  # of 240: the trees learn and predict a sample
        }
    )


def uninterrupted(settings: Settings, world: World) -> Learner:
    made = Learner(settings)
    for number in range(world.partitions):
        for offset, block in enumerate(world.partition(number)):
            made.add(block, offset)
    while made.advance():
        pass
    return made


def produce(settings: Settings, world: World, days: range) -> None:
    publisher = Publisher(settings)
    for number in range(world.partitions):
        for block in world.partition(number):
            if block.boundary in days:
                publisher.send(settings.topics.examples, key=None, value=encode(block), partition=number)
    publisher.flush()


def models(settings: Settings) -> dict[str, ModelSnapshot]:
    result = (
        ModelSnapshot.decode(message.value() or b"") for message in read_to_end(settings, settings.topics.models, [0])
    )
    return {model.name: model for model in result}


def wait_until(met: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline, "the learner did not reach the day in time"
        time.sleep(0.2)


def trained_until(settings: Settings) -> int:
    published_models = models(settings)
    return published_models["churn.logistic"].trained_until if "churn.logistic" in published_models else 0


def rows(settings: Settings, query: str) -> list[tuple[object, ...]]:
    client = connect(settings)
    try:
        return [tuple(row) for row in client.query(query).result_rows]
    finally:
        client.close()


def kill(running: Supervisor) -> None:
    """Kill -9, and wait until the supervisor has it running again."""
    pid = running.pid("learner")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)

    def back() -> bool:
        running.poll()
        return running.pid("learner") not in {None, pid} and running.ready("learner")

    wait_until(back)


def expected_outcomes(learned: Learner, world: World, learner_settings: Settings) -> set[tuple[object, ...]]:
    """Recompute from the world alone which rows `outcomes` must hold."""
    outcomes: set[tuple[object, ...]] = set()
    last = FIRST_DAY + world.days
    for target, target_learner in learned.targets.items():
        slow = {candidate.name for candidate in target_learner.sample.candidates}
        for day in range(FIRST_DAY, last - world.horizon(target)):
            sampled = draw_sample(
                [world.rows] * world.partitions, learner_settings.tree_labels, seed=learner_settings.seed, boundary=day
            )
            for number in range(world.partitions):
                for row, label in enumerate(world.labels(target, number, day).tolist()):
                    # Candidates predict nothing before their first label; every second customer was served nothing.
                    predictors = target_learner.names if day >= FIRST_DAY + world.horizon(target) else [SERVED]
                    names = predictors if row % 2 else [name for name in predictors if name != SERVED]
                    names = [name for name in names if name not in slow or row in sampled[number]]
                    outcomes |= {(target, f"c{number}-{row}", day, name, label) for name in names}
    return outcomes


def test_a_learner_killed_at_any_time_ends_as_an_uninterrupted_one(
    learner_settings: Settings, run_part: RunPart
) -> None:
    last = FIRST_DAY + WORLD.days - 1
    running = run_part(learner(learner_settings))
    for first, until in ((0, 6), (6, 10), (10, WORLD.days)):
        produce(learner_settings, WORLD, range(FIRST_DAY + first, FIRST_DAY + until))
        if until < WORLD.days:
            wait_until(lambda day=FIRST_DAY + until - 2: trained_until(learner_settings) >= day)  # type: ignore[misc]
            kill(running)
    wait_until(lambda: trained_until(learner_settings) == last)
    running.stop()

    expected = uninterrupted(learner_settings, WORLD)
    assert LearnerCheckpointer(learner_settings).restore().digest() == expected.digest()
    published = models(learner_settings)
    assert len(published) == sum(len(learned.candidates) for learned in expected.targets.values())
    for target, learned in expected.targets.items():
        for candidate, calibration in zip(learned.candidates, learned.calibrations, strict=True):
            model = published[f"{target}.{candidate.name}"]
            assert model.payload == candidate.payload(calibration)
            assert model.version >= learned.version
            assert (model.role == "champion") == (candidate.name == learned.champion)

    select = "SELECT target, customer_id, toInt32(snapshot_day), candidate, label FROM v_outcomes"
    stored = rows(learner_settings, select)
    assert len(stored) == len(set(stored))
    assert set(stored) == expected_outcomes(expected, WORLD, learner_settings)
    taken_twice = "SELECT name, version FROM models GROUP BY ALL HAVING uniqExact(trained_until) > 1"
    assert rows(learner_settings, taken_twice) == []
    windows = {row[0] for row in rows(learner_settings, "SELECT DISTINCT window FROM v_model_metrics")}
    assert windows == {"day", "rolling", "all"}


def test_records_that_are_no_blocks_are_dead_lettered_and_skipped(
    learner_settings: Settings, run_part: RunPart
) -> None:
    world = World(partitions=4, days=6, rows=20)
    publisher = Publisher(learner_settings)
    for number in range(4):
        publisher.send(learner_settings.topics.examples, key=None, value=b"no block", partition=number)
    misplaced = encode(Close(3, FIRST_DAY, chunks=0, labels=0))
    publisher.send(learner_settings.topics.examples, key=None, value=misplaced, partition=1)
    publisher.flush()
    produce(learner_settings, world, range(FIRST_DAY, FIRST_DAY + world.days))
    run_part(learner(learner_settings))
    wait_until(lambda: trained_until(learner_settings) == FIRST_DAY + world.days - 1)
    noted = rows(
        learner_settings, "SELECT partition, offset, stage, reason FROM v_dead_letters ORDER BY partition, offset"
    )
    where = [(0, 0), (1, 0), (1, 1), (2, 0), (3, 0)]
    assert noted == [(partition, offset, "learner", "corrupt") for partition, offset in where]


def test_a_lost_checkpoint_is_rebuilt_from_the_first_block(learner_settings: Settings, run_part: RunPart) -> None:
    world = World(partitions=4, days=6, rows=20)
    produce(learner_settings, world, range(FIRST_DAY, FIRST_DAY + world.days))
    running = run_part(learner(learner_settings))
    wait_until(lambda: trained_until(learner_settings) == FIRST_DAY + world.days - 1)
    wait_until(lambda: committed(learner_settings) == {number: blocks(world) for number in range(4)})
    running.stop()
    publisher = Publisher(learner_settings)
    publisher.send(learner_settings.topics.learner, key=MANIFEST, value=b"damaged", partition=0)
    publisher.flush()

    again = run_part(learner(learner_settings))
    wait_until(lambda: restored(learner_settings) == uninterrupted(learner_settings, world).digest())
    again.stop()


def test_of_two_learners_the_one_that_started_first_says_so_and_leaves(
    learner_settings: Settings, run_part: RunPart, tmp_path: Path
) -> None:
    """As at a rolling update; and the one that stays learns on, alone."""
    world = World(partitions=4, days=8, rows=20)
    produce(learner_settings, world, range(FIRST_DAY, FIRST_DAY + 5))
    first = run_part(replace(learner(learner_settings), name="first"))
    wait_until(lambda: trained_until(learner_settings) == FIRST_DAY + 4)
    second = run_part(replace(learner(learner_settings), name="second"))
    pid = first.pid("first")
    wait_until(lambda: not running(pid))
    log = (tmp_path / "logs/first.log").read_text()
    assert "another learner has started; this one leaves" in log
    assert "crash" not in log
    produce(learner_settings, world, range(FIRST_DAY + 5, FIRST_DAY + 8))
    wait_until(lambda: trained_until(learner_settings) == FIRST_DAY + 7)
    assert running(second.pid("second"))
    assert "this one leaves" not in (tmp_path / "logs/second.log").read_text()
    wait_until(lambda: restored(learner_settings) == uninterrupted(learner_settings, world).digest())


def test_partitions_that_are_far_ahead_are_not_read_on_until_the_others_come(
    learner_settings: Settings, run_part: RunPart
) -> None:
    """A partition stalls for ten days of another's large snapshots: what waits for it stays bounded."""
    world = World(partitions=4, days=12, rows=3_000)
    few = learner_settings.model_copy(update={"waiting_rows": 6_000})
    ahead = list(world.partition(0))
    publisher = Publisher(few)
    for block in ahead:
        publisher.send(few.topics.examples, key=None, value=encode(block), partition=0)
    publisher.flush()
    part = learner(few)
    run_part(part)
    waiting = sampled_metric(part, "ebb_learner_waiting_rows", seconds=8)
    assert waiting[-1] > few.waiting_rows
    rows = sum(len(block.labels) for block in ahead if isinstance(block, Labels)) + world.days * world.rows
    assert max(waiting) < rows / 2
    for number in range(1, world.partitions):
        for block in world.partition(number):
            publisher.send(few.topics.examples, key=None, value=encode(block), partition=number)
    publisher.flush()
    wait_until(lambda: restored(few) == uninterrupted(few, world).digest())
    assert sampled_metric(part, "ebb_learner_waiting_rows", seconds=1)[-1] == 0


def sampled_metric(part: ManagedProcess, name: str, *, seconds: float) -> list[float]:
    """Return the values of a gauge of a part, ten a second."""
    values, deadline = [], time.monotonic() + seconds
    url = f"http://127.0.0.1:{part.environment['EBB_METRICS_PORT']}/metrics"
    while time.monotonic() < deadline:
        found = re.search(rf"^{name} (\S+)$", httpx.get(url).text, re.MULTILINE)
        values.append(float(found[1]) if found else 0.0)
        time.sleep(0.1)
    return values


def running(pid: int | None) -> bool:
    """Return whether a process runs; one that has ended stays a zombie until its supervisor looks."""
    return pid is not None and psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def restored(settings: Settings) -> str:
    try:
        return LearnerCheckpointer(settings).restore().digest()
    except CorruptError:
        return ""


def blocks(world: World) -> int:
    return sum(1 for _ in world.partition(0))


def committed(settings: Settings) -> dict[int, int]:
    group = settings.group("learner")
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap})
    group_partitions = ConsumerGroupTopicPartitions(
        group, [TopicPartition(settings.topics.examples, n) for n in range(4)]
    )
    committed_offsets = admin.list_consumer_group_offsets([group_partitions])[group].result(timeout=60)
    return {offset.partition: offset.offset for offset in committed_offsets.topic_partitions}
