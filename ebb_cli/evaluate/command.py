"""`ebb evaluate`: progressive validation of the candidates on a labelled table."""

import time
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer
from rich.text import Text

from ebb.errors import SourceError
from ebb_cli.console import console
from ebb_cli.evaluate.report import EvaluationReport, show, write
from ebb_cli.replay import reading
from online_ml.evaluation.tabular import encode, passes
from producers.replay.decimals import with_numbers
from producers.replay.log import listed
from producers.replay.sources import read_log

YES = ("yes", "true", "1", "y", "churned", "positive")
"""Values of a positive label unless --positive is given, in upper or lower case."""


def evaluate(
    file: Annotated[Path, typer.Argument(help="A table: CSV, JSON lines, Parquet; text also as .gz, .zst, .bz2, .xz.")],
    *,
    label: Annotated[str, typer.Option(help="Column to predict; it must hold two values.")],
    positive: Annotated[str | None, typer.Option(help="Value of the label that counts as 1, e.g. Yes.")] = None,
    ignore: Annotated[list[str] | None, typer.Option(help="A column that is no input; may be repeated.")] = None,
    shuffles: Annotated[int, typer.Option(min=0, help="Passes in random order; 0: one in the order of the file.")] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the shuffles.")] = 7,
    warm_up: Annotated[float, typer.Option(min=0, max=0.9, help="Share of each pass predicted but not judged.")] = 0.2,
    delimiter: reading.Delimiter = None,
    encoding: reading.Encoding = None,
    decimal: reading.Decimal = None,
    trees: Annotated[bool, typer.Option(help="Include River's tree and forest, which take seconds.")] = True,
    out: Annotated[Path | None, typer.Option(help="Folder of the report; named after the table by default.")] = None,
) -> None:
    """Measure how well a labelled table can be predicted, and write a report.

    The table is read as a stream: each row is predicted, then judged, then learned. The report holds the run's record
    (run.json), metrics, confusion matrix, reliability and learning curve, as CSV files and as plots.

    Raises
    ------
    SourceError
        If the table cannot be read, lacks the label, or its label is not one of two values.
    """
    screen = console()
    began = time.time()
    options = reading.read_options(delimiter, encoding, decimal)
    log = read_log(file, options=options)
    columns = log.columns()
    screen.print(Text(f"{file.name}: {', '.join(log.words)}; {len(log):,} rows."))
    labels, kept, counted = _labels(columns, file, label, positive)
    columns = with_numbers(log, columns, options.decimal)
    inputs = {name: [values[row] for row in kept] for name, values in columns.items() if name != label}
    for name in ignore or ():
        if name not in inputs:
            what = f"{file} has no column {name} to ignore; its columns are {listed(log.names)}."
            raise SourceError(what)
        del inputs[name]
    table = encode(inputs)
    if not table.names:
        what = f"No column of {file} can be an input: {_reasons(table.left_out)}."
        raise SourceError(what, "Give a table with columns that describe its rows.")
    with screen.status(f"{len(labels):,} rows …"):
        runs = list(passes(table.inputs, labels, shuffles=shuffles, seed=seed, trees=trees))
    folder = out or Path(f"{file.name.split('.')[0]}-evaluation")
    report = EvaluationReport(runs, warm_up=warm_up)
    record = {
        "table": file.name,
        "label": label,
        **counted,
        "rows_broken": len(log.broken),
        "inputs": table.names,
        "columns_left_out": table.left_out | dict.fromkeys(ignore or (), "was to be ignored"),
        "shuffles": shuffles,
        "seed": seed,
        "warm_up": warm_up,
        "began_at": began,
        "seconds": round(time.time() - began, 1),
    }
    write(report, folder, file=file, record=record)
    show(screen, report, folder, record)


def _labels(
    columns: dict[str, list[Any]], file: Path, label: str, positive: str | None
) -> tuple[npt.NDArray[np.uint8], list[int], dict[str, Any]]:
    """Return labels, the rows that have one, and counts for the report."""
    if label not in columns:
        what = f"{file} has no column {label}; its columns are {listed(list(columns))}."
        raise SourceError(what, "Name the column to predict by --label.")
    values = ["" if value is None else _word(value) for value in columns[label]]
    kept = [row for row, value in enumerate(values) if value]
    counts = Counter(values[row] for row in kept)
    shown = ", ".join(f"{value} ({count:,})" for value, count in counts.most_common(6))
    if len(counts) != 2:
        what = f"Column {label} of {file} holds {len(counts)} values, not two: {shown or 'none'}."
        raise SourceError(what, "The label must have two values; convert it, or name another column by --label.")
    yes = positive if positive is not None else next((value for value in counts if value.lower() in YES), None)
    if yes not in counts:
        what = f"Nothing says which value of {label} is the positive one: {shown}."
        if positive is not None:
            what = f"Column {label} of {file} never holds {positive}; it holds {shown}."
        raise SourceError(what, "Name the value by --positive.")
    labels = np.array([values[row] == yes for row in kept], dtype=np.uint8)
    counted = {"positive": yes, "rows": len(kept), "rows_without_label": len(values) - len(kept)}
    return labels, kept, counted


def _word(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def _reasons(left_out: dict[str, str]) -> str:
    return "; ".join(f"{name} {why}" for name, why in left_out.items()) or "there is none beside the label"
