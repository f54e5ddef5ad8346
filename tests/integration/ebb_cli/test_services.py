"""The embedded Kafka and ClickHouse: they start, keep their data, and leave nothing behind."""

from pathlib import Path

import httpx
import psutil
import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient

from ebb.errors import SetupError
from ebb.kafka.admin import create_topics
from ebb.settings import Settings
from ebb_cli.local.ports import free_port, is_free
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
