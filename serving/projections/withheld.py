"""Scores and alerts of customers who are to be erased, put aside until the worker says which of them are of the erased.

Between the request and the moment at which the worker erases the customer, it goes on scoring them; right after, it may
score somebody new under the same id. Nothing of either is shown until its report tells the two apart.
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from ebb.contracts.erasures import Erasure
from serving.projections.alerts import AlertFields

Record = tuple[bytes | None, bytes | None]


class _ScoredAt(msgspec.Struct, gc=False):
    scored_at: datetime


class Withheld:
    """What is put aside, by the digest of the customer. One thread uses it."""

    def __init__(self) -> None:
        self._scores: dict[str, Record] = {}
        self._alerts: dict[str, list[tuple[AlertFields, bytes]]] = {}
        self._decoder = msgspec.json.Decoder(_ScoredAt)

    def keep_score(self, digest: str, record: Record) -> None:
        """Put a record of the scores topic aside in place of the one before."""
        self._scores[digest] = record

    def keep_alert(self, digest: str, alert: tuple[AlertFields, bytes]) -> None:
        """Put an alert aside."""
        self._alerts.setdefault(digest, []).append(alert)

    def passing(self, pending: dict[str, str], records: Sequence[Record]) -> list[Record]:
        """Return the records of customers who are not to be erased; put the others aside.

        Parameters
        ----------
        pending
            Customers to hide, with their digests.
        """
        passing = []
        for key, value in records:
            digest = pending.get((key or b"").decode(errors="replace"))
            if digest is None:
                passing.append((key, value))
            else:
                self.keep_score(digest, (key, value))
        return passing

    def release(self, erasure: Erasure) -> tuple[list[Record], list[tuple[AlertFields, bytes]]]:
        """Return what was put aside and is not of the customer erased, but of who came back; drop the rest."""
        digest = erasure.request.digest
        score = self._scores.pop(digest, None)
        alerts = self._alerts.pop(digest, [])
        scores = [] if score is None or self._is_erased(erasure, score[1]) else [score]
        return scores, [one for one in alerts if not erasure.covers(one[0].raised_at)]

    def _is_erased(self, erasure: Erasure, body: bytes | None) -> bool:
        try:
            return body is None or erasure.covers(self._decoder.decode(body).scored_at)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return True
