"""The best that can be said of customers from what shows: a Bayesian filter that knows the world's law, and no traits.

The oracle is told how often a customer would come, how easily they tire and how tired they are. None of that is ever
sent. The observer knows the law by which customers are drawn and behave, sees what they do, and weighs a cloud of
possible customers behind each real one: a particle filter (Gordon, Salmond and Smith, "Novel approach to
nonlinear/non-Gaussian Bayesian state estimation", IEE Proceedings F 140, 1993), whose traits are drawn anew around
those that survive by the shrinking kernel of Liu and West ("Combined parameter and state estimation in
simulation-based filtering", 2001). With ever more particles its probability becomes P(silence | all that the customer
did), which no score made from activity outranks; with few it errs, so its accuracy is the least that can be reached.

It is told one thing that events do not show at once: who was a customer before the first day.
"""

import numpy as np
import numpy.typing as npt
from scipy.special import xlogy

from producers.simulator import behaviour, hazard
from producers.simulator.behaviour import CART, PURCHASE, SESSION, SUPPORT, VIEW
from producers.simulator.population import Floats, Ints, SimulatedCustomers, draw_customers
from producers.simulator.world import Day, World

KEPT = 0.98
"""How far traits stay their own when particles are drawn anew; the rest of their spread comes from a kernel."""
POOR = 0.5
"""Particles are drawn anew when fewer than this share of them count."""
BOUNDS = {
    "visit_rate": (0.03, 2.0),
    "visit_shape": (1.0, 2.0),
    "need_days": (3.0, 120.0),
    "frailty": (-6.0, 6.0),
    "touchiness": (0.002, 0.1),
    "price_sensitivity": (0.001, 0.999),
}
"""Traits that are guessed, and between what."""
LOGGED = ("visit_rate", "need_days", "touchiness")


