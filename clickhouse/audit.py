"""The audit log: administrators' actions as rows of the table `audit`."""

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import orjson
import pyarrow as pa

from clickhouse.store import Store
from clickhouse.tables import SCHEMAS
from ebb.settings import PlaceSettings

TIMEOUT_SECONDS = 5
"""How long an action waits for its entry before it is refused."""


@dataclass(frozen=True)
class AuditEntry:
    """Who did what. Customers are named by digest: the log outlives an erasure and must not undo it."""

    actor: str
    """Id of the key, or `cli:<user>`; never the key."""
    action: str
    subject: str
    details: Mapping[str, object] = field(default_factory=dict)
    address: str = ""


def record_audit(settings: PlaceSettings, entry: AuditEntry) -> None:
    """Store an entry; blocks for about `TIMEOUT_SECONDS`, twice that at most.

    Raises
    ------
    UnavailableError
        If ClickHouse does not answer by then.
    RefusedError
        If it refuses the row.
    """
    until = time.monotonic() + TIMEOUT_SECONDS
    store = Store(settings, stopping=lambda: time.monotonic() > until, seconds=TIMEOUT_SECONDS)
    try:
        store.insert("audit", _row(entry))
    finally:
        store.close()


def _row(entry: AuditEntry) -> pa.Table:
    values = {
        "act_id": secrets.token_hex(8),
        "acted_at": datetime.now(UTC),
        "actor": entry.actor,
        "action": entry.action,
        "subject": entry.subject,
        "details": orjson.dumps(dict(entry.details)).decode(),
        "address": entry.address,
    }
    return pa.Table.from_pylist([values], schema=SCHEMAS["audit"])
