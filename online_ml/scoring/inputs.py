"""From raw features to the inputs that linear models see. Learner and scorers share this one function.

A linear model is only as good as its inputs, so the curves are here: logarithms of counts and money and the squares of
the strongest ones, recency, tenure and active days cut in steps, recency against frequency and against the customer's
own mean gap, what a visit on the last day means, and the log odds of having lapsed that the BG/NBD model of buying
derives from recency, frequency and age (Fader, Hardie and Lee, "Counting Your Customers the Easy Way", Marketing
Science 2005, equation for P(alive)).

Every input is finite and bounded for any features, also for wrong ones, so that no row can poison a model.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ebb.contracts.features import FEATURES, INDEX, WIDTH

CAP = np.float32(1e9)
"""Counts, days and money are cut here before the logarithm: it keeps every input below 21."""

RAMPS: dict[str, tuple[float, ...]] = {
    "recency_days": (0, 1, 2, 3, 5, 7, 10, 14, 21, 30, 45, 60, 90, 150),
    "recency_over_gap": (0, 0.5, 1, 2, 3, 5, 8, 15),
    # The first month alone: beyond it, the tenure of customers who came together reveals the calendar, which does not
    # come back, and a model that learned it drifts.
    "tenure_days": (0, 1, 2, 4, 7, 14, 30),
    "active_days_7": (0, 1, 2, 3, 4, 5, 6, 7, 8),
    "active_days_30": (0, 1, 2, 3, 5, 8, 12, 20, 31),
    "active_hl3": (0, 0.1, 0.2, 0.5, 1, 1.7, 3, 5),
}
"""Knots of the steps: each input climbs from 0 to 1 between two of them, so a model draws any curve by pieces."""
SQUARED = ("active_hl3", "active_hl14", "active_hl45", "events_hl3", "events_hl14")
"""Logarithms that enter squared too: churn does not fall by the same odds for each doubling of activity."""
PLAIN: dict[str, float] = {"trend": 8.0, "view_to_cart": 5.0, "cart_to_purchase": 5.0, "discount_share": 1.0}
"""Features taken as they are, cut at plus or minus this."""
SIGNED = ("spend_7d", "spend_30d", "spend_total", "order_value")
"""Money may be negative (returns): sign(x) log(1 + |x|)."""
LOGGED = tuple(f.name for f in FEATURES if f.name not in PLAIN and f.name not in SIGNED)
"""All other features, so also a new one: log(1 + x). A new ratio belongs in `PLAIN`."""
FADES = (3.0, 14.0, 45.0)
"""Days over which the decayed recencies fall to 1/e."""
LAPSE_SCALES = (3.0, 14.0, 60.0)
"""Days: the spread of customers' rates in the BG/NBD form (its alpha)."""
LAPSE_CAP = np.float32(15.0)


@dataclass(frozen=True)
class Input:
    """One column of the design matrix."""

    name: str
    group: str
    """Group of features under which a person reads its contribution."""


def _catalogue() -> tuple[Input, ...]:
    group = {feature.name: feature.group for feature in FEATURES}
    inputs = [Input(f"log_{name}", group[name]) for name in (*LOGGED, *SIGNED)]
    inputs += [Input(name, group[name]) for name in PLAIN]
    for name, knots in RAMPS.items():
        inputs += [Input(f"{name}_{low:g}_to_{high:g}", group[name]) for low, high in pairwise(knots)]
    inputs += [Input(f"fade_{scale:g}d", "recency") for scale in FADES]
    inputs += [Input(f"lapse_{scale:g}d", "recency") for scale in LAPSE_SCALES]
    inputs += [
        Input("recency_x_frequency", "recency"),
        Input("recency_x_rhythm", "recency"),
        Input("newcomer", "tenure"),
        Input("newcomer_x_recency", "recency"),
        Input("rate_lifetime", "frequency"),
        Input("fresh_x_rhythm", "recency"),
        Input("fresh_x_tenure", "tenure"),
    ]
    inputs += [Input(f"log_{name}_squared", group[name]) for name in SQUARED]
    return tuple(inputs)


INPUTS: tuple[Input, ...] = _catalogue()
"""Columns of the design matrix, in order."""
POSITION: dict[str, int] = {item.name: position for position, item in enumerate(INPUTS)}
"""Column of each input."""
GROUPS: tuple[str, ...] = tuple(dict.fromkeys(feature.group for feature in FEATURES))
GROUP_OF_INPUT: npt.NDArray[np.intp] = np.array([GROUPS.index(item.group) for item in INPUTS], dtype=np.intp)
"""Shape (`len(INPUTS)`,): index of each input's group in `GROUPS`."""

