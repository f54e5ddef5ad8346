"""Forgetting a customer: what stands on `ebb.erasures`, and the record by which a partition forgets.

An erasure is one request and the reports of the parts on it, each a record of its own under the key `<id>/<part>`, all
in one partition of the compacted topic. While it is under way the request holds the customer's id; once it is done it
holds only a digest, so that the topic remembers that somebody was erased without naming them.
"""

import hashlib
import zlib
from enum import StrEnum

from pydantic import AwareDatetime, BaseModel, ConfigDict

ERASE_HEADER = "ebb-erase"
"""Header of a record of the activity topic that makes its partition forget the customer of its key.

Its value is the id of the erasure, as ASCII text; the record's body is empty. As a record of the partition, it takes
effect between the events before and those after it, at every replay alike (docs/adr/0012).
"""


class ErasurePart(StrEnum):
    """Who reports on an erasure."""

    REQUEST = "request"
    ORDER = "order"
    """The record with `ERASE_HEADER` is on the activity topic."""
    WORKER = "worker"
    """The customer's state is gone, from the checkpoint too, and their score is withdrawn."""
    LEARNER = "learner"
    """Predictions that waited for their labels are withdrawn."""
    HISTORY = "history"
    """The rows in ClickHouse are deleted."""


class ErasureRequest(BaseModel):
    """That a customer is to be forgotten."""

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
    """That a part has forgotten a customer."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    at: AwareDatetime
    customer_id: str | None = None
    """Told by a worker, which may meet the record again long after the request: a replay of the topic."""
    details: dict[str, int] = {}


def digest_of(customer_id: str) -> str:
    """Return what is kept of the id of a customer who was erased, in hexadecimal digits."""
    return hashlib.sha256(f"ebb customer {customer_id}".encode()).hexdigest()


def key_of(erasure_id: str, part: ErasurePart) -> str:
    """Return the key of a record on `ebb.erasures`."""
    return f"{erasure_id}/{part}"


def partition_of(erasure_id: str, partitions: int) -> int:
    """Return the partition of `ebb.erasures` that holds all records of an erasure."""
    return zlib.crc32(erasure_id.encode()) % partitions
