"""By which customers are told apart where accuracy is judged: country, channel, tenure, arm of a split."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from online_ml.about import UNKNOWN, UNSPLIT, About

TENURES: tuple[tuple[float, str], ...] = ((30, "0-29 d"), (90, "30-89 d"), (365, "90-364 d"), (np.inf, "365 d on"))
"""Upper bounds (days, exclusive) and names: a first month, a first quarter, a first year, and the loyal."""
LARGEST = 12
"""Countries and channels followed one by one, the largest; the rest is `other`. It bounds the series in Prometheus."""
NAMELESS = "unknown"
OTHER = "other"
ARM = "arm"


def segments(about: About) -> Iterator[tuple[str, str, npt.NDArray[np.bool_]]]:
    """Yield kind, name and rows (shape (n,)) of every segment that has any.

    Each row is in one segment of a kind; but of the arms only those that were scored while customers were split.
    """
    yield from _named("country", about.countries)
    yield from _named("channel", about.channels)
    start = -np.inf
    for end, name in TENURES:
        rows = (about.tenure_days >= start) & (about.tenure_days < end)
        start = end
        if rows.any():
            yield "tenure", name, rows
    for arm in np.unique(about.arms[about.arms != UNSPLIT]):
        yield ARM, str(arm), about.arms == arm


def _named(kind: str, values: npt.NDArray[np.str_]) -> Iterator[tuple[str, str, npt.NDArray[np.bool_]]]:
    names, code, sizes = np.unique(values, return_inverse=True, return_counts=True)
    # Of equal sizes the alphabet decides, so that a replay names the same ones.
    order = np.argsort(-sizes, kind="stable")
    for place in order[:LARGEST]:
        name = str(names[place])
        yield kind, NAMELESS if name == UNKNOWN else name, code == place
    if len(order) > LARGEST:
        yield kind, OTHER, np.isin(code, order[LARGEST:])
