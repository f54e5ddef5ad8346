"""`ebb replay` as a person runs it: a log through worker and learner to realised metrics, nothing lost or doubled."""

import contextlib
import json
import os
import signal
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
from ebb.contracts.models import PUBLISHED, PublishedThrough
from ebb.kafka.reader import read_to_end
from ebb.settings import Settings
from ebb_cli.local.parts import environment
from online_ml.evaluation.metrics import roc_auc
from tests.support.flow import wait_for

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


def _environment(home: Settings) -> dict[str, str]:
    # The addresses of the stack are explicit, so that nothing is embedded; the rest is the user's own environment.
    given = {name: value for name, value in environment(home).items() if not name.startswith("EBB_")}
    return given | {
        "EBB_HOME": str(home.home),
        "EBB_KAFKA_BOOTSTRAP": home.kafka_bootstrap,
        "EBB_CLICKHOUSE_URL": home.clickhouse_url,
        "EBB_CLICKHOUSE_PASSWORD": home.clickhouse_password,
    }


def _run(home: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "replay", *arguments],
        env=_environment(home),
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def _learner(home: Settings) -> int | None:
    """Return the process id of the replay's learner, while there is one."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (folder / "cmdline").read_bytes().split(b"\0")
            if b"online_ml" in command and f"EBB_HOME={home.home}\0".encode() in (folder / "environ").read_bytes():
                return int(folder.name)
    return None


def _published(home: Settings) -> list[int]:
    """Return the boundaries through which the learner has published."""
    space = home.model_copy(update={"namespace": "e2e"})
    return [
        PublishedThrough.decode(message.value() or b"").boundary
        for message in read_to_end(space, space.topics.models, [0])
        if message.key() == PUBLISHED.encode()
    ]


def _scores(home: Settings) -> list[tuple[Any, ...]]:
    """Return all scores in ClickHouse, but for when they were computed."""
    return _query(
        home,
        "SELECT customer_id, toUnixTimestamp(as_of), churn, purchase, band, previous, trend_7d, reasons, "
        "value_at_risk, model, model_version FROM v_scores ORDER BY ALL",
    )


def _query(home: Settings, query: str) -> list[tuple[Any, ...]]:
    client = connect(home, database="ebb_e2e")
    rows = client.query(query).result_rows
    client.close()
    return [tuple(row) for row in rows]


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
    assert figures["refused"] == {"bad_time": 1, "no_customer": 1}
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
    assert "[/" not in done.stdout, "markup that nothing reads"

    again = _run(home, str(log), *OPTIONS)
    assert again.returncode == 1
    assert "--fresh" in again.stderr
    assert "Traceback" not in again.stderr

    fresh = _run(home, str(log), *OPTIONS, "--fresh", "--pace", "none", "--report", str(report))
    assert fresh.returncode == 0, fresh.stdout + fresh.stderr
    second = json.loads(report.read_text())
    assert second["clickhouse"] == figures["clickhouse"]
    assert (figures["pace"], second["pace"]) == ("learner", "none")
    assert figures["waited"]["boundaries"] > DAYS // 2
    assert second["waited"] == {"boundaries": 0, "seconds": 0.0}
    # What was learned does not depend on timing; without a pace, what was served does.
    learned = [[q for q in run["quality"] if q["candidate"] != "served"] for run in (figures, second)]
    assert learned[0] == learned[1]


def test_two_paced_replays_serve_the_same_from_the_boundary_before_though_the_learner_is_killed(
    home: Settings, log: Path, tmp_path: Path
) -> None:
    reports = tmp_path / "first.json", tmp_path / "second.json"
    done = _run(home, str(log), *OPTIONS, "--report", str(reports[0]))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "each was served by the champion of the boundary before" in " ".join(done.stdout.split())
    scores = _scores(home)
    _are_of_the_boundary_before(home)

    command = [*COMMAND, "replay", str(log), *OPTIONS, "--fresh", "--report", str(reports[1])]
    with subprocess.Popen(command, env=_environment(home), stdout=subprocess.PIPE, text=True) as again:
        pid = wait_for("the second replay's learner", lambda: _learner(home))
        wait_for("half of its boundaries", lambda: len(_published(home)) >= DAYS // 2)
        os.kill(pid, signal.SIGKILL)
        output, _ = again.communicate(timeout=400)
    assert again.returncode == 0, output
    assert "learner ended" in " ".join(output.split())
    first, second = (json.loads(path.read_text()) for path in reports)
    assert second["quality"] == first["quality"]
    assert second["served_beside_champion"] == first["served_beside_champion"]
    assert _scores(home) == scores


def _are_of_the_boundary_before(home: Settings) -> None:
    """Every score is as of a day's end, by the newest model published before, and is what the snapshot was given."""
    published: dict[str, dict[int, int]] = defaultdict(dict)
    for name, version, until in _query(
        home, "SELECT name, version, toUInt16(trained_until) FROM v_models WHERE role = 'champion' AND target = 'churn'"
    ):
        published[name][version] = until
    scored = _query(home, "SELECT DISTINCT toUnixTimestamp64Milli(as_of), model, model_version FROM v_scores")
    by_model = 0
    for as_of, model, version in scored:
        day, rest = divmod(as_of, 86_400_000)
        assert rest == 0, "scores are as of the end of a day"
        before = [until for versions in published.values() for until in versions.values() if until < day]
        if model in published:
            by_model += 1
            assert published[model][version] == max(before)
        else:
            assert not before
    assert by_model > DAYS // 2
    pairs = _query(
        home,
        "SELECT scores.churn, outcomes.probability FROM v_scores AS scores INNER JOIN v_outcomes AS outcomes "
        "ON outcomes.customer_id = scores.customer_id AND toDateTime64(outcomes.snapshot_day, 3, 'UTC') = scores.as_of "
        "WHERE outcomes.target = 'churn' AND outcomes.candidate = 'served'",
    )
    assert len(pairs) > 500
    assert [churn for churn, _ in pairs] == pytest.approx([served for _, served in pairs], abs=2e-6)


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
