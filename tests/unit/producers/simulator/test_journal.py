"""What the simulator remembers over a restart."""

from pathlib import Path

import pytest

from ebb.clock import DAY
from ebb.errors import CorruptError, SettingsError
from ebb.settings import Settings
from producers.simulator.journal import CUSTOMERS, HISTORY_DAYS, Journal, Options
from producers.simulator.shifts import Shift

TODAY = 20_000


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, seed=11)


def test_a_new_world_takes_the_defaults_and_has_a_history(home: Settings) -> None:
    journal = Journal.open(home, Options(), today=TODAY)
    assert journal.world.customers == CUSTOMERS
    assert journal.world.seed == 11
    assert journal.world.first_day == TODAY - HISTORY_DAYS
    assert journal.sent_until < 0


def test_the_same_world_resumes_later_without_options(home: Settings) -> None:
    options = Options(customers=50, rate=2.0, seed=3, history_days=5, shifts=(Shift(9, "price"),))
    begun = Journal.open(home, options, today=TODAY).sent(TODAY * DAY + 5.25)
    again = Journal.open(home, Options(), today=TODAY + 400)
    assert again == begun
    assert again.world.tag == begun.world.tag


def test_namespaces_have_worlds_of_their_own(home: Settings) -> None:
    Journal.open(home, Options(customers=50), today=TODAY).sent(0.0)
    other = home.model_copy(update={"namespace": "other"})
    assert Journal.open(other, Options(customers=70), today=TODAY).world.customers == 70


@pytest.mark.parametrize(
    "options", [Options(customers=60), Options(rate=1.5), Options(seed=12), Options(history_days=61)]
)
def test_requesting_another_world_than_the_home_holds_is_refused(home: Settings, options: Options) -> None:
    Journal.open(home, Options(customers=50), today=TODAY).sent(0.0)
    with pytest.raises(SettingsError, match="ebb reset"):
        Journal.open(home, options, today=TODAY)


def test_requesting_the_same_world_again_is_accepted(home: Settings) -> None:
    options = Options(customers=50, rate=1.0, seed=11, history_days=60, shifts=(Shift(2, "price"),))
    begun = Journal.open(home, options, today=TODAY).sent((TODAY + 1) * DAY)
    assert Journal.open(home, options, today=TODAY + 1) == begun


def test_a_shift_may_be_added_to_the_future_but_not_to_the_past(home: Settings) -> None:
    Journal.open(home, Options(history_days=60), today=TODAY).sent(TODAY * DAY + 100.0)
    later = Journal.open(home, Options(shifts=(Shift(61, "price"),)), today=TODAY)
    assert later.world.shifts.shifts == (Shift(61, "price"),)
    with pytest.raises(SettingsError, match=r"at day 60.*from 61 on"):
        Journal.open(home, Options(shifts=(Shift(60, "price"),)), today=TODAY)


def test_a_damaged_file_is_named_with_the_remedy(home: Settings) -> None:
    (home.home / "simulator.json").write_text('{"seed": 1')
    with pytest.raises(CorruptError, match=r"simulator\.json.*ebb reset"):
        Journal.open(home, Options(), today=TODAY)
