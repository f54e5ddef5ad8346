"""The pieces of `ebb replay` that need no service: its settings, its namespace, its test period, its tables."""

import io
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ebb.clock import DAY
from ebb.errors import SettingsError
from ebb.settings import Settings
from ebb_cli.replay.command import _pace
from ebb_cli.replay.namespace import namespace_of, replay_settings
from ebb_cli.replay.report import Comparison, Counts, Quality, as_json, first_test_day, show
from producers.replay.presets import GENERIC, PRESETS
from producers.replay.sender import ReplayTally

BASE = Settings(kafka_bootstrap="127.0.0.1:5", clickhouse_url="http://127.0.0.1:6", day_seconds=2, clock_origin_wall=9)


@pytest.mark.parametrize(
    ("file", "preset", "namespace"),
    [
        ("events.parquet", "cdnow", "cdnow"),
        ("My Shop-2011.csv.gz", None, "my_shop_2011"),
        ("日本.csv", None, "replay"),
        ("x" * 60 + ".csv", None, "x" * 40),
    ],
)
def test_the_namespace_is_named_after_the_log(file: str, preset: str | None, namespace: str) -> None:
    assert namespace_of(Path(file), preset) == namespace
    replay_settings(BASE, GENERIC, namespace)


def test_a_log_is_processed_in_its_own_time_and_place() -> None:
    space = replay_settings(BASE, PRESETS["online_retail"], "shop", horizon_days=None, partitions=3)
    assert (space.kafka_bootstrap, space.clickhouse_url) == (BASE.kafka_bootstrap, BASE.clickhouse_url)
    assert space.topics.activity == "ebb.shop.activity"
    assert (space.horizon_days, space.lookback_days, space.snapshot_every_days, space.partitions) == (30, 60, 3, 3)
    assert (space.allowed_lateness_seconds, space.idle_after_seconds) == (0, 0)
    assert (space.day_seconds, space.clock_origin_wall, space.clock_origin_event) == (86_400, 0, 0)
    assert (space.kinds["return"], space.kinds["page"]) == ("other", "view")


def test_a_paced_replay_is_no_other_in_its_time_and_checkpoints_less_often() -> None:
    space, plain = (replay_settings(BASE, PRESETS["online_retail"], "shop", paced=paced) for paced in (True, False))
    assert (space.paced, plain.paced) == (True, False)
    assert space.checkpoint_seconds > plain.checkpoint_seconds == BASE.checkpoint_seconds
    assert space.model_copy(update={"paced": False, "checkpoint_seconds": plain.checkpoint_seconds}) == plain
    # A live system cannot be paced by mistake: what attaches to it says so.
    assert not replay_settings(BASE.model_copy(update={"paced": True}), GENERIC, "x").paced


def test_days_asked_for_go_over_those_of_the_preset_and_set_the_snapshots() -> None:
    space = replay_settings(BASE, PRESETS["cdnow"], "cdnow", horizon_days=20, lookback_days=90)
    assert (space.horizon_days, space.lookback_days, space.snapshot_every_days) == (20, 90, 2)


def test_settings_that_cannot_be_are_refused_in_one_sentence() -> None:
    with pytest.raises(SettingsError, match="horizon_days"):
        replay_settings(BASE, GENERIC, "x", horizon_days=4_000)
    with pytest.raises(SettingsError, match="namespace"):
        replay_settings(BASE, GENERIC, "Not A Namespace")


def test_the_pace_is_a_positive_number_or_max() -> None:
    assert _pace("max") is None
    assert _pace("86400") == 86_400
    for wrong in ("fast", "0", "-1", "inf", "nan"):
        with pytest.raises(SettingsError, match="neither a number above 0 nor max"):
            _pace(wrong)


def test_the_test_period_begins_at_the_first_boundary_after_seventy_percent() -> None:
    assert first_test_day(ReplayTally(first=100.0 * DAY, last=110.0 * DAY)) == 107
    assert first_test_day(ReplayTally(first=100.0 * DAY, last=110.0 * DAY + 60)) == 108


def _printed(
    tally: ReplayTally, counts: Counts, found: list[Quality], beside: list[Comparison], *, paced: bool = True
) -> tuple[str, dict[str, Any]]:
    text = io.StringIO()
    space = replay_settings(BASE, PRESETS["gamelaunch"], "game", paced=paced)
    screen = Console(file=text, width=160)
    show(
        screen,
        tally=tally,
        counts=counts,
        qualities=found,
        comparisons=beside,
        preset=PRESETS["gamelaunch"],
        space=space,
    )
    return text.getvalue(), as_json(tally, counts, found, beside, space, seconds=12.345)


def test_the_report_says_what_agrees_what_was_refused_and_stands_beside_the_published_figures() -> None:
    tally = ReplayTally(
        read=12, accepted=10, refused=Counter(bad_time=2), examples={"bad_time": "row 3: 'x' is not a time."}
    )
    tally.first, tally.last, tally.customers = 16_000.0 * DAY, 16_030.0 * DAY, {"a", "b"}
    measures = {"roc_auc": 0.8123, "pr_auc": 0.7, "log_loss": 0.5, "ece": 0.01, "base_rate": 0.5}
    found = [
        Quality("churn", "logistic", "test", 40, measures),
        Quality("churn", "logistic", "all", 90, measures | {"roc_auc": 0.777}),
        Quality("purchase", "logistic", "all", 90, {"log_loss": 0.0, "ece": 0.0, "base_rate": 0.0}),
    ]
    counts = Counts(events=10, customers=2, scored=1, dead_letters=0)
    beside = Comparison("churn", "test", 40, measures | {"roc_auc": 0.8011}, measures | {"roc_auc": 0.8022})
    tally.waited, tally.waited_seconds = 7, 1.25
    text, report = _printed(tally, counts, found, [beside])
    assert report["accepted"] == tally.accepted
    assert (report["pace"], report["seconds"]) == ("learner", 12.35)
    assert report["waited"] == {"boundaries": 7, "seconds": 1.25}
    assert report["served_beside_champion"][0]["served"]["roc_auc"] == 0.8011
    assert "0.801" in text
    assert "0.802" in text
    assert "waited for its learner at 7 boundaries, 1.2 s in all" in " ".join(text.split())
    unpaced, report = _printed(tally, counts, found, [], paced=False)
    assert report["pace"] == "none"
    assert "--pace none" in unpaced
    assert "Served beside the champion" not in unpaced
    assert text.count("equal") == 2
    assert "expected 2" in text
    assert "row 3: 'x' is not a time." in text
    assert "0.812" in text
    assert "0.777" in text
    assert text.index("0.812") < text.index("published: recency") < text.index("0.777")
    assert "0.872" in text
    assert "purchase within 7 days: all matured labels are alike" in text
