"""The definition in Pathway: a stateful reducer over the records of each key.

The topic is keyed by customer, so records are grouped as they come and parsed within the reducer: nothing passes
between Python and the engine that need not. The reducer is handed all that a minibatch brings for a customer and
returns the new state as bytes, for a value of Pathway's is not to be changed. Minibatches and backlog are Pathway's
own, which were the fastest: under load a minibatch holds hundreds of thousands of records. State stays in memory
and would be recomputed from the topic: storing that of a reducer asks for a licence key.
"""

from typing import Any

import pathway as pw

from benchmarks._peers.definition import Seen, describe
from benchmarks._peers.meter import Meter, Task
from benchmarks._peers.steps import NOTHING, Result, minibatch, read


class Results(pw.io.python.ConnectorObserver):
    """Keeps the last result of each customer, and time."""

    def __init__(self, task: Task) -> None:
        self._meter = Meter(task)
        self._latest: dict[bytes, Result] = {}
        self._processed = 0

    def on_change(self, key: pw.Pointer, row: dict[str, Any], time: int, is_addition: bool) -> None:  # noqa: ARG002
        """Take a result."""
        if is_addition:
            customer, result = row["key"], row["result"]
            self._processed += result[2] - self._latest.get(customer, NOTHING)[2]
            self._latest[customer] = result

    def on_time_end(self, time: int) -> None:  # noqa: ARG002
        """Keep time: all results of a minibatch are there."""
        self._meter.add(self._processed - self._meter.processed)
        if self._meter.done:
            self._meter.hand_over(
                (key.decode(), describe(read(state)), score) for key, (state, score, _) in self._latest.items() if state
            )


def main() -> None:
    """Do the task; whoever started it stops it."""
    task = Task.read()
    seen = Seen(task.partitions)

    def combine(result: Result | None, rows: list[tuple[list[bytes], int]]) -> Result:
        return minibatch(result, rows, seen)

    records = pw.io.kafka.read(
        {"bootstrap.servers": task.bootstrap, "group.id": task.name, "auto.offset.reset": "earliest"},
        task.topic,
        format="raw",
        autogenerate_key=True,
    )
    reducer = pw.reducers.stateful_many(combine)
    results = records.groupby(pw.this.key).reduce(pw.this.key, result=reducer(pw.this.data))
    pw.io.python.write(results, Results(task))
    pw.run(monitoring_level=pw.MonitoringLevel.NONE)


if __name__ == "__main__":
    main()
