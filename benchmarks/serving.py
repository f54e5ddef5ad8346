"""What the API holds: look-ups of scores beside a bare FastAPI "hello", and WebSocket clients under score changes.

The API runs as in production and reads its customers from the scores topic. The load comes from another process
(`benchmarks._callers`), on the same machine, so the two share its processors. "Hello" runs under the same server with
the same settings, one after the other with the look-ups and in turns, so compare the ratio.

Each of the clients follows `BENCH_FOLLOWED` customers, so a change goes to so many clients. Besides them one client
subscribes to everything and never reads, and `BENCH_PASSERS` come and go.
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
from ebb.errors import UnavailableError
from ebb.kafka import Publisher
from ebb.runtime import parts
from ebb.runtime.ports import free_port
from ebb.runtime.services import services
from ebb.runtime.supervisor import Supervisor
from ebb.settings import Settings
from ebb.topics import create_topics

CUSTOMERS = int(os.environ.get("BENCH_CUSTOMERS", "1000000"))
RATE = 1_000
SECONDS = float(os.environ.get("BENCH_SECONDS", "20"))
CONNECTIONS = 50
TURNS = 3
"""Peak rates are taken so often, hello and look-up in turns; the median of the ratios counts."""
PEAK_SECONDS = 5.0
CLIENTS = int(os.environ.get("BENCH_CLIENTS", "1000"))
FOLLOWED = int(os.environ.get("BENCH_FOLLOWED", "10"))
PASSERS = int(os.environ.get("BENCH_PASSERS", "100"))
_RESIDENT = re.compile(r"^process_resident_memory_bytes (\S+)", re.MULTILINE)


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as home, services(Settings(home=Path(home))) as base:
        settings = base.model_copy(update={"api_port": free_port(), "stream_clients": 2 * (CLIENTS + PASSERS)})
        create_topics(settings)
        migrate(settings)
        logs = settings.home / "logs"
        with Supervisor([parts.api(settings)], logs=logs, say=print):
            empty = _resident(settings)
        _fill(settings)
        port = free_port()
        hello = f"http://127.0.0.1:{port}/hello"
        bare = parts.Part(
            "hello",
            parts.module("benchmarks._hello", str(port)),
            parts.environment(settings),
            lambda: parts.responds(hello),
        )
        with Supervisor([parts.api(settings), bare], logs=logs, say=print):
            held = _resident(settings)
            print(
                f"memory of the API             {held / 2**20:>8,.0f} MiB with {CUSTOMERS:,} customers held, ", end=""
            )
            print(f"{empty / 2**20:,.0f} MiB with none: {(held - empty) / CUSTOMERS:,.0f} bytes each")
            figures = {**_look_ups(settings, hello), **_streams(settings)}
            print(f"memory of the API at the end  {_resident(settings) / 2**20:>8,.0f} MiB")
    print(json.dumps(figures))


def _fill(settings: Settings) -> None:
    publisher = Publisher(settings, linger_ms=50)
    for customer in range(CUSTOMERS):
        publisher.send(settings.topics.scores, key=f"c-{customer}", value=score(customer, 0))
    publisher.flush()


def _look_ups(settings: Settings, hello: str) -> dict[str, float]:
    url = parts.api_url(settings)
    path = "/v1/customers/c-%d/score"
    look_up: dict[str, Any] = {"url": url, "path": path, "customers": CUSTOMERS, "connections": CONNECTIONS}
    paced = _call(settings, "rest", **look_up, rate=RATE, seconds=SECONDS)
    print(f"look-ups at {RATE:,}/s           p50 {paced['p50_ms']:.2f} ms, p99 {paced['p99_ms']:.2f} ms", end="")
    print(f", {paced['per_s']:,.0f}/s answered, {paced['wrong']:.0f} wrong")
    ratios = []
    for _ in range(TURNS):
        bare = _call(settings, "rest", **{**look_up, "path": "/hello", "url": hello}, rate=0, seconds=PEAK_SECONDS)
        peak = _call(settings, "rest", **look_up, rate=0, seconds=PEAK_SECONDS)
        ratios.append(peak["per_s"] / bare["per_s"])
        print(f"peak: look-ups {peak['per_s']:,.0f}/s, hello {bare['per_s']:,.0f}/s: {ratios[-1]:.2f}")
    return {"rest_p99_ms": round(paced["p99_ms"], 2), "rest_hello_ratio": round(statistics.median(ratios), 3)}


def _streams(settings: Settings) -> dict[str, float]:
    url = f"{parts.api_url(settings).replace('http', 'ws', 1)}/v1/stream"
    load = {"clients": CLIENTS, "followed": FOLLOWED, "rate": RATE, "seconds": SECONDS, "passers": PASSERS}
    told = _call(settings, "streams", url=url, **load)
    print(
        f"{CLIENTS:,} clients, {told['changes_per_s']:,.0f} changes/s, {told['deliveries_per_s']:,.0f} deliveries/s: ",
        end="",
    )
    print(f"p50 {told['p50_ms']:.0f} ms, p99 {told['p99_ms']:.0f} ms, worst {told['worst_ms']:.0f} ms; ", end="")
    print(f"{told['missing']:.0f} of {told['deliveries'] + told['missing']:,.0f} missing, ", end="")
    print(f"{told['disordered']:.0f} out of order, {told['lost']:.0f} clients cut off, {told['visits']:.0f} visits")
    return {"ws_p99_ms": round(told["p99_ms"], 1), "ws_missing": int(told["missing"] + told["disordered"])}


def _call(settings: Settings, what: str, **told: Any) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks._callers", what, json.dumps(told)]
    done = subprocess.run(command, env=parts.environment(settings), stdout=subprocess.PIPE, check=True, text=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def _resident(settings: Settings) -> float:
    said = httpx.get(f"{parts.api_url(settings)}/metrics", trust_env=False, timeout=30).text
    found = _RESIDENT.search(said)
    if found is None:
        what = "The API does not tell its memory."
        raise UnavailableError(what)
    return float(found[1])


if __name__ == "__main__":
    main()
