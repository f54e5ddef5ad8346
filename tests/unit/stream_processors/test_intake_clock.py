"""The event time of the whole intake: it goes on between events, is held when nobody sends, and never goes back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebb.settings import Settings
from stream_processors.intake_clock import IntakeClock

HOUR = 3_600
DAY = 86_400
NOON = 19_700 * DAY * 1000
"""An event time, ms."""


def clock(hold_after: float = DAY, speed: float = 1.0) -> IntakeClock:
    return IntakeClock(speed, hold_after)


def test_before_the_first_event_there_is_no_time_however_long_the_process_runs() -> None:
    intake = clock()
    assert intake.now(1e9) is None
    assert not intake.is_held(1e9)
    intake.observe(NOON, 30 * HOUR)
    assert intake.now(30 * HOUR) == NOON


@pytest.mark.parametrize("speed", [1.0, 43_200.0])
def test_time_goes_on_between_events(speed: float) -> None:
    intake = clock(hold_after=0, speed=speed)
    intake.observe(NOON, 100.0)
    assert intake.now(110.0) == NOON + 10_000 * speed


def test_a_late_event_or_a_clock_set_back_do_not_take_time_back() -> None:
    intake = clock()
    intake.observe(NOON, 1_000.0)
    intake.observe(NOON - 6 * HOUR * 1000, 1_060.0)
    assert intake.now(1_060.0) == NOON + 60_000
    assert intake.now(500.0) == NOON + 60_000
    intake.observe(NOON - 1, 500.0)
    assert intake.now(1_060.0) == NOON + 60_000


def test_time_is_held_when_nothing_comes_and_goes_on_with_the_backlog() -> None:
    intake = clock(hold_after=DAY)
    intake.observe(NOON, 0.0)
    assert not intake.is_held(DAY)
    assert intake.is_held(12 * DAY)
    held = NOON + DAY * 1000
    assert intake.now(12 * DAY) == held
    # A tick that was sent before is no sign that events come.
    intake.observe(held, 12 * DAY, has_event=False)
    assert intake.is_held(12 * DAY)

    # The source is back and sends what it had kept, oldest first: as long as that lasts, time is the backlog's.
    intake.observe(NOON + HOUR * 1000, 12 * DAY + 1)
    assert not intake.is_held(12 * DAY + 1)
    assert intake.now(12 * DAY + 2) == held + 1_000
    intake.observe(NOON + 5 * DAY * 1000, 12 * DAY + 3)
    assert intake.now(12 * DAY + 3) == NOON + 5 * DAY * 1000


@pytest.mark.parametrize(("hours", "day_seconds", "seconds"), [(24, 86_400, 86_400), (24, 2, 10), (0, 2, 0)])
def test_time_is_held_after_some_real_seconds_at_least(hours: float, day_seconds: float, seconds: float) -> None:
    assert Settings(hold_after_hours=hours, day_seconds=day_seconds).hold_after == seconds


events = st.lists(
    st.tuples(st.integers(0, 40 * DAY), st.integers(-3 * DAY, 40 * DAY), st.booleans()), min_size=1, max_size=30
)


@given(events, st.sampled_from([0.0, HOUR, DAY]))
def test_time_never_goes_back_nor_beyond_what_events_and_the_clock_allow(
    seen: list[tuple[int, int, bool]], hold_after: float
) -> None:
    # An event's time is at most the time of its append: the decoder takes it back to that.
    intake, before = clock(hold_after), -(2**62)
    for appended, ahead, has_event in sorted(seen):
        intake.observe(min(appended, appended - ahead) * 1000, float(appended), has_event=has_event)
        now = intake.now(float(appended))
        assert now is not None
        assert before <= now <= appended * 1000
        before = now
