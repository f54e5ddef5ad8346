"""From features by name to the vector that models see, with what is left out filled in."""

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from ebb.features import FEATURES, INDEX, NAMES, WIDTH
from serving.problems import ProblemError

NEEDED = ("recency_days", "tenure_days")
"""What nothing else tells, and what 0 would misstate: somebody who is new and active this very moment."""
_NEVER_NEGATIVE = frozenset(feature.name for feature in FEATURES if feature.unit in {"days", "events"})


def vector(given: Mapping[str, float]) -> tuple[npt.NDArray[np.float32], list[str]]:
    """Return features of shape (1, `features.WIDTH`), and the names of those that were not given.

    What is left out follows from the rest where the catalogue defines it by the rest; the mean gap is then that of
    even gaps between the active days. All else counts as 0.

    Raises
    ------
    ProblemError
        `invalid-request` if a feature is not known, is needed and missing, or is below 0 and cannot be.
    """
    errors = [_error(name, "there is no such feature") for name in given if name not in INDEX]
    errors += [_error(name, "is needed") for name in NEEDED if name not in given]
    errors += [_error(name, "cannot be below 0") for name in given if name in _NEVER_NEGATIVE and given[name] < 0]
    if errors:
        what = "; ".join(f"{one['where']}: {one['message']}" for one in errors)
        raise ProblemError(what, f"The features are {', '.join(NAMES)}.", kind="invalid-request", errors=errors)
    known = {**dict.fromkeys(NAMES, 0.0), **_derived(given), **given}
    row = np.zeros((1, WIDTH), np.float32)
    for name, value in known.items():
        row[0, INDEX[name]] = value
    return row, [name for name in NAMES if name not in given]


def _error(name: str, message: str) -> dict[str, str]:
    return {"where": f"body.features.{name}", "message": message}


def _derived(given: Mapping[str, float]) -> dict[str, float]:
    def of(name: str) -> float:
        return given.get(name, 0.0)

    recency, tenure, days = of("recency_days"), of("tenure_days"), of("active_days_total")
    gap = given.get("gap_mean_days", max(tenure - recency, 0.0) / (days - 1) if days >= 2 else tenure)
    return {
        "purchase_recency_days": tenure,
        "order_value": of("spend_total") / max(of("purchases_total"), 1),
        "gap_mean_days": gap,
        "recency_over_gap": recency / max(gap, 1),
        "trend": math.log((of("events_7d") + 1) / 7 / ((of("events_30d") + 1) / 30)),
        "view_to_cart": of("carts_30d") / (of("views_30d") + 1),
        "cart_to_purchase": of("purchases_30d") / (of("carts_30d") + 1),
    }
