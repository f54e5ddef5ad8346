"""The customers of the simulated shop: traits that never change, and the state that a day changes.

Columns are numpy arrays, one row a customer. Only the customers' events leave the simulator.
"""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

COUNTRIES = ("DE", "FR", "GB", "US", "PL", "BR", "JP")
COUNTRY_SHARE = (0.24, 0.18, 0.17, 0.16, 0.11, 0.08, 0.06)
COUNTRY_UTC_OFFSET = (1, 1, 0, -6, 1, -3, 9)
"""Hours; shifts the daily rhythm of a country."""
COUNTRY_CURRENCY = ("EUR", "EUR", "GBP", "USD", "PLN", "BRL", "JPY")
CHANNELS = ("web", "app", "store", "email", "marketplace")
CHANNEL_SHARE = (0.36, 0.30, 0.12, 0.12, 0.10)
CATEGORIES = ("shoes", "coats", "home", "books", "beauty", "toys", "sport", "garden")
STORES = tuple(f"store-{number:02d}" for number in range(1, 25))
PAYMENTS = ("card", "invoice", "wallet", "transfer", "gift_card")
PAYMENT_SHARE = (0.46, 0.16, 0.26, 0.08, 0.04)

NEVER = -1
"""Day of customers who have not been seen, or have not left."""


@dataclass
class SimulatedCustomers:
    """One row a customer; all arrays have shape (customers,)."""

    # Traits
    number: Ints
    """In order of arrival; the customer's id is made of it."""
    country: Ints
    channel: Ints
    category: Ints
    """Favourite category."""
    store: Ints
    payment: Ints
    visit_rate: Floats
    """Visits per day of a contented customer."""
    visit_shape: Floats
    """Shape of the gamma renewal of visits: 1 is memoryless, above it visits keep a rhythm."""
    need_days: Floats
    """Mean days between purchases that the customer has need of."""
    order_value: Floats
    """Median amount of a purchase, in the customer's currency."""
    price_sensitivity: Floats
    """In [0, 1]: how much discounts and prices matter."""
    frailty: Floats
    """Log of the customer's own factor on the daily hazard of leaving."""
    touchiness: Floats
    """Probability that a visit disappoints."""
    # State at the start of a day
    fatigue: Floats
    """In [0, 1]: how far the customer has turned away."""
    visit_age: Floats
    """Operational time since the last visit: 1 is the customer's mean gap at the present engagement."""
    need_age: Floats
    """Time since the last purchase in units of `need_days`."""
    joined: Ints
    """Day of the first visit of a newcomer; before the first day for the initial stock."""
    last_seen: Ints
    """Last day with an event, or NEVER."""
    left: Ints
    """Day on which the customer left for good, or NEVER."""
    belief: Floats
    """P(has not left | own traits, everything done until now): the best an observer could infer."""

    def __len__(self) -> int:
        return len(self.number)

    def joined_by(self, others: Self) -> Self:
        """Return these customers with others behind them."""
        return type(self)(*(np.concatenate([getattr(self, f.name), getattr(others, f.name)]) for f in fields(self)))

    def kept(self, chosen: Flags | Ints) -> Self:
        """Return the chosen rows."""
        return type(self)(*(getattr(self, f.name)[chosen] for f in fields(self)))

    def ids(self) -> list[str]:
        """Return the customer ids: opaque, stable, in order of arrival."""
        return [f"c{number:07d}" for number in self.number.tolist()]


def draw_customers(
    rng: np.random.Generator,
    count: int,
    *,
    first_number: int,
    day: int,
    newcomers: bool,
    rate: float = 1.0,
    channels: Ints | None = None,
) -> SimulatedCustomers:
    """Draw new customers.

    Parameters
    ----------
    count
        How many.
    first_number
        Number of the first of them.
    day
        Day on which newcomers arrive, or before which the initial stock was already there.
    newcomers
        Newcomers visit on `day`; the initial stock is in the middle of its rhythm.
    rate
        Factor on the visits of everyone.
    channels
        Their channels if known, shape (count,); else drawn too.
    """
    channel = rng.choice(len(CHANNELS), count, p=CHANNEL_SHARE) if channels is None else channels
    sensitivity = rng.beta(2.0, 2.5, count)
    # The app is opened more often than the shop is visited.
    by_channel = np.array([1.0, 1.5, 0.7, 0.8, 0.75])[channel]
    visit_rate = np.clip(0.20 * by_channel * rng.lognormal(0.0, 0.5, count), 0.03, 2.0) * rate
    need_days = np.clip(rng.lognormal(np.log(16.0), 0.6, count), 3.0, 120.0)
    return SimulatedCustomers(
        number=np.arange(first_number, first_number + count),
        country=rng.choice(len(COUNTRIES), count, p=COUNTRY_SHARE),
        channel=channel,
        category=rng.integers(0, len(CATEGORIES), count),
        store=rng.integers(0, len(STORES), count),
        payment=rng.choice(len(PAYMENTS), count, p=PAYMENT_SHARE),
        visit_rate=visit_rate,
        visit_shape=rng.uniform(1.0, 2.0, count),
        need_days=need_days,
        order_value=rng.lognormal(np.log(38.0), 0.6, count),
        price_sensitivity=sensitivity,
        frailty=rng.normal(0.0, 0.5, count) + 0.8 * (sensitivity - 0.45),
        touchiness=np.clip(rng.lognormal(np.log(0.010), 0.6, count), 0.002, 0.1),
        fatigue=np.zeros(count) if newcomers else rng.beta(0.6, 4.0, count),
        visit_age=np.full(count, np.inf) if newcomers else rng.uniform(0.0, 1.0, count),
        need_age=rng.uniform(0.3, 1.2, count),
        joined=np.full(count, day) if newcomers else day - rng.integers(30, 900, count),
        last_seen=np.full(count, NEVER),
        left=np.full(count, NEVER),
        belief=np.ones(count),
    )
