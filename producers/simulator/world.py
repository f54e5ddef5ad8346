"""The simulated world, a day at a time. Deterministic: the same parameters give the same days, bit for bit.

Every day draws from a generator seeded by (seed, day), so that a restarted simulator steps through the days it has
already sent, without sending them, to the same state.
"""

import hashlib
from dataclasses import dataclass, field

import numpy as np

from producers.simulator import hazard
from producers.simulator.behaviour import SimulatedEvents, draw_events
from producers.simulator.population import NEVER, Floats, Ints, SimulatedCustomers, draw_customers
from producers.simulator.shifts import Shifts

MEMORY_DAYS = 120
"""Customers who left and were last seen longer ago are dropped from the arrays: they are in no look-back."""
ARRIVALS = 0.0019
"""Newcomers per day and initial customer: about as many as leave."""


@dataclass(frozen=True)
class World:
    """The parameters that determine the simulation."""

    seed: int
    customers: int
    first_day: int
    """UTC day number of its first day."""
    rate: float = 1.0
    """Factor on visits."""
    shifts: Shifts = field(default_factory=Shifts)

    @property
    def tag(self) -> str:
        """Short name of this world; begins every event id, so that two worlds never share one."""
        text = f"{self.seed}|{self.customers}|{self.first_day}|{self.rate!r}"
        return hashlib.sha256(text.encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Truth:
    """Ground truth at the start of a day about customers seen in the look-back; arrays of shape (rows,)."""

    day: int
    number: Ints
    present: Ints
    """0 for those who have left, 1 for the others."""
    hazard: Floats
    """Probability of leaving on the day, for one who is there."""
    leaving: Floats
    """Probability of leaving within the horizon, for one who is there and meets no disappointment."""
    silence: Floats
    """P(no event in the horizon | traits, all that the customer did until now): the best any observer can predict."""
    silence_clairvoyant: Floats
    """The same, given whether the customer has already left."""
    last_seen: Ints


@dataclass(frozen=True)
class Day:
    """One day of the world: the customers as they were when it began, and what they did."""

    day: int
    customers: SimulatedCustomers
    events: SimulatedEvents


class Simulation:
    """Steps the world; `day` is the next day number."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.day = world.first_day
        rng = np.random.default_rng([world.seed, world.first_day, 0])
        self._customers = draw_customers(
            rng, world.customers, first_number=0, day=world.first_day, newcomers=False, rate=world.rate
        )
        self._next_number = world.customers

    def truth(self, *, horizon: int, lookback: int) -> Truth:
        """Return the ground truth at the start of the coming day, of customers seen in the last `lookback` days."""
        rows = self._customers.kept(
            (self._customers.last_seen != NEVER) & (self._customers.last_seen >= self.day - lookback)
        )
        shifts, since = self.world.shifts, self.day - self.world.first_day
        silent, leaving = hazard.silence(rows, self.day, horizon, shifts, first_day=self.world.first_day)
        present = rows.left == NEVER
        return Truth(
            day=self.day,
            number=rows.number,
            present=present.astype(np.int64),
            hazard=hazard.leave_probability(rows, rows.fatigue, self.day, shifts.hazard(rows, since)),
            leaving=leaving,
            silence=1.0 - rows.belief * (1.0 - silent),
            silence_clairvoyant=np.where(present, silent, 1.0),
            last_seen=rows.last_seen,
        )

    def step(self) -> Day:
        """Simulate the coming day and move on to the next."""
        world, day = self.world, self.day
        since = day - world.first_day
        rng = np.random.default_rng([world.seed, day, 1])
        self._replace_customers(rng, since)
        customers = self._customers

        leave = hazard.leave_probability(customers, customers.fatigue, day, world.shifts.hazard(customers, since))
        arriving = np.isinf(customers.visit_age)
        leave[arriving] = 0.0  # a first visit is certain
        leaves = (customers.left == NEVER) & (rng.random(len(customers)) < leave)
        left = np.where(leaves, day, customers.left)

        step = hazard.operational_day(
            customers, customers.fatigue, hazard.weekday_factor(day), world.shifts.visits(customers, since)
        )
        visit = hazard.visit_probability(customers, customers.visit_age, step)
        visits = (left == NEVER) & (rng.random(len(customers)) < visit)
        visitors = np.flatnonzero(visits)
        upset = customers.touchiness * world.shifts.disappointment(customers, since)
        disappointed = rng.random(len(visitors)) < upset[visitors]
        events, buyers = draw_events(rng, customers, visitors, disappointed)

        fatigue = hazard.drifted(customers.fatigue)
        struck = visitors[disappointed]
        fatigue[struck] = hazard.disappointed(rng, fatigue[struck])
        need_age = customers.need_age + 1.0 / customers.need_days
        need_age[buyers] = 0.0
        still = customers.belief * (1.0 - leave) * (1.0 - visit)
        absent = 1.0 - customers.belief * (1.0 - leave)
        begun = Day(day, customers, events)
        self._customers = SimulatedCustomers(
            **{
                **vars(customers),
                "left": left,
                "fatigue": fatigue,
                "visit_age": np.where(visits, 0.0, customers.visit_age + step),
                "need_age": need_age,
                "last_seen": np.where(visits, day, customers.last_seen),
                "belief": np.where(visits, 1.0, still / np.maximum(still + absent, 1e-300)),
            }
        )
        self.day += 1
        return begun

    def _replace_customers(self, rng: np.random.Generator, since: int) -> None:
        """Add newcomers and drop customers who left long ago."""
        world = self.world
        old = (self._customers.left != NEVER) & (self._customers.last_seen < self.day - MEMORY_DAYS)
        count = int(rng.poisson(ARRIVALS * world.customers * world.shifts.newcomers(since)))
        newcomers = draw_customers(
            rng, count, first_number=self._next_number, day=self.day, newcomers=True, rate=world.rate
        )
        self._next_number += count
        self._customers = self._customers.kept(~old).joined_by(newcomers)
