"""The gate of a paced replay on a real broker: it opens when the learner has published, and never waits for ever."""

import time
from collections.abc import Callable
from threading import Timer

import pytest

from ebb.contracts.models import PUBLISHED, PublishedThrough
from ebb.errors import CorruptError, UnavailableError
from ebb.kafka.producer import Publisher
from ebb.settings import Settings
from ebb_cli.replay.pace import LearnerGate
from tests.support.flow import Source

DAY = 15_000


def _say(space: Settings, *boundaries: int) -> None:
    publisher = Publisher(space)
    for boundary in boundaries:
        body = PublishedThrough(boundary=boundary).encode()
        publisher.send(space.topics.models, key=PUBLISHED, value=body, partition=0)
    publisher.flush()


def _gate(space: Settings, *, stopping: Callable[[], bool] = lambda: False, patience: float = 60.0) -> LearnerGate:
    return LearnerGate(space, poll=lambda: None, stopping=stopping, patience=patience)


def test_the_gate_opens_when_the_boundary_or_a_later_one_is_published(space: Settings) -> None:
    _say(space, DAY)
    with _gate(space) as gate:
        assert gate.wait(DAY)
        # A learner that was restarted may say again what it had said.
        later = Timer(0.5, lambda: _say(space, DAY, DAY + 2))
        later.start()
        assert gate.wait(DAY + 1)
        later.join()
        assert gate.wait(DAY + 2)
        assert gate.published == DAY + 2


def test_a_learner_that_never_publishes_ends_the_replay_with_what_to_do(space: Settings) -> None:
    source = Source(space)
    source.event("a", float(DAY * 86_400))
    source.flush()
    _say(space, DAY - 1)
    with _gate(space, patience=1.0) as gate, pytest.raises(UnavailableError) as failure:
        gate.wait(DAY)
    assert "2011-01-26" in failure.value.what
    assert "1 events and 0 blocks are not processed" in failure.value.what
    assert "logs" in failure.value.hint
    assert "--pace none" in failure.value.hint


def test_waiting_ends_when_the_replay_is_stopped_and_the_parts_are_polled_meanwhile(space: Settings) -> None:
    polled: list[float] = []
    gate = LearnerGate(space, poll=lambda: polled.append(time.monotonic()), stopping=lambda: len(polled) >= 3)
    with gate:
        assert not gate.wait(DAY)
    assert len(polled) >= 3


def test_what_the_learner_says_is_read_or_refused() -> None:
    assert PublishedThrough.decode(PublishedThrough(boundary=DAY).encode()).boundary == DAY
    for wrong in (b"", b"{}", b'{"boundary": -1}', b'{"boundary": 1, "more": 2}'):
        with pytest.raises(CorruptError, match="does not say what is published"):
            PublishedThrough.decode(wrong)
