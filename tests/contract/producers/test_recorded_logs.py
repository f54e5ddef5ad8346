"""The presets against the logs that they are for; skipped with a reason where the logs are missing."""

from typing import Any

import orjson
import pytest

from producers.replay.presets import PRESETS
from producers.replay.rows import Row, Rows, columns_of, complete_mapping
from producers.replay.sources import read_log
from producers.replay.times import zone_named
from tests.support.project import DATA

FIGURES = {
    # rows, customers, kinds of events, true duplicates
    "online_retail": (406_829, 4_372, {"purchase": 397_924, "return": 8_905}, 5_227),
    "cdnow": (69_659, 23_570, {"purchase": 69_659}, 255),
    "gamelaunch": (29_324, 3_994, {"gameStarted": 25_222, "newPlayer": 4_102}, 0),
}


@pytest.mark.parametrize("name", PRESETS)
def test_every_row_of_the_log_is_an_event_of_its_own(name: str) -> None:
    file = DATA / name / "events.parquet"
    if not file.exists():
        pytest.skip(f"the recorded log {name} is not here (EBB_DATA names the folder of the logs)")
    preset = PRESETS[name]
    mapping = complete_mapping(preset.mapping, [])
    log = read_log(file, columns_of(mapping))
    rows = Rows(log, mapping, zone=zone_named(preset.zone), latest=2e9, max_bytes=65_536)
    count, customers, types, duplicates = FIGURES[name]
    ids, customer_ids, kinds, ordinals = set(), set(), dict[str, int](), 0
    before = 0.0
    for row in rows:
        assert isinstance(row, Row)
        assert row.time >= before
        before = row.time
        body: dict[str, Any] = orjson.loads(row.body)
        ids.add(body["event_id"])
        customer_ids.add(body["customer_id"])
        kinds[body["type"]] = kinds.get(body["type"], 0) + 1
        ordinals += "-" in body["event_id"]
    assert not rows.early
    assert (len(ids), len(customer_ids), kinds, ordinals) == (count, customers, types, duplicates)
