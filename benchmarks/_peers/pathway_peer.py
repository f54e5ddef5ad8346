"""The definition in Pathway: a stateful reducer over the records of each key.

The topic is keyed by customer, so records are grouped unparsed and parsed within the reducer, which keeps the data
exchanged between Python and the engine small. The reducer receives all records of a minibatch for a customer and
returns the new state as bytes, since Pathway's values are immutable, and the result message, which the engine sends to
Kafka. The sizes of minibatches and backlog are Pathway's defaults, which were the fastest: under load a minibatch
holds hundreds of thousands of records. State stays in memory and would be recomputed from the topic: persisting that
of a reducer requires a licence key.
"""

import pathway as pw

from benchmarks._peers.definition import Seen
from benchmarks._peers.meter import Meter, Task
from benchmarks._peers.steps import Reduced, minibatch


def main() -> None:
    """Run the task until the process is stopped."""
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
    # A table would emit two records for each result: the retraction of the previous one, and the new one.
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
