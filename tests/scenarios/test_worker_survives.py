"""Whatever ends, hangs or goes away while events flow: afterwards everything is as if nothing had.

Each story is judged by `tests.support.traffic.judge`: state byte for byte, rows, labels and refusals against a
re-computation over the whole log.
"""

import os
import random
import signal
import time
from collections.abc import Callable
from itertools import pairwise

import psutil
import pytest

from ebb.kafka.faust_app import SESSION_SECONDS
from ebb.settings import Settings
from ebb_cli.local import parts
from ebb_cli.local.supervisor import Supervisor
from tests.support.flow import wait_for
from tests.support.traffic import Traffic, judge
from tests.support.workers import hurried, saved, working

RunPart = Callable[[parts.ManagedProcess], Supervisor]
KILLS = 20


@pytest.fixture
def settings(space: Settings) -> Settings:
    """A namespace whose events are soon labels."""
    return hurried(space, sweep_seconds=1.0)


@pytest.mark.timeout(1800)
def test_a_worker_killed_twenty_times_at_random_moments(settings: Settings, run_part: RunPart) -> None:
    moments = random.Random(20)  # noqa: S311 - moments, not secrets
    worker = parts.worker(settings)
    supervisor = run_part(worker)
    reached = [saved(settings)]
    with Traffic(settings, seed=1) as traffic:
        for life in range(KILLS):
            working(worker)
            if life % 4 == 0:
                # However slow the machine is, so many lives last until they have saved something.
                wait_for("a checkpoint", lambda: saved(settings) > reached[-1])
            time.sleep(moments.uniform(0.0, 1.5))
            supervisor.take_down("worker-0", hard=True)
            reached.append(saved(settings))
            supervisor.bring_up("worker-0")
    judge(traffic)
    lives = sum(after > before for before, after in pairwise(reached))
    assert lives >= KILLS // 4, f"only {lives} of {KILLS} lives saved anything that the next one went on from"


@pytest.mark.timeout(400)
def test_two_workers_of_which_one_stops_and_returns_and_is_killed(settings: Settings, run_part: RunPart) -> None:
    workers = [parts.worker(settings, number) for number in range(2)]
    _, second = [run_part(worker) for worker in workers]
    with Traffic(settings, seed=2) as traffic:
        working(*workers)
        time.sleep(2)
        second.take_down("worker-1")
        time.sleep(1)
        second.bring_up("worker-1")
        working(*workers)
        time.sleep(2)
        second.take_down("worker-1", hard=True)
        time.sleep(1)
    judge(traffic)


@pytest.mark.timeout(400)
def test_a_worker_that_hangs_until_its_partitions_are_anothers_and_then_wakes(
    settings: Settings, run_part: RunPart
) -> None:
    # Checkpoints so seldom that the one that hangs holds work which it has not saved, and saves it as soon as it wakes.
    seldom = settings.model_copy(update={"checkpoint_seconds": 3.0})
    workers = [parts.worker(seldom, number) for number in range(2)]
    first, _ = [run_part(worker) for worker in workers]
    pid = first.pid("worker-0")
    assert pid is not None
    with Traffic(seldom, seed=3) as traffic:
        working(*workers)
        time.sleep(5)
        os.kill(pid, signal.SIGSTOP)
        # The group waits for the session to end; only then are the partitions the other's.
        time.sleep(SESSION_SECONDS + 5)
    try:
        judge(traffic)
    finally:
        os.kill(pid, signal.SIGCONT)
    # Nothing is written any more that would make up for what the one that wakes may overwrite.
    time.sleep(8)
    judge(traffic)


@pytest.mark.timeout(400)
def test_a_broker_that_goes_and_returns(settings: Settings, stack_supervisor: Supervisor, run_part: RunPart) -> None:
    worker = parts.worker(settings)
    run_part(worker)
    with Traffic(settings, seed=4) as traffic:
        working(worker)
        time.sleep(2)
        stack_supervisor.take_down("kafka", hard=True)
        time.sleep(3)
        stack_supervisor.bring_up("kafka")
        time.sleep(3)
    judge(traffic)


@pytest.mark.timeout(400)
def test_clickhouse_away_for_long_holds_the_worker_back_and_loses_nothing(
    settings: Settings, stack_supervisor: Supervisor, run_part: RunPart
) -> None:
    small = settings.model_copy(update={"sink_rows": 100, "poll_records": 50})
    worker = parts.worker(small)
    pid = run_part(worker).pid("worker-0")
    with Traffic(small, seed=5, pause=0.02) as traffic:
        working(worker)
        time.sleep(2)
        stack_supervisor.take_down("clickhouse", hard=True)
        before, rss = traffic.sent, psutil.Process(pid).memory_info().rss
        time.sleep(20)
        # The producer must not have noticed.
        wait_for("a thousand events more", lambda: traffic.sent > before + 1_000)
        assert psutil.Process(pid).is_running()
        grown = psutil.Process(pid).memory_info().rss - rss
        assert grown < 64 * 1024 * 1024, f"the worker grew by {grown} bytes while ClickHouse was away"
        stack_supervisor.bring_up("clickhouse")
    judge(traffic)
