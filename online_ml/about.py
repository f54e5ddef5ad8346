"""Whom labels are about: what measures by segment, intervals and profit must know beside predictions and outcomes."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ebb.features import INDEX

UNKNOWN = ""
"""Country or channel of a customer of whom none is known."""
UNSPLIT = ""
"""Arm of a customer scored while one model scored all."""
LEAST_TENURE = 30.0
"""Days, as where the worker reckons the value at risk: a customer of hours is not worth a fortune a day."""


@dataclass(frozen=True, eq=False)
class About:
    """Rows in the order of the labels; arrays of shape (n,)."""

    customers: npt.NDArray[np.uint32]
    """Equal for equal customers, whatever the process (CRC-32 of the id)."""
    countries: npt.NDArray[np.str_]
    channels: npt.NDArray[np.str_]
    tenure_days: npt.NDArray[np.float32]
    """Days since the customer's first activity, at the snapshot."""
    spend_per_day: npt.NDArray[np.float32]
    """Units of money a day, over the customer's life until the snapshot; never negative."""
    arms: npt.NDArray[np.str_]
    """Candidate that scored the customer while customers were split between two; `UNSPLIT` else."""

    @classmethod
    def of(
        cls,
        customer_ids: Sequence[str],
        countries: Sequence[str | None],
        channels: Sequence[str | None],
        features: npt.NDArray[np.float32],
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

    def rows(self, chosen: npt.NDArray[Any]) -> Self:
        """Return some of the rows."""
        return type(self)(*(getattr(self, name)[chosen] for name in NAMES))

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the columns by name."""
        return {name: getattr(self, name) for name in NAMES}


NAMES = tuple(field.name for field in fields(About))
