"""Capacity of the API: look-ups of scores beside a bare FastAPI "hello", and WebSocket clients under score changes.

The API runs as in production and reads its customers from the scores topic. The load comes from another process
(`benchmarks._callers`) on the same machine, so the two share its processors. "Hello" runs under the same server with
the same settings, and alternates with the look-ups, so compare the ratio.

Each client follows `BENCH_FOLLOWED` customers, so a change goes to so many clients. Besides them one client subscribes
to all scores and never reads, and `BENCH_PASSERS` clients connect and disconnect.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx

from benchmarks._callers import score
from clickhouse.migrations import migrate
from ebb.kafka.admin import create_topics
from ebb.kafka.producer import Publisher
from ebb.settings import Settings
from ebb_cli.local import parts
from ebb_cli.local.ports import free_port
from ebb_cli.local.supervisor import Supervisor
from ebb_cli.local.system import services

CUSTOMERS = int(os.environ.get("BENCH_CUSTOMERS", "1000000"))
RATE = int(os.environ.get("BENCH_RATE", "1000"))
"""Look-ups a second, and score changes a second."""
SECONDS = float(os.environ.get("BENCH_SECONDS", "20"))
CONNECTIONS = 50
TURNS = 3
"""Number of measurements of the peak rates, hello and look-up alternately; the median of the ratios counts."""
PEAK_SECONDS = float(os.environ.get("BENCH_PEAK_SECONDS", "5"))
CLIENTS = int(os.environ.get("BENCH_CLIENTS", "1000"))
FOLLOWED = int(os.environ.get("BENCH_FOLLOWED", "10"))
PASSERS = int(os.environ.get("BENCH_PASSERS", "100"))
_SENT = 'ebb_ws_messages_total{type="score"}'


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as home, services(Settings(home=Path(home))) as base:
        settings = base.model_copy(update={"api_port": free_port(), "stream_clients": 2 * (CLIENTS + PASSERS)})
        create_topics(settings)
        migrate(settings)
        logs = settings.home / "logs"
        with Supervisor([parts.api(settings)], logs=logs, report=print):
            empty = _resident(settings)
        _fill(settings)
        port = free_port()
        hello = f"http://127.0.0.1:{port}"
        bare = parts.ManagedProcess(
            "hello",
            parts.module("benchmarks._hello", str(port)),
            parts.environment(settings),
            lambda: parts.responds(f"{hello}/hello"),
        )
        with Supervisor([parts.api(settings), bare], logs=logs, report=print):
            filled = _resident(settings)
            print(
                f"memory of the API             {filled / 2**20:>8,.0f} MiB with {CUSTOMERS:,} customers held, ", end=""
            )
            print(f"{empty / 2**20:,.0f} MiB with none: {(filled - empty) / CUSTOMERS:,.0f} bytes each")
            figures = {**_look_ups(settings, hello), **_streams(settings)}
            print(f"memory of the API at the end  {_resident(settings) / 2**20:>8,.0f} MiB")
    print(json.dumps(figures))


def _fill(settings: Settings) -> None:
    publisher = Publisher(settings, linger_ms=50)
    for customer in range(CUSTOMERS):
        publisher.send(settings.topics.scores, key=f"c-{customer}", value=score(customer, 0))
    publisher.flush()


def _look_ups(settings: Settings, bare: str) -> dict[str, float]:
    url = parts.api_url(settings)
    path = "/v1/customers/c-%d/score"
    look_up: dict[str, Any] = {"url": url, "path": path, "customers": CUSTOMERS, "connections": CONNECTIONS}
    paced = _call(settings, "rest", **look_up, rate=RATE, seconds=SECONDS)
    print(f"look-ups at {RATE:,}/s           p50 {paced['p50_ms']:.2f} ms, p99 {paced['p99_ms']:.2f} ms", end="")
    print(f", {paced['per_s']:,.0f}/s answered, {paced['wrong']:.0f} wrong")
    ratios = []
    for _ in range(TURNS):
        hello, hello_cost = _peak(settings, {**look_up, "path": "/hello", "url": bare})
        peak, cost = _peak(settings, look_up)
        ratios.append(peak / hello)
        print(f"peak: look-ups {peak:,.0f}/s, hello {hello:,.0f}/s: {ratios[-1]:.2f}; ", end="")
        print(f"processor time a request: {cost:.0f} µs, hello {hello_cost:.0f} µs")
    return {"rest_p99_ms": round(paced["p99_ms"], 2), "rest_hello_ratio": round(statistics.median(ratios), 3)}


def _peak(settings: Settings, call: dict[str, Any]) -> tuple[float, float]:
    """Return how many calls a second are answered, and the processor time of each in µs."""
    before = _cpu(call["url"])
    figures = _call(settings, "rest", **call, rate=0, seconds=PEAK_SECONDS)
    return figures["per_s"], (_cpu(call["url"]) - before) / figures["calls"] * 1e6


def _streams(settings: Settings) -> dict[str, float]:
    url = parts.api_url(settings)
    load = {"clients": CLIENTS, "followed": FOLLOWED, "rate": RATE, "seconds": SECONDS, "passers": PASSERS}
    before, sent = _cpu(url), _metric(url, _SENT)
    figures = _call(settings, "streams", url=f"{url.replace('http', 'ws', 1)}/v1/stream", **load)
    cost, sent = _cpu(url) - before, _metric(url, _SENT) - sent
    print(f"{CLIENTS:,} clients, {figures['changes_per_s']:,.0f} changes/s, ", end="")
    print(f"{figures['deliveries_per_s']:,.0f} deliveries/s: ", end="")
    print(
        f"p50 {figures['p50_ms']:.0f} ms, p99 {figures['p99_ms']:.0f} ms, worst {figures['worst_ms']:.0f} ms; ", end=""
    )
    print(f"{figures['missing']:.0f} of {figures['deliveries'] + figures['missing']:,.0f} missing, ", end="")
    print(f"{figures['disordered']:.0f} out of order, {figures['lost']:.0f} clients cut off, ", end="")
    print(f"{figures['visits']:.0f} visits; ", end="")
    print(f"the load took {figures['busy']:.2f} of a core; ", end="")
    print(f"processor time: {cost:.1f} s for {sent:,.0f} messages sent, {cost / max(1.0, sent) * 1e6:.0f} µs each")
    return {"ws_p99_ms": round(figures["p99_ms"], 1), "ws_missing": int(figures["missing"] + figures["disordered"])}


def _call(settings: Settings, load: str, **options: Any) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks._callers", load, json.dumps(options)]
    done = subprocess.run(command, env=parts.environment(settings), stdout=subprocess.PIPE, check=True, text=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def _metric(url: str, name: str) -> float:
    """Return a metric of a process; 0 if it is not exported yet."""
    text = httpx.get(f"{url}/metrics", trust_env=False, timeout=30).text
    match = re.search(rf"^{re.escape(name)} (\S+)", text, re.MULTILINE)
    return float(match[1]) if match else 0.0


def _cpu(url: str) -> float:
    """Return the CPU seconds that a process has used."""
    return _metric(url, "process_cpu_seconds_total")


def _resident(settings: Settings) -> float:
    return _metric(parts.api_url(settings), "process_resident_memory_bytes")


if __name__ == "__main__":
    main()
