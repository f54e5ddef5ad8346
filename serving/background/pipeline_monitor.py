"""The state of the pipeline, sampled from Kafka every two seconds by a thread of its own."""

import contextlib
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import orjson
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from ebb.contracts.activity import TICK_HEADER, decode_activity
from ebb.errors import InvalidEventError
from ebb.kafka.config import broker_hint, client_config
from ebb.kafka.reader import read_tails
from ebb.log import get_logger
from ebb.settings import Settings

KEPT_SECONDS = 900.0
"""How far back samples are held; an older lag is reported as at least this."""


@dataclass(frozen=True)
class PartitionLag:
    """How far the workers are behind in one partition.

    The workers commit after a checkpoint, so a worker that keeps up still shows the records of one interval.
    """

    partition: int
    end: int
    committed: int
    """Offset up to which effects are durable; the beginning of the partition if nothing was committed."""
    events: int
    seconds: float
    """Age of the oldest record not yet committed, to within the sampling interval."""


class LagMeter:
    """Derives lag in seconds from samples of end offsets: a record is as old as the first sample that held it."""

    def __init__(self) -> None:
        self._ends: dict[int, deque[tuple[float, int]]] = {}
        self._commits: dict[int, deque[tuple[float, int]]] = {}

    def observe(self, now: float, partition: int, end: int, committed: int) -> PartitionLag:
        """Take a sample and return the lag.

        Parameters
        ----------
        now
            Monotonic seconds.
        end
            Offset that the next record will get.
        committed
            Offset that the group has committed.
        """
        ends = self._ends.setdefault(partition, deque())
        commits = self._commits.setdefault(partition, deque())
        ends.append((now, end))
        commits.append((now, committed))
        for samples in (ends, commits):
            while samples[0][0] < now - KEPT_SECONDS:
                samples.popleft()
        events = max(0, end - committed)
        seconds = 0.0
        if events:
            first = next((when for when, offset in ends if offset > committed), now)
            seconds = now - first
        return PartitionLag(partition, end, committed, events, seconds)

    def produced_per_second(self, window: float = 10.0) -> float:
        """Return events written to the topic per second over the last samples."""
        return sum(_rate(samples, window) for samples in self._ends.values())

    def processed_per_second(self, window: float = 10.0) -> float:
        """Return events committed by the workers per second over the last samples."""
        return sum(_rate(samples, window) for samples in self._commits.values())


def _rate(samples: deque[tuple[float, int]], window: float) -> float:
    last_at, last = samples[-1]
    recent = [sample for sample in samples if sample[0] >= last_at - window]
    first_at, first = recent[0]
    return max(0.0, (last - first) / (last_at - first_at)) if last_at > first_at else 0.0


SAMPLE_SECONDS = 2.0
LOOK_SECONDS = 10.0
"""Seconds between two looks at whether events come."""
TICKS = 50
"""Records of a partition that may all be ticks."""
STALE_SECONDS = 15.0
"""Age from which a sample is no longer reported as the present state."""
_TICK_DIGITS = 15
_LATEST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]
_EARLIEST: OffsetSpec = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_log = get_logger(__name__)


@dataclass(frozen=True)
class PipelineStatus:
    """A sample of the state of the pipeline."""

    taken_at: float
    """Monotonic seconds."""
    lags: tuple[PartitionLag, ...] = ()
    produced_per_second: float = 0.0
    processed_per_second: float = 0.0
    dead_letters: int = 0
    """Records on the dead-letter topic."""
    first_event: float | None = None
    """Event time of the first activity that is still on the topic, Unix seconds."""
    event_at: float | None = None
    """When the last event from anybody came, as far as is known, Unix seconds."""
    time_held: bool = False
    """Whether nothing has come for so long that the workers hold event time."""

    @property
    def lag_events(self) -> int:
        """Records not yet committed, all partitions."""
        return sum(lag.events for lag in self.lags)

    @property
    def lag_seconds(self) -> float:
        """Age of the oldest record not yet committed."""
        return max((lag.seconds for lag in self.lags), default=0.0)


