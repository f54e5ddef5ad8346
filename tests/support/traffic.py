"""A producer that never stops, and the judge of what a worker made of it, whatever happened to the worker meanwhile."""

import random
import threading
import time
from collections import defaultdict
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Self

import orjson

from clickhouse.client import connect
from ebb.contracts import examples as blocks
from ebb.contracts.activity import TICK_HEADER
from ebb.kafka.reader import read_to_end
from ebb.settings import Settings
from stream_processors.checkpoint import restore
from tests.support.activity import DAY_MS, START, Event, Record, Tick
from tests.support.flow import Source, activity_records, linear_replay, wait_for
from tests.support.oracle import Oracle

DAY = 86_400
CUSTOMERS = 60
STEP_SECONDS = 3_600
"""Event time between two rounds of events: a day passes every 24 rounds."""
KINDS = ("view", "view", "view", "login", "add_to_cart", "purchase", "support")


class Traffic(AbstractContextManager["Traffic"]):
    """Sends random events from a thread while the context lasts: in order but for the lateness, some twice, some wrong.

    Parameters
    ----------
    seed
        Makes the events the same each time; how many there are depends on how long it runs.
    pause
        Real seconds between two rounds.
    """

    def __init__(self, settings: Settings, *, seed: int, pause: float = 0.05) -> None:
        self.settings = settings
        self.refused = 0
        self.ids: set[str] = set()
        self._random = random.Random(seed)  # noqa: S311 - traffic, not secrets
        self._pause = pause
        self._source = Source(settings)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._round = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        # Closes the last day, for the worker and the judge alike.
        self._source.tick(START * DAY + self._round * STEP_SECONDS + 3 * DAY)
        self._source.flush()

    @property
    def sent(self) -> int:
        """Events sent so far, each counted once."""
        return len(self.ids)

    def _run(self) -> None:
        while not self._stop.is_set():
            now = START * DAY + self._round * STEP_SECONDS
            for _ in range(self._random.randint(1, 12)):
                # The more a customer's number, the more seldom they come; the last of them fall silent for good.
                customer = int(CUSTOMERS * self._random.random() ** 2)
                at = now - self._random.choice((0, 0, 60, 3_000))
                name = f"event-{self._round}-{len(self.ids)}"
                self._event(name, customer, at)
                if self._random.random() < 0.05:
                    self._event(name, customer, at)
            if self._random.random() < 0.05:
                self._source.raw(b'{"event_id": "no more than this"}', key=b"c0")
                self.refused += 1
            if self._round % 24 == 0:
                self._source.tick(now)
            self._round += 1
            time.sleep(self._pause)

    def _event(self, name: str, customer: int, at: float) -> None:
        kind = self._random.choice(KINDS)
        amount = {"amount": round(self._random.random() * 90, 2)} if kind == "purchase" else {}
        self._source.event(f"c{customer}", at, kind, event_id=name, country="NL" if customer % 2 else "DE", **amount)
        self.ids.add(name)


def judge(traffic: Traffic) -> None:
    """Hold what a worker made of the traffic to what a re-computation over the whole log says."""
    judge_log(traffic.settings, sent=traffic.sent, refused=traffic.refused)


def judge_log(settings: Settings, *, sent: int, refused: int = 0) -> None:
    """Hold state, rows, labels and refusals to what a re-computation over the whole log says.

    Parameters
    ----------
    sent
        Events acknowledged, each counted once.
    refused
        Records among them that cannot be accepted.
    """
    engines = linear_replay(settings)

    def caught_up() -> bool:
        return all(restore(settings, partition)[0].offset == engine.offset for partition, engine in engines.items())

    wait_for("the last checkpoint of every partition", caught_up, seconds=120)
    for partition, engine in engines.items():
        restored, board, _ = restore(settings, partition)
        assert restored.state.digest() == engine.state.digest(), f"the state of partition {partition}"
        assert restored.window.seen == engine.window.seen
        assert (board.table["band"] >= 0).all(), "a score of every customer has been published"

    client = connect(settings)
    try:
        rows = client.query("SELECT count(), uniqExact(event_id) FROM events FINAL").result_rows[0]
        assert rows == (sent, sent)
        dead = client.query("SELECT count() FROM dead_letters FINAL").result_rows[0][0]
        assert dead == refused
    finally:
        client.close()
    assert _published_labels(settings) == _expected_labels(settings)


Labels = dict[tuple[int, str, int], dict[str, int]]
"""Partition, target and boundary of the snapshot → label by customer."""


def _published_labels(settings: Settings) -> Labels:
    """Read the labels from the topic; what was written again after a crash must be what was written before it."""
    customers: dict[tuple[int, int], dict[int, list[str]]] = defaultdict(dict)
    found: Labels = {}
    for message in read_to_end(settings, settings.topics.examples, range(settings.partitions)):
        block = blocks.decode(message.value() or b"")
        if isinstance(block, blocks.Snapshot):
            chunks = customers[block.partition, block.boundary]
            assert chunks.setdefault(block.chunk, named := block.customer_ids.to_pylist()) == named
        elif isinstance(block, blocks.Labels):
            chunks = customers[block.partition, block.snapshot_boundary]
            ids = [customer for number in sorted(chunks) for customer in chunks[number]]
            labels = dict(zip(ids, block.labels.tolist(), strict=True))
            key = (block.partition, block.target, block.snapshot_boundary)
            assert found.setdefault(key, labels) == labels
    return found


def _expected_labels(settings: Settings) -> Labels:
    """Work the labels out from the records, by an oracle that shares no code with the worker."""
    due: Labels = {}
    for partition, records in activity_records(settings).items():
        items = [item for record in records if (item := _item(record)) is not None]
        oracle = Oracle(
            lateness=int(settings.allowed_lateness_seconds * 1000),
            lookback=settings.lookback_days,
            delay=settings.label_delay_days,
            horizons={"churn": settings.horizon_days, "purchase": settings.purchase_horizon_days},
        ).run(items)
        for (target, taken), labels in oracle.labels.items():
            due[partition, target, taken + START] = dict(zip(oracle.snapshots[taken], labels, strict=True))
    return due


def _item(record: Record) -> Event | Tick | None:
    headers = dict(record.headers)
    if TICK_HEADER in headers:
        return Tick(int(headers[TICK_HEADER]) * 1000 - START * DAY_MS)
    body = orjson.loads(record.value or b"null")
    if "customer_id" not in body:
        return None
    at = datetime.fromisoformat(body["occurred_at"]).timestamp()
    amount = body["properties"].get("amount")
    return Event(
        body["customer_id"], round(at * 1000) - START * DAY_MS, body["type"], amount=amount, id=body["event_id"]
    )
