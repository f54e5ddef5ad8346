"""What a process shows at /metrics follows what it does."""

import subprocess
import sys

import pytest
from prometheus_client import REGISTRY

from ebb import metrics
from ebb_cli.local.ports import free_port

TOPIC = "ebb.watched.activity"


def _sample(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


def test_metrics_of_a_revoked_partition_are_removed() -> None:
    for partition in ("901", "902"):
        metrics.LAG_EVENTS.labels(TOPIC, partition).set(7)
        metrics.LAG_SECONDS.labels(TOPIC, partition).set(3)
        metrics.WATERMARK.labels(partition).set(1)
        metrics.CUSTOMERS.labels(partition).set(2)
        metrics.CUSTOMERS_BY_BAND.labels(partition, "high").set(2)

    metrics.forget_partition(901)

    assert _sample("ebb_consumer_lag_events", topic=TOPIC, partition="901") is None
    assert _sample("ebb_consumer_lag_seconds", topic=TOPIC, partition="901") is None
    assert _sample("ebb_watermark_timestamp_seconds", partition="901") is None
    assert _sample("ebb_customers", partition="901") is None
    assert _sample("ebb_customers_by_band", partition="901", band="high") is None
    assert _sample("ebb_consumer_lag_events", topic=TOPIC, partition="902") == 7
    assert _sample("ebb_customers_by_band", partition="902", band="high") == 2
    metrics.forget_partition(902)


def test_metrics_of_an_unknown_partition_can_be_removed() -> None:
    metrics.forget_partition(977)
    assert _sample("ebb_customers", partition="977") is None


LISTENING = """
import sys
import psutil
from ebb.metrics import serve_metrics
from ebb.settings import Settings
serve_metrics(Settings(metrics_port=int(sys.argv[1]), **{"metrics_host": host for host in sys.argv[2:]}))
print(*(c.laddr.ip for c in psutil.Process().net_connections("tcp") if c.status == "LISTEN"))
"""


@pytest.mark.parametrize(
    ("on", "hosts", "address"),
    [(False, [], ""), (True, [], "127.0.0.1"), (True, ["0.0.0.0"], "0.0.0.0")],  # noqa: S104 - what is tested
)
def test_metrics_listen_beyond_loopback_only_where_a_setting_says_so(on: bool, hosts: list[str], address: str) -> None:
    port = str(free_port()) if on else "0"
    run = subprocess.run([sys.executable, "-c", LISTENING, port, *hosts], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == address
