"""The embedded Kafka and ClickHouse: they start, keep their data, and leave nothing behind."""

import contextlib
import socket
import struct
from pathlib import Path

import httpx
import psutil
import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient

from ebb.errors import SetupError
from ebb.kafka.admin import create_topics
from ebb.settings import Settings
from ebb_cli.local import parts
from ebb_cli.local.ports import free_port, is_free
from ebb_cli.local.supervisor import Supervisor
from ebb_cli.local.system import running, services
from tests.support.project import LIB


def _read_one(settings: Settings) -> bytes | None:
    consumer = Consumer(
        {"bootstrap.servers": settings.kafka_bootstrap, "group.id": "reader", "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([settings.topics.activity])
    try:
        message = consumer.poll(90)
        return message.value() if message else None
    finally:
        consumer.close()


def test_services_answer_while_they_run_and_leave_no_process_or_port(tmp_path: Path) -> None:
    kafka_port, clickhouse_port = free_port(), free_port()
    launch_settings = Settings(home=tmp_path, lib=LIB, kafka_port=kafka_port, clickhouse_port=clickhouse_port)
    with running(launch_settings) as (settings, supervisor):
        assert settings.kafka_bootstrap == f"127.0.0.1:{kafka_port}"
        admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap})
        assert len(admin.list_topics(timeout=30).brokers) == 1
        auth = (settings.clickhouse_user, settings.clickhouse_password)
        answer = httpx.post(settings.clickhouse_url, content="SELECT 20 + 22", auth=auth, trust_env=False, timeout=30)
        assert answer.text.strip() == "42"
        started = [supervisor.pid("kafka"), supervisor.pid("clickhouse")]
        assert all(pid and psutil.pid_exists(pid) for pid in started)
    assert not any(pid and psutil.pid_exists(pid) for pid in started)
    assert is_free(kafka_port)
    assert is_free(clickhouse_port)


def test_a_restarted_broker_keeps_its_data_even_on_another_port(tmp_path: Path) -> None:
    launch_settings = Settings(
        home=tmp_path, lib=LIB, clickhouse_url="http://127.0.0.1:1", partitions=2, kafka_port=free_port()
    )
    with services(launch_settings) as settings:
        create_topics(settings)
        producer = Producer({"bootstrap.servers": settings.kafka_bootstrap})
        producer.produce(settings.topics.activity, b"kept")
        assert producer.flush(60) == 0
        del producer
    with services(launch_settings.model_copy(update={"kafka_port": free_port()})) as settings:
        assert create_topics(settings) == []
        assert _read_one(settings) == b"kept"


def test_only_one_runtime_at_a_time_uses_a_home(tmp_path: Path) -> None:
    elsewhere = Settings(home=tmp_path, lib=LIB, kafka_bootstrap="127.0.0.1:1", clickhouse_url="http://127.0.0.1:1")
    with (
        services(elsewhere),
        pytest.raises(SetupError, match=r"already running on .* Stop that one first"),
        services(elsewhere),
    ):
        pass
    with services(elsewhere):
        pass


def test_services_are_stopped_when_the_body_fails(tmp_path: Path) -> None:
    port = free_port()
    settings = Settings(home=tmp_path, lib=LIB, clickhouse_url="http://127.0.0.1:1", kafka_port=port)
    with pytest.raises(ZeroDivisionError), services(settings):
        raise ZeroDivisionError
    assert is_free(port)


API_VERSIONS = struct.pack(">ihhih", 10, 18, 0, 7, -1)
"""A request of Kafka's protocol that needs no other before it: size, key, version, its number, no client."""
PAGES = [
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\nContent-Length: 14\r\n\r\n",
    b"PUT / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 14\r\n\r\n",
    b"HEAD / HTTP/1.1\r\n\r\n",
    b"OPTIONS / HTTP/1.1\r\n\r\n",
    b"DELETE / HTTP/1.1\r\n\r\n",
    b"PATCH / HTTP/1.1\r\n\r\n",
    b"CONNECT a:1 HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
]
"""What a browser can open a connection with: HTTP, or the greeting of TLS."""


def _send(settings: Settings, data: bytes) -> bytes:
    host, _, port = settings.kafka_bootstrap.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(data)
        with contextlib.suppress(ConnectionResetError):
            return connection.recv(4096)
    return b""


def test_the_broker_ends_a_browsers_connection_without_reading_on(stack: Settings) -> None:
    assert _send(stack, API_VERSIONS)[4:8] == API_VERSIONS[8:12]
    for page in PAGES:
        assert _send(stack, page + API_VERSIONS * 20) == b""


def test_services_listen_on_loopback_alone_and_keep_their_files_to_themselves(
    stack: Settings, stack_supervisor: Supervisor
) -> None:
    for name in ("kafka", "clickhouse"):
        process = psutil.Process(stack_supervisor.pid(name))
        listening = [place.laddr for place in process.net_connections() if place.status == psutil.CONN_LISTEN]
        assert listening
        assert {address.ip.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}
        assert stack.clickhouse_password not in " ".join(process.cmdline())
        assert (stack.home / name).stat().st_mode & 0o777 == 0o700
    assert stack.home.stat().st_mode & 0o777 == 0o700


def test_secrets_are_given_to_the_parts_that_need_them_alone(
    tmp_path: Path, stack: Settings, stack_supervisor: Supervisor
) -> None:
    broker = psutil.Process(stack_supervisor.pid("kafka")).environ()
    assert not [name for name in broker if name.startswith("EBB_")]
    assert "EBB_CLICKHOUSE_PASSWORD" in psutil.Process(stack_supervisor.pid("clickhouse")).environ()
    settings = stack.model_copy(update={"home": tmp_path})
    assert parts.simulator(settings).environment["EBB_CLICKHOUSE_PASSWORD"] == ""
    assert parts.worker(settings).environment["EBB_CLICKHOUSE_PASSWORD"] == stack.clickhouse_password


def test_a_password_of_the_users_own_is_used_and_none_is_made(tmp_path: Path) -> None:
    own = "of-the-users-own-choice"
    given = Settings(home=tmp_path, lib=LIB, kafka_bootstrap="127.0.0.1:1", clickhouse_password=own)
    with services(given) as settings:
        assert settings.clickhouse_password == own
        for password, status in ((own, 200), ("", 403)):
            auth = ("default", password)
            answer = httpx.post(settings.clickhouse_url, content="SELECT 1", auth=auth, trust_env=False, timeout=30)
            assert answer.status_code == status
    assert not (tmp_path / "password").exists()
