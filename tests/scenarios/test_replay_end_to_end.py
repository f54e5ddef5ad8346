"""`ebb replay` as a person runs it: a log through worker and learner to realised metrics, nothing lost or doubled."""

import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from confluent_kafka.admin import AdminClient

from clickhouse.client import connect
from ebb.settings import Settings
from ebb_cli.local.parts import environment
from online_ml.evaluation.metrics import roc_auc

# Three replays in one test, each of which starts a worker and a learner.
pytestmark = pytest.mark.timeout(900)
HORIZON, LOOKBACK, DAYS = 5, 10, 40
BEGIN = datetime(2011, 3, 1, tzinfo=UTC)
COMMAND = (sys.executable, "-c", "from ebb_cli import main; main()")
OPTIONS = (
    "--map", "customer_id=who", "--map", "occurred_at=at", "--map", "type==purchase", "--map", "amount=paid",
    "--zone", "UTC", "--horizon-days", str(HORIZON), "--lookback-days", str(LOOKBACK), "--namespace", "e2e",
)  # fmt: skip


@pytest.fixture(scope="module")
def visits() -> list[tuple[str, datetime]]:
    """Customers of several rhythms, some of whom stop for good."""
    rng = np.random.default_rng(4)
    found = []
    for number in range(120):
        gap, end = float(rng.choice([1.0, 3.0, 8.0])), float(rng.choice([12.0, DAYS]))
        at = float(rng.uniform(0, 6))
        while at < end:
            found.append((f"c{number}", BEGIN + timedelta(days=at)))
            at += float(rng.gamma(3.0, gap / 3.0)) + 0.01
    return found


@pytest.fixture
def log(visits: list[tuple[str, datetime]], tmp_path: Path) -> Path:
    """The visits as a naive CSV out of order, with true duplicates and rows that cannot be accepted."""
    lines = [f"{who},{at:%Y-%m-%d %H:%M:%S},10" for who, at in visits]
    lines += lines[:7]
    lines[5:5] = ["c1,someday,10", ",2011-03-02 10:00:00,10"]
    path = tmp_path / "visits.csv"
    path.write_text("\n".join(["who,at,paid", *lines[::-1]]) + "\n")
    return path


@pytest.fixture
def home(stack: Settings, tmp_path: Path) -> Iterator[Settings]:
    settings = stack.model_copy(update={"home": tmp_path})
    yield settings
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap, "log_level": 0})
    mine = [name for name in admin.list_topics(timeout=20).topics if name.startswith("ebb.e2e.")]
    for deleted in admin.delete_topics(mine).values() if mine else ():
        deleted.result(timeout=60)
    client = connect(settings, database="default")
    client.command("DROP DATABASE IF EXISTS ebb_e2e")
    client.close()


def _run(home: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    # The addresses of the stack are explicit, so that nothing is embedded; the rest is the user's own environment.
    given = {name: value for name, value in environment(home).items() if not name.startswith("EBB_")}
    given |= {
        "EBB_HOME": str(home.home),
        "EBB_KAFKA_BOOTSTRAP": home.kafka_bootstrap,
        "EBB_CLICKHOUSE_URL": home.clickhouse_url,
        "EBB_CLICKHOUSE_PASSWORD": home.clickhouse_password,
    }
    return subprocess.run(
        [*COMMAND, "replay", *arguments], env=given, capture_output=True, text=True, timeout=280, check=False
    )


def _labels(visits: list[tuple[str, datetime]]) -> list[tuple[str, int, int]]:
    """Return (customer, snapshot day, label) by the definition, from the visits alone."""
    days: dict[str, set[int]] = defaultdict(set)
    for who, at in visits:
        days[who].add((at - datetime(1970, 1, 1, tzinfo=UTC)).days)
    first, last = min(map(min, days.values())), max(map(max, days.values()))
    return [
        (who, snapshot, int(not any(snapshot <= day < snapshot + HORIZON for day in mine)))
        for snapshot in range(first, last + 2 - HORIZON)
        for who, mine in days.items()
        if any(snapshot - LOOKBACK <= day < snapshot for day in mine)
    ]


def test_a_log_goes_through_whole_and_every_label_that_can_mature_does(
    home: Settings, log: Path, visits: list[tuple[str, datetime]], tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    done = _run(home, str(log), *OPTIONS, "--report", str(report))
    assert done.returncode == 0, done.stdout + done.stderr
    figures: dict[str, Any] = json.loads(report.read_text())
    accepted = len(visits) + 7
    assert (figures["read"], figures["accepted"]) == (accepted + 2, accepted)
    assert figures["refused"] == {"bad_time": 1, "missing_field": 1}
    customers = len({who for who, _ in visits})
    assert figures["clickhouse"] == {
        "events": accepted,
        "customers": customers,
        "scored": customers,
        "dead_letters": figures["clickhouse"]["dead_letters"],
    }
    expected = _labels(visits)
    client = connect(home, database="ebb_e2e")
    outcomes = client.query(
        "SELECT customer_id, toInt32(toUInt16(snapshot_day)), label, probability FROM v_outcomes "
        "WHERE target = 'churn' AND candidate = 'served'"
    ).result_rows
    client.close()
    assert sorted((row[0], row[1], row[2]) for row in outcomes) == sorted(expected)

    by_name = {(q["target"], q["candidate"], q["period"]): q for q in figures["quality"]}
    churn = by_name["churn", "logistic", "all"]
    # A candidate says nothing before it has learned from its first labels, here a week in.
    assert 0.8 * len(expected) < churn["labels"] < len(expected)
    served = by_name["churn", "served", "all"]
    assert served["labels"] == len(expected)
    assert served["measures"]["base_rate"] == pytest.approx(np.mean([label for *_, label in expected]))
    labels = np.array([row[2] for row in outcomes], np.uint8)
    exact = roc_auc(np.array([row[3] for row in outcomes]), labels)
    assert served["measures"]["roc_auc"] == pytest.approx(exact)
    assert 0 < by_name["churn", "logistic", "test"]["labels"] < churn["labels"]
    assert "distinct events in ClickHouse" in done.stdout

    again = _run(home, str(log), *OPTIONS)
    assert again.returncode == 1
    assert "--fresh" in again.stderr
    assert "Traceback" not in again.stderr

    fresh = _run(home, str(log), *OPTIONS, "--fresh", "--report", str(report))
    assert fresh.returncode == 0, fresh.stdout + fresh.stderr
    second = json.loads(report.read_text())
    assert second["clickhouse"] == figures["clickhouse"]
    # What was learned does not depend on timing; only what was served does.
    learned = [[q for q in run["quality"] if q["candidate"] != "served"] for run in (figures, second)]
    assert learned[0] == learned[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("missing.csv",), "There is no file"),
        (("{log}",), "customer_id"),
        (("{log}", "--preset", "amazon"), "The presets are"),
        (("{log}", *OPTIONS, "--speed", "fast"), "--speed fast"),
    ],
)
def test_what_cannot_be_replayed_ends_in_one_sentence(
    stack: Settings, log: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = _run(stack.model_copy(update={"home": tmp_path}), *(text.format(log=log) for text in arguments))
    assert done.returncode == 1
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".json")]
