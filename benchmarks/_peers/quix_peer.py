"""The definition in Quix Streams: a stateful function over the topic, its state in RocksDB with a changelog.

Values stay bytes until one fast decoder parses them, and state is one value a customer, written as bytes. The consumer
prefetches large chunks. Quix passes one record at a time, reads what was written since the last commit from memory,
and commits every 5 s by default. Each result is sent to its topic as bytes.
"""

from quixstreams import Application, State

from benchmarks._peers.definition import Seen
from benchmarks._peers.meter import Meter, Task
from benchmarks._peers.steps import one_record


def main() -> None:
    """Run the task until the process is stopped."""
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
        producer_extra_config={"linger.ms": 100, "batch.size": 1_000_000, "compression.type": "lz4"},
    )
    meter = Meter(task)
    seen = Seen(task.partitions)

    def count(body: bytes, key: str, timestamp: int, headers: object, state: State) -> tuple[bytes, ...]:  # noqa: ARG001 - Quix's call
        changed = one_record(body, state.get_bytes("customer"), seen)
        meter.add(1)
        if changed is None:
            return ()
        written, message = changed
        state.set_bytes("customer", written)
        return (message,)

    activity = app.topic(task.topic, key_deserializer="str", value_deserializer="bytes")
    results = app.topic(task.results, key_serializer="str", value_serializer="bytes")
    # `expand` emits the tuple's items, one message or none, so that no separate filter is needed.
    app.dataframe(activity).apply(count, stateful=True, metadata=True, expand=True).to_topic(results)
    app.run()


if __name__ == "__main__":
    main()
