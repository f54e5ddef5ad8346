"""Checkpoints: what is read back is what was captured, whatever was lost on the way."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebb.contracts.examples import customers_digest
from ebb.errors import CorruptError, SchemaMismatchError
from ebb.settings import Settings
from online_ml.learning.learner import Learner
from stream_processors.checkpoint import (
    MANIFEST,
    UNNAMED,
    ActivityTopic,
    PartitionCapture,
    PartitionCheckpointer,
    new,
    pack,
    rebuild,
)
from stream_processors.ingest.decoder import Decoder
from stream_processors.scoring.history import ScoreHistory
from stream_processors.shard import LENGTH
from stream_processors.state.customers import OTHER_NAME
from stream_processors.state.engine import Engine
from stream_processors.state.table import SHARD_ROWS
from tests.support.activity import DAY_MS, START, Event, Log, Record, Tick

SETTINGS = Settings(dedupe_events=40)

Topic = dict[str, bytes]


def keep(topic: Topic, capture: PartitionCapture) -> None:
    """Write a capture as the compacted topic would store it: all of it, since it is one transaction."""
    topic |= {key: pack(body) for key, body in capture.pieces.items()}
    topic[MANIFEST] = orjson.dumps(capture.manifest)
    for key in capture.stale:
        topic.pop(key, None)


def process(engine: Engine, records: Sequence[Record]) -> None:
    engine.process(Decoder(SETTINGS).decode(list(records)))


events = st.builds(
    Event,
    customer=st.integers(0, 2_500).map("c{}".format),
    at=st.integers(0, 12 * DAY_MS),
    kind=st.sampled_from(["view", "purchase"]),
    amount=st.sampled_from([None, 1.25]),
    country=st.sampled_from([None, "NL", "DE"]),
)


@settings(max_examples=30)
@given(st.lists(events, min_size=1, max_size=120), st.data())
def test_a_worker_that_dies_anywhere_resumes_with_the_same_state(items: list[Event], data: st.DataObject) -> None:
    ordered = sorted(items, key=lambda event: event.at)
    log = Log.of([*ordered, Tick(13 * DAY_MS)])
    whole, _, _ = new(SETTINGS, 0)
    process(whole, log.records)

    topic: Topic = {}
    engine, board, checkpointer = new(SETTINGS, 0)
    polls = log.cut(data.draw(st.lists(st.integers(0, len(log.records)), max_size=6)))
    for poll in polls:
        process(engine, poll)
        if not data.draw(st.booleans()):
            continue
        capture = checkpointer.capture(engine, board)
        assert capture is not None
        if data.draw(st.booleans()):
            keep(topic, capture)
        else:
            engine, board, checkpointer = rebuild(SETTINGS, 0, topic)
            process(engine, [record for record in log.records if record.offset <= poll[-1].offset])
    assert engine.state.digest() == whole.state.digest()
    assert engine.window.seen == whole.window.seen
    np.testing.assert_array_equal(engine.window.ring, whole.window.ring)
    assert engine.labeller.pending.keys() == whole.labeller.pending.keys()
    for boundary, rows in whole.labeller.pending.items():
        np.testing.assert_array_equal(engine.labeller.pending[boundary], rows)


def _checkpointed() -> tuple[Engine, ScoreHistory, PartitionCheckpointer, Topic]:
    engine, board, checkpointer = new(SETTINGS, 0)
    process(engine, Log.of([Event("a", 0, "purchase", 2.0), Event("b", 5), Tick(3 * DAY_MS)]).records)
    topic: Topic = {}
    capture = checkpointer.capture(engine, board)
    assert capture is not None
    keep(topic, capture)
    return engine, board, checkpointer, topic


def test_nothing_new_makes_no_checkpoint() -> None:
    engine, board, checkpointer, _ = _checkpointed()
    assert checkpointer.capture(engine, board) is None


def test_only_touched_shards_are_written() -> None:
    engine, board, checkpointer = new(SETTINGS, 0)
    crowd = [Event(f"c{number}", number) for number in range(3_000)]
    log = Log.of([*crowd, Event("c2500", 5_000)])
    process(engine, log.records[:-1])
    first = checkpointer.capture(engine, board)
    assert first is not None
    assert sum(key.startswith("shard/") for key in first.pieces) == 3
    process(engine, log.records[-1:])
    second = checkpointer.capture(engine, board)
    assert second is not None
    assert [key for key in second.pieces if key.startswith("shard/")] == ["shard/2"]


def test_a_day_that_closes_without_an_event_is_checkpointed() -> None:
    log = Log.of([Event("a", 0, "purchase", 2.0), Event("b", 5), Tick(3 * DAY_MS), Tick(5 * DAY_MS)])
    engine, board, checkpointer = new(SETTINGS, 0)
    topic: Topic = {}
    for records in (log.records[:3], log.records[3:]):
        process(engine, records)
        capture = checkpointer.capture(engine, board)
        assert capture is not None
        keep(topic, capture)
    restored, _, _ = rebuild(SETTINGS, 0, topic)
    assert restored.state.digest() == engine.state.digest()


def test_published_scores_survive_too() -> None:
    engine, board, checkpointer, topic = _checkpointed()
    board.table["band"][:] = [2, 3]
    board.table["published"][:] = [0.7, 0.9]
    board.remembered = 77
    engine.touch(np.array([0, 1]))
    process(engine, [record for record in Log.of([Tick(0)] * 3 + [Tick(3 * DAY_MS)]).records if record.offset > 2])
    capture = checkpointer.capture(engine, board)
    assert capture is not None
    keep(topic, capture)
    _, restored, _ = rebuild(SETTINGS, 0, topic)
    assert restored.table["band"].tolist() == [2, 3]
    assert restored.table["published"].tolist() == pytest.approx([0.7, 0.9])
    assert restored.remembered == 77


def test_a_matured_snapshot_leaves_the_topic() -> None:
    engine, board, checkpointer, topic = _checkpointed()
    assert any(key.startswith("snapshot/") for key in topic)
    later = Log.of([Tick(0)] * 3 + [Tick(day * DAY_MS) for day in range(3, 120)]).records[3:]
    process(engine, later)
    capture = checkpointer.capture(engine, board)
    assert capture is not None
    keep(topic, capture)
    assert not engine.labeller.pending
    assert not [key for key in topic if key.startswith("snapshot/")]


def test_another_layout_is_refused_not_misread() -> None:
    _, _, _, topic = _checkpointed()
    manifest = orjson.loads(topic[MANIFEST])
    topic[MANIFEST] = orjson.dumps(manifest | {"layout": "of another day"})
    with pytest.raises(SchemaMismatchError, match="of another day"):
        rebuild(SETTINGS, 0, topic)


@pytest.mark.parametrize("piece", [None, b"", b"abc", b"\x00\x00\x10\x00nothing compressed", "cut", "empty head"])
def test_a_missing_or_damaged_piece_is_reported(piece: bytes | str | None) -> None:
    _, _, _, topic = _checkpointed()
    body = unpack(topic["shard/0"])
    if piece is None:
        del topic["shard/0"]
    else:
        made = {"cut": pack(body[: len(body) // 2]), "empty head": pack(b"\x02\x00\x00\x00{}")}
        topic["shard/0"] = made[piece] if isinstance(piece, str) else piece
    with pytest.raises(CorruptError, match=r"shard/0.*EBB_BEGIN_ANEW"):
        rebuild(SETTINGS, 0, topic)


def unpack(piece: bytes) -> bytes:
    (size,) = LENGTH.unpack_from(piece)
    return bytes(pa.Codec("zstd").decompress(piece[LENGTH.size :], decompressed_size=size, asbytes=True))


def opened(piece: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the head of a shard, and the bytes of its columns."""
    body = unpack(piece)
    (size,) = LENGTH.unpack_from(body)
    head, at = orjson.loads(body[LENGTH.size :][:size]), LENGTH.size + size
    parts: dict[str, bytes] = {}
    for name, dtype, shape in head["columns"]:
        length = len(head["ids"]) * int(np.prod(shape)) * np.dtype(dtype).itemsize
        parts[name] = body[at : at + length]
        at += length
    return head, parts


