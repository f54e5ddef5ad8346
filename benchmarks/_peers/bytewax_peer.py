"""The definition in Bytewax: records parsed a batch at a time, customers kept by `stateful_batch`.

`stateful_batch` hands over all that is queued for a customer at once, so features and score are computed once a batch;
larger batches from Kafka make it queue more. Recovery is on; a snapshot is a customer's state as bytes.
"""

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSource, KafkaSourceMessage
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main

from benchmarks._peers.definition import Customer, Seen, parse
from benchmarks._peers.meter import Meter, Task
from benchmarks._peers.steps import Change, Described, queued_changes, read, write

BATCH = 30_000
"""Records of a partition taken at once; Bytewax's own is 1,000, which is slower."""
EPOCH = timedelta(seconds=10)
"""Bytewax's own: at the end of each epoch it stores the state of the customers touched."""

Result = tuple[int, Described]
"""Events counted, features and score."""


class CustomerLogic(op.StatefulBatchLogic[Change, Result, bytes]):
    """One customer."""

    def __init__(self, kept: bytes | None) -> None:
        self._customer: Customer | None = None if kept is None else read(kept)

    def on_batch(self, values: list[Change]) -> tuple[Iterable[Result], bool]:
        """Count what is queued."""
        self._customer, described = queued_changes(self._customer, values)
        return ((len(values), described),), self.RETAIN

    def snapshot(self) -> bytes:
        """Return the state as bytes, which nothing can change."""
        return write(self._customer)


class Results(DynamicSink[tuple[str, Result]], StatelessSinkPartition[tuple[str, Result]]):
    """Keeps the last result of each customer, and time."""

    def __init__(self, task: Task) -> None:
        self.meter = Meter(task)
        self._latest: dict[str, Result] = {}

    def build(self, step_id: str, worker_index: int, worker_count: int) -> "Results":  # noqa: ARG002 - its interface
        """Return the one partition of the one worker."""
        return self

    def write_batch(self, items: list[tuple[str, Result]]) -> None:
        """Take results."""
        self._latest.update(items)
        self.meter.add(sum(result[0] for _, result in items))
        self.finish()

    def finish(self) -> None:
        """Hand over if the last record was processed just now."""
        if self.meter.done:
            self.meter.hand_over((customer_id, *described) for customer_id, (_, described) in self._latest.items())


def make(task: Task) -> Dataflow:
    """Return the dataflow that does the task."""
    results = Results(task)
    seen = Seen(task.partitions)

    def accept(messages: list[KafkaSourceMessage[bytes, bytes]]) -> list[tuple[str, Change]]:
        found = []
        for message in messages:
            event = parse(message.value)
            if event is not None and seen.new(event[0]):
                found.append((event[1], event[2:]))
        results.meter.add(len(messages) - len(found))
        results.finish()
        return found

    source = KafkaSource([task.bootstrap], [task.topic], batch_size=BATCH, add_config={"fetch.wait.max.ms": "20"})
    flow = Dataflow("peer")
    events = op.flat_map_batch("accept", op.input("activity", flow, source), accept)
    op.output("results", op.stateful_batch("customers", events, CustomerLogic), results)
    return flow


def main() -> None:
    """Do the task; whoever started it stops it."""
    task = Task.read()
    store = Path(task.folder, "recovery")
    store.mkdir()
    init_db_dir(store, 1)
    cli_main(make(task), epoch_interval=EPOCH, recovery_config=RecoveryConfig(str(store)))


if __name__ == "__main__":
    main()
