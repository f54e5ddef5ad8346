"""The definition in Quix Streams: a stateful function over the topic, its state in RocksDB with a changelog.

Values stay bytes until one fast decoder has them, and state is one value a customer, written as bytes. The consumer
fetches ahead in large pieces. Quix hands over one record at a time; what was written since the last commit it answers
from memory, and it commits every 5 s, as it comes. Each result goes on to its topic, bytes too.
"""

from quixstreams import Application, State

from benchmarks._peers.definition import Seen
from benchmarks._peers.meter import Meter, Task
from benchmarks._peers.steps import one_record


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
        producer_extra_config={"linger.ms": 100, "batch.size": 1_000_000, "compression.type": "lz4"},
    )
    meter = Meter(task)
    seen = Seen(task.partitions)

    def count(body: bytes, key: str, timestamp: int, headers: object, state: State) -> tuple[bytes, ...]:  # noqa: ARG001 - Quix's call
        found = one_record(body, state.get_bytes("customer"), seen)
        meter.add(1)
        if found is None:
            return ()
        changed, message = found
        state.set_bytes("customer", changed)
        return (message,)

    activity = app.topic(task.topic, key_deserializer="str", value_deserializer="bytes")
    results = app.topic(task.results, key_serializer="str", value_serializer="bytes")
    # `expand` hands on what is in the tuple, one message or none, so that no step of its own need filter.
    app.dataframe(activity).apply(count, stateful=True, metadata=True, expand=True).to_topic(results)
    app.run()


if __name__ == "__main__":
    main()
