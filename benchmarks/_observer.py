"""The best prediction from visible activity: a Bayesian filter that knows the world's law, but no traits.

The oracle knows how often a customer would come, how easily they tire and how tired they are; none of that is ever
sent. The observer knows the law by which customers are drawn and behave, sees their events, and weights a cloud of
possible customers for each real one: a particle filter (Gordon, Salmond and Smith, "Novel approach to
nonlinear/non-Gaussian Bayesian state estimation", IEE Proceedings F 140, 1993), whose traits are resampled
around those that survive by the shrinking kernel of Liu and West ("Combined parameter and state estimation in
simulation-based filtering", 2001). With ever more particles its probability converges to P(silence | all events of
the customer), which no score made from activity outranks; with few it errs, so its accuracy is a lower bound of that.

It knows one thing that events do not show at once: who was a customer before the first day.
"""

import numpy as np
import numpy.typing as npt
from scipy.special import xlogy

from producers.simulator import behaviour, hazard
from producers.simulator.behaviour import CART, PURCHASE, SESSION, SUPPORT, VIEW
from producers.simulator.population import Floats, Ints, SimulatedCustomers, draw_customers
from producers.simulator.world import Day, World

KEPT = 0.98
"""Weight of a particle's own traits when particles are resampled; the rest of the spread comes from a kernel."""
POOR = 0.5
"""Particles are resampled when the effective share of them is below this."""
BOUNDS = {
    "visit_rate": (0.03, 2.0),
    "visit_shape": (1.0, 2.0),
    "need_days": (3.0, 120.0),
    "frailty": (-6.0, 6.0),
    "touchiness": (0.002, 0.1),
    "price_sensitivity": (0.001, 0.999),
}
"""Traits that are estimated, with their bounds."""
LOGGED = ("visit_rate", "need_days", "touchiness")


