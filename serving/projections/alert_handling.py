"""What was done about alerts, as every replica reads it from `ebb.handling`."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from ebb.contracts.alert_handling import Act, HandlingRecord, Outcome, Status, key_of
from ebb.log import get_logger
from ebb.metrics import RECORDS_REFUSED


class Handling(BaseModel):
    """What was done about an alert."""

    model_config = ConfigDict(extra="forbid")

    status: Status
    by: str | None = Field(
        default=None, description="Id of the key that made the latest act that counts; null while open."
    )
    at: AwareDatetime | None = Field(default=None, description="When that was done.")
    until: AwareDatetime | None = Field(default=None, description="When a snoozed alert comes back.")
    outcome: Outcome | None = Field(default=None, description="How a closed alert ended.")
    note: str | None = None


_OPEN = Handling(status=Status.OPEN)
_log = get_logger(__name__)


class AlertHandlingView:
    """The latest act of each kind by alert. Any number of threads apply and read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._acts: dict[str, dict[Act, HandlingRecord]] = {}

    def apply(self, key: bytes | None, body: bytes | None) -> None:
        """Apply a record of the topic; one that is no act is logged and skipped."""
        alert_id, _, name = (key or b"").decode(errors="replace").rpartition("/")
        try:
            act = Act(name)
            record = None if body is None else HandlingRecord.model_validate_json(body)
        except ValueError:
            RECORDS_REFUSED.labels("handling").inc()
            _log.warning("handling record refused", key=alert_id[:80])
            return
        with self._lock:
            acts = {**self._acts.get(alert_id, {})}
            if record is None:
                acts.pop(act, None)
            elif record.alert_id == alert_id and record.act is act:
                acts[act] = record
            # Readers take no lock: they see the acts either before or after this one.
            self._acts[alert_id] = acts
            if not acts:
                del self._acts[alert_id]

    def of(self, alert_id: str, now: datetime | None = None) -> Handling:
        """Return the status of an alert.

        An outcome closes it, whatever came before or after. Otherwise the latest act counts; after the end of a snooze
        it is acknowledged again if it was before, or else open.
        """
        acts = self._acts.get(alert_id)
        if not acts:
            return _OPEN
        if (outcome := acts.get(Act.OUTCOME)) is not None:
            return _handling(Status.CLOSED, outcome)
        acknowledged, snoozed = acts.get(Act.ACKNOWLEDGE), acts.get(Act.SNOOZE)
        if (
            snoozed is not None
            and (acknowledged is None or acknowledged.at <= snoozed.at)
            and snoozed.until is not None
            and snoozed.until > (now or datetime.now(UTC))
        ):
            return _handling(Status.SNOOZED, snoozed)
        return _OPEN if acknowledged is None else _handling(Status.ACKNOWLEDGED, acknowledged)

    def keys_of(self, customer_id: str, condition: Callable[[datetime], bool]) -> list[str]:
        """Return the keys of the records about a customer's alerts for whose time of being raised a condition holds."""
        with self._lock:
            return [
                key_of(record.alert_id, act)
                for acts in self._acts.values()
                for act, record in acts.items()
                if record.customer_id == customer_id and condition(record.raised_at)
            ]


def _handling(status: Status, record: HandlingRecord) -> Handling:
    return Handling(
        status=status,
        by=record.by,
        at=record.at,
        until=record.until,
        outcome=record.outcome,
        note=record.note or None,
    )
