"""Milliseconds from an event's production to its alert at a WebSocket client, by the rate of events offered.

How an event is made to cause an alert: customers with one event four weeks ago are in band high or critical; a new
event moves a customer to low, which raises an alert. The events of other customers make up the rate and are processed
by the same worker, which does all its usual work: features and events into ClickHouse, checkpoints, sweeps. Each such
customer is used once; the cool-down is off, because the earlier alert of the rise to critical would otherwise suppress
the second one. The load has a separate process and a schedule of its own.

An event was produced at the time that its Kafka record carries (whole milliseconds, rounded down); the time at which
the alert was raised (`raised_at`) divides the latency into the worker's and that from there to the client.
"""

import json
import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from confluent_kafka import OFFSET_END, Consumer, TopicPartition
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from benchmarks._figures import latencies_of, metric, percentile, scrape
from benchmarks._load import offer, random_events
from clickhouse.migrations import migrate
from ebb.contracts.activity import encode_activity
from ebb.kafka.admin import create_topics
from ebb.kafka.config import client_config
from ebb.kafka.reader import read_to_end
from ebb.settings import Settings
from ebb_cli.local import parts
from ebb_cli.local.ports import free_port
from ebb_cli.local.supervisor import Supervisor
from ebb_cli.local.system import services
from producers.activity_producer import ActivityProducer

PROBES_PER_SECOND = {100: 10, 1_000: 30, 5_000: 100}
"""Events offered per second → those of them that cause an alert: 10, 3 and 2 %, enough of each for a p99."""
SECONDS = float(os.environ.get("BENCH_SECONDS", "20"))
BURN_IN_SECONDS = float(os.environ.get("BENCH_BURN_IN", "20"))
"""Left out: in its first twenty seconds of load the broker's JVM spends more on compilation than on records."""
CUSTOMERS = int(os.environ.get("BENCH_CUSTOMERS", "20000"))
SILENT_DAYS = 28
ACTIVE_SECONDS = 3 * 86_400
"""All other customers were active in this time, and are in band low."""
AHEAD_SECONDS = 1.0
"""Time to prepare the load: its events are at most so far in the future."""
PATIENCE_SECONDS = 120.0


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as home, services(Settings(home=Path(home))) as base:
        settings = base.model_copy(update={"alert_cooldown_days": 0.0, "api_port": free_port()})
        create_topics(settings)
        migrate(settings)
        sent = prepare(settings)
        worker, api = parts.worker(settings), parts.api(settings)
        with Supervisor([worker, api], logs=settings.home / "logs", report=print):
            _until(lambda: _processed(worker) >= sent, "the history was processed")
            swept = _sweeps(worker)
            # The first of the two may have begun before.
            _until(lambda: _sweeps(worker) >= swept + 2, "all customers were scored again")
            latencies = {}
            for rate, per_second in PROBES_PER_SECOND.items():
                latencies[rate] = measure(settings, rate, per_second)
    names = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99}
    print(
        json.dumps(
            {
                name: {str(rate): round(percentile(list(all_ms), share), 1) for rate, all_ms in latencies.items()}
                for name, share in names.items()
            }
        )
    )


def prepare(settings: Settings) -> int:
    """Send the history of all customers, the silent ones first; return the number of events."""
    now = time.time()
    begin = now - SILENT_DAYS * 86_400
    seconds = BURN_IN_SECONDS + SECONDS
    silent = [probe(rate, n) for rate, each in PROBES_PER_SECOND.items() for n in range(round(each * seconds))]
    with ActivityProducer(settings, source="load", linger_ms=50) as producer:
        offer(producer, [(customer, _body(f"first-{customer}", customer, begin)) for customer in silent])
        offer(
            producer,
            random_events(
                5 * CUSTOMERS, customers=CUSTOMERS, seed=9, begin=now - ACTIVE_SECONDS, span_seconds=ACTIVE_SECONDS
            ),
        )
    return len(silent) + 5 * CUSTOMERS