_LOG_ROWS = np.array([INDEX[name] for name in LOGGED])
_SIGNED_ROWS = np.array([INDEX[name] for name in SIGNED])
_PLAIN_ROWS = np.array([INDEX[name] for name in PLAIN])
_PLAIN_LIMITS = np.array(list(PLAIN.values()), dtype=np.float32)[:, None]
_STEP_ROWS = np.array([INDEX[name] for name, knots in RAMPS.items() for _ in knots[1:]])
_STEP_LOW, _STEP_HIGH = (
    np.array([pair[end] for knots in RAMPS.values() for pair in pairwise(knots)], dtype=np.float32)[:, None]
    for end in (0, 1)
)
_STEP_SLOPE = 1 / (_STEP_HIGH - _STEP_LOW)
_FADE_RATES = np.array([-1 / scale for scale in FADES], dtype=np.float32)[:, None]
_ALPHAS = np.array(LAPSE_SCALES, dtype=np.float32)[:, None]
_SQUARED_PLACES = np.array([POSITION[f"log_{name}"] for name in SQUARED])
_ONE = np.float32(1)
_ZERO = np.float32(0)


def design(features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the inputs of every model for a batch of customers.

    Parameters
    ----------
    features
        Shape (n, `features.WIDTH`), n ≥ 0, in the units of the catalogue. NaN counts as 0.

    Returns
    -------
    ndarray
        Shape (n, `len(INPUTS)`), finite, every value within plus or minus 441 (the product of two logarithms). Each
        input is contiguous in memory, a customer is not.

    Raises
    ------
    ValueError
        If the features have another shape.
    """
    if features.ndim != 2 or features.shape[1] != WIDTH:
        message = f"features must have shape (n, {WIDTH}), not {features.shape}"
        raise ValueError(message)
    # One row a feature: the arithmetic below then runs over contiguous memory, several times as fast as by columns.
    raw = np.ascontiguousarray(features.T, dtype=np.float32)
    positive = np.fmax(raw, _ZERO)  # fmax takes the number where the other is none
    np.minimum(positive, CAP, out=positive)

    out = np.empty((len(INPUTS), features.shape[0]), dtype=np.float32)
    row = len(LOGGED)
    logs = out[:row]
    np.take(positive, _LOG_ROWS, axis=0, out=logs, mode="clip")  # any mode but "raise" writes without a buffer
    logs += _ONE
    np.log(logs, out=logs)
    signed = np.clip(_numbers(raw[_SIGNED_ROWS]), -CAP, CAP)
    out[row : row + len(SIGNED)] = np.copysign(np.log(np.abs(signed) + _ONE), signed)
    row += len(SIGNED)
    np.clip(_numbers(raw[_PLAIN_ROWS]), -_PLAIN_LIMITS, _PLAIN_LIMITS, out=out[row : row + len(PLAIN)])
    row += len(PLAIN)
    steps = out[row : row + len(_STEP_ROWS)]
    np.take(positive, _STEP_ROWS, axis=0, out=steps, mode="clip")
    steps -= _STEP_LOW
    steps *= _STEP_SLOPE
    np.maximum(steps, _ZERO, out=steps)
    np.minimum(steps, _ONE, out=steps)
    _combine(positive, out, row + len(_STEP_ROWS))
    return out.T


def _combine(positive: npt.NDArray[np.float32], out: npt.NDArray[np.float32], row: int) -> None:
    """Fill the inputs from `row` on: those made of several features, or of inputs before them."""
    recency, tenure = positive[INDEX["recency_days"]], positive[INDEX["tenure_days"]]
    days = positive[INDEX["active_days_total"]]
    fades = out[row : row + len(FADES)]
    np.exp(np.multiply(recency, _FADE_RATES, out=fades), out=fades)
    row += len(FADES)
    last = np.fmax(tenure - recency, _ZERO)
    repeats = np.fmax(days - _ONE, _ZERO) + np.float32(0.5)
    lapses = out[row : row + len(LAPSE_SCALES)]
    np.divide(_ALPHAS + np.fmax(tenure, recency), _ALPHAS + last, out=lapses)
    np.log(lapses, out=lapses)
    lapses *= repeats
    np.minimum(lapses, LAPSE_CAP, out=lapses)
    row += len(LAPSE_SCALES)
    log_recency = out[POSITION["log_recency_days"]]
    log_days = out[POSITION["log_active_days_total"]]
    newcomer = np.clip(np.float32(2) - days, 0, 1)
    fresh = _ONE - out[POSITION["recency_days_1_to_2"]]
    out[row] = log_recency * log_days
    out[row + 1] = log_recency * out[POSITION["log_gap_mean_days"]]
    out[row + 2] = newcomer
    out[row + 3] = newcomer * log_recency
    out[row + 4] = log_days - out[POSITION["log_tenure_days"]]
    out[row + 5] = fresh * out[POSITION["log_active_hl3"]]
    out[row + 6] = fresh * out[POSITION["log_tenure_days"]]
    row += 7
    squares = out[row:]
    np.take(out, _SQUARED_PLACES, axis=0, out=squares, mode="clip")
    squares *= squares


def _numbers(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.where(np.isnan(values), _ZERO, values)
