"""Quality of Ebb's predictions, each made before its label could be known, beside the baselines.

Recorded logs (EBB_DATA names their folder; missing ones are listed and left out): Ebb's own progressive predictions,
through the real engine and learner, on the same customers and snapshots as recency, count, gradient boosting trained
once, and gradient boosting trained again at each test snapshot on all labels known by then. A table without dates: one
progressive pass over each of ten shuffles. The simulator: the gap to its oracle. Two worlds without any signal.
"""

import json
import statistics
import sys

import numpy as np

from benchmarks import _logs, _simulated
from benchmarks._simulated import memoryless, null
from online_ml.evaluation.metrics import roc_auc
from online_ml.evaluation.tabular import encode, passes
from producers.replay.sources import read_log

LOGS = ("cdnow", "online_retail", "gamelaunch")
TELCO = "WA_Fn-UseC_-Telco-Customer-Churn.csv.gz"
SHUFFLES = 10
LEARNING_SHARE = 0.2
"""Share of a pass over a table that is predicted but not judged."""


def main() -> None:
    """Measure and print."""
    figures: dict[str, object] = {}
    absent = []
    for name in LOGS:
        if (_logs.DATA / name / "events.parquet").exists():
            figures[name] = {key: round(value, 4) for key, value in _logs.compare(_logs.read(name)).items()}
        else:
            absent.append(name)
    if (_logs.DATA / "telco" / TELCO).exists():
        figures |= telco()
    else:
        absent.append("telco")
    figures |= {key: _rounded(value) for key, value in _simulated.compare().items()}
    print()
    area, low, high = null(memoryless(), name="a memoryless world")
    figures |= {"null_auc": round(area, 4), "null_interval": [round(low, 4), round(high, 4)]}
    if "online_retail" not in absent:
        permuted = _logs.stream(_logs.read("online_retail"), shuffled=1)
        area, low, high = null(permuted, name="online_retail, labels permuted")
        figures |= {"null_auc_shuffled": round(area, 4), "null_interval_shuffled": [round(low, 4), round(high, 4)]}
    if absent:
        print(
            f"Not measured: {', '.join(absent)}: not in {_logs.DATA}. EBB_DATA names the folder of the logs.",
            file=sys.stderr,
        )
    print(json.dumps(figures))


def telco() -> dict[str, object]:
    """Return AUC and accuracy over the last 80 % of ten passes, and print every candidate's on the first."""
    columns = read_log(_logs.DATA / "telco" / TELCO).columns()
    labels = np.array([value == "Yes" for value in columns.pop("Churn")], dtype=np.uint8)
    table = encode(columns)
    areas, shares = [], []
    first = int(LEARNING_SHARE * len(labels))
    print(f"\ntelco: {len(labels):,} rows, {table.inputs.shape[1]} inputs, churn {labels.mean():.3f}")
    for number, run in enumerate(passes(table.inputs, labels, shuffles=SHUFFLES, seed=7, trees=False)):
        predictions, truth = run.predicted["logistic"][first:], run.labels[first:]
        areas.append(roc_auc(predictions, truth) or 0.0)
        shares.append(float(((predictions >= 0.5) == truth).mean()))
        print(f"  shuffle {number}: ROC-AUC {areas[-1]:.4f}, accuracy {shares[-1]:.4f}")
    [run] = passes(table.inputs, labels, shuffles=1, seed=7)
    for name, predictions in run.predicted.items():
        left = f" ({run.skipped[name]:,} rows too many to learn)" if run.skipped.get(name) else ""
        print(f"  first shuffle, {name:10} ROC-AUC {roc_auc(predictions[first:], run.labels[first:]):.4f}{left}")
    return {"telco_auc": round(statistics.mean(areas), 4), "telco_accuracy": round(statistics.mean(shares), 4)}


def _rounded(value: object) -> object:
    return round(value, 4) if isinstance(value, float) else value


if __name__ == "__main__":
    main()
