"""Carries erasures through: one replica each, from whatever state it finds, until every part has reported.

Membership of the consumer group decides which replica works on which partition of `ebb.erasures`; nothing is committed
there. What is to be done follows from the reports alone, so a replica that dies midway is followed by another that
goes on, and doing a step twice is harmless.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from confluent_kafka import Message

from clickhouse.erasing import Until, erase_rows
from ebb.contracts.erasures import ERASE_HEADER, ErasurePart, ErasurePartReport, key_of, partition_of
from ebb.errors import EbbError
from ebb.kafka.follower import TopicFollower
from ebb.kafka.producer import Publisher
from ebb.log import get_logger
from ebb.settings import Settings
from serving.projections.alert_handling import AlertHandlingView
from serving.projections.erasures import Erasure, ErasureView

LOOK_SECONDS = 0.5
_log = get_logger(__name__)


class ErasureWorker:
    """A thread that works on the open erasures of the partitions that are this replica's."""

    def __init__(self, settings: Settings, ledger: ErasureView, desk: AlertHandlingView) -> None:
        self._settings = settings
        self._ledger = ledger
        self._desk = desk
        self._publisher: Publisher | None = None
        self._early: set[str] = set()
        """Erasures whose history was deleted once before the others had forgotten the customer."""
        self._told: set[tuple[str, datetime, bool]] = set()
        """Steps done that may not have come back through the topic yet."""
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
        self._stopping = self._follower.stopping

    def start(self) -> None:
        """Begin to work."""
        self._follower.start()

    def stop(self) -> None:
        """Stop, and wait at most 5 s for the step under way."""
        self._follower.stop()

    def _handle(self, _: Sequence[Message]) -> None:
        # Records come by the reader; here the group alone matters.
        mine = self._follower.partitions
        for erasure in self._ledger.open():
            if partition_of(erasure.request.erasure_id, self._settings.partitions) in mine:
                self._carry(erasure)

    def _carry(self, erasure: Erasure) -> None:
        try:
            self._step(erasure)
        except EbbError as error:
            _log.warning("erasure_waits", erasure=erasure.request.erasure_id, error=str(error))
            self._stopping.wait(LOOK_SECONDS)

    def _step(self, erasure: Erasure) -> None:
        identity, customer, reports = erasure.request.erasure_id, erasure.customer_id, erasure.reports
        if customer is None:
            return
        if ErasurePart.ORDER not in reports and identity not in self._early:
            # Once per run of this process until it has come back through the topic; a second record would do no harm.
            publisher = self._publish()
            headers = [(ERASE_HEADER, identity.encode())]
            publisher.send(self._settings.topics.activity, key=customer, value=b"", headers=headers)
            publisher.flush()
            self._report(erasure, ErasurePart.ORDER, {})
        worker, learner = reports.get(ErasurePart.WORKER), reports.get(ErasurePart.LEARNER)
        if worker is None and identity not in self._early:
            # So that nobody reads on meanwhile; what the worker still writes goes when it has reported.
            self._forget_acts(erasure, customer)
            erase_rows(self._settings, customer, Until())
        self._early.add(identity)
        if worker is None or learner is None:
            return
        step = (identity, max(worker.at, learner.at), erasure.swept)
        if step in self._told:
            return
        if erasure.swept:
            self._finish(erasure)
        else:
            told = worker.details
            until = Until(told["partition"], told["offset"], told["event_time_ms"]) if told else Until()
            self._forget_acts(erasure, customer)
            self._report(erasure, ErasurePart.HISTORY, erase_rows(self._settings, customer, until))
        self._told.add(step)

    def _forget_acts(self, erasure: Erasure, customer: str) -> None:
        """Withdraw what was done about the customer's alerts: it names them, and its notes may tell of them."""
        publisher = self._publish()
        for key in self._desk.keys_of(customer, erasure.request.requested_at):
            publisher.send(self._settings.topics.handling, key=key, value=None, partition=0)
        publisher.flush()

    def _report(self, erasure: Erasure, part: ErasurePart, details: dict[str, int]) -> None:
        report = ErasurePartReport(at=datetime.now(UTC), details=details)
        self._put(erasure, part, report.model_dump_json().encode())

    def _finish(self, erasure: Erasure) -> None:
        """Write the records that name the customer anew without the name; compaction drops the old ones."""
        worker = erasure.reports[ErasurePart.WORKER].model_copy(update={"customer_id": None})
        done_at = erasure.reports[ErasurePart.HISTORY].at
        request = erasure.request.model_copy(update={"customer_id": None, "done_at": done_at})
        self._put(erasure, ErasurePart.WORKER, worker.model_dump_json().encode())
        self._put(erasure, ErasurePart.REQUEST, request.model_dump_json().encode())
        _log.info("customer_erased", erasure=erasure.request.erasure_id)

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
