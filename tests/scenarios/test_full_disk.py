"""A disk that is full is waited out, and whoever looks is told that it is the disk."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from clickhouse.migrations import migrate
from ebb.errors import UnavailableError
from ebb.kafka.producer import Publisher
from ebb.settings import Settings
from ebb_cli.local import parts
from ebb_cli.local.ports import free_port
from ebb_cli.local.supervisor import Supervisor
from ebb_cli.local.system import running
from tests.support.embedded_clickhouse import Embedded
from tests.support.flow import wait_for
from tests.support.project import LIB
from tests.support.small_disk import small_disk
from tests.support.traffic import Traffic, judge
from tests.support.workers import working

RunPart = Callable[[parts.ManagedProcess], Supervisor]


def check(settings: Settings, name: str) -> dict[str, Any]:
    """Return a check of `/readyz?verbose`."""
    answer = httpx.get(f"{parts.api_url(settings)}/readyz?verbose", trust_env=False, timeout=60).json()
    return next(dict(found) for found in answer["checks"] if found["name"] == name)


@pytest.mark.timeout(500)
def test_a_full_disk_of_clickhouse_is_named_and_waited_out(
    settings: Settings, run_part: RunPart, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", 300) as disk:
        server = Embedded(disk.folder)
        server.log = tmp_path / "clickhouse.log"
        server.start()
        try:
            own = settings.model_copy(
                update={
                    "clickhouse_url": server.settings.clickhouse_url,
                    "clickhouse_password": server.settings.clickhouse_password,
                    "api_port": free_port(),
                }
            )
            migrate(own)
            worker = parts.worker(own)
            pid = (supervised := run_part(worker)).pid("worker-0")
            run_part(parts.api(own))
            log = tmp_path / "logs" / "worker-0.log"
            with Traffic(own, seed=8) as traffic:
                working(worker)
                wait_for("a disk with room", lambda: check(own, "clickhouse")["ok"])
                disk.fill()
                wait_for("the worker to name it", lambda: "The disk of ClickHouse" in log.read_text())
                wait_for("the API to name it", lambda: "is full" in check(own, "clickhouse")["why"])
                before = traffic.sent
                wait_for("more events", lambda: traffic.sent > before + 300)
                assert httpx.get(f"{parts.api_url(own)}/readyz", trust_env=False, timeout=60).status_code == 200
                disk.free()
                wait_for("a disk with room", lambda: check(own, "clickhouse")["ok"])
            judge(traffic)
            supervised.poll()
            assert supervised.pid("worker-0") == pid, "the worker waited, and was not started again"
        finally:
            server.kill()


@pytest.mark.timeout(500)
def test_a_full_disk_of_kafka_is_named_and_waited_out(tmp_path: Path, run_part: RunPart) -> None:
    with small_disk(tmp_path / "disk", 500) as disk:
        asked = Settings(
            home=disk.folder, lib=LIB, kafka_port=free_port(), clickhouse_port=free_port(), partitions=2,
            api_port=free_port(),
        )  # fmt: skip
        with running(asked) as (settings, supervisor):
            run_part(parts.api(settings))
            publisher = Publisher(settings)

            def sent() -> bool:
                publisher.send(settings.topics.activity, key="c", value=b"x" * 10_000)
                try:
                    publisher.flush(2)
                except UnavailableError:
                    return False
                return True

            assert sent()
            disk.fill()
            wait_for("a broker that does not take records", lambda: not sent())
            wait_for(
                "the API to name the disk",
                lambda: f"The disk of {disk.folder} is full" in check(settings, "kafka")["why"],
            )
            publisher.send(settings.topics.activity, key="c", value=b"x")
            with pytest.raises(UnavailableError, match="is full"):
                publisher.flush(2)
            disk.free()

            def goes_on() -> bool:
                supervisor.poll()
                return supervisor.ready("kafka") and sent()

            wait_for("the broker to go on", goes_on, seconds=240)
            wait_for("the API to see it", lambda: check(settings, "kafka")["ok"])
