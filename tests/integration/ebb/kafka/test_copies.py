"""Two real brokers: what `acks=all` means where topics have copies, and that older topics are reported."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from structlog.testing import capture_logs

from ebb.errors import UnavailableError
from ebb.kafka.admin import create_topics
from ebb.kafka.producer import Publisher
from ebb.settings import Settings
from ebb_cli.local import jars, kafka
from ebb_cli.local.parts import ManagedProcess
from ebb_cli.local.ports import answers, free_port
from ebb_cli.local.supervisor import Supervisor
from tests.support.flow import wait_for
from tests.support.project import LIB

SETTING = "min.insync.replicas"


def second_broker(first: ManagedProcess, home: Path, port: int) -> ManagedProcess:
    """Describe a second broker of the first one's cluster, from its properties."""
    properties = Path(first.command[-1])
    cluster = kafka._cluster_id(properties.parent / "data")
    lines = dict(line.split("=", 1) for line in properties.read_text().splitlines())
    lines |= {
        "process.roles": "broker",
        "node.id": "2",
        "listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "log.dirs": str(home / "second"),
    }
    own = home / "second.properties"
    own.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
    java = first.command[:-2]
    tool = ("kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "--config", str(own))
    subprocess.run([*java, *tool], check=True, capture_output=True)
    ready = lambda: answers(port)  # noqa: E731
    return ManagedProcess("second", (*java, "kafka.Kafka", str(own)), dict(os.environ), ready, after=("kafka",))


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[Settings, Supervisor]]:
    port = free_port()
    settings = Settings(
        home=tmp_path, lib=LIB, kafka_port=port, kafka_bootstrap=f"127.0.0.1:{port}", kafka_heap_mb=256,
        partitions=1, replication=2,
    )  # fmt: skip
    first = replace(kafka.kafka(settings, jars.classpath(LIB)), alive=None)
    second = second_broker(first, tmp_path, free_port())
    with Supervisor([first, second], logs=tmp_path / "logs", report=print) as supervisor:
        admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap})
        wait_for("two brokers", lambda: len(admin.list_topics(timeout=30).brokers) == 2)
        yield settings, supervisor


def least(settings: Settings, topic: str) -> str:
    place = ConfigResource(ConfigResource.Type.TOPIC, topic)
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap})
    return str(admin.describe_configs([place])[place].result(timeout=60)[SETTING].value)


@pytest.mark.timeout(400)
def test_a_record_that_one_broker_alone_has_is_not_acknowledged(cluster: tuple[Settings, Supervisor]) -> None:
    settings, supervisor = cluster
    create_topics(settings)
    topic = settings.topics.activity
    assert least(settings, topic) == "2"
    publisher = Publisher(settings)
    publisher.send(topic, key="c", value=b"on both", partition=0)
    publisher.flush(60)
    with capture_logs() as said:
        assert create_topics(settings) == []
    assert not [line for line in said if "may be lost" in line["event"]]
    # As a topic that an earlier version made.
    place = ConfigResource(ConfigResource.Type.TOPIC, settings.topics.models)
    place.add_incremental_config(ConfigEntry(SETTING, "1", incremental_operation=AlterConfigOpType.SET))
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap})
    admin.incremental_alter_configs([place])[place].result(timeout=60)
    wait_for("the change", lambda: least(settings, settings.topics.models) == "1")
    with capture_logs() as said:
        create_topics(settings)
    warned = [line for line in said if "may be lost" in line["event"]]
    assert [line["topics"] for line in warned] == [[settings.topics.models]]
    assert f"--entity-name {settings.topics.models} --add-config {SETTING}=2" in warned[0]["hint"]
    assert least(settings, settings.topics.models) == "1", "it is reported, not changed"
    supervisor.take_down("second", hard=True)

    def in_sync() -> int:
        return len(admin.list_topics(topic, timeout=30).topics[topic].partitions[0].isrs)

    wait_for("one copy left", lambda: in_sync() == 1)
    publisher.send(topic, key="c", value=b"on one", partition=0)
    with pytest.raises(UnavailableError, match="not acknowledge"):
        publisher.flush(5)
    supervisor.bring_up("second")
    publisher.flush(120)
