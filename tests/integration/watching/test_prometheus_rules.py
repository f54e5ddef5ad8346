"""The alert rules are sound, tested, explained, and lead to a page that helps at 3 a.m."""

import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.project import ROOT

TESTS = sorted((ROOT / "prometheus" / "tests").glob("*.yml"))


@pytest.fixture(scope="module")
def alerts(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [rule for rule in rules if "alert" in rule]


def _promtool(*arguments: str) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed; on Debian: apt-get install prometheus")
    run = subprocess.run([promtool, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_prometheus_accepts_the_configuration() -> None:
    _promtool("check", "config", "prometheus/prometheus.yml")


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_prometheus_alerts_fire_on_their_fault_and_are_silent_without(path: Path) -> None:
    _promtool("test", "rules", str(path))


def test_prometheus_alerts_are_each_seen_firing_and_seen_silent(alerts: list[dict[str, Any]]) -> None:
    firing: Counter[str] = Counter()
    silent: Counter[str] = Counter()
    for path in TESTS:
        for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]:
            for case in test["alert_rule_test"]:
                (firing if case["exp_alerts"] else silent)[case["alertname"]] += 1
    names = {alert["alert"] for alert in alerts}
    assert names <= set(firing), f"never seen firing: {names - set(firing)}"
    assert names <= set(silent), f"never seen silent: {names - set(silent)}"


def test_prometheus_alerts_have_a_description_and_a_runbook_link(alerts: list[dict[str, Any]]) -> None:
    runbook = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    for alert in alerts:
        assert alert["labels"]["severity"] in {"page", "ticket"}
        assert "for" in alert or "[15m]" in alert["expr"], f"{alert['alert']} fires on one bad scrape"
        notes = alert["annotations"]
        assert set(notes) == {"summary", "description", "runbook"}
        assert notes["description"].endswith(".")
        assert notes["runbook"] == f"docs/runbook.md#{alert['alert'].lower()}"
        assert re.search(rf"^### {alert['alert']}$", runbook, re.MULTILINE), f"docs/runbook.md lacks {alert['alert']}"


def test_prometheus_runbook_explains_each_alert_and_what_to_check_and_do(
    alerts: list[dict[str, Any]],
) -> None:
    runbook = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    entries = re.split(r"^### ", runbook, flags=re.MULTILINE)[1:]
    named = {entry.partition("\n")[0]: entry for entry in entries if entry.startswith("Ebb")}
    assert set(named) == {alert["alert"] for alert in alerts}, "the runbook and the rules name the same alerts"
    for name, entry in named.items():
        for word in ("**Means.**", "**Check.**", "**Do.**"):
            assert word in entry, f"{name} lacks {word}"
