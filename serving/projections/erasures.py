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
        self._open: set[str] = set()
        self._untracked: dict[str, set[str]] = {}
        """Customer → ids of their erasures on which no worker has reported."""
        self._pending: dict[str, str] = {}
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
                self._place(identity)
            ERASURES_OPEN.set(len(self._open))
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
            # Once no record names the customer nothing of theirs is left to hide, and they may have come back.
            return request.digest if request.customer_id is not None else None
        report = ErasurePartReport.model_validate_json(body)
        known = self._erasures.get(identity)
        if known is None:
            self._early.setdefault(identity, {})[part] = report
            return None
        known.reports[part] = report
        # Rewritten without the id it is no news: whoever came back since is remembered.
        return known.request.digest if part is ErasurePart.WORKER and report.customer_id is not None else None

    def _place(self, identity: str) -> None:
        """Keep the sets of erasures by state up to date, for one whose records changed."""
        erasure = self._erasures.get(identity)
        if erasure is None:
            return
        if erasure.done:
            self._open.discard(identity)
        else:
            self._open.add(identity)
        customer = erasure.customer_id
        if customer is None:
            return
        untracked = self._untracked.setdefault(customer, set())
        if erasure.untracked:
            untracked.discard(identity)
        else:
            untracked.add(identity)
            self._pending[customer] = erasure.request.digest
        if not untracked:
            del self._untracked[customer]
            self._pending.pop(customer, None)

    @property
    def known(self) -> bool:
        """Whether there is any erasure at all."""
        return bool(self._erasures)

    def get(self, erasure_id: str) -> Erasure | None:
        """Return an erasure."""
        return self._erasures.get(erasure_id)

    def of(self, customer_id: str) -> Erasure | None:
        """Return the latest erasure of a customer."""
        return self.of_digest(digest_of(customer_id)) if self._of_customer else None

    def of_digest(self, digest: str) -> Erasure | None:
        """Return the latest erasure of a customer by the digest of their id."""
        with self._lock:
            return self._erasures.get(self._of_customer.get(digest, ""))

    def is_erased(self, customer_id: str, at: datetime) -> bool:
        """Return whether data about a customer, created at that wall time, are erased or to be erased."""
        erasure = self.of(customer_id)
        return erasure is not None and erasure.covers(at)

    def pending(self) -> dict[str, str]:
        """Return the customers whom no worker has erased yet, with their digests: all about them is hidden."""
        return self._pending

    def open(self) -> list[Erasure]:
        """Return the erasures that are not done, the oldest first."""
        with self._lock:
            open_ = [self._erasures[identity] for identity in self._open]
        return sorted(open_, key=lambda one: one.request.requested_at)
