"""The one catalogue of features: name, meaning, unit, and the group under which a person reads them.

The vector that models see, the rows inserted into ClickHouse and docs/features.md follow from this list; the column of
the table `features` needs a migration. `EventKind` numbers the columns of the day counters. Features are functions of
(customer state, now); `stream_processors.state.features` computes them.
"""

import hashlib
from dataclasses import dataclass
from enum import IntEnum


class EventKind(IntEnum):
    """What an event means to Ebb. `OTHER` still counts as activity."""

    OTHER = 0
    SESSION = 1
    VIEW = 2
    CART = 3
    PURCHASE = 4
    SUPPORT = 5
    CANCEL = 6


KIND_BY_NAME: dict[str, EventKind] = {kind.name.lower(): kind for kind in EventKind}


@dataclass(frozen=True)
class Feature:
    """One number that describes a customer at a moment of event time."""

    name: str
    meaning: str
    unit: str
    group: str


WINDOWS = (1, 7, 30)
"""Days of the rolling windows: that many complete days before now, and today so far."""
HALF_LIVES = (3, 14, 45, 120)
"""Days in which a decayed rate forgets half."""


def _windowed(kind: str, what: str, group: str) -> list[Feature]:
    return [
        Feature(f"{kind}_{days}d", f"{what} in the last {days} days and today", "events", group) for days in WINDOWS
    ]


FEATURES: tuple[Feature, ...] = (
    Feature("recency_days", "time since the last activity", "days", "recency"),
    Feature("tenure_days", "time since the first activity", "days", "tenure"),
    Feature("purchase_recency_days", "time since the last purchase, or tenure if there is none", "days", "purchases"),
    *_windowed("events", "events of any kind", "frequency"),
    *_windowed("sessions", "sessions begun", "frequency"),
    *_windowed("views", "views", "browsing"),
    *_windowed("carts", "additions to the cart", "browsing"),
    *_windowed("purchases", "purchases", "purchases"),
    *_windowed("supports", "support contacts", "support"),
    Feature("spend_7d", "money spent in the last 7 days and today", "money", "spend"),
    Feature("spend_30d", "money spent in the last 30 days and today", "money", "spend"),
    Feature("spend_total", "money spent ever", "money", "spend"),
    Feature("order_value", "mean amount of a purchase", "money", "spend"),
    Feature("events_total", "events of any kind ever", "events", "frequency"),
    Feature("purchases_total", "purchases ever", "events", "purchases"),
    Feature("active_days_total", "days with any activity ever", "days", "frequency"),
    Feature("active_days_7", "days with activity among the last 7 and today", "days", "frequency"),
    Feature("active_days_30", "days with activity among the last 30 and today", "days", "frequency"),
    Feature("active_days_60", "days with activity among the last 60 and today", "days", "frequency"),
    Feature("purchase_days_60", "days with a purchase among the last 60 and today", "days", "purchases"),
    *(
        Feature(f"events_hl{days}", f"events, each halved every {days} days", "events", "frequency")
        for days in HALF_LIVES
    ),
    *(
        Feature(f"active_hl{days}", f"active days, each halved every {days} days", "days", "rhythm")
        for days in HALF_LIVES
    ),
    Feature("gap_mean_days", "mean gap between active days, or tenure if there was one", "days", "rhythm"),
    Feature("gap_std_days", "standard deviation of the gaps between active days", "days", "rhythm"),
    Feature("recency_over_gap", "recency divided by the mean gap", "ratio", "recency"),
    Feature("trend", "log of the 7-day event rate over the 30-day one, each plus one event", "ratio", "frequency"),
    Feature("view_to_cart", "additions to the cart per view, 30 days, smoothed by 1", "ratio", "browsing"),
    Feature("cart_to_purchase", "purchases per addition to the cart, 30 days, smoothed by 1", "ratio", "purchases"),
    Feature("discount_share", "share of purchases that had a discount, smoothed by 1", "ratio", "spend"),
)

NAMES: tuple[str, ...] = tuple(feature.name for feature in FEATURES)
INDEX: dict[str, int] = {name: position for position, name in enumerate(NAMES)}
WIDTH = len(FEATURES)

SCHEMA_HASH = hashlib.sha256("\n".join(f"{f.name}|{f.meaning}|{f.unit}" for f in FEATURES).encode()).hexdigest()[:16]
"""Changes when a feature is added, removed, moved or redefined; stored with every model, block and checkpoint."""

LEAST_TENURE_DAYS = 30.0
"""Spend of a customer known for less is spread over so many days: a first purchase is no daily rate."""
