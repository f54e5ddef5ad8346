"""Event time over restarts."""

from pathlib import Path

import pytest

from ebb.clock import DAY
from ebb.errors import CorruptError, SettingsError
from ebb.settings import Settings
from ebb_cli.local.event_time import begin, load, path, save

WALL = 1_780_000_000.0


def test_real_time_needs_no_origin_and_writes_nothing(tmp_path: Path) -> None:
    settings = begin(Settings(home=tmp_path), WALL)
    assert settings.clock.at(WALL) == WALL
    save(settings, WALL, clean=True)
    assert load(tmp_path) is None


def test_a_new_compressed_clock_starts_with_the_present_day(tmp_path: Path) -> None:
    settings = begin(Settings(home=tmp_path, day_seconds=2), WALL)
    clock = settings.clock
    assert clock.at(WALL) == WALL // DAY * DAY
    assert clock.at(WALL + 2) == clock.at(WALL) + DAY


def test_event_time_resumes_where_it_stopped(tmp_path: Path) -> None:
    first = begin(Settings(home=tmp_path, day_seconds=2), WALL)
    stopped = first.clock.at(WALL + 100)
    save(first, WALL + 100, clean=True)
    second = begin(Settings(home=tmp_path, day_seconds=2), WALL + 5_000)
    assert second.clock.at(WALL + 5_000) == stopped


def test_after_a_kill_event_time_never_goes_back(tmp_path: Path) -> None:
    first = begin(Settings(home=tmp_path, day_seconds=2), WALL)
    save(first, WALL + 100, clean=False)
    reached = first.clock.at(WALL + 100.99)
    second = begin(Settings(home=tmp_path, day_seconds=2), WALL + 5_000)
    assert second.clock.at(WALL + 5_000) >= reached


def test_a_home_keeps_the_length_of_its_day_unless_another_is_requested(tmp_path: Path) -> None:
    save(begin(Settings(home=tmp_path, day_seconds=2), WALL), WALL + 10, clean=True)
    assert begin(Settings(home=tmp_path), WALL + 20).day_seconds == 2
    changed = begin(Settings(home=tmp_path, day_seconds=10), WALL + 20)
    assert changed.day_seconds == 10
    assert changed.clock.at(WALL + 20) == WALL // DAY * DAY + 5 * DAY


def test_real_time_is_refused_on_data_that_has_run_ahead(tmp_path: Path) -> None:
    save(begin(Settings(home=tmp_path, day_seconds=2), WALL), WALL + 100, clean=True)
    with pytest.raises(SettingsError, match=r"has reached .* real time would run behind it\. .*`ebb reset`"):
        begin(Settings(home=tmp_path, day_seconds=DAY), WALL + 200)
    much_later = WALL + 51 * DAY
    assert begin(Settings(home=tmp_path, day_seconds=DAY), much_later).clock_origin_wall == 0


def test_an_origin_given_explicitly_is_left_alone(tmp_path: Path) -> None:
    explicit = Settings(home=tmp_path, day_seconds=2, clock_origin_wall=5.0, clock_origin_event=7.0)
    assert begin(explicit, WALL) == explicit


@pytest.mark.parametrize("text", ["", "{}", '{"event": "x", "day_seconds": 2, "clean": true}', "[]"])
def test_a_damaged_clock_file_names_the_remedy(tmp_path: Path, text: str) -> None:
    path(tmp_path).write_text(text)
    with pytest.raises(CorruptError, match="`ebb reset`"):
        begin(Settings(home=tmp_path, day_seconds=2), WALL)
