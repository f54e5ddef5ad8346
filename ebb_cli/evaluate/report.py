"""The report of `ebb evaluate`: measures of every candidate, as a table on the screen, CSV files and plots."""

import csv
import hashlib
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from ebb import __version__
from online_ml.evaluation.metrics import measure, reliability, roc_auc
from online_ml.evaluation.tabular import Run

THRESHOLD = 0.5
"""Probability from which a prediction counts as positive in the confusion matrix."""
POINTS = 20
"""Points of the learning curve."""
SHOWN = ("roc_auc", "pr_auc", "accuracy", "log_loss", "brier", "ece")
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class EvaluationReport:
    """The runs of a table, judged from the end of the warm-up on, all passes together."""

    runs: Sequence[Run]
    warm_up: float

    @property
    def first(self) -> int:
        """Index in the stream at which judging begins."""
        return int(self.warm_up * len(self.runs[0].labels))

    @property
    def names(self) -> list[str]:
        """Candidates, best ROC-AUC first."""
        return sorted(self.runs[0].predicted, key=lambda name: -self.metrics(name)["roc_auc"])

    def metrics(self, name: str) -> dict[str, float]:
        """Return a candidate's measures, each the mean over the passes."""
        measures = [_measures(run.predicted[name][self.first :], run.labels[self.first :]) for run in self.runs]
        return {key: float(np.mean([of_run[key] for of_run in measures])) for key in measures[0]}

    def pooled(self, name: str) -> tuple[Floats, npt.NDArray[np.uint8]]:
        """Return probabilities and labels of all passes."""
        probabilities = np.concatenate([run.predicted[name][self.first :] for run in self.runs])
        return probabilities, np.concatenate([run.labels[self.first :] for run in self.runs])

    def confusion(self, name: str) -> dict[str, int]:
        """Return the four counts at `THRESHOLD`, over all passes."""
        probabilities, labels = self.pooled(name)
        predicted = probabilities >= THRESHOLD
        true = labels == 1
        return {
            "true_positive": int((predicted & true).sum()),
            "false_positive": int((predicted & ~true).sum()),
            "false_negative": int((~predicted & true).sum()),
            "true_negative": int((~predicted & ~true).sum()),
        }

    def curve(self, name: str) -> list[tuple[int, float]]:
        """Return ROC-AUC of each stretch of the stream by the rows learned when it ended, the mean over the passes."""
        ends = np.linspace(0, len(self.runs[0].labels), POINTS + 1).astype(int)
        points = []
        for start, end in itertools.pairwise(ends):
            areas = [roc_auc(run.predicted[name][start:end], run.labels[start:end]) for run in self.runs]
            known = [area for area in areas if area is not None]
            if known:
                points.append((int(end), float(np.mean(known))))
        return points


def _measures(probabilities: Floats, labels: npt.NDArray[np.uint8]) -> dict[str, float]:
    predicted, true = probabilities >= THRESHOLD, labels == 1
    hits = int((predicted & true).sum())
    precision, recall = hits / max(int(predicted.sum()), 1), hits / max(int(true.sum()), 1)
    return {
        "roc_auc": 0.5,
        "pr_auc": float(labels.mean()),
        **measure(probabilities, labels),
        "accuracy": float((predicted == true).mean()),
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / max(precision + recall, 1e-12),
    }


def write(report: EvaluationReport, folder: Path, *, file: Path, record: dict[str, Any]) -> None:
    """Write the report; files of an earlier one in the same folder are replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    packages = {name: version(name) for name in ("numpy", "river")}
    began = datetime.fromtimestamp(record["began_at"], UTC).isoformat(timespec="seconds")
    whole = record | {
        "began_at": began,
        "sha256": _digest(file),
        "versions": {"ebb": __version__, **packages},
        "rows_too_slow_to_learn": report.runs[0].skipped,
    }
    _json(folder / "run.json", whole)
    _json(folder / "metrics.json", {name: report.metrics(name) for name in report.names})
    best = report.names[0]
    with (folder / "confusion.csv").open("w", newline="", encoding="utf-8") as out:
        rows = csv.writer(out)
        rows.writerow(["candidate", "threshold", *report.confusion(best)])
        rows.writerows([name, THRESHOLD, *report.confusion(name).values()] for name in report.names)
    with (folder / "reliability.csv").open("w", newline="", encoding="utf-8") as out:
        rows = csv.writer(out)
        rows.writerow(["candidate", "bin", "rows", "mean_prediction", "share_positive"])
        for name in report.names:
            for index, (count, mean, share) in enumerate(reliability(*report.pooled(name)).tolist()):
                rows.writerow([name, index, int(count), mean if count else "", share if count else ""])
    with (folder / "learning_curve.csv").open("w", newline="", encoding="utf-8") as out:
        rows = csv.writer(out)
        rows.writerow(["candidate", "rows_learned", "roc_auc"])
        rows.writerows([name, *point] for name in report.names for point in report.curve(name))
    _plots(report, folder)


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _plots(report: EvaluationReport, folder: Path) -> None:
    mpl.use("svg")
    from matplotlib.figure import Figure  # noqa: PLC0415 - after the choice of the backend

    names = [name for name in report.names if name != "prior"]
    figure = Figure(figsize=(6, 5.4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="0.7", linestyle="--", label="calibrated")
    for name in names:
        table = reliability(*report.pooled(name))
        some = table[table[:, 0] > 0]
        axes.plot(some[:, 1], some[:, 2], marker="o", label=f"{name}, ECE {report.metrics(name)['ece']:.3f}")
    axes.set(xlabel="mean prediction", ylabel="share that was positive", title="Reliability", xlim=(0, 1), ylim=(0, 1))
    axes.legend()
    figure.savefig(folder / "reliability.svg")
    figure = Figure(figsize=(7, 4.4), layout="constrained")
    axes = figure.add_subplot()
    for name in names:
        points = report.curve(name)
        axes.plot([rows for rows, _ in points], [area for _, area in points], marker=".", label=name)
    axes.axvline(report.first, color="0.7", linestyle="--", label="judged from here on")
    axes.set(xlabel="rows learned", ylabel="ROC-AUC of the latest stretch", title="Learning curve")
    axes.legend()
    figure.savefig(folder / "learning_curve.svg")


def show(screen: Console, report: EvaluationReport, folder: Path, record: dict[str, Any]) -> None:
    """Print the figures and the folder of the report."""
    judged = len(report.runs[0].labels) - report.first
    count = len(report.runs)
    how = f"{count} pass{'es' * (count > 1)}" if record["shuffles"] else "1 pass in the order of the file"
    title = f"{record['table']}: {record['label']} = {record['positive']}; {judged:,} rows judged, {how}"
    table = Table(title=title)
    table.add_column("candidate")
    for name in SHOWN:
        table.add_column(name.replace("_", "-"), justify="right")
    for name in report.names:
        metrics = report.metrics(name)
        table.add_row(name, *(f"{metrics[key]:.4f}" for key in SHOWN))
    screen.print(table)
    for column, why in record["columns_left_out"].items():
        screen.print(f"Column {column} was left out: it {why}.")
    if record["rows_without_label"]:
        screen.print(f"{record['rows_without_label']:,} rows without a label were left out.")
    if record["rows_broken"]:
        screen.print(f"{record['rows_broken']:,} rows could not be read.")
    for name, skipped in report.runs[0].skipped.items():
        if skipped:
            screen.print(f"The {name} is too slow for all rows: it learned all but {skipped:,} of each pass.")
    screen.print(f"The report is in {folder}.")
