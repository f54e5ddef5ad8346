"""The keys made by `ebb keys`, as every replica reads them from `ebb.keys`."""

import asyncio
import contextlib

from pydantic import ValidationError

from ebb.contracts.api_keys import KeyRecord, split_key
from ebb.log import get_logger
from ebb.metrics import RECORDS_REFUSED

_log = get_logger(__name__)


class ApiKeyView:
    """Latest record by key id. One thread applies, any number look up.

    An open stream waits on `ended`, which is set in the event loop once the key's revocation is read.
    """

    def __init__(self) -> None:
        self._records: dict[str, KeyRecord] = {}
        self._ended: dict[str, asyncio.Event] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Set the events of revoked keys in this loop."""
        self._loop = loop

    def apply(self, key: bytes | None, body: bytes | None) -> None:
        """Apply a record of the topic; one that is no key is logged and grants nothing."""
        identity = (key or b"").decode(errors="replace")
        record = None
        if body is not None:
            try:
                record = KeyRecord.model_validate_json(body)
            except ValidationError:
                RECORDS_REFUSED.labels("keys").inc()
                _log.warning("key record refused", id=identity[:40])
        if record is None or record.id != identity:
            self._records.pop(identity, None)
        else:
            self._records[identity] = record
        if record is None or record.revoked_at is not None:
            loop = self._loop
            if loop is not None:
                with contextlib.suppress(RuntimeError):  # the loop has closed, and every stream with it
                    loop.call_soon_threadsafe(self._end, identity)

    def find(self, text: str) -> KeyRecord | None:
        """Return the record of a presented key, also of one that has ended; None if it is unknown."""
        parts = split_key(text)
        record = self._records.get(parts[0]) if parts else None
        return record if record is not None and parts is not None and record.fits(parts[1]) else None

    def ended(self, identity: str) -> asyncio.Event:
        """Return the event that is set when a key is revoked; call it in the event loop."""
        event = self._ended.setdefault(identity, asyncio.Event())
        record = self._records.get(identity)
        if record is not None and record.revoked_at is not None:
            event.set()
        return event

    def _end(self, identity: str) -> None:
        if (event := self._ended.get(identity)) is not None:
            event.set()
