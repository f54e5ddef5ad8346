"""The presets are complete and follow the protocol; tests/contract/producers holds them to the logs themselves."""

import pytest

from ebb.contracts.features import KIND_BY_NAME
from ebb.settings import DEFAULT_KINDS
from producers.replay.presets import PRESETS, Preset


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_a_preset_is_complete(preset: Preset) -> None:
    assert {"customer_id", "occurred_at", "type"} <= set(preset.mapping)
    assert set(preset.kinds.values()) <= set(KIND_BY_NAME)
    assert preset.zone == "UTC"
    assert {baseline.name for baseline in preset.baselines} >= {"recency", "count", "boosting, frozen"}
    assert preset.snapshot_every_days == {"online_retail": 3, "cdnow": 6, "gamelaunch": 1}[preset.name]


def test_the_horizons_are_those_of_the_protocol() -> None:
    days = {name: (preset.horizon_days, preset.lookback_days) for name, preset in PRESETS.items()}
    assert days == {"online_retail": (30, 60), "cdnow": (60, 60), "gamelaunch": (7, 14)}


def test_returns_are_activity_but_no_purchases() -> None:
    kinds = DEFAULT_KINDS | dict(PRESETS["online_retail"].kinds)
    assert (kinds["purchase"], kinds["return"]) == ("purchase", "other")
