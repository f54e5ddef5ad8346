"""The law of the simulated world: exact probabilities and documented shapes."""

from dataclasses import replace

import numpy as np
import pytest

from ebb.errors import SettingsError
from producers.simulator import hazard
from producers.simulator.population import CHANNELS, COUNTRIES, Floats, SimulatedCustomers, draw_customers
from producers.simulator.shifts import KINDS, Shift, Shifts

NO_SHIFTS = Shifts()
TODAY = 20_000


@pytest.fixture
def customers() -> SimulatedCustomers:
    return draw_customers(np.random.default_rng(1), 400, first_number=0, day=TODAY, newcomers=False)


def _simulated_silence(rng: np.random.Generator, customers: SimulatedCustomers, horizon: int, shifts: Shifts) -> Floats:
    """Simulate the horizon once, day by day, without disappointments; 1 for customers without activity."""
    present = np.ones(len(customers), bool)
    silent = np.ones(len(customers), bool)
    fatigue, age = customers.fatigue.copy(), customers.visit_age.copy()
    for ahead in range(horizon):
        day = TODAY + ahead
        leave = hazard.leave_probability(customers, fatigue, day, shifts.hazard(customers, ahead))
        present &= rng.random(len(customers)) >= leave
        step = hazard.operational_day(customers, fatigue, hazard.weekday_factor(day), shifts.visits(customers, ahead))
        visit = present & (rng.random(len(customers)) < hazard.visit_probability(customers, age, step))
        silent &= ~visit
        age = np.where(visit, 0.0, age + step)
        fatigue = hazard.drifted(fatigue)
    return silent.astype(float)


@pytest.mark.parametrize("shifts", [NO_SHIFTS, Shifts((Shift(5, "price"), Shift(3, "holiday")))])
def test_the_probability_of_silence_is_that_of_living_the_horizon(
    customers: SimulatedCustomers, shifts: Shifts
) -> None:
    few = customers.kept(np.arange(40))
    many = few.kept(np.repeat(np.arange(40), 4_000))
    lived = _simulated_silence(np.random.default_rng(2), many, 14, shifts).reshape(40, 4_000).mean(axis=1)
    silent, _ = hazard.silence(few, TODAY, 14, shifts, first_day=TODAY)
    error = np.sqrt(np.maximum(silent * (1 - silent), 1e-4) / 4_000)
    assert np.all(np.abs(lived - silent) < 4.5 * error)


def test_silence_is_certain_for_no_days_and_rarer_for_more(customers: SimulatedCustomers) -> None:
    assert np.all(hazard.silence(customers, TODAY, 0, NO_SHIFTS, first_day=TODAY)[0] == 1.0)
    week, leave_week = hazard.silence(customers, TODAY, 7, NO_SHIFTS, first_day=TODAY)
    month, leave_month = hazard.silence(customers, TODAY, 30, NO_SHIFTS, first_day=TODAY)
    assert np.all(month < week)
    assert np.all(leave_month > leave_week)
    assert np.all((month >= leave_month * 0) & (month <= 1))


def test_visits_keep_a_rhythm_and_stay_probabilities_far_in_the_tail(customers: SimulatedCustomers) -> None:
    step = np.full(len(customers), 0.2)
    early = hazard.visit_probability(customers, np.full(len(customers), 0.05), step)
    due = hazard.visit_probability(customers, np.full(len(customers), 1.5), step)
    rhythmic = customers.visit_shape > 1.3
    assert np.all(due[rhythmic] > early[rhythmic])
    for age in (300.0, 1e4):
        late = hazard.visit_probability(customers, np.full(len(customers), age), step)
        assert np.all(np.isfinite(late))
        assert np.allclose(late, 1 - np.exp(-customers.visit_shape * 0.2), rtol=0.02)
    assert np.all(hazard.visit_probability(customers, np.full(len(customers), np.inf), step) == 1.0)


def test_the_tired_leave_more_and_visit_less(customers: SimulatedCustomers) -> None:
    content, tired = np.zeros(len(customers)), np.full(len(customers), 0.9)
    one = np.ones(len(customers))
    leave = [hazard.leave_probability(customers, fatigue, TODAY, one) for fatigue in (content, tired)]
    assert np.all(leave[1] > 10 * leave[0])
    steps = [hazard.operational_day(customers, fatigue, 1.0, one) for fatigue in (content, tired)]
    assert np.all(steps[1] < 0.3 * steps[0])


def test_newcomers_leave_more_than_those_who_have_stayed(customers: SimulatedCustomers) -> None:
    new = replace(customers, joined=np.full(len(customers), TODAY))
    args = (customers.fatigue, TODAY, np.ones(len(customers)))
    assert np.all(hazard.leave_probability(new, *args) > hazard.leave_probability(customers, *args))


def test_fatigue_heals_below_the_tipping_point_and_feeds_itself_above() -> None:
    low, high = np.array([0.05, 0.29]), np.array([0.31, 0.9])
    assert np.all(hazard.drifted(low) < low)
    assert np.all((hazard.drifted(high) > high) & (hazard.drifted(high) < 1))


def test_weekdays_average_to_one_and_saturday_is_the_best() -> None:
    factors = [hazard.weekday_factor(day) for day in range(7)]
    assert sum(factors) / 7 == pytest.approx(1.0, abs=0.005)
    assert max(range(7), key=factors.__getitem__) == 2  # day 0 was a Thursday


def test_shifts_hold_from_their_day_on_for_their_segment(customers: SimulatedCustomers) -> None:
    shifts = Shifts((Shift(10, "price"), Shift(20, "competitor"), Shift(30, "outage"), Shift(50, "loyalty")))
    assert np.all(shifts.hazard(customers, 9) == 1.0)
    sensitive = customers.price_sensitivity > 0.5
    assert np.array_equal(shifts.hazard(customers, 10) == 2.0, sensitive)
    germans = customers.country == COUNTRIES.index("DE")
    assert np.all(shifts.hazard(customers, 20)[germans] >= 3.0)
    app = customers.channel == CHANNELS.index("app")
    assert np.array_equal(shifts.visits(customers, 36) == 0.5, app)
    assert np.all(shifts.visits(customers, 37) == 1.0)  # over after 7 days
    assert np.array_equal(shifts.disappointment(customers, 30) == 6.0, app)
    assert np.allclose(shifts.hazard(customers, 50), 0.5 * shifts.hazard(customers, 49))


def test_every_kind_of_shift_changes_something(customers: SimulatedCustomers) -> None:
    new = replace(customers, joined=np.full(len(customers), 5))
    for kind in KINDS:
        shifts = Shifts((Shift(5, kind),))
        factors = [shifts.hazard(new, 6), shifts.visits(new, 6), shifts.disappointment(new, 6), shifts.newcomers(6)]
        assert any(np.any(np.asarray(factor) != 1.0) for factor in factors), kind


@pytest.mark.parametrize("text", ["price", "90:", "x:price", "-1:price", "90:magic", ""])
def test_a_malformed_shift_is_refused_with_the_form_and_the_kinds(text: str) -> None:
    with pytest.raises(SettingsError, match=r"day:kind.*competitor"):
        Shift.parse(text)


def test_a_shift_is_read() -> None:
    assert Shift.parse("90:price") == Shift(90, "price")
