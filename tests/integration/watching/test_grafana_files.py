"""The dashboards are well-formed: every panel has a description, a unit and a provisioned source."""

from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.project import ROOT

UNITLESS = {"table", "row"}
GRID = 24


@pytest.fixture(scope="module")
def panels(boards: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for board in boards.values() for panel in board["panels"] if panel["type"] != "row"]


@pytest.fixture(scope="module")
def sources() -> dict[str, str]:
    """Type of each provisioned data source, by uid."""
    file = yaml.safe_load((ROOT / "grafana/provisioning/datasources/ebb.yml").read_text(encoding="utf-8"))
    return {source["uid"]: source["type"] for source in file["datasources"]}


def test_grafana_has_dashboards_for_business_operations_and_model_quality(
    boards: dict[str, Any],
) -> None:
    assert {board["title"] for board in boards.values()} == {"Ebb overview", "Ebb pipeline", "Ebb trust"}
    assert len({board["uid"] for board in boards.values()}) == len(boards)


def test_grafana_panels_each_have_a_title_a_description_and_a_query(panels: list[dict[str, Any]]) -> None:
    for panel in panels:
        assert panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["targets"], panel["title"]


def test_grafana_figures_have_a_unit_or_are_ratios_shown_to_three_decimals(panels: list[dict[str, Any]]) -> None:
    for panel in panels:
        if panel["type"] in UNITLESS:
            continue
        defaults = panel["fieldConfig"]["defaults"]
        assert "unit" in defaults or defaults.get("decimals") == 3, panel["title"]


def test_grafana_panels_read_from_provisioned_sources(panels: list[dict[str, Any]], sources: dict[str, str]) -> None:
    for panel in panels:
        for source in [panel["datasource"], *(target["datasource"] for target in panel["targets"])]:
            assert sources[source["uid"]] == source["type"], panel["title"]


def test_grafana_overrides_name_columns_that_the_query_returns(panels: list[dict[str, Any]]) -> None:
    for panel in panels:
        if panel["type"] != "table":
            continue
        text = panel["targets"][0].get("rawSql", "")
        for override in panel["fieldConfig"]["overrides"]:
            assert override["matcher"]["options"] in text, panel["title"]


def test_grafana_panels_fit_the_grid_and_do_not_overlap(boards: dict[str, Any]) -> None:
    for board in boards.values():
        positions = [(panel["title"], panel["gridPos"]) for panel in board["panels"]]
        for title, position in positions:
            assert position["x"] + position["w"] <= GRID, title
        for (one, a), (other, b) in combinations(positions, 2):
            apart = (
                a["x"] + a["w"] <= b["x"]
                or b["x"] + b["w"] <= a["x"]
                or a["y"] + a["h"] <= b["y"]
                or b["y"] + b["h"] <= a["y"]
            )
            assert apart, f"{one} overlaps {other}"
        identifiers = [panel["id"] for panel in board["panels"]]
        assert len(set(identifiers)) == len(identifiers)


def test_grafana_links_between_dashboards_resolve(boards: dict[str, Any]) -> None:
    known = {f"/d/{board['uid']}" for board in boards.values()}
    for board in boards.values():
        assert {link["url"] for link in board["links"]} <= known


def test_grafana_provider_reads_the_folder_that_compose_mounts() -> None:
    provider = yaml.safe_load((ROOT / "grafana/provisioning/dashboards/ebb.yml").read_text(encoding="utf-8"))
    path = provider["providers"][0]["options"]["path"]
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    grafana = compose["services"]["grafana"]
    assert f"./grafana/dashboards:{path}:ro" in grafana["volumes"]
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (ROOT / "grafana" / "dashboards" / Path(home).name).exists()
    assert str(Path(home).parent) == path
