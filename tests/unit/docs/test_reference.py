"""The reference pages agree with the code and are complete."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from ebb.contracts.features import NAMES
from ebb.settings import SECTIONS, TUNING, Settings
from ebb_cli.docs import ExportedMetric, describe, docs, exported_metrics, write_docs
from tests.support.project import ROOT


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in write_docs(tmp_path_factory.mktemp("docs"))}


@pytest.mark.parametrize("name", ["features.md", "settings.md", "metrics.md", "problems.md"])
def test_docs_page_in_the_repository_is_up_to_date(name: str, written: dict[str, str]) -> None:
    committed = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert committed == written[name], f"docs/{name} is out of date: run `make docs`"


def test_docs_name_every_feature_in_the_order_of_the_vector(written: dict[str, str]) -> None:
    rows = [line for line in written["features.md"].splitlines() if line.startswith("| ") and "`" in line]
    assert [row.split("`")[1] for row in rows] == list(NAMES)
    assert rows[0].startswith("| 0 | ")


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_docs_explain_every_setting_and_give_its_default(name: str, written: dict[str, str]) -> None:
    row = next(line for line in written["settings.md"].splitlines() if line.startswith(f"| `EBB_{name.upper()}` |"))
    _, _, holds, default, meaning, _ = (cell.strip() for cell in row.split(" | ".strip()))
    assert holds
    assert default
    assert len(meaning) > 10, f"{name} has no docstring in ebb/settings.py"


def test_docs_list_every_setting_once_and_tuning_last(written: dict[str, str]) -> None:
    page = written["settings.md"]
    names = re.findall(r"^\| `EBB_(\w+)` \|", page, re.MULTILINE)
    assert sorted(name.lower() for name in names) == sorted(Settings.model_fields)
    tuning = page.partition("## Tuning")[2]
    assert set(re.findall(r"^\| `EBB_(\w+)` \|", tuning, re.MULTILINE)) == {name.upper() for name in TUNING}
    assert "## " not in tuning


def test_every_setting_belongs_to_one_section() -> None:
    fields = [name for section in SECTIONS.values() for name in section.model_fields]
    assert sorted(fields) == sorted(Settings.model_fields)
    assert set(fields) >= TUNING


def test_docs_give_bounds_choices_and_defaults_of_settings(written: dict[str, str]) -> None:
    page = written["settings.md"]
    assert "| `EBB_API_PORT` | whole number, at least 1, at most 65,535 | `8000` |" in page
    assert "| `EBB_CHURN_LABEL` | `silence` or `cancel` | `silence` |" in page
    assert "| `EBB_DAY_SECONDS` | number, above 0 | `86400` |" in page
    assert "| `EBB_API_KEYS` | texts, with commas between | empty |" in page
    assert "| `EBB_COLLECT_CALLS` | texts, with commas between | `track,identify,page,screen,group` |" in page
    assert "| `EBB_BAND_THRESHOLDS` | JSON array | `[0.3, 0.6, 0.8]` |" in page


def test_docs_table_has_one_cell_a_column_even_where_a_text_holds_a_bar(written: dict[str, str]) -> None:
    for page in written.values():
        columns = 0
        for line in page.splitlines():
            if not line.startswith("|"):
                columns = 0
                continue
            cells = line.replace("\\|", "").count("|")
            assert columns in {0, cells}, line
            columns = cells


def test_docs_name_counters_and_histograms_as_queries_do() -> None:
    by_name = {metric.name: metric for metric in exported_metrics()}
    assert by_name["ebb_events_total"].kind == "counter"
    assert by_name["ebb_events_total"].labels == ("result",)
    assert by_name["ebb_events_total"].series == ("ebb_events_total",)
    assert by_name["ebb_batch_seconds"].series == (
        "ebb_batch_seconds_bucket",
        "ebb_batch_seconds_count",
        "ebb_batch_seconds_sum",
    )
    assert by_name["ebb_ws_clients"] == ExportedMetric(
        "ebb_ws_clients", "gauge", (), "WebSocket clients connected", "", "Serving"
    )


def _module(tmp_path: Path, source: str) -> ModuleType:
    path = tmp_path / "described.py"
    path.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("described", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["described"] = module
    spec.loader.exec_module(module)
    return module


def test_docs_read_the_string_under_an_assignment_and_the_comment_over_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "described", ModuleType("described"))
    module = _module(
        tmp_path,
        '# First\nA = 1\n"""Says\n   two lines."""\nB: int = 2\n'
        '# Second\nC = 3\n"""Third."""\nclass D:\n    x: int = 1\n',
    )
    assert [(entry.name, entry.meaning, entry.section) for entry in describe(module)] == [
        ("A", "Says two lines.", "First"),
        ("B", "", "First"),
        ("C", "Third.", "Second"),
    ]


def test_docs_command_prints_which_pages_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    docs(tmp_path)
    output = capsys.readouterr().out.splitlines()
    pages = ("features.md", "settings.md", "metrics.md", "problems.md")
    assert output == [f"wrote {tmp_path / name}" for name in pages]
