"""The events of a day's visitors: sessions, views, carts, purchases, support contacts, as columns."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import gammainc

from producers.simulator.population import CATEGORIES, COUNTRY_UTC_OFFSET, Flags, Floats, Ints, SimulatedCustomers

DAY_MS = 86_400_000
TYPES = ("session_start", "view", "add_to_cart", "purchase", "support_contact")
SESSION, VIEW, CART, PURCHASE, SUPPORT = range(5)
PRODUCTS = 200
"""Products of a category."""
NEED_SHAPE = 2.5
"""Shape of the gamma renewal of needs: purchases keep a rhythm."""
PURCHASE_FATIGUE = 2.6
"""A fully fatigued visitor with a need buys exp(-2.6), or 7 %, as often."""
COMPLAINT = 0.6
"""Share of disappointed visitors who contact support."""
HOURS = np.array(
    [
        1,
        0.6,
        0.4,
        0.3,
        0.3,
        0.6,
        1.4,
        2.6,
        3.6,
        4.2,
        4.6,
        5.2,
        6.0,
        5.4,
        4.6,
        4.4,
        4.6,
        5.4,
        7.0,
        8.6,
        9.2,
        8.0,
        5.4,
        2.8,
    ]
)
"""Share of sessions by local hour: a bump at noon, the peak in the evening."""


@dataclass(frozen=True)
class SimulatedEvents:
    """Events of a day in order of time; all arrays have shape (events,)."""

    row: Ints
    """Row of the customer in the day's `SimulatedCustomers`."""
    kind: Ints
    """Index into `TYPES`."""
    at_ms: Ints
    """Milliseconds since the day began."""
    session: Ints
    """Ordinal of the session in the day."""
    product: Ints
    """Category x PRODUCTS + product, or -1."""
    amount: Floats
    """Of a purchase, else NaN."""
    discount: Floats
    """Money off a purchase, 0 for none, else NaN."""

    def __len__(self) -> int:
        return len(self.row)


def draw_events(
    rng: np.random.Generator, customers: SimulatedCustomers, visitors: Ints, disappointed: Flags
) -> tuple[SimulatedEvents, Ints]:
    """Draw a day's events.

    Parameters
    ----------
    visitors
        Rows of those who visit, shape (visitors,).
    disappointed
        Shape (visitors,): whose visit disappoints; most of them contact support.

    Returns
    -------
    Events
    buyers : array of rows
    """
    fatigue = customers.fatigue[visitors]
    buys = rng.random(len(visitors)) < purchase_probability(customers.need_age[visitors], fatigue)
    sessions = 1 + rng.poisson(more_sessions(fatigue))
    owner = np.repeat(np.arange(len(visitors)), sessions)
    first = np.concatenate([[0], np.cumsum(sessions)[:-1]]) if len(visitors) else np.empty(0, np.int64)
    is_first = np.zeros(len(owner), bool)
    is_first[first] = True
    buying = buys[owner] & is_first
    complaint = np.where(disappointed[owner], COMPLAINT, idle_complaint(fatigue[owner]))
    complains = is_first & (rng.random(len(owner)) < complaint)
    # Buyers view at least one product; fatigued visitors view few.
    views = rng.poisson(views_of_session(fatigue[owner])) + buying
    gap = np.minimum(rng.lognormal(np.log(35_000.0), 0.6, len(owner)), 400_000.0)
    length = gap * (views + 3)
    local = (rng.choice(24, len(owner), p=HOURS / HOURS.sum()) + rng.random(len(owner))) * 3_600_000
    offset = np.asarray(COUNTRY_UTC_OFFSET)[customers.country[visitors[owner]]] * 3_600_000
    start = np.minimum((local - offset) % DAY_MS, DAY_MS - 1 - length)

    seen = np.repeat(np.arange(len(owner)), views)
    step = np.arange(len(seen)) - np.repeat(np.cumsum(views) - views, views) + 1
    product = _products(rng, customers, visitors[owner[seen]])
    viewed = start[seen] + gap[seen] * (step + 0.5 * rng.random(len(seen)))
    carted = rng.random(len(seen)) < cart_probability(fatigue[owner[seen]])
    carted |= buying[seen] & (step == views[seen])  # the last product seen is the one bought

    bought = np.flatnonzero(buying)
    amount, discount = _amounts(rng, customers, visitors[owner[bought]])
    bought_product = product[np.cumsum(views)[bought] - 1]
    complaining = np.flatnonzero(complains)

    session = np.concatenate([np.arange(len(owner)), seen, seen[carted], bought, complaining])
    kind = np.repeat(np.arange(5), [len(owner), len(seen), int(carted.sum()), len(bought), len(complaining)])
    at = np.concatenate(
        [
            start,
            viewed,
            viewed[carted] + 0.3 * gap[seen[carted]],
            start[bought] + gap[bought] * (views[bought] + 1.2),
            start[complaining] + gap[complaining] * (views[complaining] + 1.8),
        ]
    )
    nothing = np.full(len(at), np.nan)
    amounts, discounts, products = nothing.copy(), nothing.copy(), np.full(len(at), -1)
    amounts[kind == PURCHASE], discounts[kind == PURCHASE] = amount, discount
    products[kind == VIEW], products[kind == CART], products[kind == PURCHASE] = (
        product,
        product[carted],
        bought_product,
    )
    at_ms = at.astype(np.int64)
    # Ties fall in the order of the funnel.
    order = np.lexsort((kind, session, at_ms))
    events = SimulatedEvents(
        row=visitors[owner[session]][order],
        kind=kind[order],
        at_ms=at_ms[order],
        session=session[order],
        product=products[order],
        amount=amounts[order],
        discount=discounts[order],
    )
    return events, visitors[buys]


