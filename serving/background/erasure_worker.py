"""Advance open erasures, each by one replica, until every part has reported (`ebb.contracts.erasures`).

Membership of the consumer group decides which replica works on which partition of `ebb.erasures`; nothing is committed
there. The next step follows from an erasure's state alone, so that another replica resumes where one died, and
repeating a step is harmless.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from confluent_kafka import Message

from clickhouse.erasing import Until, erase_rows
from ebb.contracts.erasures import (
    ERASE_HEADER,
    Erasure,
    ErasurePart,
    ErasurePartReport,
    ErasureState,
    key_of,
    partition_of,
)
from ebb.errors import EbbError
from ebb.kafka.follower import TopicFollower
from ebb.kafka.producer import Publisher
from ebb.log import get_logger
from ebb.settings import PlaceSettings
from serving.projections.alert_handling import AlertHandlingView
from serving.projections.erasures import ErasureView

LOOK_SECONDS = 0.5
_log = get_logger(__name__)


class ErasureWorker:
    """A thread that advances the open erasures of the partitions assigned to this replica."""

    def __init__(self, settings: PlaceSettings, erasures: ErasureView, alert_handling: AlertHandlingView) -> None:
        self._settings = settings
        self._erasures = erasures
        self._alert_handling = alert_handling
        self._publisher: Publisher | None = None
        self._early: set[str] = set()
        """Erasures whose order was sent and whose history was deleted once, by this process."""
        self._steps: dict[str, tuple[datetime, ErasureState]] = {}
        """Latest step done of each erasure: the time of the reports that it answered, and the state."""
        self._follower = TopicFollower(
            settings,
            "erasure-worker",
            self._handle,
            begin=lambda consumer: consumer.subscribe([settings.topics.erasures]),
            batch=100,
            idle_seconds=LOOK_SECONDS,
            linger_seconds=LOOK_SECONDS,
            group=settings.group("eraser"),
            auto_offset_reset="latest",
            max_poll_interval_ms=1_800_000,
        )

    @property
    def failure(self) -> str | None:
        """In what way the thread has failed for good, None if it works."""
        return self._follower.death

    def start(self) -> None:
        """Begin to work."""
        self._follower.start()

    def stop(self) -> None:
        """Stop, and wait at most 5 s for the step under way."""
        self._follower.stop()

    def _handle(self, _: Sequence[Message]) -> None:
        # Records come by the reader; here the group alone matters.
        mine = self._follower.partitions
        for erasure in self._erasures.open():
            if partition_of(erasure.request.erasure_id, self._settings.partitions) in mine:
                self._advance(erasure)

    def _advance(self, erasure: Erasure) -> None:
        try:
            self._step(erasure)
        except EbbError as error:
            _log.warning("erasure waits", erasure=erasure.request.erasure_id, error=str(error))
            self._follower.sleep(LOOK_SECONDS)

    def _step(self, erasure: Erasure) -> None:
        """Do what the state of an erasure asks for; every step may be repeated without harm."""
        customer = erasure.customer_id
        if customer is None:
            return
        match erasure.state:
            case ErasureState.REQUESTED:
                self._order(erasure, customer)
                self._delete_early(erasure, customer)
            case ErasureState.ORDERED:
                self._delete_early(erasure, customer)
            case ErasureState.UNLEARNED | ErasureState.DELETED as state:
                reported_at = max(erasure.reports[part].at for part in (ErasurePart.WORKER, ErasurePart.LEARNER))
                step = (reported_at, state)
                if self._steps.get(erasure.request.erasure_id) == step:
                    return  # done by this process, and its record not read back yet
                if state is ErasureState.UNLEARNED:
                    self._delete(erasure, customer)
                else:
                    self._finish(erasure)
                self._steps[erasure.request.erasure_id] = step
            case ErasureState.UNTRACKED | ErasureState.DONE:
                return

    def _order(self, erasure: Erasure, customer: str) -> None:
        """Put the record that erases the customer on their partition."""
        identity = erasure.request.erasure_id
        if identity in self._early:
            return  # sent by this process, and not read back yet; a second record would do no harm
        headers = [(ERASE_HEADER, identity.encode())]
        publisher = self._publish()
        publisher.send(self._settings.topics.activity, key=customer, value=b"", headers=headers)
        publisher.flush()
        self._report(erasure, ErasurePart.ORDER, {})

    def _delete_early(self, erasure: Erasure, customer: str) -> None:
        """Delete history once at the start, so that it cannot be read meanwhile; later rows go at the end."""
        if erasure.request.erasure_id in self._early:
            return
        self._withdraw_handling(erasure, customer)
        erase_rows(self._settings, customer, Until())
        self._early.add(erasure.request.erasure_id)

    def _delete(self, erasure: Erasure, customer: str) -> None:
        """Delete history up to the point in the stream at which the worker erased the customer."""
        where = erasure.reports[ErasurePart.WORKER].details
        until = Until(where["partition"], where["offset"], where["event_time_ms"]) if where else Until()
        self._withdraw_handling(erasure, customer)
        self._report(erasure, ErasurePart.HISTORY, erase_rows(self._settings, customer, until))

    def _withdraw_handling(self, erasure: Erasure, customer: str) -> None:
        """Withdraw what people did about the customer's alerts: the records name them, notes may describe them."""
        publisher = self._publish()
        for key in self._alert_handling.keys_of(customer, erasure.request.requested_at):
            publisher.send(self._settings.topics.handling, key=key, value=None, partition=0)
        publisher.flush()

    def _report(self, erasure: Erasure, part: ErasurePart, details: dict[str, int]) -> None:
        erasure.check(part)
        report = ErasurePartReport(at=datetime.now(UTC), details=details)
        self._put(erasure, part, report.model_dump_json().encode())

    def _finish(self, erasure: Erasure) -> None:
        """Rewrite the records that name the customer without the name; compaction drops the old ones."""
        erasure.check(ErasurePart.REQUEST)
        worker = erasure.reports[ErasurePart.WORKER].model_copy(update={"customer_id": None})
        done_at = erasure.reports[ErasurePart.HISTORY].at
        request = erasure.request.model_copy(update={"customer_id": None, "done_at": done_at})
        self._put(erasure, ErasurePart.WORKER, worker.model_dump_json().encode())
        self._put(erasure, ErasurePart.REQUEST, request.model_dump_json().encode())
        _log.info("customer erased", erasure=erasure.request.erasure_id)

    def _put(self, erasure: Erasure, part: ErasurePart, body: bytes) -> None:
        identity = erasure.request.erasure_id
        publisher = self._publish()
        place = partition_of(identity, self._settings.partitions)
        publisher.send(self._settings.topics.erasures, key=key_of(identity, part), value=body, partition=place)
        publisher.flush()

    def _publish(self) -> Publisher:
        if self._publisher is None:
            self._publisher = Publisher(self._settings)
        return self._publisher
