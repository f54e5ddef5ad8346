"""The best possible score: the simulator's own law, and how well it ranks.

`python -m producers.simulator.oracle` prints the ROC-AUC of the oracle and of recency over all labels that have
matured; the gap between the oracle and a model is what that model has yet to learn.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table
from scipy.stats import rankdata

from ebb.errors import EbbError
from ebb.settings import settings
from producers.simulator.truth import read_truth, truth_folder

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Oracle:
    """One row per (customer, day) whose label has matured; arrays of shape (rows,)."""

    customer_id: npt.NDArray[np.object_]
    day: npt.NDArray[np.int64]
    """Day number of the snapshot: the truth at the start of that day."""
    label: npt.NDArray[np.int64]
    """1: no event in the horizon that begins with `day`."""
    probability: Floats
    """P(label = 1 | own traits, everything done before `day`): no score made from activity can rank better."""
    clairvoyant: Floats
    """The same with the knowledge of who has already left, which shows in no activity yet."""
    recency: Floats
    """Days since the last day with an event."""

    def by_key(self) -> dict[tuple[str, int], float]:
        """Return the oracle's probability per (customer, day number)."""
        keys = zip(self.customer_id.tolist(), self.day.tolist(), strict=True)
        return dict(zip(keys, self.probability.tolist(), strict=True))


def read_oracle(folder: Path) -> Oracle:
    """Read the truth and what became of every customer.

    The label of day `t` follows from the truth of day `t + horizon`: silent are those whose last event is before
    `t`, and those who are no longer in the look-back.

    Raises
    ------
    SourceError
        If there is no truth.
    """
    table, horizon, _ = read_truth(folder)
    day = table.column("day").to_numpy().astype(np.int64)
    _, customer = np.unique(table.column("customer_id").to_numpy(zero_copy_only=False), return_inverse=True)
    last_seen = table.column("last_seen").to_numpy().astype(np.int64)
    key = customer.astype(np.int64) * 10_000_000 + day
    order = np.argsort(key)
    later = key + horizon
    index = np.minimum(np.searchsorted(key[order], later), len(key) - 1)
    found = key[order][index] == later
    label = np.where(found, last_seen[order][index] < day, True)
    matured = np.isin(day + horizon, np.unique(day))
    rows = table.filter(matured)
    return Oracle(
        customer_id=rows.column("customer_id").to_numpy(zero_copy_only=False),
        day=day[matured],
        label=label[matured].astype(np.int64),
        probability=rows.column("silence").to_numpy(),
        clairvoyant=rows.column("silence_clairvoyant").to_numpy(),
        recency=(day - last_seen)[matured].astype(np.float64),
    )


def roc_auc(label: npt.NDArray[np.int64], score: Floats) -> float:
    """Return the exact area under the ROC curve (Mann-Whitney), ties counted half; NaN if a class is missing."""
    positives = int(label.sum())
    negatives = len(label) - positives
    if not positives or not negatives:
        return float("nan")
    above = rankdata(score)[label == 1].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


def main() -> int:
    """Print the ROC-AUC of the oracle and of recency on the labels matured so far."""
    try:
        oracle = read_oracle(truth_folder(settings()))
    except EbbError as error:
        Console(stderr=True, markup=False, emoji=False).print(str(error))
        return 1
    table = Table(title=f"{len(oracle.label):,} matured labels, base rate {oracle.label.mean():.3f}")
    table.add_column("score")
    table.add_column("ROC-AUC", justify="right")
    for name, score in (
        ("clairvoyant (knows who has left)", oracle.clairvoyant),
        ("oracle (knows traits and history)", oracle.probability),
        ("recency", oracle.recency),
    ):
        table.add_row(name, f"{roc_auc(oracle.label, score):.4f}")
    Console().print(table)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
