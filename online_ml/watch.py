"""What leaves the learner about drift and about the wait for labels: rows for ClickHouse, gauges for Prometheus."""

from typing import Any

import numpy as np

from ebb.clock import DAY
from ebb.features import NAMES
from ebb.metrics import ERROR_DRIFT, ERROR_SHIFT, EXPECTED_METRIC, FEATURE_DRIFT, SCORE_DRIFT
from online_ml.decisions import Policy
from online_ml.learner import Learner, Step
from online_ml.promise import promised


def expected_rows(step: Step, learner: Learner, policy: Policy) -> list[dict[str, Any]]:
    """Return rows of `expected_metrics` for the snapshots taken at a boundary, and set the gauges of the same."""
    rows: list[dict[str, Any]] = []
    if not step.taken:
        return rows
    for target, learned in learner.targets.items():
        said = np.concatenate([chunk.probabilities[target] for chunk in step.taken], axis=1)
        for name, probabilities in zip(learned.names, said, strict=True):
            count = int((~np.isnan(probabilities)).sum())
            for metric, value in promised(probabilities, policy.threshold(target)).items():
                EXPECTED_METRIC.labels(target, name, metric).set(value)
                rows.append(
                    {
                        "target": target,
                        "candidate": name,
                        "snapshot_day": step.boundary,
                        "due_day": step.boundary + learner.horizons[target],
                        "metric": metric,
                        "value": value,
                        "customers": count,
                    }
                )
    return rows


def drift_rows(step: Step, learner: Learner) -> list[dict[str, Any]]:
    """Return rows of `drift` as of a boundary, and set the gauges of the same."""
    drift, rows = learner.drift, []

    def tell(target: str, kind: str, name: str, statistic: str, value: float) -> None:
        row = {"target": target, "kind": kind, "name": name, "statistic": statistic, "value": value}
        rows.append({**row, "day": step.boundary})

    shifted = drift.features.psi() if step.taken else None
    for name, value in zip(NAMES, () if shifted is None else shifted.tolist(), strict=shifted is not None):
        FEATURE_DRIFT.labels(name).set(value)
        tell("", "feature", name, "psi", value)
    for target, profile in drift.scores.items():
        moved = profile.psi() if step.taken else None
        if moved is not None:
            SCORE_DRIFT.labels(target).set(float(moved[0]))
            tell(target, "score", "champion", "psi", float(moved[0]))
    for target, change in step.changes.items():
        tell(target, "error", "champion", "adwin_shift", change.shift)
        tell(target, "error", "champion", "adwin_since", change.since)
    return rows


def show_changes(learner: Learner) -> None:
    """Set the gauges of the last change of each target's error."""
    for target, errors in learner.drift.errors.items():
        if errors.change is not None:
            ERROR_DRIFT.labels(target).set(errors.change.found_at * DAY)
            ERROR_SHIFT.labels(target).set(errors.change.shift)
