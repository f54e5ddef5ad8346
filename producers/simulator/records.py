"""A simulated day as records of the activity topic: JSON bodies, keys, times."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ebb.clock import DAY
from ebb.contracts.activity import encode_activity
from producers.simulator.behaviour import CART, PRODUCTS, PURCHASE, TYPES, VIEW
from producers.simulator.population import CATEGORIES, CHANNELS, COUNTRIES, COUNTRY_CURRENCY, PAYMENTS, STORES
from producers.simulator.world import Day


@dataclass(frozen=True)
class SimulatedRecord:
    """One event, ready to be sent."""

    time: float
    """Event time, Unix seconds."""
    customer_id: str
    body: bytes


def records(day: Day, tag: str) -> list[SimulatedRecord]:
    """Return the events of a day in order of time.

    Parameters
    ----------
    tag
        Name of the world. The id of an event is tag, day and its place in the day, so that a day that is simulated
        again gives the same ids.
    """
    customers, events = day.customers, day.events
    ids = customers.ids()
    channels = [CHANNELS[i] for i in customers.channel.tolist()]
    countries, payments = customers.country.tolist(), customers.payment.tolist()
    stores = customers.store.tolist()
    start = day.day * DAY
    result = []
    columns = zip(
        events.row.tolist(),
        events.kind.tolist(),
        events.at_ms.tolist(),
        events.session.tolist(),
        events.product.tolist(),
        events.amount.tolist(),
        events.discount.tolist(),
        strict=True,
    )
    for ordinal, (row, kind, at_ms, session, product, amount, discount) in enumerate(columns):
        properties: dict[str, Any] = {
            "channel": channels[row],
            "country": COUNTRIES[countries[row]],
            "session_id": f"{tag}-{day.day}-s{session}",
        }
        if kind in (VIEW, CART, PURCHASE):
            category = CATEGORIES[product // PRODUCTS]
            properties["category"] = category
            properties["product_id"] = f"{category}-{product % PRODUCTS:03d}"
        if kind == PURCHASE:
            properties["amount"] = amount
            properties["currency"] = COUNTRY_CURRENCY[countries[row]]
            properties["payment_method"] = PAYMENTS[payments[row]]
            if discount > 0:
                properties["discount"] = discount
            if channels[row] == "store":
                properties["store"] = STORES[stores[row]]
        time = start + at_ms / 1000
        body = encode_activity(
            f"{tag}-{day.day}-{ordinal}", ids[row], TYPES[kind], datetime.fromtimestamp(time, UTC), properties
        )
        result.append(SimulatedRecord(time, ids[row], body))
    return result
