"""The queries of dashboards and rules, and a live engine to run them: Debian's Prometheus over real exposition."""

import json
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from ebb_cli.docs import exported_metrics
from tests.support.project import ROOT

DASHBOARDS = sorted((ROOT / "grafana" / "dashboards").glob("*.json"))
RULES = sorted((ROOT / "prometheus" / "rules").glob("*.yml"))
JOBS = ("ebb-worker", "ebb-learner", "ebb-api", "ebb-simulator")

RunQuery = Callable[[str], list[dict[str, Any]]]


@dataclass(frozen=True)
class Query:
    """One query of one panel (or of a variable), with the variables of its dashboard set to their defaults."""

    dashboard: str
    panel: str
    kind: str
    """Type of the panel: `timeseries`, `table`, `stat`, …"""
    text: str
    time_series: bool

    def __str__(self) -> str:
        return f"{self.dashboard}: {self.panel}: {self.text[:60]}"


def _resolved(text: str, variables: dict[str, str]) -> str:
    for name, value in variables.items():
        text = text.replace(f"${{{name}}}", value)
        text = re.sub(rf"\${name}\b", value, text)
    return text


def _queries(path: Path) -> Iterator[Query]:
    board = json.loads(path.read_text(encoding="utf-8"))
    variables = {entry["name"]: entry["current"]["value"] for entry in board["templating"]["list"]}
    # The database of a test has a name of its own.
    variables.pop("database", None)
    for entry in board["templating"]["list"]:
        if entry["type"] == "query":
            yield Query(path.stem, f"variable {entry['name']}", "variable", entry["query"], time_series=False)
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            text = _resolved(target.get("rawSql") or target["expr"], variables)
            series = target.get("format") == 0 if "rawSql" in target else target.get("range", False)
            yield Query(path.stem, panel["title"], panel["type"], text, time_series=series)


@pytest.fixture(scope="session")
def boards() -> dict[str, dict[str, Any]]:
    """Every dashboard as in the repository, by file name."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in DASHBOARDS}


@pytest.fixture(scope="session")
def sql_queries() -> list[Query]:
    return [query for path in DASHBOARDS for query in _queries(path) if query.text.startswith("SELECT")]


@pytest.fixture(scope="session")
def prometheus_queries() -> list[Query]:
    return [query for path in DASHBOARDS for query in _queries(path) if not query.text.startswith("SELECT")]


@pytest.fixture(scope="session")
def rules() -> list[dict[str, Any]]:
    """Every recording and alert rule."""
    files = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in RULES]
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


@pytest.fixture(scope="session")
def series() -> dict[str, tuple[str, ...]]:
    """Names that queries may use, with their labels: what `ebb.metrics` exports, as Prometheus stores it."""
    return {name: metric.labels for metric in exported_metrics() for name in metric.series}


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _wait(what: str, ready: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if ready():
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    pytest.fail(f"{what} did not happen within {seconds:g} s")


@pytest.fixture(scope="module")
def exposition() -> Iterator[int]:
    """Port of a process that serves the real metrics of `ebb.metrics`, every one of them moving."""
    port = _free_port()
    with subprocess.Popen([sys.executable, str(Path(__file__).with_name("exercise_metrics.py")), str(port)]) as process:
        try:
            _wait("exposition", lambda: httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).is_success)
            yield port
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def prometheus(
    exposition: int, rules: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunQuery]:
    """A live Prometheus with our rules, scraping the real exposition under the names of our jobs."""
    binary = shutil.which("prometheus")
    if binary is None:
        pytest.skip("the prometheus program is not installed; on Debian: apt-get install prometheus")
    home = tmp_path_factory.mktemp("prometheus")
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(path) for path in RULES],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{exposition}"]}]} for job in JOBS
        ],
    }
    (home / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    port = _free_port()
    base = f"http://127.0.0.1:{port}"
    command = [
        binary,
        f"--config.file={home / 'prometheus.yml'}",
        f"--storage.tsdb.path={home / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]

    def query(expression: str) -> list[dict[str, Any]]:
        answer = httpx.get(f"{base}/api/v1/query", params={"query": expression}, timeout=60, trust_env=False).json()
        assert answer["status"] == "success", f"{answer.get('error')}: {expression}"
        result = answer["data"]["result"]
        if answer["data"]["resultType"] != "vector":
            result = [{"metric": {}, "value": result}]
        vector: list[dict[str, Any]] = result
        return vector

    log = (home / "prometheus.log").open("wb")
    with log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            _wait("Prometheus's start", lambda: httpx.get(f"{base}/-/ready", trust_env=False).is_success)
            # A rate wants two samples, and each group of rules has a moment of its own in the interval.
            records = {rule["record"] for rule in rules if "record" in rule}
            _wait("what the rules record", lambda: all(query(record) for record in records))
            yield query
        finally:
            process.terminate()
