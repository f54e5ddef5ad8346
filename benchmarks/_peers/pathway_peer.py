"""The definition in Pathway: a stateful reducer over the records of each key.

The topic is keyed by customer, so records are grouped as they come and parsed within the reducer: nothing passes
between Python and the engine that need not. The reducer is handed all that a minibatch brings for a customer and
returns the new state as bytes, for a value of Pathway's is not to be changed, and the message that tells it, which the
engine takes to Kafka by itself. Minibatches and backlog are Pathway's own, which were the fastest: under load a
minibatch holds hundreds of thousands of records. State stays in memory and would be recomputed from the topic: storing
that of a reducer asks for a licence key.
"""

import pathway as pw

from benchmarks._peers.definition import Seen
from benchmarks._peers.meter import Meter, Task
from benchmarks._peers.steps import Reduced, minibatch


def main() -> None:
    """Do the task; whoever started it stops it."""
    task = Task.read()
    meter = Meter(task)
    seen = Seen(task.partitions)

    def combine(before: Reduced | None, rows: list[tuple[list[bytes], int]]) -> Reduced:
        meter.add(sum(times for _, times in rows))
        return minibatch(before, rows, seen)

    records = pw.io.kafka.read(
        {"bootstrap.servers": task.bootstrap, "group.id": task.name, "auto.offset.reset": "earliest"},
        task.topic,
        format="raw",
        autogenerate_key=True,
    )
    reducer = pw.reducers.stateful_many(combine)
    reduced = records.groupby(pw.this.key).reduce(pw.this.key, result=reducer(pw.this.data))
    messages = reduced.select(
        key=pw.declare_type(bytes, pw.this.key), message=pw.declare_type(bytes, pw.this.result[1])
    )
    # A table would tell of each result twice: that the one before holds no more, and the new one.
    changes = messages.to_stream().filter(pw.this.message != b"")
    pw.io.kafka.write(
        changes,
        {"bootstrap.servers": task.bootstrap, "linger.ms": "20", "compression.type": "lz4"},
        task.results,
        format="raw",
        key=changes.key,
        value=changes.message,
    )
    pw.run(monitoring_level=pw.MonitoringLevel.NONE)


if __name__ == "__main__":
    main()
