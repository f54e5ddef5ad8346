"""Rows of a log as events: stable ids, true duplicates preserved, refusals with a reason."""

from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import orjson
import pytest

from ebb.errors import SourceError
from producers.replay.json_lines import ObjectStore
from producers.replay.log import Log, RejectedRow
from producers.replay.presets import GENERIC, PRESETS, mapping_of, preset_named
from producers.replay.rows import Row, Rows, columns_of, complete_mapping
from producers.replay.sources import read_log

UTC = ZoneInfo("UTC")
LATEST = 2_000_000_000.0
MAPPING = {"customer_id": "who", "occurred_at": "at", "type": "what", "amount": "paid", "note": "note"}


def _log(rows: list[dict[str, Any]]) -> Log:
    names = ("who", "at", "what", "paid", "note")
    return Log("log.jsonl", list(names), ObjectStore.of(rows), np.arange(len(rows)))


def _rows(rows: list[dict[str, Any]], mapping: dict[str, str] | None = None, max_bytes: int = 2_000) -> Rows:
    return Rows(_log(rows), mapping or MAPPING, zone=UTC, latest=LATEST, max_bytes=max_bytes)


def _good(**changes: Any) -> dict[str, Any]:
    return {"who": "a", "at": "2020-01-01T10:00", "what": "purchase", "paid": 5, "note": "n"} | changes


def _bodies(rows: Rows) -> list[dict[str, Any]]:
    bodies = [orjson.loads(row.body) for row in rows if isinstance(row, Row)]
    assert not rows.early
    return bodies


def test_a_row_becomes_an_event_by_the_mapping() -> None:
    (body,) = _bodies(_rows([_good(paid="12.50")]))
    assert len(body.pop("event_id")) == 32
    assert body == {
        "customer_id": "a",
        "type": "purchase",
        "occurred_at": "2020-01-01T10:00:00+00:00",
        "properties": {"amount": 12.5, "note": "n"},
    }


def test_rows_come_in_the_order_of_event_time_and_equal_times_in_that_of_the_file() -> None:
    hours = [3, 1, 2, 1]
    rows = _rows([_good(at=f"2020-01-01T0{hour}:00", note=f"n{index}") for index, hour in enumerate(hours)])
    assert [body["properties"]["note"] for body in _bodies(rows)] == ["n1", "n3", "n2", "n0"]


def test_true_duplicates_are_events_of_their_own_and_the_ids_stay_when_the_log_is_read_again() -> None:
    log = [_good(), _good(note="other"), _good(), _good()]
    ids = [body["event_id"] for body in _bodies(_rows(log))]
    assert len(set(ids)) == 4
    assert [body["event_id"] for body in _bodies(_rows(log))] == ids
    # The order of the file does not enter, nor does what else the file holds.
    assert {body["event_id"] for body in _bodies(_rows(log[::-1]))} == set(ids)
    assert {body["event_id"] for body in _bodies(_rows([*log, _good(who="z")]))} > set(ids)


@pytest.mark.parametrize("change", [{"who": "b"}, {"at": "2020-01-01T10:01"}, {"what": "view"}, {"paid": 6}])
def test_rows_that_differ_in_anything_have_other_ids(change: dict[str, Any]) -> None:
    first, second = _bodies(_rows([_good(), _good(**change)]))
    assert first["event_id"] != second["event_id"]


def test_ids_of_the_log_are_kept_where_it_has_some() -> None:
    rows = _rows([_good(note="n1"), _good(note="n2"), _good(note=None)], MAPPING | {"event_id": "note"})
    ids = [body["event_id"] for body in _bodies(rows)]
    assert ids[:2] == ["n1", "n2"]
    assert len(ids[2]) == 32


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"who": None}, "no_customer"),
        ({"who": ""}, "no_customer"),
        ({"what": None}, "missing_field"),
        ({"at": None}, "missing_field"),
        ({"at": "yesterday"}, "bad_time"),
        ({"at": "2099-01-01T00:00"}, "far_future"),
        ({"paid": "much"}, "wrong_type"),
        ({"paid": [1]}, "wrong_type"),
        ({"paid": 1e13}, "wrong_type"),
        ({"who": {"id": 1}}, "wrong_type"),
        ({"who": "x" * 300}, "wrong_type"),
        ({"note": "x" * 3_000}, "too_large"),
    ],
)
def test_a_row_that_cannot_be_an_event_is_refused_with_its_reason(change: dict[str, Any], reason: str) -> None:
    rows = _rows([_good(), _good(**change), _good(note="after")])
    sent = list(rows)
    refused = [*rows.early, *(row for row in sent if isinstance(row, RejectedRow))]
    assert [(refusal.row, refusal.reason) for refusal in refused] == [(1, reason)]
    assert orjson.loads(refused[0].body)["what"] == _good(**change)["what"]
    assert sum(isinstance(row, Row) for row in sent) == 2
    assert len(rows) == 3


