"""Erasures as every replica knows them: asked for, reported on, done."""

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import ValidationError

from ebb.contracts.erasures import ErasurePart, ErasurePartReport, ErasureRequest, digest_of
from ebb.log import get_logger
from ebb.metrics import ERASURES_OPEN

_log = get_logger(__name__)
REPORTING = (ErasurePart.ORDER, ErasurePart.WORKER, ErasurePart.LEARNER, ErasurePart.HISTORY)
"""The parts that report, in the order in which they do."""


@dataclass
class Erasure:
    """One erasure with what was reported on it."""

    request: ErasureRequest
    reports: dict[ErasurePart, ErasurePartReport] = field(default_factory=dict)

    @property
    def customer_id(self) -> str | None:
        """Who is to be forgotten; None once nobody needs to know any more."""
        told = self.reports.get(ErasurePart.WORKER)
        return self.request.customer_id or (told.customer_id if told is not None else None)

    @property
    def swept(self) -> bool:
        """Whether history was deleted after all those who write it had forgotten the customer."""
        history = self.reports.get(ErasurePart.HISTORY)
        writers = [
            one.at for part in (ErasurePart.WORKER, ErasurePart.LEARNER) if (one := self.reports.get(part)) is not None
        ]
        return history is not None and len(writers) == 2 and history.at >= max(writers)

    @property
    def done(self) -> bool:
        """Whether every part has reported and the id is known no more."""
        return self.swept and ErasurePart.ORDER in self.reports and self.customer_id is None


class ErasureView:
    """All erasures by id. One thread takes, any number read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._erasures: dict[str, Erasure] = {}
        self._of_customer: dict[str, str] = {}
        """Digest of a customer → id of their latest erasure."""
        self._early: dict[str, dict[ErasurePart, ErasurePartReport]] = {}
        """Reports read before their request, which compaction may have moved behind them."""

    def take(self, records: Iterable[tuple[bytes | None, bytes | None]]) -> set[str]:
        """Take up records of the topic; return the digests of customers who are to be forgotten now."""
        told: set[str] = set()
        with self._lock:
            for key, body in records:
                identity, _, name = (key or b"").decode(errors="replace").partition("/")
                try:
                    part = ErasurePart(name)
                    digest = self._take(identity, part, body) if body is not None else None
                except (ValidationError, ValueError):
                    _log.warning("erasure_record_refused", key=identity[:40])
                    continue
                if digest is not None:
                    told.add(digest)
            ERASURES_OPEN.set(sum(not one.done for one in self._erasures.values()))
        return told

    def _take(self, identity: str, part: ErasurePart, body: bytes) -> str | None:
        if part is ErasurePart.REQUEST:
            request = ErasureRequest.model_validate_json(body)
            reports = self._early.pop(identity, {})
            erasure = self._erasures.setdefault(identity, Erasure(request, reports))
            erasure.request = request
            latest = self._erasures.get(self._of_customer.get(request.digest, ""))
            if latest is None or latest.request.requested_at <= request.requested_at:
                self._of_customer[request.digest] = identity
            return request.digest
        report = ErasurePartReport.model_validate_json(body)
        found = self._erasures.get(identity)
        if found is None:
            self._early.setdefault(identity, {})[part] = report
            return None
        found.reports[part] = report
        return found.request.digest if part is ErasurePart.WORKER else None

    @property
    def known(self) -> bool:
        """Whether there is any erasure at all."""
        return bool(self._erasures)

    def get(self, erasure_id: str) -> Erasure | None:
        """Return an erasure."""
        return self._erasures.get(erasure_id)

    def of(self, customer_id: str) -> Erasure | None:
        """Return the latest erasure of a customer."""
        with self._lock:
            if not self._of_customer:
                return None
            return self._erasures.get(self._of_customer.get(digest_of(customer_id), ""))

    def hides(self, customer_id: str, at: datetime) -> bool:
        """Say whether something that was told of a customer at a wall time has since been erased."""
        erasure = self.of(customer_id)
        return erasure is not None and at <= erasure.request.requested_at

    def open(self) -> list[Erasure]:
        """Return the erasures that are not done, the oldest first."""
        with self._lock:
            under_way = [one for one in self._erasures.values() if not one.done]
        return sorted(under_way, key=lambda one: one.request.requested_at)
