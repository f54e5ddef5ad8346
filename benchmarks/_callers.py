"""The load of `benchmarks.serving`, as a separate process: REST callers and WebSocket followers.

`python -m benchmarks._callers rest|streams <JSON>` prints one JSON object.
"""

import asyncio
import contextlib
import json
import random
import sys
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import orjson
import uvloop
from aiohttp import ClientSession, TCPConnector
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from ebb.kafka.producer import Publisher
from ebb.settings import Settings

SETTLE_SECONDS = 3.0
"""Time after the last change within which every message must arrive."""


def score(customer: int, number: int) -> bytes:
    """Return a score as a worker publishes it; `value_at_risk` is a running number of the customer's changes."""
    now = datetime.now(UTC).isoformat()
    churn = random.random()  # noqa: S311 - a load, not a secret
    band = ("low", "medium", "high", "critical")[sum(churn >= edge for edge in (0.3, 0.6, 0.8))]
    reason = {"feature": "recency", "contribution": 1.2, "text": "No activity for 12 days; usually every 3 days"}
    return orjson.dumps(
        {
            "customer_id": f"c-{customer}",
            "churn": churn,
            "purchase": 0.1,
            "band": band,
            "previous": 0.5,
            "trend_7d": 0.02,
            "reasons": [reason, {**reason, "feature": "spend"}, {**reason, "feature": "frequency"}],
            "value_at_risk": float(number),
            "expected_gain": 4.2,
            "country": "DE",
            "channel": "web",
            "model": {"name": "churn.logistic", "version": 3},
            "as_of": now,
            "scored_at": now,
        }
    )


async def rest(
    *, url: str, path: str, customers: int, rate: float, seconds: float, connections: int
) -> dict[str, float]:
    """Request a path, `%d` in it being a customer; `rate` times a second, or if that is 0 as fast as the API answers.

    A latency runs from the time at which the call was due, so that a stall counts for all the calls that it delayed.
    """
    address = urlsplit(url)
    latencies: list[float] = []
    wrong = 0
    begin = time.perf_counter() + 0.5

    async def caller(number: int) -> None:
        nonlocal wrong
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        due, turn = begin + (number / rate if rate else 0.0), number
        while due < begin + seconds:
            if (early := due - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            target = path.replace("%d", str(turn * 7_919 % customers))
            writer.write(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
            wrong += b" 200 " not in head[:20]
            now = time.perf_counter()
            latencies.append(now - due)
            turn += connections
            due = due + connections / rate if rate else now
        writer.close()

    await asyncio.gather(*(caller(number) for number in range(connections)))
    p50, p99 = np.percentile(latencies, [50, 99]) * 1_000
    took = time.perf_counter() - begin
    return {"calls": len(latencies), "per_s": len(latencies) / took, "p50_ms": p50, "p99_ms": p99, "wrong": wrong}


class Follower:
    """A WebSocket client that follows some customers and records which changes arrive."""

    def __init__(self, url: str, customers: list[int]) -> None:
        self.customers = customers
        self.delays: list[float] = []
        self.received: dict[str, int] = {}
        """Changes received, by customer."""
        self.disordered = 0
        self.subscribed = asyncio.Event()
        self.lost = ""
        self._url = url

    async def run(self, session: ClientSession) -> None:
        """Follow until cancelled."""
        sequence = 0
        # Its reader is compiled, so that a thousand clients in one process are not the bottleneck.
        async with session.ws_connect(self._url, max_msg_size=0) as socket:
            await socket.send_str(subscription(self.customers))
            async for message in socket:
                now, body = time.time(), orjson.loads(message.data)
                if body["type"] == "subscribed":
                    self.subscribed.set()
                elif body["type"] == "score":
                    data = body["data"]
                    customer, number = data["customer_id"], int(data["value_at_risk"])
                    last = self.received.get(customer, 0)
                    self.disordered += body["sequence"] <= sequence or number <= last
                    sequence = body["sequence"]
                    self.received[customer] = last + 1
                    self.delays.append(now - datetime.fromisoformat(data["scored_at"]).timestamp())
        self.lost = f"closed with {socket.close_code}"
        self.subscribed.set()


def subscription(customers: list[int] | None) -> str:
    """Return the message that subscribes to the scores of some customers, or of all."""
    subscribe: dict[str, Any] = {"type": "subscribe", "topics": ["scores"]}
    if customers is not None:
        subscribe["filter"] = {"customers": [f"c-{customer}" for customer in customers]}
    return json.dumps(subscribe)


async def streams(
    settings: Settings, *, url: str, clients: int, followed: int, rate: int, seconds: float, passers: int
) -> dict[str, Any]:
    """Publish score changes to Kafka and measure when each arrives at each client that follows the customer."""
    # Client i follows customers i, i + 1, …: every change goes to `followed` clients.
    followers = [Follower(url, [(i + k) % clients for k in range(followed)]) for i in range(clients)]
    session = ClientSession(connector=TCPConnector(limit=0))
    tasks = [asyncio.ensure_future(follower.run(session)) for follower in followers]
    await asyncio.gather(*(follower.subscribed.wait() for follower in followers))
    stalled = await connect(url, proxy=None, compression=None, max_queue=1)
    await stalled.send(subscription(None))
    visits = 0

    async def visit() -> None:
        nonlocal visits
        while True:
            with contextlib.suppress(ConnectionClosed):
                async with connect(url, proxy=None, compression=None, open_timeout=60) as socket:
                    await socket.send(subscription(random.sample(range(clients), followed)))
                    await asyncio.sleep(random.uniform(1, 3))  # noqa: S311
                    visits += 1

    tasks += [asyncio.ensure_future(visit()) for _ in range(passers)]
    await asyncio.sleep(1)
    publisher = Publisher(settings, linger_ms=1)
    # A producer's first record waits half a second for its connection, which a running worker already has.
    publisher.send(settings.topics.scores, key=f"c-{clients}", value=score(clients, 1))
    await asyncio.to_thread(publisher.flush)
    sent: dict[int, int] = {}
    began, busy = time.perf_counter(), time.process_time()
    for change in range(int(rate * seconds)):
        if (early := began + change / rate - time.perf_counter()) > 0:
            await asyncio.sleep(early)
        customer = change % clients
        sent[customer] = sent.get(customer, 0) + 1
        publisher.send(settings.topics.scores, key=f"c-{customer}", value=score(customer, sent[customer]))
    took, busy = time.perf_counter() - began, time.process_time() - busy
    await asyncio.to_thread(publisher.flush)
    await asyncio.sleep(SETTLE_SECONDS)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await session.close()
    stalled.transport.abort()
    missing = sum(
        sent[customer] - follower.received.get(f"c-{customer}", 0)
        for follower in followers
        for customer in follower.customers
    )
    delays = np.concatenate([follower.delays for follower in followers]) * 1_000
    p50, p99 = np.percentile(delays, [50, 99])
    return {
        "changes_per_s": sum(sent.values()) / took,
        "deliveries": len(delays),
        "deliveries_per_s": len(delays) / took,
        "p50_ms": p50,
        "p99_ms": p99,
        "worst_ms": delays.max(),
        "missing": missing,
        "disordered": sum(follower.disordered for follower in followers),
        "lost": sum(bool(follower.lost) for follower in followers),
        "visits": visits,
        "busy": busy / took,
    }


def main() -> None:
    """Run the load that the arguments name, and print its figures."""
    load, options = sys.argv[1], json.loads(sys.argv[2])
    figures = uvloop.run(rest(**options) if load == "rest" else streams(Settings(), **options))
    print(json.dumps({name: float(value) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