def test_a_naive_time_is_refused_where_no_zone_is_stated() -> None:
    rows = Rows(_log([_good()]), MAPPING, zone=None, latest=LATEST, max_bytes=2_000)
    assert [refusal.reason for refusal in rows.early] == ["naive_time"]
    assert list(rows) == []


def test_whole_numbers_are_customers_without_a_decimal_point() -> None:
    bodies = _bodies(_rows([_good(who=17850), _good(who=17850.0), _good(who="17850")]))
    assert {body["customer_id"] for body in bodies} == {"17850"}


def test_absent_values_are_left_out() -> None:
    bodies = _bodies(
        _rows([_good(paid=None, note=None), _good(paid=float("nan"), note=None), _good(paid="", note=None)])
    )
    assert all(body["properties"] == {} for body in bodies)


def test_a_log_in_the_format_of_ebbs_events_needs_no_mapping(tmp_path: Path) -> None:
    event = {
        "event_id": "e1",
        "customer_id": "c",
        "type": "view",
        "occurred_at": "2020-01-01T00:00:00Z",
        "properties": {"country": "DE", "colour": "red"},
    }
    (tmp_path / "log.jsonl").write_bytes(orjson.dumps(event))
    log = read_log(tmp_path / "log.jsonl")
    rows = Rows(log, complete_mapping({}, log.names), zone=None, latest=LATEST, max_bytes=2_000)
    (body,) = _bodies(rows)
    assert body == event | {"occurred_at": "2020-01-01T00:00:00+00:00"}


def test_properties_may_be_json_text_and_must_be_an_object() -> None:
    mapping = {"customer_id": "who", "occurred_at": "at", "type": "what", "properties": "note"}
    rows = list(_rows([_good(note='{"x": 1}'), _good(note="{"), _good(note="[1]")], mapping))
    assert isinstance(rows[0], Row)
    assert orjson.loads(rows[0].body)["properties"] == {"x": 1}
    assert [row.reason for row in rows if isinstance(row, RejectedRow)] == ["bad_json", "wrong_type"]


def test_a_constant_stands_for_a_column() -> None:
    mapping = mapping_of(GENERIC, ["customer_id=who", "occurred_at=at", "type==purchase"])
    assert columns_of(mapping) == ["who", "at"]
    (body,) = _bodies(_rows([_good(what="x")], mapping))
    assert body["type"] == "purchase"


def test_pairs_change_a_preset() -> None:
    mapping = mapping_of(PRESETS["cdnow"], ["amount=other"])
    assert mapping["amount"] == "other"
    assert mapping["customer_id"] == PRESETS["cdnow"].mapping["customer_id"]


@pytest.mark.parametrize("pair", ["amount", "=x", "amount=", "amount=="])
def test_a_malformed_pair_is_refused_with_the_expected_form(pair: str) -> None:
    with pytest.raises(SourceError, match="field=column"):
        mapping_of(GENERIC, [pair])


def test_a_log_without_a_field_mapping_is_refused_with_its_columns() -> None:
    with pytest.raises(SourceError, match=r"customer_id, occurred_at; the columns are user, type"):
        complete_mapping({}, ["user", "type"])


def test_an_unknown_preset_is_refused_with_the_known_ones() -> None:
    assert preset_named(None) is GENERIC
    with pytest.raises(SourceError, match="online_retail, cdnow, gamelaunch"):
        preset_named("amazon")