class Observer:
    """Follows the customers of a world by what they do.

    Parameters
    ----------
    world
        Whose law is known: rates, shifts.
    particles
        Possible customers behind each.
    one_in
        Only customers whose number this divides are followed.
    """

    def __init__(self, world: World, *, particles: int = 200, one_in: int = 1) -> None:
        self.world = world
        self.particles = particles
        self._one_in = one_in
        self._rng = np.random.default_rng([world.seed, world.first_day, particles])
        self._numbers: Ints = np.empty(0, np.int64)
        self._cloud = self._draw(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int64), world.first_day)
        self._weights: Floats = np.empty((0, particles))
        """Logarithms, of any scale within a customer."""

    def see(self, day: Day) -> None:
        """Take in all that was done on the coming day, and who did nothing."""
        self._meet(day)
        size, world, since = len(self._numbers), self.world, day.day - self.world.first_day
        cloud = self._cloud
        leave = hazard.leave_probability(cloud, cloud.fatigue, day.day, world.shifts.hazard(cloud, since))
        arriving = np.isinf(cloud.visit_age)
        leave[arriving] = 0.0
        factor = world.shifts.visits(cloud, since)
        step = hazard.operational_day(cloud, cloud.fatigue, hazard.weekday_factor(day.day), factor)
        visit = hazard.visit_probability(cloud, cloud.visit_age, step)
        there = cloud.belief * (1.0 - leave)
        silent = 1.0 - there * visit

        done = self._counts(day)
        came = done[SESSION] > 0
        rows = np.repeat(came, self.particles)
        chance = np.where(rows, there * visit, silent)
        self._weights += np.log(np.maximum(chance, 1e-300)).reshape(size, self.particles)
        cloud.belief = np.where(rows, 1.0, there * (1.0 - visit) / np.maximum(silent, 1e-300))
        cloud.visit_age = np.where(rows, 0.0, np.where(arriving, np.inf, cloud.visit_age + step))
        cloud.last_seen = np.where(rows, day.day, cloud.last_seen)
        upset = self._judge(np.flatnonzero(came), done[:, came], since)
        cloud.fatigue = hazard.drifted(cloud.fatigue)
        cloud.fatigue[upset] = hazard.disappointed(self._rng, cloud.fatigue[upset])
        cloud.need_age = np.where(
            np.repeat(done[PURCHASE] > 0, self.particles), 0.0, cloud.need_age + 1 / cloud.need_days
        )
        self._renew()

    def silence(self, numbers: Ints, day: int, horizon: int) -> Floats:
        """Return P(no event in the horizon that begins with `day` | all that was seen) of customers, shape (n,)."""
        place = np.searchsorted(self._numbers, numbers)
        rows = (place[:, None] * self.particles + np.arange(self.particles)).ravel()
        cloud = self._cloud.kept(rows)
        silent, _ = hazard.silence(cloud, day, horizon, self.world.shifts, first_day=self.world.first_day)
        said = (1.0 - cloud.belief * (1.0 - silent)).reshape(len(numbers), self.particles)
        weights = _normed(self._weights[place])
        return np.asarray((said * weights).sum(axis=1))

    def follows(self, numbers: Ints) -> npt.NDArray[np.bool_]:
        """Tell who is followed."""
        return np.asarray(numbers % self._one_in == 0)

    def _meet(self, day: Day) -> None:
        """Take in those who are new."""
        known = self._numbers[-1] if len(self._numbers) else -1
        new = self.follows(day.customers.number) & (day.customers.number > known)
        seen = day.customers.kept(new)
        self._numbers = np.concatenate([self._numbers, seen.number])
        self._cloud = self._cloud.joined_by(self._draw(seen.number, seen.channel, seen.country, day.day))
        self._weights = np.concatenate([self._weights, np.zeros((len(seen), self.particles))])

    def _draw(self, numbers: Ints, channels: Ints, countries: Ints, day: int) -> SimulatedCustomers:
        many = self.particles
        drawn = draw_customers(
            self._rng,
            len(numbers) * many,
            first_number=0,
            day=day,
            newcomers=day > self.world.first_day,
            rate=self.world.rate,
            channels=np.repeat(channels, many),
        )
        drawn.number, drawn.country = np.repeat(numbers, many), np.repeat(countries, many)
        return drawn

    def _counts(self, day: Day) -> Ints:
        """Return how often each customer did what, shape (kinds + 1, customers); last, purchases with a discount."""
        place = np.full(len(day.customers), -1)
        followed = self.follows(day.customers.number)
        place[followed] = np.searchsorted(self._numbers, day.customers.number[followed])
        found = np.zeros((len(behaviour.TYPES) + 1, len(self._numbers)), np.int64)
        where = place[day.events.row]
        np.add.at(found, (day.events.kind[where >= 0], where[where >= 0]), 1)
        cheap = (where >= 0) & (day.events.discount > 0)  # NaN where nothing was bought
        np.add.at(found[-1], where[cheap], 1)
        return found

    def _judge(self, came: Ints, done: Ints, since: int) -> Ints:
        """Weigh the particles of those who came by what they did; return the particles whom the visit disappointed."""
        rows = (came[:, None] * self.particles + np.arange(self.particles)).ravel()
        cloud = self._cloud.kept(rows)
        many = np.repeat(done, self.particles, axis=1)
        bought, fatigue = many[PURCHASE], cloud.fatigue
        buys = behaviour.purchase_probability(cloud.need_age, fatigue)
        carts = behaviour.cart_probability(fatigue)
        told = xlogy(bought, buys) + xlogy(1 - bought, 1 - buys)
        told += _poisson(many[SESSION] - 1, behaviour.more_sessions(fatigue))
        told += _poisson(many[VIEW] - bought, behaviour.views_of_session(fatigue) * many[SESSION])
        told += xlogy(many[CART] - bought, carts) + xlogy(many[VIEW] - many[CART], 1 - carts)
        cheap = behaviour.discount_probability(cloud.price_sensitivity)
        told += xlogy(many[-1], cheap) + xlogy(bought - many[-1], 1 - cheap)
        upset = np.clip(cloud.touchiness * self.world.shifts.disappointment(cloud, since), 0.0, 1.0)
        idle = behaviour.idle_complaint(fatigue)
        complained = many[SUPPORT] > 0
        if_upset = upset * np.where(complained, behaviour.COMPLAINT, 1 - behaviour.COMPLAINT)
        if_not = (1 - upset) * np.where(complained, idle, 1 - idle)
        told += np.log(if_upset + if_not)
        self._weights[came] += told.reshape(len(came), self.particles)
        return rows[self._rng.random(len(rows)) < if_upset / (if_upset + if_not)]

    def _renew(self) -> None:
        """Draw the particles anew of those of whom few count, traits a little moved."""
        weights = _normed(self._weights)
        poor = np.flatnonzero(1 / (weights**2).sum(axis=1) < POOR * self.particles)
        if not len(poor):
            return
        weights = weights[poor]
        # Systematic resampling: one random number a customer.
        marks = (self._rng.random((len(poor), 1)) + np.arange(self.particles)) / self.particles
        chosen = np.stack([np.searchsorted(np.cumsum(w), m) for w, m in zip(weights, marks, strict=True)])
        chosen = np.minimum(chosen, self.particles - 1)
        rows = (poor[:, None] * self.particles + np.arange(self.particles)).ravel()
        drawn = self._cloud.kept((poor[:, None] * self.particles + chosen).ravel())
        for name, (low, high) in BOUNDS.items():
            before = _straight(name, getattr(self._cloud, name)[rows]).reshape(len(poor), -1)
            centre = (weights * before).sum(axis=1, keepdims=True)
            spread = np.sqrt((weights * (before - centre) ** 2).sum(axis=1, keepdims=True))
            mine = _straight(name, getattr(drawn, name)).reshape(len(poor), -1)
            moved = KEPT * mine + (1 - KEPT) * centre
            moved += np.sqrt(1 - KEPT**2) * spread * self._rng.standard_normal(mine.shape)
            back = np.exp(moved) if name in LOGGED else moved
            getattr(self._cloud, name)[rows] = np.clip(back, low, high).ravel()
        for name in ("fatigue", "visit_age", "need_age", "joined", "belief"):
            getattr(self._cloud, name)[rows] = getattr(drawn, name)
        self._weights[poor] = 0.0


def _straight(name: str, values: Floats) -> Floats:
    return np.log(values) if name in LOGGED else values


def _normed(weights: Floats) -> Floats:
    risen = np.exp(weights - weights.max(axis=1, keepdims=True))
    return np.asarray(risen / risen.sum(axis=1, keepdims=True))


def _poisson(count: Ints, rate: Floats) -> Floats:
    """Return the logarithm of the chance of a count, but for what depends on the count alone."""
    return np.asarray(xlogy(count, rate) - rate)
