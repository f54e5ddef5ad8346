"""The definition in Bytewax: records parsed in batches, customers' state in `stateful_batch`.

`stateful_batch` passes all that is queued for a customer at once, so features and score are computed once a batch;
larger batches from Kafka make it queue more. Recovery is on; a snapshot is a customer's state as bytes. Results are
sent by Bytewax's Kafka sink, which waits at the end of each batch until the broker has it.
"""

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource, KafkaSourceMessage
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main

from benchmarks._peers.definition import Customer, Event, Seen, parse
from benchmarks._peers.meter import Meter, Task
from benchmarks._peers.steps import queued_events, read, write

BATCH = 30_000
"""Records of a partition per batch; Bytewax's default is 1,000, which is slower."""
EPOCH = timedelta(seconds=10)
"""Bytewax's default: at the end of each epoch it stores the state of the updated customers."""

Counted = tuple[int, bytes]
"""Number of events, and the message with the customer's result after them."""


class CustomerLogic(op.StatefulBatchLogic[Event, Counted, bytes]):
    """One customer."""

    def __init__(self, kept: bytes | None) -> None:
        self._customer: Customer | None = None if kept is None else read(kept)

    def on_batch(self, values: list[Event]) -> tuple[Iterable[Counted], bool]:
        """Update the customer with the queued events."""
        self._customer, message = queued_events(self._customer, values)
        return ((len(values), message),), self.RETAIN

    def snapshot(self) -> bytes:
        """Return the state as immutable bytes."""
        return write(self._customer)


def make(task: Task) -> Dataflow:
    """Return the dataflow that does the task."""
    meter = Meter(task)
    seen = Seen(task.partitions)

    def accept(messages: list[KafkaSourceMessage[bytes, bytes]]) -> list[tuple[str, Event]]:
        accepted = []
        for message in messages:
            event = parse(message.value)
            if event is not None and seen.new(event[0]):
                accepted.append((event[1], event))
        meter.add(len(messages) - len(accepted))
        return accepted

    def outgoing(results: list[tuple[str, Counted]]) -> list[KafkaSinkMessage[bytes, bytes]]:
        meter.add(sum(counted for _, (counted, _) in results))
        return [KafkaSinkMessage(customer_id.encode(), message) for customer_id, (_, message) in results]

    source = KafkaSource([task.bootstrap], [task.topic], batch_size=BATCH, add_config={"fetch.wait.max.ms": "20"})
    flow = Dataflow("peer")
    events = op.flat_map_batch("accept", op.input("activity", flow, source), accept)
    described = op.stateful_batch("customers", events, CustomerLogic)
    sink = KafkaSink([task.bootstrap], task.results, add_config={"linger.ms": "20", "compression.type": "lz4"})
    op.output("results", op.flat_map_batch("outgoing", described, outgoing), sink)
    return flow


def main() -> None:
    """Run the task until the process is stopped."""
    task = Task.read()
    store = Path(task.folder, "recovery")
    store.mkdir()
    init_db_dir(store, 1)
    cli_main(make(task), epoch_interval=EPOCH, recovery_config=RecoveryConfig(str(store)))


if __name__ == "__main__":
    main()
