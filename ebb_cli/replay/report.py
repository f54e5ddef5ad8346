"""The report of a replay: counts that must agree, and the quality of the predictions."""

import math
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
from clickhouse_connect.driver.client import Client
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ebb.clock import DAY
from ebb.contracts.models import TARGETS
from ebb.settings import Settings
from online_ml.evaluation.metrics import measure
from producers.replay.presets import CUT, Preset
from producers.replay.sender import ReplayTally

SHOWN = ("roc_auc", "pr_auc", "log_loss", "ece")
EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class Counts:
    """Counts of the log's data in ClickHouse."""

    events: int
    """Distinct events."""
    customers: int
    """Distinct customers among the events."""
    scored: int
    """Customers with a score."""
    dead_letters: int


@dataclass(frozen=True)
class Quality:
    """Measures of one candidate over one period."""

    target: str
    candidate: str
    period: str
    """`all` labels, or the `test` period of the protocol."""
    labels: int
    measures: dict[str, float]


@dataclass(frozen=True)
class Comparison:
    """What was served beside what the champion of the moment said, on the labels that both predicted."""

    target: str
    period: str
    labels: int
    served: dict[str, float]
    champion: dict[str, float]


def count(client: Client) -> Counts:
    """Count the rows in a namespace's database."""

    def number(query: str) -> int:
        return int(client.query(query).result_rows[0][0])

    return Counts(
        events=number("SELECT count() FROM v_events"),
        customers=number("SELECT uniqExact(customer_id) FROM events"),
        scored=number("SELECT uniqExact(customer_id) FROM scores"),
        dead_letters=number("SELECT count() FROM v_dead_letters"),
    )


def first_test_day(tally: ReplayTally) -> int:
    """Return the first day number of the protocol's test period: snapshots at or after 70 % of the time range."""
    first, last = tally.first or 0.0, tally.last or 0.0
    return math.ceil((first + CUT * (last - first)) / DAY)


def measure_candidates(client: Client, cut: int) -> list[Quality]:
    """Measure every candidate of every target, exactly, on the predictions made at the snapshots."""
    qualities = []
    for target in TARGETS:
        candidates = client.query(
            "SELECT DISTINCT candidate FROM outcomes WHERE target = {target:String} ORDER BY candidate",
            parameters={"target": target},
        )
        for (candidate,) in candidates.result_rows:
            columns = client.query_arrow(
                "SELECT label, toFloat64(probability) AS probability, toInt32(toUInt16(snapshot_day)) AS day "
                "FROM v_outcomes "
                "WHERE target = {target:String} AND candidate = {candidate:String} AND label <= 1 "
                "ORDER BY day, customer_id",  # sums of floats depend on the order
                parameters={"target": target, "candidate": candidate},
            )
            label = columns.column("label").to_numpy().astype(np.uint8)
            probability = columns.column("probability").to_numpy()
            tested = columns.column("day").to_numpy() >= cut
            for period, chosen in (("all", np.ones(len(label), bool)), ("test", tested)):
                known = chosen & ~np.isnan(probability)
                measures = measure(probability[known], label[known])
                qualities.append(Quality(target, candidate, period, int(known.sum()), measures))
    return qualities


def compare_served(client: Client, cut: int) -> list[Comparison]:
    """Measure what was served beside the champion, exactly, on the same predictions.

    The champion of a snapshot is the one after the labels of that day, which the learner had predict it; what served
    there is, at best, the one after the labels of the day before.
    """
    found = []
    for target in TARGETS:
        promoted = client.query(
            "SELECT toUInt16(decided_day), champion FROM v_promotions "
            "WHERE target = {target:String} AND outcome = 'done' ORDER BY decided_day, decided_at",
            parameters={"target": target},
        ).result_rows
        columns = client.query_arrow(
            "SELECT label, toFloat64(served.probability) AS said, toFloat64(candidates.probability) AS champion, "
            "toInt32(toUInt16(snapshot_day)) AS day "
            "FROM (SELECT customer_id, snapshot_day, label, probability FROM v_outcomes "
            "WHERE target = {target:String} AND candidate = 'served' AND label <= 1) AS served "
            "INNER JOIN (SELECT customer_id, snapshot_day, probability FROM v_outcomes "
            "WHERE target = {target:String} AND candidate = arrayElement({names:Array(String)}, "
            "arrayCount(day -> day <= toUInt16(snapshot_day), {days:Array(UInt16)}))) AS candidates "
            "USING (customer_id, snapshot_day) ORDER BY day, customer_id",  # sums of floats depend on the order
            parameters={
                "target": target,
                "days": [day for day, _ in promoted],
                "names": [name for _, name in promoted],
            },
        )
        label, served, champion, day = (columns.column(at).to_numpy() for at in range(4))
        known = ~np.isnan(served) & ~np.isnan(champion)
        for period, chosen in (("all", known), ("test", known & (day >= cut))):
            labels = label[chosen].astype(np.uint8)
            measures = measure(served[chosen], labels), measure(champion[chosen], labels)
            found.append(Comparison(target, period, len(labels), *measures))
    return found


