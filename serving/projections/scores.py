"""The latest score of every customer, in memory: the JSON of the topic, and columns to sort and count by.

One thread writes (`feed`), any number read without a lock. Readers take the columns once; a column is replaced, never
resized in place, when it grows. A row belongs to one customer for ever: a customer who was erased and comes back gets
a new one, so that a reader between two look-ups can never get another customer's score.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from ebb.contracts.scores import BANDS
from ebb.log import get_logger
from ebb.metrics import RECORDS_REFUSED, SCORES_HELD
from serving.projections.types import Aware, BandName

BAND_CODE: dict[str, int] = {band.value: code for code, band in enumerate(BANDS)}
NO_BAND = 255
"""Band code of a row that holds no customer."""
_FIRST_ROWS = 1_024
_log = get_logger(__name__)


class ScoreFields(msgspec.Struct, frozen=True, gc=False):
    """The fields of a score by which customers are sorted, counted and filtered."""

    customer_id: str
    churn: float
    band: BandName
    trend_7d: float | None
    value_at_risk: float
    expected_gain: float
    country: str | None
    channel: str | None
    as_of: Aware
    scored_at: Aware


@dataclass(frozen=True)
class Columns:
    """One array a field, all of the same length; only the first `ScoreView.rows` entries mean anything."""

    churn: npt.NDArray[np.float64]
    trend: npt.NDArray[np.float64]
    """NaN where the customer has been known for less than 7 days."""
    value_at_risk: npt.NDArray[np.float64]
    expected_gain: npt.NDArray[np.float64]
    band: npt.NDArray[np.uint8]
    country: npt.NDArray[np.int32]
    """Code in `ScoreView.labels`; 0 is none."""
    channel: npt.NDArray[np.int32]

    @classmethod
    def empty(cls, length: int) -> "Columns":
        """Return columns whose rows hold no customer."""
        return cls(
            churn=np.zeros(length),
            trend=np.full(length, np.nan),
            value_at_risk=np.zeros(length),
            expected_gain=np.zeros(length),
            band=np.full(length, NO_BAND, np.uint8),
            country=np.zeros(length, np.int32),
            channel=np.zeros(length, np.int32),
        )

    def grown(self, length: int) -> "Columns":
        """Return a copy with room for `length` rows."""
        larger = Columns.empty(length)
        for name in self.__dataclass_fields__:
            old = getattr(self, name)
            getattr(larger, name)[: len(old)] = old
        return larger


@dataclass(frozen=True, slots=True)
class ScoreChange:
    """A score that was applied, with the fields a subscription filters by."""

    fields: ScoreFields
    body: bytes


class ScoreView:
    """Latest score by customer. See the module for who may call what."""

    def __init__(self) -> None:
        self.columns = Columns.empty(_FIRST_ROWS)
        self.rows = 0
        """Rows in use, those of erased customers included."""
        self.latest_as_of: float | None = None
        """Greatest `as_of` seen, Unix seconds of event time."""
        self.latest_scored_at: float | None = None
        self._row: dict[str, int] = {}
        self._ids: list[str] = []
        self._bodies: list[bytes | None] = []
        self._labels: dict[str | None, int] = {None: 0}
        self._decoder = msgspec.json.Decoder(ScoreFields)

    def __len__(self) -> int:
        return len(self._row)

    def score(self, customer_id: str) -> bytes | None:
        """Return a customer's score as JSON, or None if the customer was never seen or has been erased."""
        row = self._row.get(customer_id)
        return None if row is None else self._bodies[row]

    def body(self, row: int) -> bytes | None:
        """Return the JSON of a row."""
        return self._bodies[row]

    def customer(self, row: int) -> str:
        """Return the customer of a row."""
        return self._ids[row]

    def label(self, text: str) -> int:
        """Return the code of a country or channel, -1 if no score has had it."""
        return self._labels.get(text, -1)

    def countries(self) -> list[str]:
        """Return the countries of the customers held, in alphabetical order."""
        rows = self.rows
        held = set(np.unique(self.columns.country[:rows][self.columns.band[:rows] != NO_BAND]).tolist())
        return sorted(text for text, code in list(self._labels.items()) if text is not None and code in held)

    def apply(self, records: Sequence[tuple[bytes | None, bytes | None]]) -> list[ScoreChange]:
        """Apply records of the scores topic in offset order.

        Parameters
        ----------
        records
            Key and value of each; a value of None is a tombstone and removes the customer.

        Returns
        -------
        list of ScoreChange
            The scores applied, in order. A record that is not a score is logged and skipped.
        """
        changes: list[ScoreChange] = []
        pending: list[tuple[int, ScoreFields]] = []
        for key, value in records:
            if value is None:
                self._write(pending)
                pending = []
                self._remove((key or b"").decode(errors="replace"))
                continue
            try:
                fields = self._decoder.decode(value)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                RECORDS_REFUSED.labels("scores").inc()
                _log.warning("score refused", error=str(error), size=len(value))
                continue
            pending.append((self._store(fields.customer_id, value), fields))
            changes.append(ScoreChange(fields, value))
        self._write(pending)
        SCORES_HELD.set(len(self._row))
        return changes

    def _store(self, customer_id: str, body: bytes) -> int:
        row = self._row.get(customer_id)
        if row is not None:
            self._bodies[row] = body
            return row
        row = len(self._ids)
        if row >= len(self.columns.band):
            self.columns = self.columns.grown(2 * len(self.columns.band))
        self._ids.append(customer_id)
        self._bodies.append(body)
        self._row[customer_id] = row
        return row

    def _write(self, pending: list[tuple[int, ScoreFields]]) -> None:
        if not pending:
            return
        latest = dict(pending)
        rows = np.fromiter(latest, np.int64, len(latest))
        scores = list(latest.values())
        columns = self.columns
        columns.churn[rows] = [score.churn for score in scores]
        columns.trend[rows] = [np.nan if score.trend_7d is None else score.trend_7d for score in scores]
        columns.value_at_risk[rows] = [score.value_at_risk for score in scores]
        columns.expected_gain[rows] = [score.expected_gain for score in scores]
        columns.country[rows] = [self._code(score.country) for score in scores]
        columns.channel[rows] = [self._code(score.channel) for score in scores]
        columns.band[rows] = [BAND_CODE[score.band] for score in scores]
        self.rows = len(self._ids)
        as_of = max(score.as_of for score in scores).timestamp()
        scored_at = max(score.scored_at for score in scores).timestamp()
        self.latest_as_of = max(as_of, self.latest_as_of or as_of)
        self.latest_scored_at = max(scored_at, self.latest_scored_at or scored_at)

    def _code(self, text: str | None) -> int:
        return self._labels.setdefault(text, len(self._labels))

    def _remove(self, customer_id: str) -> None:
        row = self._row.pop(customer_id, None)
        if row is not None:
            self._bodies[row] = None
            self.columns.band[row] = NO_BAND