def rewritten(topic: Topic, change: Callable[[list[list[Any]], dict[str, bytes]], None]) -> None:
    """Write the first shard again, with other columns."""
    head, parts = opened(topic["shard/0"])
    change(head["columns"], parts)
    packed = orjson.dumps(head)
    topic["shard/0"] = pack(
        b"".join([LENGTH.pack(len(packed)), packed, *(parts[name] for name, *_ in head["columns"])])
    )


def test_columns_travel_by_name_and_what_this_code_lacks_or_adds_changes_nothing_else() -> None:
    engine, _, _, topic = _checkpointed()

    def change(columns: list[list[Any]], parts: dict[str, bytes]) -> None:
        columns.reverse()
        columns.insert(3, ["favourite_colour", "<i4", [2]])
        parts["favourite_colour"] = bytes(2 * 8)
        columns[:] = [column for column in columns if column[0] != "trend"]

    rewritten(topic, change)
    restored, board, _ = rebuild(SETTINGS, 0, topic)
    assert restored.state.digest() == engine.state.digest()
    assert np.isnan(board.table["trend"]).all()


def test_a_column_of_another_shape_is_refused() -> None:
    _, _, _, topic = _checkpointed()

    def change(columns: list[list[Any]], parts: dict[str, bytes]) -> None:
        (column,) = [column for column in columns if column[0] == "active_days"]
        column[2] = [4]
        parts["active_days"] *= 2

    rewritten(topic, change)
    with pytest.raises(SchemaMismatchError, match=r"active_days .*\[4\].*EBB_BEGIN_ANEW"):
        rebuild(SETTINGS, 0, topic)


