"""The broker or ClickHouse goes away while events flow: afterwards everything is as if it had not.

Each story is judged by `tests.support.traffic.judge`, as those of the worker are.
"""

import time
from collections.abc import Callable

import psutil
import pytest

from ebb.settings import Settings
from ebb_cli.local import parts
from ebb_cli.local.supervisor import Supervisor
from tests.support.flow import wait_for
from tests.support.stopping import stopped
from tests.support.traffic import Traffic, judge
from tests.support.workers import working

RunPart = Callable[[parts.ManagedProcess], Supervisor]


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
@pytest.mark.parametrize("name", ["kafka", "clickhouse"])
def test_a_service_that_hangs_and_goes_on(
    name: str, settings: Settings, stack_supervisor: Supervisor, run_part: RunPart
) -> None:
    """Stopped and not ended: connections stay open, and what was sent may still be answered."""
    worker = parts.worker(settings)
    pid = (supervised := run_part(worker)).pid("worker-0")
    with Traffic(settings, seed=6) as traffic:
        working(worker)
        time.sleep(2)
        with stopped(stack_supervisor, name):
            time.sleep(20)
        time.sleep(3)
    judge(traffic)
    supervised.poll()
    assert supervised.pid("worker-0") == pid, "the worker waited, and was not started again"


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
