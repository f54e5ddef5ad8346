"""Segments of customers by which accuracy is judged: country, channel, tenure, arm of a split."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import numpy.typing as npt

from ebb.contracts.features import INDEX
from online_ml.types import AnyArray, Flags, Float32Array, State

UNKNOWN = ""
"""Country or channel of a customer of whom none is known."""
UNSPLIT = ""
"""Arm of a customer scored while one model scored all."""
LEAST_TENURE = 30.0
"""Days, as where the worker reckons the value at risk: a customer of hours is not worth a fortune a day."""
TENURES: tuple[tuple[float, str], ...] = ((30, "0-29 d"), (90, "30-89 d"), (365, "90-364 d"), (np.inf, "365 d on"))
"""Upper bounds (days, exclusive) and names: a first month, a first quarter, a first year, and the loyal."""
LARGEST = 12
"""Countries and channels followed one by one, the largest; the rest is `other`. It bounds the series in Prometheus."""
NAMELESS = "unknown"
OTHER = "other"
ARM = "arm"


@dataclass(frozen=True, eq=False)
class LabelContext:
    """Rows in the order of the labels; arrays of shape (n,)."""

    customers: npt.NDArray[np.uint32]
    """Equal for equal customers, whatever the process (CRC-32 of the id)."""
    countries: npt.NDArray[np.str_]
    channels: npt.NDArray[np.str_]
    tenure_days: Float32Array
    """Days since the customer's first activity, at the snapshot."""
    spend_per_day: Float32Array
    """Units of money a day, over the customer's life until the snapshot; never negative."""
    arms: npt.NDArray[np.str_]
    """Candidate that scored the customer while customers were split between two; `UNSPLIT` else."""

    @classmethod
    def of(
        cls,
        customer_ids: Sequence[str],
        countries: Sequence[str | None],
        channels: Sequence[str | None],
        features: Float32Array,
        arms: Sequence[str] | None = None,
    ) -> Self:
        """Describe the rows of a snapshot.

        Parameters
        ----------
        features
            Shape (n, `features.WIDTH`), at the snapshot.
        arms
            Arms of the customers; None where they were not split.
        """
        tenure = features[:, INDEX["tenure_days"]]
        spend = np.maximum(features[:, INDEX["spend_total"]], 0) / np.maximum(tenure, LEAST_TENURE)
        return cls(
            np.fromiter((zlib.crc32(name.encode()) for name in customer_ids), np.uint32, len(customer_ids)),
            np.array([name or UNKNOWN for name in countries], dtype=np.str_),
            np.array([name or UNKNOWN for name in channels], dtype=np.str_),
            np.nan_to_num(tenure),
            np.nan_to_num(spend),
            np.array(arms or [UNSPLIT] * len(customer_ids), dtype=np.str_),
        )

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return the rows of several parts, one after the other."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in NAMES))

    def rows(self, chosen: AnyArray) -> Self:
        """Return some of the rows."""
        return type(self)(*(getattr(self, name)[chosen] for name in NAMES))

    def arrays(self) -> State:
        """Return the columns by name."""
        return {name: getattr(self, name) for name in NAMES}


NAMES = tuple(field.name for field in fields(LabelContext))


def segments(about: LabelContext) -> Iterator[tuple[str, str, Flags]]:
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


def _named(kind: str, values: npt.NDArray[np.str_]) -> Iterator[tuple[str, str, Flags]]:
    names, code, sizes = np.unique(values, return_inverse=True, return_counts=True)
    # Of equal sizes the alphabet decides, so that a replay names the same ones.
    order = np.argsort(-sizes, kind="stable")
    for place in order[:LARGEST]:
        name = str(names[place])
        yield kind, NAMELESS if name == UNKNOWN else name, code == place
    if len(order) > LARGEST:
        yield kind, OTHER, np.isin(code, order[LARGEST:])
