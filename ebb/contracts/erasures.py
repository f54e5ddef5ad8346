"""Erasure of a customer: the records on `ebb.erasures`, the states that they imply, and who moves one to the next.

An erasure is one request and the reports of the parts on it, each a record of its own under the key `<id>/<part>`, all
in one partition of the compacted topic. Until it is done the request holds the customer's id; afterwards only a digest,
so that the topic remembers that a customer was erased without naming them. The state follows from the latest record of
each part alone, in whatever order they were read (docs/adr/0012, docs/adr/0024).
"""

import hashlib
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from ebb.errors import IllegalTransitionError

ERASED_AT_MS = "erased_at_ms"
"""Detail of a worker's report: its wall time, Unix milliseconds, when the customer's state was erased."""
ERASE_HEADER = "ebb-erase"
"""Header of a record of the activity topic that makes its partition erase the customer of its key.

Its value is the id of the erasure, as ASCII text; the record's body is empty. As a record of the partition, it takes
effect between the events before and those after it, at every replica alike (docs/adr/0012).
"""


class ErasurePart(StrEnum):
    """Parts of an erasure: the request, and those who report."""

    REQUEST = "request"
    ORDER = "order"
    """The record with `ERASE_HEADER` is on the activity topic."""
    WORKER = "worker"
    """The customer's state is erased, from the checkpoint too, and their score is withdrawn."""
    LEARNER = "learner"
    """Predictions that waited for their labels are withdrawn."""
    HISTORY = "history"
    """The rows in ClickHouse are deleted."""


class ErasureState(StrEnum):
    """How far an erasure is."""

    REQUESTED = "requested"
    """The API accepted it."""
    ORDERED = "ordered"
    """The customer's partition holds the record that erases them."""
    UNTRACKED = "untracked"
    """The worker erased state, checkpoint and score."""
    UNLEARNED = "unlearned"
    """The learner too has withdrawn the customer: no part writes about them any more."""
    DELETED = "deleted"
    """Rows in ClickHouse were deleted after that; a record of the erasure still names the customer."""
    DONE = "done"
    """No record names the customer."""


Actor = Literal["api", "erasure worker", "worker", "learner"]


@dataclass(frozen=True)
class Transition:
    """A record that moves an erasure on."""

    part: ErasurePart
    actors: tuple[Actor, ...]
    """Who writes it; a worker reports for the learner where its partition closes no boundary."""
    sources: frozenset[ErasureState]
    """States in which it may be written."""


TRANSITIONS: dict[ErasurePart, Transition] = {
    one.part: one
    for one in (
        Transition(ErasurePart.ORDER, ("erasure worker",), frozenset({ErasureState.REQUESTED})),
        # From any state: a worker restored from an older checkpoint reads the order again and reports again, which
        # takes the erasure back to a state before DELETED, even from DONE.
        Transition(ErasurePart.WORKER, ("worker",), frozenset(ErasureState)),
        Transition(ErasurePart.LEARNER, ("learner", "worker"), frozenset(ErasureState)),
        Transition(ErasurePart.HISTORY, ("erasure worker",), frozenset({ErasureState.UNLEARNED})),
        # Replaces the request by one without the customer's id; the first is the API's.
        Transition(ErasurePart.REQUEST, ("api", "erasure worker"), frozenset({ErasureState.DELETED})),
    )
}


class ErasureRequest(BaseModel):
    """Request to erase a customer."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    erasure_id: str
    customer_id: str | None
    """None once the erasure is done."""
    digest: str
    requested_at: AwareDatetime
    requested_by: str
    """Id of the key."""
    done_at: AwareDatetime | None = None


class ErasurePartReport(BaseModel):
    """Report that a part has erased a customer."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    at: AwareDatetime
    customer_id: str | None = None
    """Set by a worker, which may read the order again long after the request: a replay of the topic."""
    details: dict[str, int] = {}


@dataclass
class Erasure:
    """One erasure: the request, and the latest report of each part."""

    request: ErasureRequest
    reports: dict[ErasurePart, ErasurePartReport] = field(default_factory=dict)

    @property
    def customer_id(self) -> str | None:
        """The customer to erase; None once no record names them."""
        worker = self.reports.get(ErasurePart.WORKER)
        return self.request.customer_id or (worker.customer_id if worker is not None else None)

    @property
    def state(self) -> ErasureState:
        """State that the records imply."""
        worker, learner, history = (
            self.reports.get(part) for part in (ErasurePart.WORKER, ErasurePart.LEARNER, ErasurePart.HISTORY)
        )
        if ErasurePart.ORDER not in self.reports:
            return ErasureState.REQUESTED
        if worker is None:
            return ErasureState.ORDERED
        if learner is None:
            return ErasureState.UNTRACKED
        if history is None or history.at < max(worker.at, learner.at):
            return ErasureState.UNLEARNED
        return ErasureState.DELETED if self.customer_id is not None else ErasureState.DONE

    @property
    def untracked(self) -> bool:
        """Whether the worker has reported: until then it may still publish about the customer."""
        return ErasurePart.WORKER in self.reports

    @property
    def erased_at(self) -> datetime | None:
        """Wall time up to which data about the customer were of the one erased; None while the worker may add to them.

        The worker's clock says it, which also times scores and alerts. Reports from before it did: the request's time.
        """
        worker = self.reports.get(ErasurePart.WORKER)
        if worker is None:
            return None
        erased_ms = worker.details.get(ERASED_AT_MS)
        return self.request.requested_at if erased_ms is None else datetime.fromtimestamp(erased_ms / 1_000, UTC)

    def covers(self, at: datetime) -> bool:
        """Return whether data about the customer, created at a wall time, are to be erased; what came after is new."""
        erased_at = self.erased_at
        return erased_at is None or at <= erased_at

    @property
    def history_deleted(self) -> bool:
        """Whether history was deleted after every part that writes it had erased the customer."""
        return self.state in {ErasureState.DELETED, ErasureState.DONE}

    @property
    def done(self) -> bool:
        """Whether every part has reported and no record names the customer."""
        return self.state is ErasureState.DONE

    def check(self, part: ErasurePart) -> None:
        """Check that a record of a part may be written in the present state.

        Raises
        ------
        IllegalTransitionError
            If not.
        """
        sources = TRANSITIONS[part].sources
        if self.state not in sources:
            expected = " or ".join(sorted(sources))
            what = f"Erasure {self.request.erasure_id} is {self.state}, not {expected}: record {part} is not due."
            raise IllegalTransitionError(what, "Read ebb.erasures to its end before the next step.")


def digest_of(customer_id: str) -> str:
    """Return what is kept of the id of an erased customer, in hexadecimal digits."""
    return hashlib.sha256(f"ebb customer {customer_id}".encode()).hexdigest()


def key_of(erasure_id: str, part: ErasurePart) -> str:
    """Return the key of a record on `ebb.erasures`."""
    return f"{erasure_id}/{part}"


def partition_of(erasure_id: str, partitions: int) -> int:
    """Return the partition of `ebb.erasures` that holds all records of an erasure."""
    return zlib.crc32(erasure_id.encode()) % partitions
