"""A worker wakes in the middle of a checkpoint of partitions that are another's: the fence alone keeps its state out.

Nothing else could. It learns of the rebalance while that checkpoint is under way, and gives the partitions up only
after it. What it writes is older than what is stored there, and readable, so that no reader would notice.
"""

import os
import random
import signal
from collections.abc import Callable, Iterator

import pytest

from ebb.settings import Settings
from ebb_cli.local import parts
from ebb_cli.local.supervisor import Supervisor
from stream_processors.checkpoint import restore
from stream_processors.state.table import SHARD_ROWS
from tests.support.activity import START
from tests.support.flow import Source, activity_records, wait_for
from tests.support.traffic import DAY, judge_log
from tests.support.withheld import Withheld
from tests.support.workers import accepted, hurried, metric, saved

RunPart = Callable[[parts.ManagedProcess], Supervisor]
CUSTOMERS = 4_500
"""More than fit into the first shard of each of four partitions."""


@pytest.fixture
def settings(space: Settings) -> Settings:
    """A namespace without sweeps; customers who fall silent soon are in no snapshot."""
    # A sweep publishes every customer again, so that the next checkpoint would hold all of them.
    return hurried(space, sweep_seconds=600.0, lookback_days=2)


@pytest.fixture
def withheld(settings: Settings) -> Iterator[Withheld]:
    """ClickHouse for the worker that hangs. The last insert of a checkpoint is that into `events`."""
    with Withheld(settings, "events") as proxy:
        yield proxy


@pytest.mark.timeout(400)
# `withheld` before `run_part`: a worker that stops needs its ClickHouse once more.
def test_a_worker_that_wakes_amid_a_checkpoint_of_partitions_that_another_has_moved_on(
    settings: Settings, withheld: Withheld, run_part: RunPart
) -> None:
    worker = parts.worker(settings.model_copy(update={"clickhouse_url": withheld.url}))
    supervisor = run_part(worker)
    pid = supervisor.pid("worker-0")
    assert pid is not None
    source, choice = Source(settings), random.Random(6)  # noqa: S311 - customers, not secrets

    def come(customers: list[str], day: int, hour: int) -> None:
        """Have customers act, one after another, from an hour of a day on."""
        for second, customer in enumerate(customers):
            bought = {"kind": "purchase", "amount": 9.5} if second % 3 == 0 else {"kind": "view"}
            source.event(customer, (START + day) * DAY + hour * 3_600 + second / 10, **bought)
        source.flush()

    def everything_saved() -> bool:
        return saved(settings) == recorded

    # Every customer acts, some on two more days, and all of it is saved.
    customers = [f"c{number}" for number in range(CUSTOMERS)]
    come(customers, 0, 2)
    come(choice.choices(customers, k=400), 1, 2)
    come(choice.choices(customers, k=400), 2, 2)
    recorded = _recorded(settings)
    wait_for("a checkpoint of all customers", everything_saved)
    shards = [_by_shard(settings, partition, choice) for partition in range(settings.partitions)]
    first, last = ([customer for pair in shards for customer in pair[place]] for place in (0, 1))

    # While one checkpoint hangs, customers of the first shards come. So the next holds all that they did, and no more.
    before = withheld.next()
    come(first[:1], 2, 6)
    assert before.answered.wait(60)
    come(first, 2, 7)
    wait_for("events processed", lambda: accepted(worker) == source.sent)
    hung = withheld.next()
    before.release()
    assert hung.answered.wait(60)
    # In one partition another day begins, whose labels the worker publishes and does not save. There it stops.
    come([*shards[0][0], *shards[0][1]], 3, 2)
    wait_for("labels published", lambda: accepted(worker) == source.sent)
    checkpoints = metric(worker, "ebb_checkpoint_seconds_count")
    os.kill(pid, signal.SIGSTOP)
    try:
        # The group waits for its session to end, gives all partitions to the other worker, which moves on.
        run_part(parts.worker(settings, 1))
        come(first + last, 3, 8)
        recorded = _recorded(settings)
        wait_for("the other's checkpoint of it", everything_saved)
        # After this checkpoint it hangs again, until it has given the partitions up. Otherwise it reads on, comes to
        # the state that the other has, and mends what it wrote over.
        withheld.next()
        hung.release()
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_for("the end of its checkpoint", lambda: metric(worker, "ebb_checkpoint_seconds_count") > checkpoints)

    # Nor does the other write the first shards again.
    come(last, 3, 14)
    judge_log(settings, sent=source.sent)
    log = (supervisor.logs / "worker-0.log").read_text()
    assert log.count("checkpoint refused") == settings.partitions, "something other than the fence kept it out"

    # All snapshots get their labels, from the worker that has the partitions now.
    withheld.release_all()
    source.tick((START + 7) * DAY + 2 * 3_600)
    source.flush()
    judge_log(settings, sent=source.sent)


def _recorded(settings: Settings) -> int:
    return sum(map(len, activity_records(settings).values()))


def _by_shard(settings: Settings, partition: int, choice: random.Random) -> tuple[list[str], list[str]]:
    """Return customers of the first shard of a partition, and of the last."""
    ids = list(restore(settings, partition)[0].state.ids)
    assert SHARD_ROWS < len(ids) <= 2 * SHARD_ROWS
    return choice.sample(ids[:SHARD_ROWS], 30), choice.sample(ids[SHARD_ROWS:], 30)
