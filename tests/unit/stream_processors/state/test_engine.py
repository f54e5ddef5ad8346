"""The stream engine against a linear re-computation, over random event sequences."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebb.contracts.features import INDEX, NAMES
from ebb.settings import Settings
from stream_processors.ingest.decoder import Decoder
from stream_processors.state.engine import Engine
from stream_processors.state.features import describe
from stream_processors.state.labelling import BoundaryResult
from tests.support.activity import DAY_MS, START, Event, Log, Tick
from tests.support.oracle import Oracle
from tests.support.oracle import describe as describe_slowly

HOUR_MS = 3_600_000
SETTINGS = Settings(allowed_lateness_seconds=3_600)

DISORDER_MS = 3 * HOUR_MS
# Drawn from for each event. A strategy is made once, since making and checking one takes longer than drawing from it.
BEGINS = st.integers(0, DAY_MS)
SIZES = st.integers(1, 60)
STEPS = st.one_of(st.integers(0, 2 * HOUR_MS), st.integers(0, 45 * DAY_MS // 8))
DELAYS = st.one_of(st.just(0), st.integers(0, DISORDER_MS))
CUSTOMERS = st.integers(0, 5)
KINDS = st.sampled_from(["view", "login", "add_to_cart", "purchase", "support", "other thing", "cancel"])
AMOUNTS = st.one_of(st.none(), st.integers(-500, 9_999).map(lambda cents: cents / 100))
DISCOUNTS = st.one_of(st.none(), st.just(1.5))
COUNTRIES = st.sampled_from([None, "NL", "DE"])
ONE_IN_TEN, ONE_IN_FIFTEEN = (st.integers(0, last).map(lambda number: number == 0) for last in (9, 14))


@st.composite
def logs(draw: st.DrawFn) -> list[Event | Tick]:
    """Draw a log whose time advances by jumps, some of many days, with disorder, repeats and ticks."""
    items: list[Event | Tick] = []
    clock = draw(BEGINS)
    for number in range(draw(SIZES)):
        clock += draw(STEPS)
        at = max(clock - draw(DELAYS), 0)
        if draw(ONE_IN_TEN):
            items.append(Tick(clock // 1000 * 1000))
            continue
        repeat = number > 3 and draw(ONE_IN_FIFTEEN)
        items.append(
            Event(
                customer=f"c{draw(CUSTOMERS)}",
                at=at,
                kind=draw(KINDS),
                amount=draw(AMOUNTS),
                discount=draw(DISCOUNTS),
                country=draw(COUNTRIES),
                id=f"repeated{number % 2}" if repeat else None,
            )
        )
    return items


LOGS = logs()


def disordered(seed: int) -> list[Event | Tick]:
    """Make a log of some months in which every third event comes days or weeks late, as from phones and nightly files.

    Customers are often silent for longer than the horizon, so that late events contradict labels.
    """
    chance = random.Random(seed)  # noqa: S311 - events, not secrets
    items: list[Event | Tick] = []
    clock = chance.randrange(DAY_MS) + 40 * DAY_MS
    for _ in range(chance.randrange(20, 120)):
        clock += chance.choice((0, HOUR_MS, 9 * HOUR_MS, chance.randrange(4 * DAY_MS)))
        if chance.random() < 0.1:
            items.append(Tick(clock // 1000 * 1000))
            continue
        late = chance.choice((0, 0, 0, 0, HOUR_MS, 30 * HOUR_MS, chance.randrange(20 * DAY_MS), 32 * DAY_MS))
        kind = chance.choice(("view", "login", "add_to_cart", "purchase", "purchase", "support", "cancel"))
        amount = chance.choice((None, chance.randrange(-500, 9_999) / 100))
        customer = f"c{int(6 * chance.random() ** 2)}"
        country = chance.choice((None, None, "NL", "DE"))
        items.append(Event(customer, clock - late, kind, amount, chance.choice((None, 1.5)), country=country))
    return items


class Counts(NamedTuple):
    """Events that came late or twice, and labels that late ones contradict."""

    late: int = 0
    duplicates: int = 0
    delayed: int = 0
    contradicted: int = 0


def run(
    items: Sequence[Event | Tick], cuts: Sequence[int] = (), *, delay: int = 0
) -> tuple[Engine, list[BoundaryResult], Counts]:
    """Process items as `run_log` does."""
    return run_log(Log.of(items), cuts, delay=delay)


def run_log(log: Log, cuts: Sequence[int] = (), *, delay: int = 0) -> tuple[Engine, list[BoundaryResult], Counts]:
    """Process a log cut into polls, with labels that wait `delay` days; return engine, boundaries, and counts."""
    configuration = SETTINGS.model_copy(update={"label_delay_days": delay})
    engine, decoder = Engine(0, configuration), Decoder(configuration)
    boundaries: list[BoundaryResult] = []
    counts = Counts()
    for poll in log.cut(cuts):
        effects = engine.process(decoder.decode(poll))
        boundaries.extend(effects.boundaries)
        now = Counts(int(effects.late.sum()), effects.duplicates, effects.delayed, effects.contradicted)
        counts = Counts(*map(sum, zip(counts, now, strict=True)))
    return engine, boundaries, counts


@settings(max_examples=60)
@given(st.one_of(LOGS, st.integers(0, 2**32).map(disordered)), st.lists(st.integers(0, 120), max_size=8))
def test_state_is_the_same_however_batches_cut_the_log(items: list[Event | Tick], cuts: list[int]) -> None:
    log = Log.of(items)
    whole, whole_crossings, whole_counts = run_log(log)
    cut, cut_crossings, cut_counts = run_log(log, [min(index, len(items)) for index in cuts])
    assert cut_counts == whole_counts
    assert cut.state.digest() == whole.state.digest()
    assert [crossing.boundary for crossing in cut_crossings] == [crossing.boundary for crossing in whole_crossings]
    for result, expected in zip(cut_crossings, whole_crossings, strict=True):
        assert result.ids == expected.ids
        assert result.countries == expected.countries
        np.testing.assert_array_equal(result.features, expected.features)


@settings(max_examples=60)
@given(st.one_of(LOGS, st.integers(0, 2**32).map(disordered)), st.sampled_from([0, 0, 1, 3, 5]))
def test_features_labels_and_counts_equal_a_linear_recomputation(items: list[Event | Tick], delay: int) -> None:
    oracle = Oracle(delay=delay).run(items)
    engine, boundaries, counts = run(items, delay=delay)
    assert counts == (oracle.late, oracle.duplicates, oracle.delayed, oracle.contradicted)

    snapshots = {crossing.boundary - START: crossing for crossing in boundaries if len(crossing.rows)}
    assert {boundary: crossing.ids for boundary, crossing in snapshots.items()} == oracle.snapshots
    labels = {
        (block.target, block.snapshot_boundary - START): block.labels.tolist()
        for crossing in boundaries
        for block in crossing.labels
    }
    assert labels == oracle.labels
    for boundary, crossing in snapshots.items():
        now = boundary * DAY_MS
        for customer, vector in zip(crossing.ids, crossing.features, strict=True):
            known = oracle.events[: oracle.known[boundary]]
            before = [event for event in known if event.customer == customer and event.at < now]
            _same(vector, describe_slowly(before, now))

    if engine.newest is None or not engine.state.ids:
        return
    for later in (0, 5 * HOUR_MS, 3 * DAY_MS):  # a sweep may look at any moment from the newest event on
        now = engine.newest - START * DAY_MS + later
        rows = np.arange(len(engine.state))
        matrix = describe(engine.state, rows, engine.newest + later, minor_units=100)
        for customer, vector in zip(engine.state.ids, matrix, strict=True):
            _same(vector, oracle.features(customer, now))


def _same(vector: np.ndarray, expected: dict[str, float]) -> None:
    assert set(expected) == set(NAMES)
    right = np.array([expected[name] for name in NAMES])
    mine = vector[[INDEX[name] for name in NAMES]].astype(np.float64)
    # As pytest.approx(rel=2e-5, abs=2e-4) does, for all features at once: it is called a hundred thousand times.
    off = ~(np.abs(mine - right) <= np.maximum(2e-5 * np.abs(right), 2e-4))
    assert not off.any(), {NAMES[place]: (mine[place], right[place]) for place in np.flatnonzero(off)}


@settings(max_examples=60)
@given(st.data())
def test_order_within_the_lateness_changes_nothing(data: st.DataObject) -> None:
    events = sorted((item for item in data.draw(LOGS) if isinstance(item, Event)), key=lambda event: event.at)
    named = [
        Event(event.customer, event.at, event.kind, event.amount, event.discount, f"n{number}")
        for number, event in enumerate(events)
    ]
    # Each event is delayed by less than the lateness: sorting by (time + delay) gives such an order.
    delays = data.draw(st.lists(st.integers(0, HOUR_MS), min_size=len(named), max_size=len(named)))
    shuffled = [
        event
        for _, _, event in sorted((e.at + delay, n, e) for n, (e, delay) in enumerate(zip(named, delays)))  # noqa: B905
    ]
    end = [Tick(((named[-1].at if named else 0) // DAY_MS + 30) * DAY_MS)]
    _, ordered, counts = run([*named, *end])
    _, disordered, others = run([*shuffled, *end])
    assert counts == others == Counts()

    def features_by_day(boundaries: list[BoundaryResult]) -> dict[int, dict[str, bytes]]:
        return {
            crossing.boundary: dict(zip(crossing.ids, (row.tobytes() for row in crossing.features), strict=True))
            for crossing in boundaries
            if len(crossing.rows)
        }

    # A disordered first event may open an earlier or a later first day; nothing was there to snapshot before it.
    assert features_by_day(ordered) == features_by_day(disordered)


def test_a_repeated_delivery_changes_nothing() -> None:
    items = [Event("a", hour * HOUR_MS, id=f"x{hour}") for hour in range(60)]
    engine, decoder = Engine(0, SETTINGS), Decoder(SETTINGS)
    polls = Log.of(items).cut([10, 30, 45])
    for poll in polls:
        engine.process(decoder.decode(poll))
    before = engine.state.digest()
    for poll in polls[1:]:
        effects = engine.process(decoder.decode(poll))
        assert not effects.accepted.any()
        assert effects.duplicates == 0
    assert engine.state.digest() == before


def test_an_event_after_a_year_of_silence_is_counted_in_a_clean_window() -> None:
    items: list[Event | Tick] = [
        Event("a", 0, "purchase", 5.0),
        Event("a", 400 * DAY_MS, "view"),
        Tick(401 * DAY_MS + HOUR_MS),
    ]
    engine, boundaries, _ = run(items)
    assert engine.newest is not None
    (vector,) = describe(engine.state, np.array([0]), engine.newest, minor_units=100)
    assert vector[INDEX["events_30d"]] == 1
    assert vector[INDEX["purchases_30d"]] == 0
    assert vector[INDEX["spend_total"]] == 5.0
    # Boundaries are closed while a customer is in the look-back or a label is pending, and again from the new event on.
    assert len(boundaries) < 100


def test_one_fast_clock_makes_nobody_late() -> None:
    # Each record was appended when it occurred, but for one whose clock is 23 hours ahead.
    items = [Event(f"c{n % 20}", n * HOUR_MS // 10, id=f"n{n}") for n in range(800)]
    items[100] = Event("fast", 10 * HOUR_MS + 23 * HOUR_MS)
    records = [
        replace(one, timestamp=START * DAY_MS + n * HOUR_MS // 10) for n, one in enumerate(Log.of(items).records)
    ]
    engine, decoder = Engine(0, SETTINGS), Decoder(SETTINGS)
    effects = engine.process(decoder.decode(records))
    assert not effects.late.any()
    assert effects.delayed == 0
    assert engine.state.table["counts"].sum() == len(items)


def test_events_that_come_hours_late_have_scores_like_all_others() -> None:
    # A phone that was offline: its first events come when the watermark is past them.
    late = [Event(f"new{n}", n * HOUR_MS, id=f"l{n}") for n in range(10)]
    engine, _, counts = run([Event("a", 3 * DAY_MS), *late])
    assert counts == Counts(delayed=10)
    vectors = describe(engine.state, np.arange(11), START * DAY_MS + 3 * DAY_MS, minor_units=100)
    assert vectors[1:, INDEX["events_7d"]].tolist() == [1] * 10


def test_both_classes_of_a_label_mature_at_the_horizon_and_not_before() -> None:
    items: list[Event | Tick] = [Event("stays", 0), Event("leaves", 1), Event("stays", 2 * DAY_MS)]
    items_until: list[Event | Tick] = [*items, Tick(14 * DAY_MS + HOUR_MS)]
    _, boundaries, _ = run(items_until)
    first = START + 1
    assert not [label for c in boundaries for label in c.labels if label.target == "churn"]
    _, boundaries, _ = run([*items, Tick(15 * DAY_MS + HOUR_MS)])
    (labels,) = [label for c in boundaries for label in c.labels if label.target == "churn"]
    assert labels.snapshot_boundary == first
    assert labels.labels.tolist() == [0, 1]


@pytest.mark.parametrize(("late_hours", "label"), [(26, 0), (50, 1)])
def test_an_event_that_comes_while_its_label_waits_is_in_it_and_a_later_one_is_counted(
    late_hours: int, label: int
) -> None:
    # The label of boundary 1 looks at the days 1 to 14. The phone was there on day 14 and sends it hours later.
    visit = 14 * DAY_MS + HOUR_MS
    others: list[Event | Tick] = [Event("other", n * DAY_MS + 2 * HOUR_MS) for n in range(18)]
    items = sorted(
        [(item.at, item) for item in [Event("phone", 0), *others]]
        + [(visit + late_hours * HOUR_MS, Event("phone", visit, id="late"))],
        key=lambda pair: pair[0],
    )
    _, boundaries, counts = run([item for _, item in items], delay=1)
    assert counts.delayed == 1
    found = {
        (block.target, block.snapshot_boundary - START): block.labels.tolist()
        for crossing in boundaries
        for block in crossing.labels
    }
    assert found["churn", 1] == [label, 0]
    assert counts.contradicted == label


@pytest.mark.parametrize(("day", "label"), [(0, 1), (1, 0), (14, 0), (15, 1)])
def test_a_label_looks_at_the_days_of_its_horizon_and_at_no_other(day: int, label: int) -> None:
    # The snapshot of boundary 1 looks at the days 1 to 14. Somebody else moves the time on.
    # Half an hour into its day: at the last boundary it has been counted before the watermark crosses.
    returns = Event("returns", day * DAY_MS + HOUR_MS // 2, id="back")
    items: list[Event | Tick] = sorted(
        [Event("returns", 0), Event("other", 0), returns, *(Event("other", n * DAY_MS + 1) for n in range(1, 17))],
        key=lambda event: event.at,
    )
    _, boundaries, _ = run([*items, Tick(17 * DAY_MS)])
    (block,) = [
        block
        for crossing in boundaries
        for block in crossing.labels
        if block.target == "churn" and block.snapshot_boundary == START + 1
    ]
    assert block.labels.tolist() == [label, 0]


def test_who_cancels_does_not_seem_to_be_active() -> None:
    quiet: list[Event | Tick] = [Event("a", day * DAY_MS) for day in range(5)]
    leaving = [*quiet, Event("a", 9 * DAY_MS, "cancel"), Tick(10 * DAY_MS + HOUR_MS)]
    engine, _, _ = run(leaving)
    other, _, _ = run([*quiet, Tick(10 * DAY_MS + HOUR_MS)])
    now = START * DAY_MS + 10 * DAY_MS + HOUR_MS
    left, silent = (describe(one.state, np.array([0]), now, minor_units=100) for one in (engine, other))
    np.testing.assert_array_equal(left, silent)

    only, _, _ = run([Event("b", DAY_MS, "cancel"), Tick(4 * DAY_MS + HOUR_MS)])
    (vector,) = describe(only.state, np.array([0]), START * DAY_MS + 4 * DAY_MS + HOUR_MS, minor_units=100)
    assert vector[INDEX["recency_days"]] == vector[INDEX["tenure_days"]] > 3
    assert vector[INDEX["events_total"]] == 0


def test_who_has_cancelled_is_in_no_snapshot_until_they_return() -> None:
    by_cancellation = SETTINGS.model_copy(update={"churn_label": "cancel"})
    engine, decoder = Engine(0, by_cancellation), Decoder(by_cancellation)
    items: list[Event | Tick] = [
        Event("stays", 1),
        Event("leaves", 2),
        Event("leaves", 2 * DAY_MS, "cancel"),
        Event("leaves", 7 * DAY_MS, "view"),
        Event("stays", 18 * DAY_MS),
        Tick(25 * DAY_MS),
    ]
    boundaries = engine.process(decoder.decode(Log.of(items).records)).boundaries
    held = {result.boundary - START for result in boundaries if "leaves" in result.ids}
    assert {1, 2} <= held
    assert not held & set(range(3, 8))
    assert 8 in held
    labels = {
        block.snapshot_boundary - START: block.labels.tolist()
        for result in boundaries
        for block in result.labels
        if block.target == "churn"
    }
    assert labels[1] == labels[2] == [0, 1]
    assert labels[3] == [0]
    assert labels[8] == [0, 0]


def test_a_day_does_not_see_events_one_bitmap_length_before() -> None:
    # Day 128 reuses the bit of day 0; the snapshot of boundary 120 covers the days 120 to 133.
    ticks = [Tick(day * DAY_MS) for day in range(1, 140)]
    _, boundaries, _ = run([Event("a", HOUR_MS), *ticks[:114], Event("a", 115 * DAY_MS), *ticks[115:]])
    labels = {
        block.snapshot_boundary - START: block.labels.tolist()
        for crossing in boundaries
        for block in crossing.labels
        if block.target == "churn"
    }
    assert labels[120] == [1]


def test_later_events_do_not_change_a_snapshot() -> None:
    past: list[Event | Tick] = [Event("a", day * DAY_MS + HOUR_MS, "purchase", 3.0) for day in range(20)]
    cut = Tick(20 * DAY_MS + HOUR_MS)
    quiet: list[Event | Tick] = [Tick(30 * DAY_MS)]
    busy: list[Event | Tick] = [Event("a", 20 * DAY_MS + n * HOUR_MS, "cancel") for n in range(2, 40)]
    until = START + 20
    one = [c.features.tobytes() for c in run([*past, cut, *quiet])[1] if c.boundary <= until]
    other = [c.features.tobytes() for c in run([*past, cut, *busy])[1] if c.boundary <= until]
    assert one == other
    assert len(one) == 20


def test_a_day_of_any_size_is_counted_exactly() -> None:
    many: list[Event | Tick] = [Event("a", n, id=f"m{n}") for n in range(66_000)]
    many += [Event("b", 70_000, "purchase", amount=amount) for amount in (5e9, -4e9, 123.45)]
    log = Log.of(many)
    engine, _, _ = run_log(log, cuts=[200, 20_000, 40_000, 60_000, 66_001])
    other, _, _ = run_log(log)
    assert engine.state.digest() == other.state.digest()
    a, b = describe(engine.state, np.array([0, 1]), START * DAY_MS + HOUR_MS, minor_units=100)
    assert a[INDEX["events_1d"]] == a[INDEX["events_total"]] == 66_000
    assert b[INDEX["spend_7d"]] == np.float32(1_000_000_123.45)


def test_too_many_customers_for_a_snapshot_are_sampled_stably() -> None:
    small = Settings(snapshot_limit=10, allowed_lateness_seconds=3_600)
    events = [Event(f"c{n}", n * 1_000) for n in range(100)]

    def sample(order: list[Event], days: int) -> dict[int, set[str]]:
        engine, decoder = Engine(0, small), Decoder(small)
        log = Log.of([*order, Tick(days * DAY_MS + HOUR_MS)])
        boundaries = engine.process(decoder.decode(log.records)).boundaries
        return {crossing.boundary: set(crossing.ids) for crossing in boundaries if crossing.ids}

    forwards = sample(events, 2)
    backwards = sample(list(reversed(events)), 2)
    assert forwards == backwards
    first, second = forwards.values()
    assert len(first) == len(second) == 10
    assert first != second
