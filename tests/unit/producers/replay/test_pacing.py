"""A replay waits for its learner at every boundary that may bring a model, and at few others."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import cast

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ebb.clock import DAY, day_of
from ebb.settings import LabelSettings, Settings
from producers.activity_producer import ActivityProducer
from producers.replay.pacing import may_mature
from producers.replay.rows import Row, Rows
from producers.replay.sender import ReplayTally, replay
from stream_processors.ingest.decoder import Decoder
from stream_processors.state.engine import Engine
from tests.support.activity import START, Event, Log, Tick

MS = 86_400_000
days_and_customers = st.lists(st.tuples(st.integers(0, 40), st.sampled_from("abc")), min_size=1, max_size=20)
labels = st.builds(
    lambda horizon, purchase, lookback, every: LabelSettings(
        horizon_days=horizon, purchase_horizon_days=purchase, lookback_days=lookback, snapshot_every_days=every
    ),
    st.integers(1, 12),
    st.integers(1, 9),
    st.integers(1, 15),
    st.integers(1, 4),
)


@settings(max_examples=40)
@given(days_and_customers, labels)
def test_no_label_matures_at_a_boundary_at_which_a_replay_does_not_wait(
    visits: list[tuple[int, str]], defined: LabelSettings
) -> None:
    visits = sorted(visits)
    first, final = START + visits[0][0], START + visits[-1][0] + 1
    space = Settings(allowed_lateness_seconds=0, **defined.model_dump())
    engine, decoder = Engine(0, space), Decoder(space)
    last, offset, waits, matured = first, 0, 0, 0
    for day in range(first, final + 1):
        events = [
            Event(who, (day - START) * MS + n, id=str(n)) for n, (on, who) in enumerate(visits) if START + on == day
        ]
        log = Log.of([Tick((day - START) * MS), *events])
        for record in log.records:
            record.offset, offset = offset, offset + 1
        effects = engine.process(decoder.decode(log.records))
        found = [block for result in effects.boundaries for block in result.labels]
        due = may_mature(day, space, first=first, last=last)
        assert due or not found
        waits, matured = waits + due, matured + bool(found)
        last = day if events else last
    gaps = any(b - a > defined.lookback_days for (a, _), (b, _) in pairwise(visits))
    # Unless everybody falls silent for a look-back, it waits for nothing else.
    assert gaps or waits == matured


@dataclass
class Topic:
    """What a producer sent, in order: `tick 5`, `use 5` (a tick that asks for models), `event 5`."""

    sent: list[tuple[str, int]] = field(default_factory=list)
    flushed: int = 0

    def send(self, customer_id: str, _body: bytes) -> None:
        self.sent.append(("event", int(customer_id)))

    def send_tick(self, event_time: float, *, published: int | None = None) -> None:
        self.sent.append(("tick" if published is None else "use", day_of(event_time)))
        assert published in {None, day_of(event_time)}

    def flush(self) -> None:
        self.flushed = len(self.sent)


@dataclass
class Night:
    """A gate that notes what was sent when it was waited at, and stops the replay at a boundary."""

    topic: Topic
    due: frozenset[int]
    stops_at: int
    waits: list[int] = field(default_factory=list)

    def is_due(self, boundary: int, *, first: int, last: int) -> bool:
        assert first <= last < boundary
        return boundary in self.due

    def wait(self, boundary: int) -> bool:
        assert self.topic.sent[-1] == ("tick", boundary)
        assert self.topic.flushed == len(self.topic.sent)
        self.waits.append(boundary)
        return boundary != self.stops_at


def _send(days: list[int], gate: Night | None, topic: Topic) -> ReplayTally:
    rows = [Row(time=float(day * DAY + number), customer_id=str(day), body=b"") for number, day in enumerate(days)]
    source = cast(Rows, _Rows(rows))
    return replay(source, cast(ActivityProducer, topic), name="log", gate=gate)


class _Rows(list[Row]):
    early: tuple[()] = ()


@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=20).map(sorted),
    st.frozensets(st.integers(1, 30)),
    st.integers(1, 60),
)
def test_no_event_of_a_day_is_sent_before_the_models_of_its_beginning_are_published_and_asked_for(
    days: list[int], due: frozenset[int], stops_at: int
) -> None:
    topic = Topic()
    gate = Night(topic, due, stops_at)
    tally = _send(days, gate, topic)
    reached = [day for day in range(days[0] + 1, days[-1] + 1) if day in due]
    expected = [day for day in reached if stops_at not in reached or day <= stops_at]
    assert gate.waits == expected
    assert tally.stopped == (stops_at in reached)
    used = [day for what, day in topic.sent if what == "use"]
    assert used == [day for day in expected if day != stops_at]
    assert tally.waited == len(used)
    for position, (what, day) in enumerate(topic.sent):
        if what == "use":
            assert topic.sent[position - 1] == ("tick", day)
        if what == "event":
            assert {one for one in expected if one <= day} <= {
                one for kind, one in topic.sent[:position] if kind == "use"
            }
    plain = Topic()
    _send(days, None, plain)
    without = [one for one in topic.sent if one[0] != "use"]
    assert without == (plain.sent[: len(without)] if tally.stopped else plain.sent)
    assert np.all(np.diff([day for _, day in topic.sent]) >= 0)
