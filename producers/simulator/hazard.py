"""The known law of the simulated world: who leaves, who visits, and the probability of silence that follows.

A day goes: those who are there leave with `leave_probability`; those who stay visit with `visit_probability`; a visit
may disappoint. Between visits fatigue moves by `drifted` alone. So on the path on which a customer does nothing, the
state is a known function of time, and the probability of that path is an exact sum (`silence`), not a simulation.
"""

import numpy as np
from scipy.special import gammaincc

from producers.simulator.population import Floats, SimulatedCustomers
from producers.simulator.shifts import Shifts

DAILY_HAZARD = 0.0006
"""Probability of leaving on a day for a contented, long-standing customer of average frailty."""
FATIGUE_WEIGHT = 3.2
"""Log hazard ratio of the fully fatigued against the contented: a factor of 25."""
NEWCOMER_WEIGHT = 1.0
"""Log hazard ratio of a customer's first day; fades with a mean life of NEWCOMER_DAYS."""
NEWCOMER_DAYS = 20.0
VISIT_FATIGUE = 1.7
"""The fully fatigued visit exp(-1.7), or 18 %, as often as the contented."""
TIPPING_POINT = 0.3
"""Fatigue above it grows by itself; below it decays."""
FATIGUE_GROWTH = 0.07
"""Daily rate of logistic growth above the tipping point."""
FATIGUE_DECAY = 0.06
"""Daily share lost below it."""
DISAPPOINTMENT_SHARE = (0.25, 0.6)
"""Share of the way to full fatigue that a disappointment adds, from least to most."""
WEEKDAY = (0.95, 0.90, 0.94, 1.00, 1.10, 1.18, 0.93)
"""Factor on visits, Monday to Sunday; mean 1."""


def weekday_factor(day: int) -> float:
    """Return the factor on visits on a UTC day number (day 0, 1970-01-01, was a Thursday)."""
    return WEEKDAY[(day + 3) % 7]


def leave_probability(customers: SimulatedCustomers, fatigue: Floats, day: int, factor: Floats) -> Floats:
    """Return the probability that those who are there leave on `day`, shape (customers,).

    1 - exp(-hazard), the hazard proportional (Cox) in frailty, fatigue and newness.
    """
    newness = np.exp(-np.maximum(day - customers.joined, 0) / NEWCOMER_DAYS)
    log_ratio = customers.frailty + FATIGUE_WEIGHT * fatigue + NEWCOMER_WEIGHT * newness
    return -np.expm1(-DAILY_HAZARD * factor * np.exp(log_ratio))


def operational_day(customers: SimulatedCustomers, fatigue: Floats, weekday: float, factor: Floats) -> Floats:
    """Return how much operational time a day adds: expected visits at the present engagement."""
    return customers.visit_rate * weekday * factor * np.exp(-VISIT_FATIGUE * fatigue)


def visit_probability(customers: SimulatedCustomers, age: Floats, step: Floats) -> Floats:
    """Return the probability of a visit on a day, given none since operational time `age`.

    A gamma renewal of mean 1 in operational time: 1 - S(age + step) / S(age), S the gamma survival function.
    """
    shape = customers.visit_shape
    before = gammaincc(shape, shape * age)
    after = gammaincc(shape, shape * (age + step))
    # Far in the tail S underflows; there the gamma's hazard has reached its limit, the shape per unit of time.
    tail = before < 1e-280
    ratio = np.where(tail, np.exp(-shape * step), after / np.where(tail, 1.0, before))
    return np.where(np.isinf(age), 1.0, 1.0 - ratio)


def drifted(fatigue: Floats) -> Floats:
    """Return fatigue a day later if nothing happens: it decays below the tipping point and grows above."""
    return np.where(
        fatigue > TIPPING_POINT, fatigue + FATIGUE_GROWTH * fatigue * (1.0 - fatigue), fatigue * (1.0 - FATIGUE_DECAY)
    )


def disappointed(rng: np.random.Generator, fatigue: Floats) -> Floats:
    """Return fatigue after a visit that disappointed: a quarter to three fifths of the way to the full."""
    return fatigue + rng.uniform(*DISAPPOINTMENT_SHARE, len(fatigue)) * (1.0 - fatigue)


def silence(
    customers: SimulatedCustomers, day: int, horizon: int, shifts: Shifts, *, first_day: int
) -> tuple[Floats, Floats]:
    """Return the exact probability of silence over the coming `horizon` days, given the state at the start of `day`.

    Parameters
    ----------
    day, horizon
        UTC day number, and days.
    first_day
        Day number of the simulation's day 0, from which shifts count.

    Returns
    -------
    silent : shape (customers,)
        P(no event in the horizon | still there at the start of `day`).
    leaving : shape (customers,)
        P(leaves in the horizon | still there, no disappointment to come).
    """
    fatigue, age = customers.fatigue, customers.visit_age
    there = np.ones(len(customers))  # P(still there and silent so far)
    gone = np.zeros(len(customers))  # P(left and silent so far)
    staying = np.ones(len(customers))  # P(still there), visits allowed
    for ahead in range(day, day + horizon):
        leave = leave_probability(customers, fatigue, ahead, shifts.hazard(customers, ahead - first_day))
        step = operational_day(customers, fatigue, weekday_factor(ahead), shifts.visits(customers, ahead - first_day))
        gone += there * leave
        there = there * (1.0 - leave) * (1.0 - visit_probability(customers, age, step))
        staying = staying * (1.0 - leave)
        age = age + step
        fatigue = drifted(fatigue)
    return there + gone, 1.0 - staying
