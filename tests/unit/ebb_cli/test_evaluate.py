"""`ebb evaluate` as its user meets it: figures, a folder of files, and plain words about wrong input."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from ebb_cli import main

Run = Callable[..., tuple[int | str | None, str, str]]


@pytest.fixture
def ebb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `ebb evaluate` in a folder of the test's own; returns its code and what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> tuple[int | str | None, str, str]:
        monkeypatch.setattr("sys.argv", ["ebb", "evaluate", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        captured = capsys.readouterr()
        return end.value.code, captured.out, captured.err

    return run


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Write a table of 400 customers, who leave by tenure; three have no label."""
    rng = np.random.default_rng(1)
    path = tmp_path / "customers.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "tenure", "plan", "Churn"])
        for number in range(400):
            tenure = rng.integers(0, 72)
            left = "Yes" if rng.random() < 1 / (1 + np.exp((tenure - 20) / 6)) else "No"
            rows.writerow([f"c-{number}", tenure, rng.choice(["basic", "plus"]), "" if number < 3 else left])
    return path


def test_a_table_gives_figures_and_a_folder_that_agrees_with_them(ebb: Run, table: Path, tmp_path: Path) -> None:
    code, out, err = ebb(str(table), "--label", "Churn", "--shuffles", "2", "--no-trees")
    assert code == 0, err
    folder = tmp_path / "customers-evaluation"
    assert {path.name for path in folder.iterdir()} == {
        "run.json", "metrics.json", "confusion.csv", "reliability.csv", "reliability.svg", "learning_curve.csv",
        "learning_curve.svg",
    }  # fmt: skip
    metrics = json.loads((folder / "metrics.json").read_text())
    assert next(iter(metrics)) == "logistic"
    assert metrics["logistic"]["roc_auc"] > 0.85
    assert f"{metrics['logistic']['roc_auc']:.4f}" in out
    assert "Column id was left out: it identifies rows" in out
    assert "3 rows without a label were left out" in out
    record = json.loads((folder / "run.json").read_text())
    assert (record["rows"], record["rows_without_label"], record["positive"]) == (397, 3, "Yes")
    assert record["columns_left_out"].keys() == {"id"}
    judged = 2 * (397 - int(0.2 * 397))
    with (folder / "confusion.csv").open() as file:
        for row in csv.DictReader(file):
            counts = {key: int(row[key]) for key in row if key.endswith(("positive", "negative"))}
            assert sum(counts.values()) == judged
            right = counts["true_positive"] + counts["true_negative"]
            assert right / judged == pytest.approx(metrics[row["candidate"]]["accuracy"])
    with (folder / "reliability.csv").open() as file:
        assert sum(int(row["rows"]) for row in csv.DictReader(file) if row["candidate"] == "logistic") == judged
    for plot in ("reliability.svg", "learning_curve.svg"):
        assert ET.parse(folder / plot).getroot().tag.endswith("svg")  # noqa: S314 - our own file


def test_the_same_call_gives_the_same_figures(ebb: Run, table: Path) -> None:
    results = []
    for name in ("one", "two"):
        ebb(str(table), "--label", "Churn", "--no-trees", "--out", name)
        results.append([(Path(name) / file).read_bytes() for file in ("metrics.json", "learning_curve.csv")])
    assert results[0] == results[1]


def test_a_column_can_be_ignored(ebb: Run, table: Path) -> None:
    ebb(str(table), "--label", "Churn", "--no-trees", "--ignore", "tenure", "--out", "less")
    record = json.loads(Path("less/run.json").read_text())
    assert not any(name.startswith("tenure") for name in record["inputs"])
    assert json.loads(Path("less/metrics.json").read_text())["logistic"]["roc_auc"] < 0.65


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--label", "churn"], "no column churn; its columns are id, tenure, plan, Churn"),
        (["--label", "tenure"], "values, not two"),
        (["--label", "plan"], "Name the value by --positive"),
        (["--label", "Churn", "--positive", "yes"], "never holds yes; it holds No ("),
        (["--label", "Churn", "--ignore", "nothing"], "no column nothing to ignore"),
    ],
)
def test_wrong_input_is_refused_in_plain_words_and_nothing_is_written(
    ebb: Run, table: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    code, _, err = ebb(str(table), *arguments)
    assert code == 1
    assert message in " ".join(err.split())
    assert "Traceback" not in err
    assert not (tmp_path / "customers-evaluation").exists()


def test_a_table_too_small_to_judge_is_refused(ebb: Run, tmp_path: Path) -> None:
    (tmp_path / "few.csv").write_text("a,Churn\n" + "1,Yes\n2,No\n" * 20)
    code, _, err = ebb("few.csv", "--label", "Churn")
    assert code == 1
    assert "It takes 100 rows" in " ".join(err.split())