def test_a_checkpoint_from_before_columns_had_names_is_read() -> None:
    engine, _, _, topic = _checkpointed()
    manifest = orjson.loads(topic[MANIFEST])
    for name in ("minor_units", "topic_id", "moved_at", "event_at"):
        del manifest[name]
    topic[MANIFEST] = orjson.dumps(manifest | {"layout": UNNAMED})
    head, parts = opened(topic["shard/0"])
    del parts["forgotten_active_day"]
    widened = {name: dtype for name, dtype, _ in head["columns"] if name in {"counts", "spend", "open_discounts"}}
    packed = orjson.dumps({"ids": head["ids"], "types": widened})
    topic["shard/0"] = pack(b"".join([LENGTH.pack(len(packed)), packed, *parts.values()]))
    restored, _, _ = rebuild(SETTINGS, 0, topic)
    assert restored.state.digest() == engine.state.digest()


def test_money_counted_in_other_units_is_refused() -> None:
    _, _, _, topic = _checkpointed()
    with pytest.raises(SchemaMismatchError, match="EBB_MINOR_UNITS=100; it says 1000"):
        rebuild(SETTINGS.model_copy(update={"minor_units": 1_000}), 0, topic)


@pytest.mark.parametrize(
    ("topic_now", "refused"),
    [
        (ActivityTopic("one", {0: 3}), False),
        (ActivityTopic(None, {0: 3}), False),
        (ActivityTopic("another", {0: 3}), True),
        (ActivityTopic("another", {0: 3_000}), True),
        (ActivityTopic("one", {0: 2}), True),
        (ActivityTopic(None, {0: 0}), True),
    ],
)
def test_a_topic_made_anew_is_refused_since_its_offsets_mean_others(topic_now: ActivityTopic, refused: bool) -> None:
    engine, board, checkpointer = new(SETTINGS, 0, ActivityTopic("one", {0: 3}))
    process(engine, Log.of([Event("a", 0), Event("b", 5), Tick(3 * DAY_MS)]).records)
    topic: Topic = {}
    capture = checkpointer.capture(engine, board)
    assert capture is not None
    keep(topic, capture)
    if refused:
        with pytest.raises(SchemaMismatchError, match="made anew or moved"):
            rebuild(SETTINGS, 0, topic, topic_now)
    else:
        assert rebuild(SETTINGS, 0, topic, topic_now)[0].offset == 2


@pytest.mark.parametrize(
    ("changes", "changed"),
    [
        ({}, set()),
        ({"horizon_days": 6}, {"churn"}),
        ({"horizon_days": 4}, {"churn"}),
        ({"churn_label": "cancel"}, {"churn"}),
        ({"purchase_horizon_days": 2}, {"purchase"}),
    ],
)
def test_after_a_change_of_the_label_only_snapshots_taken_for_it_get_one(
    changes: dict[str, Any], changed: set[str]
) -> None:
    before = Settings(horizon_days=5, purchase_horizon_days=3, allowed_lateness_seconds=0)
    after = before.model_copy(update=changes)
    visits: list[Event | Tick] = [Event(name, day * DAY_MS + 9) for day in range(10) for name in "abc"]
    log = Log.of([*visits, *(Tick(day * DAY_MS) for day in range(10, 20))]).records
    topic: Topic = {}
    found: dict[str, set[int]] = {"churn": set(), "purchase": set()}
    # What was left out stays so after another restart.
    for configuration, part in ((before, log[:30]), (after, log[30:33]), (after, log[33:])):
        engine, board, checkpointer = rebuild(configuration, 0, topic)
        for result in engine.process(Decoder(configuration).decode(part)).boundaries:
            for block in result.labels if configuration is after else ():
                found[block.target].add(block.snapshot_boundary - START)
                assert block.definition == after.label_definitions[block.target]  # type: ignore[index]
                assert block.customers == customers_digest(["a", "b", "c"])
        capture = checkpointer.capture(engine, board)
        assert capture is not None
        keep(topic, capture)
    horizons = {"churn": after.horizon_days, "purchase": after.purchase_horizon_days}
    for target, horizon in horizons.items():
        matured = {boundary - horizon for boundary in range(10, 20)}
        assert found[target] == {taken for taken in matured if taken >= 10 or target not in changed}


