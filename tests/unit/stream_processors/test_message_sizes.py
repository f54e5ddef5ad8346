"""What grows inside a message is bounded by its bytes."""

from dataclasses import replace

import numpy as np
import pytest

from ebb.contracts import examples as blocks
from ebb.contracts.features import WIDTH
from ebb.contracts.topics import MAX_MESSAGE_BYTES
from stream_processors.batch import DeadLetter, Record
from stream_processors.dead_letters import dead_letter_record
from stream_processors.state.labelling import BoundaryResult


@pytest.mark.parametrize("letter", ["a", "🛍"])
def test_a_snapshot_of_long_ids_is_cut_so_that_each_block_fits_a_message(letter: str) -> None:
    count, long = 9_000, letter * 240
    result = BoundaryResult(
        0,
        19_700,
        rows=np.arange(count),
        features=np.zeros((count, WIDTH), np.float32),
        ids=[f"{long}{number}" for number in range(count)],
        countries=[long] * count,
        channels=[None] * count,
    )
    served = np.zeros(count, np.float32)
    made = result.blocks(served, served)
    assert max(len(blocks.encode(block)) for block in made) < MAX_MESSAGE_BYTES
    snapshots = [block for block in made if isinstance(block, blocks.Snapshot)]
    assert [customer for block in snapshots for customer in block.customer_ids.to_pylist()] == result.ids
    assert [block.chunk for block in snapshots] == list(range(len(snapshots)))
    assert made[-1] == blocks.Close(0, 19_700, chunks=len(snapshots), labels=0)


def test_a_snapshot_of_ordinary_ids_is_cut_by_rows() -> None:
    count = 9_000
    result = replace(
        BoundaryResult(0, 19_700, rows=np.arange(count), features=np.zeros((count, WIDTH), np.float32)),
        ids=[f"customer-{number}" for number in range(count)],
        countries=["NL"] * count,
        channels=["web"] * count,
    )
    served = np.zeros(count, np.float32)
    sizes = [len(one.customer_ids) for one in result.blocks(served, served) if isinstance(one, blocks.Snapshot)]
    assert sizes == [4_000, 4_000, 1_000]


@pytest.mark.parametrize("size", [MAX_MESSAGE_BYTES - 100, MAX_MESSAGE_BYTES, 3 * MAX_MESSAGE_BYTES])
def test_a_dead_letter_that_no_message_holds_is_cut_and_says_so(size: int) -> None:
    record = Record(7, 0, b"k", b"x" * size, (("own", b"1"),))
    key, value, headers = dead_letter_record(DeadLetter(record, "too_large", "too large", ""), "ebb.activity", 3)
    assert key == b"k"
    assert value is not None
    assert len(value) + sum(len(name) + len(text or b"") for name, text in headers) < MAX_MESSAGE_BYTES
    assert dict(headers)["truncated"] == str(size).encode()
    assert dict(headers)["offset"] == b"7"


def test_a_dead_letter_with_huge_headers_or_key_keeps_its_reason() -> None:
    record = Record(7, 0, b"k" * 5_000_000, b"x", (("own", b"1" * 5_000_000),))
    key, value, headers = dead_letter_record(DeadLetter(record, "bad_json", "d" * 9_000, ""), "ebb.activity", 3)
    assert value == b"x"
    assert len(key or b"") + sum(len(name) + len(text or b"") for name, text in headers) < 64 * 1024
    assert dict(headers)["reason"] == b"bad_json"


def test_an_ordinary_dead_letter_is_as_it_came() -> None:
    record = Record(7, 0, b"k", b"\xff{", (("own", b"1"), ("own", b"2")))
    key, value, headers = dead_letter_record(DeadLetter(record, "bad_json", "no JSON", "c"), "ebb.activity", 3)
    assert (key, value, headers[:2]) == (b"k", b"\xff{", [("own", b"1"), ("own", b"2")])
    assert "truncated" not in dict(headers)