def purchase_probability(need_age: Floats, fatigue: Floats) -> Floats:
    """P(buys on this visit): the need has come back (gamma renewal) and the visitor still cares."""
    due: Floats = gammainc(NEED_SHAPE, NEED_SHAPE * need_age)
    return 0.55 * due * np.exp(-PURCHASE_FATIGUE * fatigue)


def more_sessions(fatigue: Floats) -> Floats:
    """Return the expected sessions of a visit beyond the first."""
    return 0.18 * np.exp(-fatigue)


def views_of_session(fatigue: Floats) -> Floats:
    """Return the expected views of a session, the one that a purchase needs not counted."""
    return 1.9 * np.exp(-0.9 * fatigue)


def cart_probability(fatigue: Floats) -> Floats:
    """P(what is viewed is put into the cart), what is bought aside."""
    return 0.16 * np.exp(-0.5 * fatigue)


def idle_complaint(fatigue: Floats) -> Floats:
    """P(contacts support on a visit that does not disappoint)."""
    return 0.008 + 0.15 * fatigue


def discount_probability(price_sensitivity: Floats) -> Floats:
    """P(a purchase waits for a discount)."""
    return 0.08 + 0.55 * price_sensitivity


def _products(rng: np.random.Generator, customers: SimulatedCustomers, rows: Ints) -> npt.NDArray[np.int64]:
    favourite = customers.category[rows]
    category = np.where(rng.random(len(rows)) < 0.7, favourite, rng.integers(0, len(CATEGORIES), len(rows)))
    # The square makes few products popular and most of them rare.
    return category * PRODUCTS + (PRODUCTS * rng.random(len(rows)) ** 2).astype(np.int64)


def _amounts(rng: np.random.Generator, customers: SimulatedCustomers, rows: Ints) -> tuple[Floats, Floats]:
    gross = customers.order_value[rows] * rng.lognormal(0.0, 0.45, len(rows))
    wants = rng.random(len(rows)) < discount_probability(customers.price_sensitivity[rows])
    share = 0.1 * rng.integers(1, 4, len(rows)).astype(np.float64)
    off: Floats = wants * gross * share
    net: Floats = gross - off
    return net.round(2), off.round(2)
