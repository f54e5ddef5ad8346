"""Advance open erasures, each by one replica, until every part has reported (`ebb.contracts.erasures`).

Membership of the consumer group decides which replica works on which partition of `ebb.erasures`; nothing is committed
there. The next step follows from an erasure's state alone, so that another replica resumes where one died, and
repeating a step is harmless. Rows in ClickHouse are deleted in batches, one at a time (`clickhouse.erasing`).
"""

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

from confluent_kafka import Message

from clickhouse.erasing import LARGEST_BATCH, Deletion, DeletionBatch, RowEraser, Until
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
BATCH_SECONDS = 10.0
"""Least time between the beginnings of two batches, so that requests that follow one another share their mutations."""
_log = get_logger(__name__)


class ErasureWorker:
    """A thread that advances the open erasures of the partitions assigned to this replica.

    Parameters
    ----------
    complete
        Whether `erasures` and `alert_handling` hold what is on their topics; before, nothing is done.
    """

    def __init__(
        self,
        settings: PlaceSettings,
        erasures: ErasureView,
        alert_handling: AlertHandlingView,
        complete: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._erasures = erasures
        self._alert_handling = alert_handling
        self._complete = complete
        self._publisher: Publisher | None = None
        self._eraser = RowEraser(settings)
        self._ordered: set[str] = set()
        """Erasures whose order this process has sent."""
        self._early: dict[str, dict[str, int]] = {}
        """Rows by table that were deleted and not reported yet, by erasure."""
        self._deleting: dict[str, tuple[datetime, ErasureState] | None] = {}
        """Step of each erasure for which its rows are being deleted, of the batches that this process began."""
        self._answered: dict[str, tuple[datetime, ErasureState]] = {}
        """Latest step done of each erasure: the time of the reports that it answered, and the state."""
        self._batches: list[DeletionBatch] | None = None
        """Batches that are being deleted, of all replicas; None: to be read from ClickHouse."""
        self._mine: set[int] = set()
        self._began_at = -BATCH_SECONDS
        self._logged = ""
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
        """Begin to look for open erasures."""
        self._follower.start()

    def stop(self) -> None:
        """Stop, after 5 s at most; the next replica resumes."""
        self._follower.stop()
        self._eraser.close()

    def _handle(self, _: Sequence[Message]) -> None:
        # What the records hold was applied to the view by the reader; here the group alone matters.
        if not self._complete():
            return
        mine = self._follower.partitions
        if mine != self._mine:
            self._mine, self._batches = mine, None
        open_ = [one for one in self._erasures.open() if self._place(one.request.erasure_id) in mine]
        if not open_ and self._batches == []:
            return
        try:
            self._order([one for one in open_ if one.state is ErasureState.REQUESTED])
            self._delete(open_, mine)
            self._finish([one for one in open_ if one.state is ErasureState.DELETED and self._is_due(one)])
        except EbbError as error:
            self._batches = None
            self._log(str(error))
            self._follower.sleep(LOOK_SECONDS)

    def _place(self, erasure_id: str) -> int:
        return partition_of(erasure_id, self._settings.partitions)

    def _order(self, erasures: Iterable[Erasure]) -> None:
        """Put the records that erase customers on their partitions."""
        # What this process has sent is only not read back yet; a second record would do no harm.
        unsent = [one for one in erasures if one.request.erasure_id not in self._ordered]
        if not unsent:
            return
        publisher = self._publish()
        for erasure in unsent:
            headers = [(ERASE_HEADER, erasure.request.erasure_id.encode())]
            publisher.send(self._settings.topics.activity, key=erasure.customer_id, value=b"", headers=headers)
        publisher.flush()
        for erasure in unsent:
            self._report(erasure, ErasurePart.ORDER, {})
        publisher.flush()
        self._ordered.update(one.request.erasure_id for one in unsent)

    def _is_due(self, erasure: Erasure) -> bool:
        """Return whether the step of an erasure's state is to be done; not if only its record is not read back yet."""
        return self._answered.get(erasure.request.erasure_id) != _step(erasure)

    def _delete(self, open_: Sequence[Erasure], mine: set[int]) -> None:
        """Advance the batches that are under way; begin one with what is due if none of this replica's is."""
        if self._batches is None:
            self._batches = self._eraser.under_way()
        own = [one for one in self._batches if self._place(one.name.partition("-")[0]) in mine]
        for batch in own:
            why = self._eraser.advance(batch)
            if why is not None:
                self._log(why)
                return
            self._close(batch)
        others = {erasure_id for batch in self._batches for erasure_id in batch.early}
        steps = {one.request.erasure_id: _step(one) for one in open_}  # before it is read up to where they are deleted
        deletions = [one for one in map(self._deletion, open_) if one is not None]
        due = [one for one in deletions if one.erasure_id not in others]
        if len(due) < len(deletions):  # another replica began them before a rebalance; look again whether it has ended
            self._batches = None
        elif due and time.monotonic() - self._began_at >= BATCH_SECONDS:
            self._began_at = time.monotonic()
            due = due[:LARGEST_BATCH]
            self._batches.append(self._eraser.begin(due))
            self._deleting.update({one.erasure_id: steps[one.erasure_id] for one in due})

    def _deletion(self, erasure: Erasure) -> Deletion | None:
        """Return which rows of an erasure are to be deleted now; None if none are, or they were."""
        identity, customer = erasure.request.erasure_id, erasure.customer_id
        if customer is None:
            return None
        match erasure.state:
            case ErasureState.REQUESTED | ErasureState.ORDERED if identity not in self._early:
                # Reports and dashboards read ClickHouse; what is written until the worker reports goes at the end.
                asked_ms = int(erasure.request.requested_at.timestamp() * 1_000)
                return Deletion(identity, customer, Until(wall_ms=asked_ms), early=True)
            case ErasureState.UNLEARNED if self._is_due(erasure):
                where = erasure.reports[ErasurePart.WORKER].details
                until = Until(where["partition"], where["offset"], where["event_time_ms"]) if where else Until()
                return Deletion(identity, customer, until)
            case _:
                return None

    def _close(self, batch: DeletionBatch) -> None:
        """Report the rows that a batch has deleted, and end it."""
        for identity, early in batch.early.items():
            erasure, rows = self._erasures.get(identity), (batch.rows or {}).get(identity, {})
            before = self._early.get(identity, {})
            total = {table: count + before.get(table, 0) for table, count in rows.items()}
            self._early[identity] = total
            # Taken before the report is written: read back, it changes the state.
            begun, step = self._deleting.pop(identity, None), None if erasure is None else _step(erasure)
            if erasure is None or erasure.customer_id is None:
                continue
            for key in self._alert_handling.keys_of(erasure.customer_id, erasure.covers):
                # The records name the customer, and notes may describe them.
                self._publish().send(self._settings.topics.handling, key=key, value=None, partition=0)
            # If the worker has reported again since, or another process began the batch, rows may be left: once more.
            if not early and step is not None and step == begun and step[1] is ErasureState.UNLEARNED:
                self._report(erasure, ErasurePart.HISTORY, total)
                self._answered[identity] = step
        self._publish().flush()
        self._eraser.end(batch)
        self._batches = [one for one in self._batches or () if one is not batch]
        self._logged = ""

    def _report(self, erasure: Erasure, part: ErasurePart, details: dict[str, int]) -> None:
        erasure.check(part)
        report = ErasurePartReport(at=datetime.now(UTC), details=details)
        self._put(erasure, part, report.model_dump_json().encode())

    def _finish(self, erasures: Sequence[Erasure]) -> None:
        """Rewrite the records that name customers without the names; compaction drops the old ones."""
        steps = {one.request.erasure_id: step for one in erasures if (step := _step(one)) is not None}
        for erasure in erasures:
            erasure.check(ErasurePart.REQUEST)
            worker = erasure.reports[ErasurePart.WORKER].model_copy(update={"customer_id": None})
            done_at = erasure.reports[ErasurePart.HISTORY].at
            request = erasure.request.model_copy(update={"customer_id": None, "done_at": done_at})
            self._put(erasure, ErasurePart.WORKER, worker.model_dump_json().encode())
            self._put(erasure, ErasurePart.REQUEST, request.model_dump_json().encode())
        if erasures:
            self._publish().flush()
        self._answered.update(steps)
        for identity in steps:
            self._early.pop(identity, None)
            self._ordered.discard(identity)
            _log.info("customer erased", erasure=identity)

    def _put(self, erasure: Erasure, part: ErasurePart, body: bytes) -> None:
        identity = erasure.request.erasure_id
        key, partition = key_of(identity, part), self._place(identity)
        self._publish().send(self._settings.topics.erasures, key=key, value=body, partition=partition)

    def _publish(self) -> Publisher:
        if self._publisher is None:
            self._publisher = Publisher(self._settings)
        return self._publisher

    def _log(self, why: str) -> None:
        """Log why erasures wait, unless it is what was logged last."""
        if why != self._logged:
            self._logged = why
            _log.warning("erasures wait", reason=why)


def _step(erasure: Erasure) -> tuple[datetime, ErasureState] | None:
    """Return what tells a step of an erasure from any other: the time of the reports that it answers, and the state.

    None while the worker or the learner has not reported.
    """
    worker, learner = (erasure.reports.get(part) for part in (ErasurePart.WORKER, ErasurePart.LEARNER))
    return None if worker is None or learner is None else (max(worker.at, learner.at), erasure.state)
