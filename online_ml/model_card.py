"""The model card, written from what was measured and from nothing else.

What belongs on one: Mitchell and others, "Model Cards for Model Reporting", FAccT 2019.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ebb.clock import date_of
from ebb.contracts.models import ModelSnapshot
from online_ml.scoring.scorer import JUDGED, LINEAR

Ask = Callable[..., list[dict[str, Any]]]
WEIGHTS = 12
DAYS = 60
NOTHING = "Nothing has been measured yet."
WHAT = {
    "silence": "no activity within {horizon} days of the snapshot",
    "cancel": "an explicit cancellation within {horizon} days of the snapshot",
    "purchase": "a purchase within {horizon} days of the snapshot",
}
MEASURES = {
    "roc_auc": "ROC-AUC",
    "pr_auc": "PR-AUC",
    "log_loss": "log-loss",
    "brier": "Brier score",
    "ece": "calibration error (10 bins)",
    "lift_top_decile": "lift, best tenth",
}


def card(one: ModelSnapshot, others: Sequence[ModelSnapshot], ask: Ask) -> str:
    """Return the card as Markdown.

    Parameters
    ----------
    others
        The models on the topic; those of the same target are listed beside it.
    ask
        Runs a named query: segments, expected metrics and drift are read by it.
    """
    beside = [other for other in others if other.target == one.target and other.name != one.name]
    sections = [
        f"# {one.name}, version {one.version}",
        _identity(one),
        "## What it predicts\n\n" + _meaning(one),
        "## How well it does\n\n" + _accuracy(one, beside),
        "## What acting on it would have brought\n\n" + _decisions(one),
        "## For whom\n\n" + "\n\n".join(_segments(one, ask, kind) for kind in ("country", "channel", "tenure")),
        "## Expected and realised\n\n" + _expected(one, ask),
        "## Has the world changed?\n\n" + _drift(one, ask),
        "## What it weighs most\n\n" + _weights(one),
        "## Limits\n\n" + _limits(one),
    ]
    return "\n\n".join(sections) + "\n"


def number(value: float | None, places: int) -> str:
    """Return a number for a table; nothing if there is none."""
    return "" if value is None else f"{value:.{places}f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], otherwise: str = NOTHING) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}", *lines]) if lines else otherwise


def _judged_only(one: ModelSnapshot) -> bool:
    return one.payload.get("kind") == JUDGED


def _identity(one: ModelSnapshot) -> str:
    facts = {
        "role": one.role,
        "learned until": f"{date_of(one.trained_until)}: {one.examples:,} labels, "
        + ("a sample of those that had matured" if _judged_only(one) else "every one that had matured"),
        "feature schema": one.schema_hash,
        "checksum": one.checksum,
        **{key.replace("_", " "): str(value) for key, value in one.config.items()},
    }
    return _table(("fact", "value"), facts.items())


def _meaning(one: ModelSnapshot) -> str:
    label, horizon = one.config.get("label"), one.config.get("horizon_days")
    what = WHAT[label].format(horizon=horizon) if label in WHAT else "a label whose definition was not recorded"
    return (
        f"The calibrated probability of {what}, for customers active within {one.config.get('lookback_days', '?')} "
        "days before it. Both outcomes are judged when the horizon has passed, never earlier."
    )


def _accuracy(one: ModelSnapshot, beside: Sequence[ModelSnapshot]) -> str:
    if not one.metrics:
        return NOTHING
    shown = [one, *beside]
    head = ("measure", *(other.candidate for other in shown))
    rows = [
        (title, *(number(other.metrics.get(metric), 4) for other in shown))
        for metric, title in MEASURES.items()
        if metric in one.metrics
    ]
    low, high = one.metrics.get("roc_auc_low"), one.metrics.get("roc_auc_high")
    span = f" Its ROC-AUC is between {low:.3f} and {high:.3f} (95 %, resampling customers)." if low and high else ""
    base = one.metrics.get("base_rate", 0.0)
    whole = (
        "Every prediction was made at its snapshot and judged when its label matured; over the window of the latest "
        f"labels, of which {base:.1%} were positive.{span}"
    )
    on_samples = [_on_its_sample(other) for other in shown if "champion_roc_auc" in other.metrics]
    return "\n\n".join([whole, _table(head, rows), *on_samples])


def _on_its_sample(one: ModelSnapshot) -> str:
    metrics = one.metrics
    return (
        f"{one.candidate} predicted a sample, {metrics['labels']:,.0f} of these labels. On the same ones: ROC-AUC "
        f"{number(metrics.get('roc_auc'), 4)}, the champion's {metrics['champion_roc_auc']:.4f}; log-loss "
        f"{metrics['log_loss']:.4f}, the champion's {metrics['champion_log_loss']:.4f}."
    )


def _decisions(one: ModelSnapshot) -> str:
    metrics = one.metrics
    if "true_positives" not in metrics:
        return NOTHING
    counts = _table(
        (f"at {metrics['threshold']:g}", "happened", "did not"),
        [
            ("called", f"{metrics['true_positives']:.0f}", f"{metrics['false_positives']:.0f}"),
            ("not called", f"{metrics['false_negatives']:.0f}", f"{metrics['true_negatives']:.0f}"),
        ],
    )
    shares = ", ".join(
        f"{name} {metrics[name]:.3f}" for name in ("accuracy", "precision", "recall", "f1") if name in metrics
    )
    money = ""
    if "profit" in metrics:
        money = (
            f"\n\nOffers where the expected gain is positive would have brought {metrics['profit']:.2f} per customer; "
            f"with the outcome known {metrics['profit_best']:.2f}; to all {metrics['profit_all']:.2f} (units of money, "
            "under the save rate and the cost of an offer in the settings: assumptions until they are measured)."
        )
    return f"{counts}\n\n{shares[:1].upper()}{shares[1:]}.{money}"


def _segments(one: ModelSnapshot, ask: Ask, kind: str) -> str:
    rows = ask("accuracy_by_segment", target=one.target, candidate=one.candidate, kind=kind)
    metrics = [
        (row["segment"], str(row["labels"]), *(number(row[name], 3) for name in ("base_rate", "roc_auc", "ece")))
        for row in rows
    ]
    head = (kind, "labels", "base rate", "ROC-AUC", "calibration error")
    return _table(head, metrics, "Segments are reported for the model that serves.")


def _expected(one: ModelSnapshot, ask: Ask) -> str:
    query = {"target": one.target, "candidate": one.candidate, "metric": "roc_auc", "limit": DAYS}
    rows = ask("expected_and_realised", **query)
    both = [(row["expected"], row["realised"]) for row in rows if row["realised"] is not None]
    if not both:
        return "No snapshot has both an expected value and its labels yet."
    expected, realised = (sum(values) / len(both) for values in zip(*both, strict=True))
    return (
        f"Over {len(both)} label dates the expected ROC-AUC was {expected:.3f}; {realised:.3f} was "
        f"realised. The latest snapshot expects {rows[0]['expected']:.3f}; its labels mature on {rows[0]['due_day']}."
    )


def _drift(one: ModelSnapshot, ask: Ask) -> str:
    found = [row for kind in ("score", "error") for row in ask("drift_latest", kind=kind)]
    rows = [
        (row["name"], row["statistic"], number(row["latest"], 4), str(row["as_of_day"]))
        for row in found
        if row["target"] == one.target
    ]
    features = ask("drift_latest", kind="feature")[:5]
    rows += [(row["name"], row["statistic"], number(row["latest"], 4), str(row["as_of_day"])) for row in features]
    return _table(("of", "statistic", "value", "as of"), rows)


def _weights(one: ModelSnapshot) -> str:
    if _judged_only(one):
        return "It is learned tree by tree and published in no form that has weights."
    if one.payload.get("kind") != LINEAR or not one.payload.get("inputs"):
        return f"A model of kind {one.payload.get('kind')} has no list of weights."
    slope = one.payload["calibration"][0]
    weights = [slope * value for value in one.payload["weights"]]
    ranked = sorted(zip(one.payload["inputs"], weights, strict=True), key=lambda pair: -abs(pair[1]))
    rows = [(name, f"{value:+.3f}") for name, value in ranked[:WEIGHTS]]
    return "Change of the logit by one spread of the input; associated with the outcome, not its cause.\n\n" + _table(
        ("input", "weight"), rows
    )


def _limits(one: ModelSnapshot) -> str:
    limits = [
        "It knows what customers did, not why. What it weighs is associated with the outcome and need not cause it.",
        "A change in what customers do shows in its errors only when labels mature, a horizon later.",
    ]
    if one.target == "churn":
        limits.append(
            "Risk is not responsiveness: aiming offers by risk alone can raise churn (Ascarza, Journal of Marketing "
            "Research 2018). Keep a random hold-out and measure what an offer does."
        )
    if _judged_only(one):
        limits.append("It can never serve: no form publishes it that loading would not execute.")
    if one.role == "challenger":
        limits.append("It does not serve: its scores have not been acted on.")
    return "\n".join(f"- {line}" for line in limits)
