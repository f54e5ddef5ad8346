"""Bands of churn probability, with hysteresis."""

import numpy as np

from ebb.contracts.scores import BANDS
from ebb.settings import ScoreSettings
from stream_processors.types import Float32Array, Int8Array

NAMES: tuple[str, ...] = tuple(band.value for band in BANDS)
"""Names by level: 0 is the lowest band."""
HIGH = 2
"""First level that is worth an alert; so is leaving it for a lower one."""


class BandRule:
    """Assigns a band to each probability.

    A customer rises at the thresholds and falls only below them by the hysteresis, so that noise does not flip a band.
    """

    def __init__(self, settings: ScoreSettings) -> None:
        self._thresholds = np.array(settings.band_thresholds)
        self._hysteresis = settings.band_hysteresis

    def levels(self, churn: Float32Array, previous: Int8Array) -> Int8Array:
        """Return the level of each customer, shape (n,).

        Parameters
        ----------
        churn
            Shape (n,): probabilities.
        previous
            Shape (n,): levels so far; below 0 for customers who have none.
        """
        rising = np.searchsorted(self._thresholds, churn, side="right")
        falling = np.searchsorted(self._thresholds - self._hysteresis, churn, side="right")
        kept = np.where(rising > previous, rising, np.minimum(previous, falling))
        return np.where(previous < 0, rising, kept).astype(np.int8)
