"""Erasures as every replica reads them from `ebb.erasures`."""

import threading
from collections.abc import Iterable
from datetime import datetime

from pydantic import ValidationError

from ebb.contracts.erasures import Erasure, ErasurePart, ErasurePartReport, ErasureRequest, digest_of
from ebb.log import get_logger
from ebb.metrics import ERASURES_OPEN, RECORDS_REFUSED

_log = get_logger(__name__)
REPORTING = (ErasurePart.ORDER, ErasurePart.WORKER, ErasurePart.LEARNER, ErasurePart.HISTORY)
"""The parts that report, in order."""


class ErasureView:
    """All erasures by id. One thread applies records, any number read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._erasures: dict[str, Erasure] = {}
        self._of_customer: dict[str, str] = {}
        """Digest of a customer → id of their latest erasure."""
        self._early: dict[str, dict[ErasurePart, ErasurePartReport]] = {}
        """Reports read before their request, which compaction may have moved after them."""

    def apply(self, records: Iterable[tuple[bytes | None, bytes | None]]) -> set[str]:
        """Apply records of the topic; return the digests of customers to erase from memory now."""
        digests: set[str] = set()
        with self._lock:
            for key, body in records:
                identity, _, name = (key or b"").decode(errors="replace").partition("/")
                try:
                    part = ErasurePart(name)
                    digest = self._apply(identity, part, body) if body is not None else None
                except (ValidationError, ValueError):
                    RECORDS_REFUSED.labels("erasures").inc()
                    _log.warning("erasure record refused", key=identity[:40])
                    continue
                if digest is not None:
                    digests.add(digest)
            ERASURES_OPEN.set(sum(not one.done for one in self._erasures.values()))
        return digests

    def _apply(self, identity: str, part: ErasurePart, body: bytes) -> str | None:
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
        known = self._erasures.get(identity)
        if known is None:
            self._early.setdefault(identity, {})[part] = report
            return None
        known.reports[part] = report
        return known.request.digest if part is ErasurePart.WORKER else None

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

    def is_erased(self, customer_id: str, at: datetime) -> bool:
        """Return whether data about a customer, created at that wall time, has since been erased."""
        erasure = self.of(customer_id)
        return erasure is not None and at <= erasure.request.requested_at

    def open(self) -> list[Erasure]:
        """Return the erasures that are not done, the oldest first."""
        with self._lock:
            open_ = [one for one in self._erasures.values() if not one.done]
        return sorted(open_, key=lambda one: one.request.requested_at)
