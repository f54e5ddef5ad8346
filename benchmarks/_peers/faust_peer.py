"""The definition in unmodified Faust: an agent that takes batches, and a table with its changelog.

For throughput: values stay bytes until one fast decoder parses them; `take` with a large batch, so that each customer
in it is written to the table and its changelog, scored and sent once; large polls and buffers; uvloop; no web server.
Faust's loggers build a record for every message sent even if it is not printed, so levels up to INFO are disabled.
Results are sent directly to the producer, which batches them: `send_soon` adds a queue and a task.
"""

import logging

import faust
import uvloop

from benchmarks._peers.definition import Seen
from benchmarks._peers.meter import Meter, Task
from benchmarks._peers.steps import many_records

BATCH, WAIT_SECONDS = 20_000, 1.0
"""Larger batches are no faster; smaller ones write the changelog more often."""


def make(task: Task) -> faust.App:
    """Return the app that runs the task until the process is stopped."""
    app = faust.App(
        task.name,
        broker=f"kafka://{task.bootstrap}",
        datadir=task.folder,
        store="memory://",
        topic_partitions=task.partitions,
        web_enabled=False,
        broker_max_poll_records=10_000,
        broker_check_crcs=False,
        stream_buffer_maxsize=65_536,
        stream_wait_empty=False,
        producer_linger=0.02,
        producer_max_batch_size=262_144,
        consumer_auto_offset_reset="earliest",
    )
    activity = app.topic(task.topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
    # A batch holds records of several partitions; the partitioner finds that of each key.
    customers = app.Table(
        "customers", partitions=task.partitions, key_type=bytes, value_type=bytes, use_partitioner=True
    )
    meter = Meter(task)
    seen = Seen(task.partitions)
    results = app.topic(task.results, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")

    def kept(customer_id: str) -> bytes | None:
        state: bytes | None = customers.get(customer_id.encode())
        return state

    @app.agent(activity)
    async def consume(stream: faust.StreamT[bytes]) -> None:
        async for bodies in stream.take(BATCH, within=WAIT_SECONDS):
            for customer_id, (state, message) in many_records(bodies, kept, seen).items():
                key = customer_id.encode()
                customers[key] = state
                await results.send(key=key, value=message)
            meter.add(len(bodies))

    return app


if __name__ == "__main__":
    logging.disable(logging.INFO)
    uvloop.install()
    faust.Worker(make(Task.read()), loglevel="WARNING").execute_from_commandline()
