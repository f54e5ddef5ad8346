"""Every PromQL expression of the dashboards and rules is answered by a real Prometheus over real exposition."""

import re
import time
from collections.abc import Callable
from typing import Any

import pytest

Vector = list[dict[str, Any]]
Query = Callable[[str], Vector]
Series = dict[str, tuple[str, ...]]

_NAME = re.compile(r"\bebb_[a-z0-9_]+\b(?!\s*:)")
_RECORDED = re.compile(r"\bebb:[a-z0-9_]+(?::[a-z0-9_]+)*\b")
_SELECTOR = re.compile(r"\b(ebb_[a-z0-9_]+)\{([^}]*)\}")
SCRAPED = {"job", "instance", "le"}
"""Labels that Prometheus itself puts on a series."""


def _expressions(prometheus_queries: list[Any], rules: list[dict[str, Any]]) -> dict[str, str]:
    """Every expression, by where it is used."""
    expressions = {str(query): query.text for query in prometheus_queries}
    return expressions | {rule.get("alert") or rule["record"]: rule["expr"] for rule in rules}


def _runnable(expression: str) -> str:
    return expression.replace("$__rate_interval", "10s").replace("$__interval", "5s")


def _query(query: Query, expression: str, is_expected: Callable[[Vector], bool] = bool) -> Vector:
    """Query for a while until the result is as expected: a failed scrape removes all series until the next one."""
    deadline = time.monotonic() + 60
    while not is_expected(result := query(expression)) and time.monotonic() < deadline:
        time.sleep(0.5)
    return result


def _has_figure(result: Vector) -> bool:
    return any(entry["value"][1] != "NaN" for entry in result)


def test_prometheus_metrics_named_by_dashboards_and_rules_exist(
    prometheus_queries: list[Any], rules: list[dict[str, Any]], series: Series
) -> None:
    recorded = {rule["record"] for rule in rules if "record" in rule}
    for where, expression in _expressions(prometheus_queries, rules).items():
        unquoted = re.sub(r'"[^"]*"', '""', expression)
        used = set(_NAME.findall(unquoted)) | set(_RECORDED.findall(unquoted))
        missing = used - set(series) - recorded
        assert not missing, f"{where} names {sorted(missing)}, which ebb/metrics.py does not export"


def test_prometheus_selectors_name_labels_that_the_metric_has(
    prometheus_queries: list[Any], rules: list[dict[str, Any]], series: Series
) -> None:
    for where, expression in _expressions(prometheus_queries, rules).items():
        for name, selector in _SELECTOR.findall(expression):
            labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector))
            wrong = labels - set(series[name]) - SCRAPED
            assert not wrong, f"{where} selects {name} by {sorted(wrong)}"


def test_prometheus_metrics_are_each_shown_on_a_dashboard(
    prometheus_queries: list[Any], rules: list[dict[str, Any]], series: Series
) -> None:
    recorded = {rule["record"]: rule["expr"] for rule in rules if "record" in rule}
    dashboard_text = " ".join(query.text for query in prometheus_queries)
    for _ in range(2):  # a recorded series may depend on another one
        dashboard_text += " ".join(expression for name, expression in recorded.items() if name in dashboard_text)
    unseen = {
        name.rsplit("_bucket")[0]
        for name in series
        if name not in dashboard_text and not name.endswith(("_count", "_sum"))
    }
    assert not unseen, f"{sorted(unseen)} are exported and shown nowhere"


def test_prometheus_answers_every_panel_with_data(prometheus: Query, prometheus_queries: list[Any]) -> None:
    assert len(prometheus_queries) > 40
    for query in prometheus_queries:
        assert "$" not in _runnable(query.text), f"{query}: a variable is left unresolved"
        assert _query(prometheus, _runnable(query.text)), f"{query}: no series"
        if "histogram_quantile" in query.text:
            result = _query(prometheus, _runnable(query.text), _has_figure)
            assert _has_figure(result), f"{query}: no quantile"


def test_prometheus_legends_name_labels_that_the_answer_carries(prometheus: Query, boards: dict[str, Any]) -> None:
    for board in boards.values():
        defaults = {entry["name"]: entry["current"]["value"] for entry in board["templating"]["list"]}
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                if "expr" not in target:
                    continue
                expression = target["expr"]
                for name, value in defaults.items():
                    expression = expression.replace(f"${name}", value)
                expected = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
                for entry in prometheus(_runnable(expression)):
                    assert expected <= set(entry["metric"]), f"{panel['title']}: {target['legendFormat']}"


def test_prometheus_evaluates_every_rule_and_a_live_system_records_every_series(
    prometheus: Query, rules: list[dict[str, Any]]
) -> None:
    for rule in rules:
        if "record" in rule:
            assert _query(prometheus, rule["expr"]), f"{rule['record']} records nothing"
        else:
            prometheus(rule["expr"])  # which fails if it cannot be evaluated


@pytest.mark.parametrize("target", ["churn", "purchase"])
def test_prometheus_records_the_metric_of_the_champion_alone(prometheus: Query, target: str) -> None:
    result = _query(prometheus, f'ebb:champion_metric{{target="{target}", metric="roc_auc"}}')
    assert len(result) == 1
    assert float(result[0]["value"][1]) == pytest.approx(0.7)
