"""The pieces of `ebb replay` that need no service: its settings, its namespace, its test period, its tables."""

import io
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console

from ebb.clock import DAY
from ebb.errors import SettingsError
from ebb.settings import Settings
from ebb_cli.replay.command import _pace
from ebb_cli.replay.namespace import namespace_of, replay_settings
from ebb_cli.replay.report import Counts, Quality, as_json, first_test_day, show
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


def test_a_log_is_processed_in_its_own_event_time_and_namespace() -> None:
    space = replay_settings(BASE, PRESETS["online_retail"], "shop", horizon_days=None, partitions=3)
    assert (space.kafka_bootstrap, space.clickhouse_url) == (BASE.kafka_bootstrap, BASE.clickhouse_url)
    assert space.topics.activity == "ebb.shop.activity"
    assert (space.horizon_days, space.lookback_days, space.snapshot_every_days, space.partitions) == (30, 60, 3, 3)
    assert (space.allowed_lateness_seconds, space.idle_after_seconds) == (0, 0)
    assert (space.day_seconds, space.clock_origin_wall, space.clock_origin_event) == (86_400, 0, 0)
    assert (space.kinds["return"], space.kinds["page"]) == ("other", "view")


def test_requested_days_override_those_of_the_preset_and_set_the_snapshots() -> None:
    space = replay_settings(BASE, PRESETS["cdnow"], "cdnow", horizon_days=20, lookback_days=90)
    assert (space.horizon_days, space.lookback_days, space.snapshot_every_days) == (20, 90, 2)


def test_invalid_settings_are_refused_in_one_sentence() -> None:
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


def _printed(tally: ReplayTally, counts: Counts, quality: list[Quality]) -> str:
    text = io.StringIO()
    space = replay_settings(BASE, PRESETS["gamelaunch"], "game")
    screen = Console(file=text, width=160)
    show(screen, tally=tally, counts=counts, found=quality, preset=PRESETS["gamelaunch"], space=space)
    assert as_json(tally, counts, quality, space)["accepted"] == tally.accepted
    return text.getvalue()


def test_the_report_lists_agreement_refusals_and_the_published_figures() -> None:
    tally = ReplayTally(
        read=12, accepted=10, refused=Counter(bad_time=2), examples={"bad_time": "row 3: 'x' is not a time."}
    )
    tally.first, tally.last, tally.customers = 16_000.0 * DAY, 16_030.0 * DAY, {"a", "b"}
    measures = {"roc_auc": 0.8123, "pr_auc": 0.7, "log_loss": 0.5, "ece": 0.01, "base_rate": 0.5}
    quality = [
        Quality("churn", "logistic", "test", 40, measures),
        Quality("churn", "logistic", "all", 90, measures | {"roc_auc": 0.777}),
        Quality("purchase", "logistic", "all", 90, {"log_loss": 0.0, "ece": 0.0, "base_rate": 0.0}),
    ]
    text = _printed(tally, Counts(events=10, customers=2, scored=1, dead_letters=0), quality)
    assert text.count("equal") == 2
    assert "expected 2" in text
    assert "row 3: 'x' is not a time." in text
    assert "0.812" in text
    assert "0.777" in text
    assert text.index("0.812") < text.index("published: recency") < text.index("0.777")
    assert "0.872" in text
    assert "purchase within 7 days: all matured labels are alike" in text
