"""Driving the real thing: events onto the topic, waiting for what follows, and the state that a worker left behind."""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from ebb.contracts.activity import TICK_HEADER, encode_activity
from ebb.contracts.scores import utc
from ebb.kafka.producer import Publisher
from ebb.kafka.reader import read_to_end
from ebb.settings import Settings
from stream_processors.ingest.decoder import Decoder
from stream_processors.state.engine import Engine
from tests.support.activity import Record

T = TypeVar("T")


def wait_for(what: str, check: Callable[[], T | None], *, seconds: float = 120.0) -> T:
    """Poll `check` until its result is true and return it; fail naming `what` was waited for."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := check():
            return found
        time.sleep(0.1)
    message = f"waited {seconds:.0f} s in vain for {what}"
    raise AssertionError(message)


class Source:
    """Sends events and ticks to the activity topic of a namespace."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.publisher = Publisher(settings)
        self.sent = 0

    def event(self, customer: str, at: float, kind: str = "view", *, event_id: str = "", **properties: Any) -> str:
        """Send an event that occurred at `at` (Unix seconds); returns its id."""
        self.sent += 1
        name = event_id or f"event-{self.sent}"
        moment: datetime = utc(at)
        self.raw(encode_activity(name, customer, kind, moment, properties), key=customer.encode())
        return name

    def raw(self, value: bytes, *, key: bytes | None = b"somebody", partition: int | None = None) -> None:
        """Send bytes as they are."""
        self.publisher.send(self.settings.topics.activity, key=key, value=value, partition=partition)

    def tick(self, at: float) -> None:
        """Send a tick of time `at` to every partition."""
        for partition in range(self.settings.partitions):
            self.publisher.send(
                self.settings.topics.activity,
                key=None,
                value=b"",
                partition=partition,
                headers=[(TICK_HEADER, str(int(at)).encode())],
            )

    def flush(self) -> None:
        """Wait until all is acknowledged."""
        self.publisher.flush()


def activity_records(settings: Settings) -> dict[int, list[Record]]:
    """Read the whole activity topic, by partition."""
    found: dict[int, list[Record]] = {partition: [] for partition in range(settings.partitions)}
    for message in read_to_end(settings, settings.topics.activity, range(settings.partitions)):
        offset, partition = message.offset(), message.partition()
        assert offset is not None
        assert partition is not None
        headers: Any = message.headers() or []
        found[partition].append(
            Record(
                offset,
                message.key(),
                message.value(),
                list(headers),
                message.timestamp()[1],
                settings.topics.activity,
                partition,
            )
        )
    return found


def linear_replay(settings: Settings) -> dict[int, Engine]:
    """Process every partition's records in one go, with nothing stopped or restarted."""
    engines = {}
    for partition, records in activity_records(settings).items():
        engine = Engine(partition, settings)
        if records:
            for part, erasing in Decoder(settings).decode(records).parts():
                engine.process(part)
                if erasing is not None:
                    engine.erase(erasing)
        engines[partition] = engine
    return engines