@pytest.mark.parametrize("delays", [(0, 2), (2, 0), (3, 1), (5, 5)])
def test_after_a_change_of_the_delay_each_snapshot_gets_its_labels_once(delays: tuple[int, int]) -> None:
    before, after = (
        Settings(horizon_days=5, purchase_horizon_days=3, allowed_lateness_seconds=0, label_delay_days=days)
        for days in delays
    )
    visits: list[Event | Tick] = [Event(name, day * DAY_MS + 9) for day in range(10) for name in "abc"]
    log = Log.of([*visits, *(Tick(day * DAY_MS) for day in range(10, 20))]).records
    topic: Topic = {}
    found: list[tuple[str, int]] = []
    learner = Learner(after.model_copy(update={"partitions": 1}))
    offsets = itertools.count()
    for configuration, part in ((before, log[:30]), (after, log[30:])):
        engine, board, checkpointer = rebuild(configuration, 0, topic)
        for result in engine.process(Decoder(configuration).decode(part)).boundaries:
            found += [(block.target, block.snapshot_boundary - START) for block in result.labels]
            served = np.zeros(len(result.rows), np.float32)
            for written in result.blocks(served, served):
                learner.add(written, next(offsets))
            while (step := learner.advance()) is not None:
                assert not step.refused
        capture = checkpointer.capture(engine, board)
        assert capture is not None
        keep(topic, capture)
    assert sorted(found) == [
        *(("churn", taken) for taken in range(1, 20 - 5 - delays[1])),
        *(("purchase", taken) for taken in range(1, 20 - 3 - delays[1])),
    ]
    # Those that wait are those without labels.
    assert {chunk.snapshot.boundary - START for chunk in learner.pending} == set(range(20 - 5 - delays[1], 20))
    assert learner.labels_pending("purchase") == 3 * (3 + delays[1])


def test_texts_without_end_do_not_make_a_checkpoint_without_end() -> None:
    engine, board, checkpointer = new(SETTINGS, 0)
    process(engine, Log.of([Event(f"c{n % 50}", n, country=f"{n:0>250}") for n in range(3_000)]).records)
    capture = checkpointer.capture(engine, board)
    assert capture is not None
    assert len(orjson.dumps(capture.manifest)) < 400_000
    names = engine.state.countries.of(engine.state.table["country"])
    assert set(names) == {OTHER_NAME}


def test_a_window_of_another_size_keeps_the_newest_events() -> None:
    engine, board, checkpointer = new(SETTINGS, 0)
    process(engine, Log.of([Event("a", number) for number in range(100)]).records)
    topic: Topic = {}
    capture = checkpointer.capture(engine, board)
    assert capture is not None
    keep(topic, capture)
    smaller = SETTINGS.model_copy(update={"dedupe_events": 10})
    restored, _, _ = rebuild(smaller, 0, topic)
    hashes = Decoder(SETTINGS).decode(Log.of([Event("a", n) for n in range(100)]).records).event_hashes
    days = np.full(10, START)
    assert not restored.window.admit(hashes[90:], days).any()
    assert restored.window.admit(hashes[80:90], days).all()


def test_shards_written_before_a_column_was_widened_are_read_with_those_after() -> None:
    engine, board, checkpointer = new(SETTINGS, 0)
    topic: Topic = {}
    # The customers of the first shard are quiet; one of the second has a day beyond what the narrow counter holds.
    crowd: list[Event | Tick] = [Event(f"c{n}", n) for n in range(SHARD_ROWS)]
    busy: list[Event | Tick] = [Event("busy", 5_000 + n) for n in range(300)]
    records = Log.of([*crowd, *busy]).records
    for part in (records[:SHARD_ROWS], records[SHARD_ROWS:]):
        process(engine, part)
        capture = checkpointer.capture(engine, board)
        assert capture is not None
        keep(topic, capture)
    assert capture is not None
    assert "shard/0" not in capture.pieces, "the first shard must not have been written again"
    restored, _, _ = rebuild(SETTINGS, 0, topic)
    assert restored.state.digest() == engine.state.digest()
