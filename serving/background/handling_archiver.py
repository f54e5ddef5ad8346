"""What was done about alerts, brought to ClickHouse for reports: each act once, by whichever replica has the partition.

Guarantee: at least once, and the table merges what comes twice; the group commits what is stored. While ClickHouse is
away the acts wait on the topic.
"""

import contextlib
import threading
from collections.abc import Callable, Sequence
from datetime import datetime

import pyarrow as pa
from confluent_kafka import Consumer, KafkaException, Message
from pydantic import ValidationError

from clickhouse.store import Store
from clickhouse.tables import SCHEMAS
from ebb.contracts.alert_handling import HandlingRecord
from ebb.errors import EbbError
from ebb.kafka.admin import create_topics
from ebb.kafka.config import client_config
from ebb.log import get_logger
from ebb.settings import PlaceSettings

_AGAIN_SECONDS = 2.0
_TABLE = "alert_handling"
_log = get_logger(__name__)

Hides = Callable[[str, datetime], bool]
"""Whether what was told of a customer at a time has been erased since."""


class HandlingArchiver:
    """A thread that follows `ebb.handling` in a consumer group and inserts what it reads."""

    def __init__(self, settings: PlaceSettings, hides: Hides) -> None:
        self._settings = settings
        self._hides = hides
        self._stopping = threading.Event()
        self._store = Store(settings, stopping=self._stopping.is_set)
        self._thread = threading.Thread(target=self._run, name="archive", daemon=True)

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def stop(self) -> None:
        """Stop; what is not stored yet waits for whoever follows."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(5)
        self._store.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                create_topics(self._settings)
                self._follow()
            except (KafkaException, EbbError) as error:
                if not self._stopping.is_set():
                    _log.warning("archive_interrupted", error=str(error), again_in_seconds=_AGAIN_SECONDS)
                    self._stopping.wait(_AGAIN_SECONDS)

    def _follow(self) -> None:
        consumer = Consumer(
            client_config(
                self._settings,
                group_id=self._settings.group("handling"),
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                # While ClickHouse is away nothing is polled, and the partition is to stay here.
                max_poll_interval_ms=86_400_000,
                allow_auto_create_topics=False,
            )
        )
        try:
            consumer.subscribe([self._settings.topics.handling])
            while not self._stopping.is_set():
                messages = [one for one in consumer.consume(500, 0.5) if one.error() is None]
                if messages:
                    self._store.insert(_TABLE, self._rows(messages))
                    consumer.commit(asynchronous=False)
        finally:
            with contextlib.suppress(KafkaException):
                consumer.close()

    def _rows(self, messages: Sequence[Message]) -> pa.Table:
        rows = []
        for message in messages:
            if (body := message.value()) is None:
                continue
            try:
                record = HandlingRecord.model_validate_json(body)
            except ValidationError:  # the desk has said so
                continue
            if not self._hides(record.customer_id, record.raised_at):
                told = record.model_dump(exclude={"by", "at", "raised_at"})
                rows.append({**told, "actor": record.by, "acted_at": record.at})
        return pa.Table.from_pylist(rows, schema=SCHEMAS[_TABLE])
