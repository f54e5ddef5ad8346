"""What was done about alerts, copied to ClickHouse for reports, by the replica that has the partition.

Guarantee: at least once, and the table merges duplicates; the group commits what is stored. While ClickHouse is away
the records wait on the topic.
"""

from collections.abc import Callable, Sequence

import pyarrow as pa
from confluent_kafka import Message
from pydantic import ValidationError

from clickhouse.store import Store
from clickhouse.tables import SCHEMAS
from ebb.contracts.alert_handling import HandlingRecord
from ebb.kafka.follower import TopicFollower
from ebb.settings import PlaceSettings
from serving.projections.types import IsErased

_TABLE = "alert_handling"
_LOOK_SECONDS = 0.2


class HandlingArchiver:
    """A thread that follows `ebb.handling` in a consumer group and inserts what it reads.

    Parameters
    ----------
    complete
        Whether `is_erased` knows all erasures; before, nothing is inserted.
    """

    def __init__(self, settings: PlaceSettings, is_erased: IsErased, complete: Callable[[], bool]) -> None:
        self._is_erased = is_erased
        self._complete = complete
        self._follower = TopicFollower(
            settings,
            "handling-archiver",
            self._handle,
            begin=lambda consumer: consumer.subscribe([settings.topics.handling]),
            commits=True,
            batch=500,
            # So that a burst becomes one insert.
            linger_seconds=0.5,
            group=settings.group("handling"),
            auto_offset_reset="earliest",
            # While ClickHouse is away nothing is polled, and the partition is to stay here.
            max_poll_interval_ms=86_400_000,
        )
        self._store = Store(settings, stopping=self._follower.stopping.is_set)

    @property
    def failure(self) -> str | None:
        """In what way the thread has failed for good, None if it works."""
        return self._follower.death

    def start(self) -> None:
        """Begin to follow."""
        self._follower.start()

    def stop(self) -> None:
        """Stop, after 5 s at most; what is not stored yet waits for the next consumer."""
        self._follower.stop()
        self._store.close()

    def _handle(self, records: Sequence[Message]) -> None:
        while records and not self._complete():
            self._follower.sleep(_LOOK_SECONDS)
        if records:
            self._store.insert(_TABLE, self._rows(records))

    def _rows(self, records: Sequence[Message]) -> pa.Table:
        rows = []
        for record in records:
            if (body := record.value()) is None:
                continue
            try:
                handling = HandlingRecord.model_validate_json(body)
            except ValidationError:  # logged by AlertHandlingView
                continue
            if not self._is_erased(handling.customer_id, handling.raised_at):
                fields = handling.model_dump(exclude={"by", "at", "raised_at"})
                rows.append({**fields, "actor": handling.by, "acted_at": handling.at})
        return pa.Table.from_pylist(rows, schema=SCHEMAS[_TABLE])
