"""A partition erases a customer at an offset, and so does the learner."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebb.contracts.erasures import ERASE_HEADER
from ebb.contracts.examples import WITHDRAWN, Block, Labels, Withdraw, customers_digest, decode, encode
from ebb.contracts.models import TARGETS
from ebb.settings import Settings
from online_ml.checkpoint import LearnerCheckpointer
from online_ml.learning.learner import Learner
from stream_processors.checkpoint import MANIFEST, pack, rebuild
from stream_processors.checkpoint import new as new_partition
from stream_processors.ingest.decoder import Decoder
from stream_processors.state.engine import Engine
from stream_processors.state.features import describe
from stream_processors.state.labelling import BoundaryResult
from tests.support.activity import DAY_MS, Event, Record, Tick, record
from tests.support.examples import FIRST_DAY, World
from tests.unit.online_ml.learning.test_learner import configured, restarted

SETTINGS = Settings(allowed_lateness_seconds=3_600, horizon_days=5, purchase_horizon_days=3)


def erasing(offset: int, customer: str, name: str = "e1") -> Record:
    """The record by which a partition forgets a customer."""
    return Record(offset, customer.encode(), b"", [(ERASE_HEADER, name.encode())])


Item = Event | Tick | str
"""A string is the erasure of that customer."""


def records(items: list[Item]) -> list[Record]:
    return [erasing(n, item) if isinstance(item, str) else record(n, item) for n, item in enumerate(items)]


def run(log: list[Record], cuts: list[int] = [], engine: Engine | None = None) -> tuple[Engine, list[BoundaryResult]]:  # noqa: B006
    engine, decoder = engine or Engine(0, SETTINGS), Decoder(SETTINGS)
    boundaries: list[BoundaryResult] = []
    edges = [0, *sorted(min(cut, len(log)) for cut in cuts), len(log)]
    for start, stop in pairwise(edges):
        if start == stop:
            continue
        for part, item in decoder.decode(log[start:stop]).parts():
            boundaries += engine.process(part).boundaries
            if item is not None:
                engine.erase(item)
    return engine, boundaries


@st.composite
def logs(draw: st.DrawFn) -> list[Item]:
    """Draw a log of several customers with ticks and erasures among the events."""
    items: list[Item] = []
    clock = 0
    for _ in range(draw(st.integers(1, 50))):
        # Whole seconds, as ticks have them.
        clock += draw(st.integers(0, DAY_MS // 1_000)) * 1_000
        kind = draw(st.integers(0, 9))
        customer = f"c{draw(st.integers(0, 3))}"
        if kind == 0:
            items.append(customer)
        elif kind == 1:
            items.append(Tick(clock))
        else:
            items.append(Event(customer, clock, draw(st.sampled_from(["view", "purchase"])), amount=3.5, country="DE"))
    return items


@settings(max_examples=80)
@given(logs(), st.lists(st.integers(0, 50), max_size=6))
def test_state_is_the_same_however_batches_cut_a_log_with_erasures(items: list[Item], cuts: list[int]) -> None:
    log = records(items)
    whole, crossed = run(log)
    cut, cut_crossed = run(log, cuts)
    assert cut.state.digest() == whole.state.digest()
    assert cut.offset == whole.offset == len(log) - 1
    for item, other in zip(cut_crossed, crossed, strict=True):
        assert item.ids == other.ids
        for mine, its in zip(item.labels, other.labels, strict=True):
            np.testing.assert_array_equal(mine.labels, its.labels)
    again, _ = run(log, cuts, cut)
    assert again.state.digest() == whole.state.digest(), "repeated records change nothing"


@settings(max_examples=80)
@given(logs())
def test_nothing_before_an_erasure_is_left_and_nothing_else_is_touched(items: list[Item]) -> None:
    """Compared with a log in which only time had passed where the customer had done something."""
    whole, crossed = run(records(items))
    last = {item: index for index, item in enumerate(items) if isinstance(item, str)}
    silent: list[Item] = [
        Tick(item.at) if isinstance(item, Event) and index < last.get(item.customer, -1) else item
        for index, item in enumerate(items)
    ]
    never, _ = run([entry for entry, item in zip(records(silent), silent, strict=True) if not isinstance(item, str)])
    known = set(whole.state.ids) - {""}
    assert known == set(never.state.ids)
    assert (whole.newest, whole.state.closed) == (never.newest, never.state.closed)
    for customer in known:
        np.testing.assert_array_equal(described(whole, customer), described(never, customer))
    assert all("" not in crossing.ids for crossing in crossed)
    erased_rows = [row for row, customer in enumerate(whole.state.ids) if not customer]
    assert len(whole.state.live_rows(np.arange(len(whole.state.ids)))) == len(whole.state.ids) - len(erased_rows)


def described(engine: Engine, customer: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return describe(
        engine.state, engine.state.rows_of(pa.array([customer], pa.utf8())), engine.newest or 0, minor_units=100
    )


def test_pending_snapshots_get_a_withdrawn_label_at_the_row_of_the_customer() -> None:
    log = records([Event("a", 0), Event("b", 1_000), Tick(DAY_MS + 3_600_000), Event("a", 2 * DAY_MS), "b"])
    engine, _ = run(log[:-1])
    batch = Decoder(SETTINGS).decode(log)
    erased = next(engine.erase(part) for _, part in batch.parts() if part is not None)
    assert erased is not None
    assert (erased.row, erased.places) == (1, [1])
    _, crossed = run([record(5, Tick(20 * DAY_MS))], engine=engine)
    labels = {
        label.target: label.labels.tolist()
        for crossing in crossed
        for label in crossing.labels
        if len(label.labels) == 2
    }
    assert labels["churn"] == [0, WITHDRAWN]
    assert labels["purchase"] == [0, WITHDRAWN]
    assert engine.erase(next(part for _, part in batch.parts() if part is not None)) is None, "it is already included"


def test_erasing_an_unknown_customer_leaves_no_trace() -> None:
    engine, _ = run(records([Event("a", 0), "nobody", Event("nobody", 1_000)]))
    assert list(engine.state.ids) == ["a", "nobody"]
    fresh, _ = run(records(["nobody"]))
    assert fresh.offset == 0


def test_checkpoint_holds_nothing_of_an_erased_customer() -> None:
    engine, board, checkpointer = new_partition(SETTINGS, 0)
    topic: dict[str, bytes] = {}

    def save() -> None:
        capture = checkpointer.capture(engine, board)
        assert capture is not None
        topic.update({key: pack(body) for key, body in capture.pieces.items()})
        topic[MANIFEST] = orjson.dumps(capture.manifest)
        shard = capture.pieces["shard/0"]
        assert (b"secret" in shard) == ("secret" in engine.state.ids)

    run(records([Event("secret", 0, "purchase", 9.0), Event("b", 1_000), Tick(DAY_MS + 3_600_000)]), engine=engine)
    save()
    run([erasing(3, "secret")], engine=engine)
    save()
    restored, _, _ = rebuild(SETTINGS, 0, topic)
    assert restored.state.digest() == engine.state.digest()
    assert list(restored.state.ids) == ["", "b"]
    assert {day: rows.tolist() for day, rows in restored.labeller.pending.items()} == {
        day: rows.tolist() for day, rows in engine.labeller.pending.items()
    }
    later = [record(4, Event("secret", 2 * DAY_MS)), record(5, Tick(20 * DAY_MS))]
    run(later, engine=engine)
    run(later, engine=restored)
    assert restored.state.digest() == engine.state.digest()
    assert restored.state.ids.row("secret") == 2, "a returning customer is new"


@pytest.mark.parametrize("key", [None, b"", b"\xff"])
def test_erasure_that_names_no_customer_is_refused(key: bytes | None) -> None:
    wrong = erasing(1, "x")
    wrong.key = key
    batch = Decoder(SETTINGS).decode([record(0, Event("a", 0)), wrong, record(2, Event("b", 0))])
    assert [(dead_letter.record.offset, dead_letter.reason) for dead_letter in batch.refused] == [(1, "bad_erasure")]
    assert batch.erasings == []
    assert len(batch) == 2


def test_block_of_withdrawn_rows_names_no_customer_and_is_read_as_it_was_written() -> None:
    block = Withdraw(2, 20_000, "e1", np.array([19_998, 19_999], np.int32), np.array([7, 0], np.int32))
    decoded = decode(encode(block))
    assert isinstance(decoded, Withdraw)
    assert (decoded.partition, decoded.boundary, decoded.erasure_id) == (2, 20_000, "e1")
    np.testing.assert_array_equal(decoded.snapshots, block.snapshots)
    np.testing.assert_array_equal(decoded.places, block.places)


WORLD = World(partitions=2, days=8, rows=10)
ROW = 7
"""In the second chunk of each snapshot."""
ERASED_DAY = FIRST_DAY + 5
"""Boundary before which partition 1 forgets the customer of that row."""


def erased_world(number: int) -> Iterator[Block]:
    """The blocks of a partition; those of partition 1 with an erasure among them."""
    erased_yet = False
    for block in WORLD.partition(number):
        if number == 1 and block.boundary == ERASED_DAY and not erased_yet:
            erased_yet = True
            waiting = np.arange(ERASED_DAY - WORLD.churn_horizon, ERASED_DAY, dtype=np.int32)
            yield Withdraw(1, ERASED_DAY, "e1", waiting, np.full(len(waiting), ROW, np.int32))
        if number == 1 and isinstance(block, Labels) and block.boundary >= ERASED_DAY > block.snapshot_boundary:
            labels = block.labels.copy()
            labels[ROW] = WITHDRAWN
            others = [f"c1-{row}" for row in range(WORLD.rows) if row != ROW]
            yield replace(block, labels=labels, customers=customers_digest(others))
        else:
            yield block


def fold(*, restart: bool = False) -> tuple[Learner, dict[str, int]]:
    settings = configured(WORLD)
    learner, checkpointer, topic = Learner(settings), LearnerCheckpointer(settings), dict[str, bytes]()
    withdrawn: dict[str, int] = {}
    for number in range(2):
        for offset, block in enumerate(erased_world(number)):
            learner.add(block, offset)
    while (step := learner.advance()) is not None:
        withdrawn |= step.withdrawn
        assert not step.refused
        if step.boundary == ERASED_DAY:
            for chunk in learner.pending:
                if chunk.snapshot.partition == 1 and chunk.snapshot.chunk == 1 and chunk.snapshot.boundary < ERASED_DAY:
                    assert chunk.snapshot.customer_ids[ROW - 5].as_py() == ""
                    assert not chunk.snapshot.features[ROW - 5].any()
                    assert not chunk.logits["churn"][:, ROW - 5].any()
            if restart:
                held = restarted(learner, settings, topic, checkpointer)
                assert held.digest() == learner.digest()
                bodies = [
                    chunk.snapshot.customer_ids.to_pylist()
                    for chunk in held.pending
                    if chunk.snapshot.boundary < ERASED_DAY
                ]
                assert all("c1-7" not in ids for ids in bodies)
    return learner, withdrawn


def test_learner_drops_pending_rows_and_continues_as_it_would_have() -> None:
    learner, withdrawn = fold(restart=True)
    assert withdrawn == {"e1": WORLD.churn_horizon}
    assert learner.digest() == fold()[0].digest()
    assert set(learner.targets) == set(TARGETS)