class Observer:
    """Particle filter over the customers of a world.

    Parameters
    ----------
    world
        The world whose law is known: rates, shifts.
    particles
        Particles of each customer.
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
        """Logarithms, up to a constant for each customer."""

    def see(self, day: Day) -> None:
        """Update with the events of the coming day, and with who had none."""
        self._add_new(day)
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
        upset = self._weight_visitors(np.flatnonzero(came), done[:, came], since)
        cloud.fatigue = hazard.drifted(cloud.fatigue)
        cloud.fatigue[upset] = hazard.disappointed(self._rng, cloud.fatigue[upset])
        cloud.need_age = np.where(
            np.repeat(done[PURCHASE] > 0, self.particles), 0.0, cloud.need_age + 1 / cloud.need_days
        )
        self._resample()

    def silence(self, numbers: Ints, day: int, horizon: int) -> Floats:
        """Return P(no event in the horizon that begins with `day` | all events so far) of customers, shape (n,)."""
        index = np.searchsorted(self._numbers, numbers)
        rows = (index[:, None] * self.particles + np.arange(self.particles)).ravel()
        cloud = self._cloud.kept(rows)
        silent, _ = hazard.silence(cloud, day, horizon, self.world.shifts, first_day=self.world.first_day)
        silence = (1.0 - cloud.belief * (1.0 - silent)).reshape(len(numbers), self.particles)
        weights = _normalized(self._weights[index])
        return np.asarray((silence * weights).sum(axis=1))

    def follows(self, numbers: Ints) -> npt.NDArray[np.bool_]:
        """Return which customers are followed."""
        return np.asarray(numbers % self._one_in == 0)

    def _add_new(self, day: Day) -> None:
        """Draw particles for new customers."""
        known = self._numbers[-1] if len(self._numbers) else -1
        new = self.follows(day.customers.number) & (day.customers.number > known)
        seen = day.customers.kept(new)
        self._numbers = np.concatenate([self._numbers, seen.number])
        self._cloud = self._cloud.joined_by(self._draw(seen.number, seen.channel, seen.country, day.day))
        self._weights = np.concatenate([self._weights, np.zeros((len(seen), self.particles))])

    def _draw(self, numbers: Ints, channels: Ints, countries: Ints, day: int) -> SimulatedCustomers:
        repeats = self.particles
        drawn = draw_customers(
            self._rng,
            len(numbers) * repeats,
            first_number=0,
            day=day,
            newcomers=day > self.world.first_day,
            rate=self.world.rate,
            channels=np.repeat(channels, repeats),
        )
        drawn.number, drawn.country = np.repeat(numbers, repeats), np.repeat(countries, repeats)
        return drawn

    def _counts(self, day: Day) -> Ints:
        """Return each customer's events by kind, shape (kinds + 1, customers); the last row is discounted purchases."""
        index = np.full(len(day.customers), -1)
        followed = self.follows(day.customers.number)
        index[followed] = np.searchsorted(self._numbers, day.customers.number[followed])
        counts = np.zeros((len(behaviour.TYPES) + 1, len(self._numbers)), np.int64)
        where = index[day.events.row]
        np.add.at(counts, (day.events.kind[where >= 0], where[where >= 0]), 1)
        cheap = (where >= 0) & (day.events.discount > 0)  # NaN where nothing was bought
        np.add.at(counts[-1], where[cheap], 1)
        return counts

    def _weight_visitors(self, came: Ints, done: Ints, since: int) -> Ints:
        """Weight the particles of visitors by their events; return the particles that the visit disappointed."""
        rows = (came[:, None] * self.particles + np.arange(self.particles)).ravel()
        cloud = self._cloud.kept(rows)
        many = np.repeat(done, self.particles, axis=1)
        bought, fatigue = many[PURCHASE], cloud.fatigue
        buys = behaviour.purchase_probability(cloud.need_age, fatigue)
        carts = behaviour.cart_probability(fatigue)
        log_likelihood = xlogy(bought, buys) + xlogy(1 - bought, 1 - buys)
        log_likelihood += _poisson(many[SESSION] - 1, behaviour.more_sessions(fatigue))
        log_likelihood += _poisson(many[VIEW] - bought, behaviour.views_of_session(fatigue) * many[SESSION])
        log_likelihood += xlogy(many[CART] - bought, carts) + xlogy(many[VIEW] - many[CART], 1 - carts)
        cheap = behaviour.discount_probability(cloud.price_sensitivity)
        log_likelihood += xlogy(many[-1], cheap) + xlogy(bought - many[-1], 1 - cheap)
        upset = np.clip(cloud.touchiness * self.world.shifts.disappointment(cloud, since), 0.0, 1.0)
        idle = behaviour.idle_complaint(fatigue)
        complained = many[SUPPORT] > 0
        if_upset = upset * np.where(complained, behaviour.COMPLAINT, 1 - behaviour.COMPLAINT)
        if_not = (1 - upset) * np.where(complained, idle, 1 - idle)
        log_likelihood += np.log(if_upset + if_not)
        self._weights[came] += log_likelihood.reshape(len(came), self.particles)
        return rows[self._rng.random(len(rows)) < if_upset / (if_upset + if_not)]

    def _resample(self) -> None:
        """Resample the particles of customers with a low effective share, and move their traits a little."""
        weights = _normalized(self._weights)
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
            before = _to_linear(name, getattr(self._cloud, name)[rows]).reshape(len(poor), -1)
            centre = (weights * before).sum(axis=1, keepdims=True)
            spread = np.sqrt((weights * (before - centre) ** 2).sum(axis=1, keepdims=True))
            mine = _to_linear(name, getattr(drawn, name)).reshape(len(poor), -1)
            moved = KEPT * mine + (1 - KEPT) * centre
            moved += np.sqrt(1 - KEPT**2) * spread * self._rng.standard_normal(mine.shape)
            back = np.exp(moved) if name in LOGGED else moved
            getattr(self._cloud, name)[rows] = np.clip(back, low, high).ravel()
        for name in ("fatigue", "visit_age", "need_age", "joined", "belief"):
            getattr(self._cloud, name)[rows] = getattr(drawn, name)
        self._weights[poor] = 0.0


def _to_linear(name: str, values: Floats) -> Floats:
    return np.log(values) if name in LOGGED else values


def _normalized(weights: Floats) -> Floats:
    scaled = np.exp(weights - weights.max(axis=1, keepdims=True))
    return np.asarray(scaled / scaled.sum(axis=1, keepdims=True))


def _poisson(count: Ints, rate: Floats) -> Floats:
    """Return the log-probability of a count, without the term that depends on the count alone."""
    return np.asarray(xlogy(count, rate) - rate)
