"""Load for benchmarks: events generated beforehand, sent at a fixed rate or as fast as Kafka accepts them."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from ebb.contracts.activity import encode_activity
from producers.activity_producer import ActivityProducer
from producers.simulator.population import CATEGORIES, CHANNELS, COUNTRIES

TYPES = ("view", "session_start", "add_to_cart", "purchase", "support_contact", "wishlist")
SHARES = (0.55, 0.22, 0.12, 0.07, 0.02, 0.02)
"""Typical of a shop; `wishlist` is a type that no mapping names."""
SLICE_SECONDS = 0.005
"""Time span of the events that are sent together: shorter than any latency that is measured."""


@dataclass(frozen=True)
class Offer:
    """Outcome of sending a load."""

    sent: int
    seconds: float
    """From the first event to the last acknowledgement."""
    behind: float
    """Largest delay behind the schedule, seconds; above a few slices the rate was not reached."""


def random_events(
    count: int, *, customers: int, seed: int, begin: float, span_seconds: float
) -> list[tuple[str, bytes]]:
    """Return customer ids and bodies of events at evenly spaced times, in order.

    Parameters
    ----------
    begin, span_seconds
        Unix time of the first event, and how much event time they cover.
    """
    rng = np.random.default_rng(seed)
    numbers = rng.integers(0, customers, count).tolist()
    kinds = rng.choice(len(TYPES), count, p=SHARES).tolist()
    amounts = np.round(rng.lognormal(3.5, 0.6, count), 2).tolist()
    products = rng.integers(0, 1_000_000, count).tolist()
    step = span_seconds / max(count, 1)
    events = []
    for number, (customer, kind, amount, product) in enumerate(zip(numbers, kinds, amounts, products, strict=True)):
        customer_id = f"load-{customer:07d}"
        properties: dict[str, object] = {
            "channel": CHANNELS[customer % len(CHANNELS)],
            "country": COUNTRIES[customer % len(COUNTRIES)],
            "product_id": f"p{product % 5_000}",
            "category": CATEGORIES[product % len(CATEGORIES)],
            "session_id": f"{seed}-{customer}-{number // 50}",
        }
        if TYPES[kind] == "purchase":
            properties |= {"amount": amount, "currency": "EUR"}
        at = datetime.fromtimestamp(begin + number * step, UTC)
        events.append((customer_id, encode_activity(f"{seed}-{number}", customer_id, TYPES[kind], at, properties)))
    return events


def offer(
    producer: ActivityProducer,
    events: Sequence[tuple[str, bytes]],
    *,
    rate: float | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> Offer:
    """Send events.

    Parameters
    ----------
    rate
        Events per second, on a schedule that does not wait for the broker; None: as fast as it accepts them.

    Raises
    ------
    UnavailableError
        If Kafka does not accept them.
    """
    began = time.monotonic()
    behind, index = 0.0, 0
    while index < len(events) and not stopping():
        if rate is None:
            due = min(index + 10_000, len(events))
        else:
            due = min(int((time.monotonic() - began) * rate) + 1, len(events))
            behind = max(behind, time.monotonic() - began - index / rate)
        for customer_id, body in events[index:due]:
            producer.send(customer_id, body)
        index = due
        if rate is not None and index < len(events):
            time.sleep(max(began + index / rate + SLICE_SECONDS - time.monotonic(), 0))
    producer.flush()
    return Offer(index, time.monotonic() - began, behind)
