"""A worker ends or hangs while events flow: afterwards everything is as if it had not.

Each story is judged by `tests.support.traffic.judge`: state byte for byte, rows, labels and refusals against a
re-computation over the whole log.
"""

import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from ebb.settings import Settings
from ebb_cli.local import parts
from ebb_cli.local.supervisor import Supervisor
from tests.support.flow import wait_for
from tests.support.traffic import Traffic, judge
from tests.support.workers import hurried, saved, working

RunPart = Callable[[parts.ManagedProcess], Supervisor]
KILLS = 20


@pytest.mark.timeout(1800)
def test_a_worker_killed_twenty_times_at_random_moments(spaces: Callable[[], Settings], run_part: RunPart) -> None:
    # Two workers, strangers to each other, with ten lives each: after a kill a group waits for six seconds, idle.
    chance = random.Random(20)  # noqa: S311 - moments, not secrets
    moments = [chance.uniform(0.0, 1.5) for _ in range(KILLS)]

    def fare(number: int) -> int:
        return _lives(hurried(spaces(), sweep_seconds=1.0), number, run_part, moments[number::2])

    with ThreadPoolExecutor(2) as both:
        lives = sum(both.map(fare, range(2)))
    assert lives >= KILLS // 4, f"only {lives} of {KILLS} lives saved anything that the next one went on from"


def _lives(settings: Settings, number: int, run_part: RunPart, moments: Sequence[float]) -> int:
    """Kill a worker so many seconds into each of its lives; judge it, and return how many lives saved something."""
    worker = parts.worker(settings, number)
    supervisor = run_part(worker)
    reached = [saved(settings)]
    with Traffic(settings, seed=1 + 10 * number) as traffic:
        for life, moment in enumerate(moments):
            working(worker)
            if life % 4 == 0:
                # However slow the machine is, so many lives last until they have saved something.
                wait_for("a checkpoint", lambda: saved(settings) > reached[-1])
            time.sleep(moment)
            supervisor.take_down(worker.name, hard=True)
            reached.append(saved(settings))
            supervisor.bring_up(worker.name)
    judge(traffic)
    return sum(after > before for before, after in pairwise(reached))


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
        time.sleep(settings.session_seconds + 5)
    try:
        judge(traffic)
    finally:
        os.kill(pid, signal.SIGCONT)
    # Nothing is written any more that would make up for what the one that wakes may overwrite.
    time.sleep(8)
    judge(traffic)