def show(
    screen: Console,
    *,
    tally: ReplayTally,
    counts: Counts,
    qualities: list[Quality],
    comparisons: list[Comparison],
    preset: Preset,
    space: Settings,
) -> None:
    """Print the tables."""
    screen.print(_counts_table(tally, counts))
    if tally.refused:
        screen.print(_refused_table(tally))
    cut = EPOCH.toordinal() + first_test_day(tally)
    begins = date.fromordinal(cut)
    for target in TARGETS:
        days = space.horizon_days if target == "churn" else space.purchase_horizon_days
        for period, words in (("test", f"snapshots from {begins} on (the last 30 %)"), ("all", "all matured labels")):
            rows = [quality for quality in qualities if (quality.target, quality.period) == (target, period)]
            if any("roc_auc" in row.measures for row in rows):
                baselines = preset.baselines if (target, period) == ("churn", "test") else ()
                screen.print(_quality_table(f"{target} within {days} days, {words}", rows, baselines))
            elif period == "all":
                screen.print(f"{target} within {days} days: all matured labels are alike, so there is nothing to rank.")
    if any("roc_auc" in one.served for one in comparisons):
        screen.print(_served_table(comparisons))
    paced = (
        f"The log waited for its learner at {tally.waited:,} boundaries, {tally.waited_seconds:.1f} s in all: each was "
        "served by the champion of the boundary before, as in a live system."
        if space.paced
        else "The log did not wait for its learner (--pace none): it lags behind, and the worker used older models."
    )
    screen.print(
        "Every prediction was made at its snapshot, before any later label. served: the worker's own prediction. "
        + paced,
        style="dim",
    )


def as_json(
    tally: ReplayTally,
    counts: Counts,
    qualities: list[Quality],
    comparisons: list[Comparison],
    space: Settings,
    *,
    seconds: float,
) -> dict[str, Any]:
    """Return the report as a JSON object.

    Parameters
    ----------
    seconds
        From the first event sent until everything was processed.
    """
    return {
        "pace": "learner" if space.paced else "none",
        "seconds": round(seconds, 2),
        "waited": {"boundaries": tally.waited, "seconds": round(tally.waited_seconds, 2)},
        "namespace": space.namespace,
        "horizon_days": space.horizon_days,
        "lookback_days": space.lookback_days,
        "read": tally.read,
        "accepted": tally.accepted,
        "refused": dict(tally.refused),
        "customers": len(tally.customers),
        "clickhouse": asdict(counts),
        "quality": [asdict(quality) for quality in qualities],
        "served_beside_champion": [asdict(one) for one in comparisons],
    }


def _counts_table(tally: ReplayTally, counts: Counts) -> Table:
    table = Table(title="The log", show_header=False)
    table.add_column("what")
    table.add_column("how many", justify="right")
    table.add_column("")

    def agree(mine: int, theirs: int) -> Text:
        return Text("equal", "green") if mine == theirs else Text(f"expected {mine:,}", "red")

    first, last = (datetime.fromtimestamp(value or 0, UTC).date() for value in (tally.first, tally.last))
    table.add_row("rows read", f"{tally.read:,}", f"{first} to {last}")
    table.add_row("accepted", f"{tally.accepted:,}", "")
    table.add_row("refused", f"{tally.refused.total():,}", "")
    table.add_row("distinct events in ClickHouse", f"{counts.events:,}", agree(tally.accepted, counts.events))
    table.add_row("customers in ClickHouse", f"{counts.customers:,}", agree(len(tally.customers), counts.customers))
    table.add_row("customers scored", f"{counts.scored:,}", agree(len(tally.customers), counts.scored))
    return table


def _refused_table(tally: ReplayTally) -> Table:
    table = Table(title="Refused")
    table.add_column("reason")
    table.add_column("rows", justify="right")
    table.add_column("first")
    for reason, rows in tally.refused.most_common():
        table.add_row(reason, f"{rows:,}", tally.examples[reason])
    return table


def _quality_table(title: str, rows: list[Quality], baselines: Any) -> Table:
    table = Table(title=title)
    table.add_column("candidate")
    for name in ("labels", "base rate", "ROC-AUC", "PR-AUC", "log-loss", "ECE"):
        table.add_column(name, justify="right")
    for row in sorted(rows, key=lambda row: -row.measures.get("roc_auc", 0.0)):
        base = row.measures.get("base_rate")
        cells = [f"{row.measures[name]:.3f}" if name in row.measures else "" for name in SHOWN]
        table.add_row(row.candidate, f"{row.labels:,}", "" if base is None else f"{base:.3f}", *cells)
    if baselines:
        table.add_section()
        for baseline in baselines:
            table.add_row(
                Text(f"published: {baseline.name}", "dim"),
                "",
                "",
                f"{baseline.roc_auc:.3f}",
                f"{baseline.pr_auc:.3f}",
                "",
                "",
            )
    return table


def _served_table(comparisons: list[Comparison]) -> Table:
    table = Table(title="Served beside the champion, on the labels that both predicted")
    for name in ("target", "snapshots"):
        table.add_column(name)
    for name in ("labels", "served ROC-AUC", "champion ROC-AUC", "served log-loss", "champion log-loss"):
        table.add_column(name, justify="right")
    for one in comparisons:
        cells = [
            f"{measures[name]:.3f}" if name in measures else ""
            for name in ("roc_auc", "log_loss")
            for measures in (one.served, one.champion)
        ]
        words = "the last 30 %" if one.period == "test" else "all"
        table.add_row(one.target, words, f"{one.labels:,}", *cells)
    return table
