"""The definition in Quix Streams: a stateful function over the topic, its state in RocksDB with a changelog.

Values stay bytes until one fast decoder has them, and state is one value a customer, written as bytes. The consumer
fetches ahead in large pieces. Quix hands over one record at a time; what was written since the last commit it answers
from memory, and it commits every 5 s, as it comes.
"""

from quixstreams import Application, State

from benchmarks._peers.definition import Seen
from benchmarks._peers.meter import Meter, Task
from benchmarks._peers.steps import Described, one_record


def main() -> None:
    """Do the task; whoever started it stops it."""
    task = Task.read()
    app = Application(
        broker_address=task.bootstrap,
        consumer_group=task.name,
        auto_offset_reset="earliest",
        state_dir=task.folder,
        loglevel="WARNING",
        consumer_extra_config={
            "queued.min.messages": 200_000,
            "fetch.message.max.bytes": 4 * 1024 * 1024,
            "fetch.wait.max.ms": 20,
        },
        producer_extra_config={"linger.ms": 50, "batch.size": 1_000_000},
    )
    meter = Meter(task)
    seen = Seen(task.partitions)
    results: dict[str, Described] = {}

    def count(body: bytes, key: str, timestamp: int, headers: object, state: State) -> None:  # noqa: ARG001 - Quix's call
        found = one_record(body, state.get_bytes("customer"), seen)
        if found is not None:
            changed, results[key] = found
            state.set_bytes("customer", changed)
        meter.add(1)
        if meter.done:
            meter.hand_over((customer_id, *described) for customer_id, described in results.items())

    activity = app.topic(task.topic, key_deserializer="str", value_deserializer="bytes")
    app.dataframe(activity).update(count, stateful=True, metadata=True)
    app.run()


if __name__ == "__main__":
    main()