def measure(settings: Settings, rate: int, per_second: int) -> list[float]:
    """Offer events at a rate to an idle system; return the latencies of the alerts after the burn-in, in ms."""
    ends = _ends(settings)
    alerts: dict[str, tuple[float, float]] = {}
    listening = threading.Event()
    with connect(parts.api_url(settings).replace("http", "ws") + "/v1/stream", proxy=None, max_size=None) as socket:
        socket.send(json.dumps({"type": "subscribe", "topics": ["alerts"], "filter": {"bands": ["low"]}}))
        listener = threading.Thread(target=_listen, args=(socket, alerts, listening), daemon=True)
        listener.start()
        listening.wait(10)
        context = multiprocessing.get_context("spawn")
        results: Any = context.SimpleQueue()
        load = context.Process(target=run_load, args=(settings, rate, per_second, results))
        load.start()
        load.join()
        if load.exitcode:
            message = f"the load of {rate} events/s ended with exit code {load.exitcode}; see above"
            raise SystemExit(message)
        behind = results.get()
        sent = _produced(settings, ends, rate)
        deadline = time.monotonic() + 10
        while len(alerts.keys() & sent.keys()) < len(sent) and time.monotonic() < deadline:
            time.sleep(0.1)
    since = min(sent.values()) + BURN_IN_SECONDS
    latencies, missing = latencies_of(sent, {key: arrived for key, (arrived, _) in alerts.items()}, since=since)
    scored, _ = latencies_of(sent, {key: raised for key, (_, raised) in alerts.items()}, since=since)
    onward = [whole - part for whole, part in zip(latencies, scored, strict=True)]
    if missing:
        message = (
            f"{len(missing)} of {len(missing) + len(latencies)} alerts did not arrive, the first that of {missing[0]}"
        )
        raise SystemExit(message)
    print(
        f"{rate:>6,} events/s offered: {len(latencies)} alerts, none missing; "
        f"load at most {behind * 1000:.0f} ms behind"
    )
    for name, values in (
        ("produced -> client", latencies),
        ("produced -> scored", scored),
        ("scored -> client", onward),
    ):
        p50, p95, p99 = (percentile(values, share) for share in (0.5, 0.95, 0.99))
        print(f"       {name:<20} p50 {p50:7.1f}   p95 {p95:7.1f}   p99 {p99:7.1f}   worst {max(values):7.1f} ms")
    return latencies


def run_load(settings: Settings, rate: int, per_second: int, results: Any) -> None:
    """Offer the events of a rate, with the silent customers' spread evenly; put its largest delay into `results`."""
    seconds = BURN_IN_SECONDS + SECONDS
    count, probes = round(rate * seconds), round(per_second * seconds)
    begin = time.time() + AHEAD_SECONDS
    events = random_events(count, customers=CUSTOMERS, seed=rate, begin=begin, span_seconds=seconds)
    for number in range(probes):
        index = number * count // probes
        customer_id = probe(rate, number)
        events[index] = (customer_id, _body(f"back-{customer_id}", customer_id, begin + index / rate))
    with ActivityProducer(settings, source="load", linger_ms=0) as producer:
        results.put(offer(producer, events, rate=rate).behind)


def probe(rate: int, number: int) -> str:
    """Return the id of a silent customer who returns under a rate."""
    return f"silent-{rate}-{number:06d}"


def _body(event_id: str, customer_id: str, at: float) -> bytes:
    return encode_activity(event_id, customer_id, "view", datetime.fromtimestamp(at, UTC), {"channel": "web"})


def _listen(socket: Any, alerts: dict[str, tuple[float, float]], listening: threading.Event) -> None:
    try:
        for text in socket:
            arrived = time.time()
            message = json.loads(text)
            if message["type"] == "subscribed":
                listening.set()
            elif message["type"] == "alert":
                data = message["data"]
                raised = datetime.fromisoformat(data["raised_at"]).timestamp()
                alerts.setdefault(data["customer_id"], (arrived, raised))
    except ConnectionClosed:
        return


def _produced(settings: Settings, ends: dict[int, int], rate: int) -> dict[str, float]:
    """Return when the event of each silent customer of a rate was produced."""
    mine = f"silent-{rate}-".encode()
    produced = {}
    for record in read_to_end(settings, settings.topics.activity, range(settings.partitions)):
        key = record.key()
        offset, partition = int(record.offset() or 0), int(record.partition() or 0)
        if isinstance(key, bytes) and key.startswith(mine) and offset >= ends[partition]:
            produced[key.decode()] = record.timestamp()[1] / 1000
    return produced


def _ends(settings: Settings) -> dict[int, int]:
    consumer = Consumer(client_config(settings, group_id="bench", enable_auto_commit=False))
    partitions = [TopicPartition(settings.topics.activity, number, OFFSET_END) for number in range(settings.partitions)]
    ends = {each.partition: consumer.get_watermark_offsets(each, timeout=10)[1] for each in partitions}
    consumer.close()
    return ends


def _processed(worker: parts.ManagedProcess) -> float:
    text = scrape(worker)
    return sum(metric(text, "ebb_events_total", result=result) for result in ("accepted", "late"))


def _sweeps(worker: parts.ManagedProcess) -> float:
    return metric(scrape(worker), "ebb_sweep_seconds_count")


def _until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            message = f"waited {PATIENCE_SECONDS:.0f} s in vain until {what}"
            raise SystemExit(message)
        time.sleep(0.5)


if __name__ == "__main__":
    main()