@dataclass
class PipelineMonitor:
    """Samples offsets until it is stopped; `pipeline` is the newest sample, None if there is no recent one."""

    settings: Settings
    trouble: str | None = "Kafka has not been asked yet."
    _latest: PipelineStatus | None = None
    _first: float | None = None
    _event_at: float | None = None
    _looked_at: float = -60.0
    _seen: int = 0
    """Records on the activity topic at the last look."""
    _first_asked_at: float = -60.0
    _meter: LagMeter = field(default_factory=LagMeter)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    @property
    def pipeline(self) -> PipelineStatus | None:
        """The newest sample, None if it is too old."""
        latest = self._latest
        return latest if latest and time.monotonic() - latest.taken_at < STALE_SECONDS else None

    @property
    def failure(self) -> str | None:
        """In what way the thread has failed for good, None if it works."""
        ended = self._thread is not None and not self._thread.is_alive() and not self._stopping.is_set()
        return "has died" if ended else None

    def start(self) -> None:
        """Begin to sample."""
        self._thread = threading.Thread(target=self._run, name="pipeline-monitor", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop sampling and wait for the thread, at most 5 s."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(5)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._sample_until_refused()

    def _sample_until_refused(self) -> None:
        """Sample until the stop, or until the broker refuses what it is asked.

        A broker that lost its newest state (killed, its disk full) has an older leader epoch than the clients know, and
        refuses them for the five minutes after which they ask again who leads. New clients ask at once.
        """
        admin = AdminClient(client_config(self.settings, socket_timeout_ms=6_000))
        # Asks for the workers' offsets by their group's name and never joins the group. Not the admin client's
        # list_consumer_group_offsets: it crashes the process (librdkafka issue 5040, SIGSEGV) while the broker has no
        # group coordinator, as in the first seconds of a new broker.
        group = Consumer(client_config(self.settings, group_id=self.settings.group("worker")))
        try:
            while not self._stopping.is_set():
                try:
                    self._latest = self._sample(admin, group)
                    self.trouble = None
                except (KafkaException, TimeoutError) as error:
                    if self.trouble is None:
                        _log.warning("kafka does not answer", error=str(error))
                    what = f"Kafka at {self.settings.kafka_bootstrap} does not answer: {error}"
                    self.trouble = f"{what} {broker_hint(self.settings, '')}".strip()
                    if isinstance(error, KafkaException) and error.args[0].code() > 0:
                        self._stopping.wait(SAMPLE_SECONDS)
                        return
                except Exception as error:  # noqa: BLE001 - a monitor that ended in silence would be worse
                    _log.error("pipeline not sampled", exc_info=error)
                    self.trouble = f"The pipeline cannot be sampled: {error!r}"
                self._stopping.wait(SAMPLE_SECONDS)
        finally:
            group.close()

    def _sample(self, admin: AdminClient, group: Consumer) -> PipelineStatus:
        topics, partitions = self.settings.topics, range(self.settings.partitions)
        watched = (topics.activity, topics.dead_letters)
        ends = self._offsets(admin, watched, _LATEST)
        lows = self._offsets(admin, watched, _EARLIEST)
        committed = self._committed(group)
        now = time.monotonic()
        lags = []
        for one in partitions:
            low, end = lows[topics.activity, one], ends[topics.activity, one]
            lags.append(self._meter.observe(now, one, end, max(low, committed.get(one, low))))
        if self._first is None and any(ends[topics.activity, one] for one in partitions):
            self._find_first(now)
        self._look_for_events(now, sum(ends[topics.activity, one] for one in partitions))
        return PipelineStatus(
            taken_at=now,
            lags=tuple(lags),
            produced_per_second=self._meter.produced_per_second(),
            processed_per_second=self._meter.processed_per_second(),
            dead_letters=sum(ends[topics.dead_letters, one] - lows[topics.dead_letters, one] for one in partitions),
            first_event=self._first,
            event_at=self._event_at,
            time_held=self._is_held(),
        )

    def _look_for_events(self, now: float, records: int) -> None:
        """Find out when the last event came. More new records than ticks could be are events; few are looked at."""
        if now - self._looked_at < LOOK_SECONDS or records == self._seen:
            return
        if self._event_at is not None and records - self._seen > TICKS * self.settings.partitions:
            self._event_at = time.time()
        else:
            tails = read_tails(
                self.settings, self.settings.topics.activity, range(self.settings.partitions), records=TICKS
            )
            times = [
                message.timestamp()[1] / 1000
                for _, messages in tails
                for message in messages
                if not any(name == TICK_HEADER for name, _ in _headers(message))
            ]
            self._event_at = max([*times, self._event_at or 0.0]) or None
        self._looked_at, self._seen = now, records

    def _is_held(self) -> bool:
        settings = self.settings
        if self._event_at is None or not settings.hold_after or not settings.idle_after_seconds:
            return False
        return time.time() - self._event_at > settings.hold_after + LOOK_SECONDS

    def _offsets(self, admin: AdminClient, topics: tuple[str, ...], spec: OffsetSpec) -> dict[tuple[str, int], int]:
        asked = {
            TopicPartition(topic, partition): spec for topic in topics for partition in range(self.settings.partitions)
        }
        answers = admin.list_offsets(asked, request_timeout=5)
        return {(where.topic, where.partition): future.result(timeout=6).offset for where, future in answers.items()}

    def _committed(self, group: Consumer) -> dict[int, int]:
        topic = self.settings.topics.activity
        partitions = [TopicPartition(topic, partition) for partition in range(self.settings.partitions)]
        committed = group.committed(partitions, timeout=5)
        return {one.partition: one.offset for one in committed if one.offset >= 0}

    def _find_first(self, now: float) -> None:
        # Asked rarely: a topic with refused records at its beginning may never give a time.
        if now - self._first_asked_at < 10:
            return
        self._first_asked_at = now
        consumer = Consumer(
            client_config(
                self.settings,
                group_id=self.settings.group("api"),
                enable_auto_commit=False,
                auto_offset_reset="earliest",
            )
        )
        try:
            topic = self.settings.topics.activity
            consumer.assign([TopicPartition(topic, one, 0) for one in range(self.settings.partitions)])
            times = [_event_time(message.value(), message.headers()) for message in consumer.consume(200, 2.0)]
            self._first = min((one for one in times if one is not None), default=None)
        finally:
            consumer.close()


def _headers(message: Message) -> list[tuple[str, object]]:
    headers: Any = message.headers()
    return headers or []


def _event_time(body: str | bytes | None, headers: object) -> float | None:
    for name, value in headers if isinstance(headers, list) else ():
        if name == TICK_HEADER:
            # As workers take it; whatever else is there is no time.
            return float(value) if value is not None and value.isdigit() and len(value) <= _TICK_DIGITS else None
    if isinstance(body, str):
        body = body.encode()
    if body is None:
        return None
    with contextlib.suppress(InvalidEventError, orjson.JSONDecodeError):
        event, _ = decode_activity(body, latest=float("inf"), max_bytes=1 << 20)
        return event.occurred_at.timestamp()
    return None
