"""Blocks: what is written is read, in the memory of the record, and whatever else lies on the topic is refused."""

import dataclasses
import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebb.contracts.examples import Block, Close, Labels, Snapshot, Withdraw, customers_digest, decode, encode
from ebb.contracts.features import SCHEMA_HASH, WIDTH
from ebb.errors import CorruptError, SchemaMismatchError


def snapshot(rows: int) -> Snapshot:
    rng = np.random.default_rng(rows)
    ids = pa.array([f"customer {row} 🛒" for row in range(rows)], pa.utf8())
    countries = pa.array([None if row % 3 else "DE" for row in range(rows)], pa.utf8())
    features = rng.random((rows, WIDTH), np.float32)
    served = rng.random(rows, np.float32)
    return Snapshot(3, 20_000, 1, ids, countries, pa.nulls(rows, pa.utf8()), features, served, served, {"churn": ids})


BLOCKS: list[Block] = [
    snapshot(7),
    snapshot(0),
    Labels(1, 20_014, "churn", 20_000, np.array([0, 1, 255], np.uint8), "silence/14", customers_digest(["a", "b"])),
    Close(0, 20_000, chunks=2, labels=1),
    Withdraw(2, 20_001, "e1", np.array([20_000], np.int32), np.array([5], np.int32)),
]


def plain(block: Block) -> dict[str, Any]:
    """Return a block's fields, arrays as lists."""
    fields = {one.name: getattr(block, one.name) for one in dataclasses.fields(block)}
    return {name: value.tolist() if hasattr(value, "tolist") else value for name, value in fields.items()} | {
        "arms": {target: names.to_pylist() for target, names in fields.get("arms", {}).items()}
    }


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: type(block).__name__)
def test_a_block_is_read_as_it_was_written(block: Block) -> None:
    assert plain(decode(encode(block))) == plain(block)


def test_a_snapshot_that_was_read_holds_the_record_once() -> None:
    body = encode(snapshot(4_000))
    before = pa.total_allocated_bytes()
    read = decode(body)
    assert isinstance(read, Snapshot)
    assert pa.total_allocated_bytes() - before < 0.01 * len(body), "its columns must share the record's memory"
    assert np.shares_memory(read.features, np.frombuffer(body, np.uint8))


def written(meta: dict[str, str], columns: dict[str, Any]) -> bytes:
    schema = pa.schema([(name, pa.array(column).type) for name, column in columns.items()])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema.with_metadata(meta)) as writer:
        if columns:
            writer.write_batch(pa.record_batch(list(map(pa.array, columns.values())), names=list(columns)))
    return bytes(sink.getvalue())


META = {"schema_hash": SCHEMA_HASH, "partition": "0", "boundary": "20000"}


@pytest.mark.parametrize(
    ("meta", "columns"),
    [
        ({}, {}),
        ({"kind": "gift"}, {}),
        ({"kind": "snapshot", "chunk": "0"}, {"customer_id": ["a"]}),
        ({"kind": "snapshot"}, {}),
        ({"kind": "labels", "target": "churn", "snapshot_boundary": "x"}, {"label": [1]}),
        ({"kind": "labels", "target": "churn", "snapshot_boundary": "19986"}, {"label": [None, 1]}),
        ({"kind": "labels", "target": "churn", "snapshot_boundary": "19986"}, {"label": [0.0, 1.0]}),
        ({"kind": "close", "chunks": "1"}, {}),
        ({"kind": "withdraw", "erasure": "e"}, {}),
        ({"kind": "close", "chunks": "1", "labels": "1", "boundary": "one"}, {}),
    ],
)
def test_a_record_that_is_no_block_is_refused(meta: dict[str, str], columns: dict[str, Any]) -> None:
    with pytest.raises(CorruptError, match="is not a block"):
        decode(written({**META, **meta}, columns))


def test_a_block_for_other_features_is_refused() -> None:
    with pytest.raises(SchemaMismatchError, match="feature schema"):
        decode(written({**META, "kind": "close", "schema_hash": "0"}, {}))


@given(st.sampled_from(BLOCKS), st.integers(0, 10**6))
def test_damage_is_refused_or_gives_a_block(block: Block, seed: int) -> None:
    body, rng = bytearray(encode(block)), random.Random(seed)  # noqa: S311
    for _ in range(rng.randint(1, 4)):
        body[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
    damaged = bytes(body[: rng.randint(0, len(body))] if rng.random() < 0.3 else body)
    try:
        read = decode(damaged)
    except (CorruptError, SchemaMismatchError):
        return
    assert isinstance(read, Block)
