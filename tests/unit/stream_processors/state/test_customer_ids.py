"""Ids are stored by row and found, whatever their bytes and whichever were erased; they take little memory."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from stream_processors.native.hashing import hash_texts
from stream_processors.state.customer_ids import Ids
from stream_processors.state.customers import CustomerState
from stream_processors.state.table import SHARD_ROWS, STATE, Table

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
STEPS = st.lists(st.one_of(st.lists(TEXTS, max_size=8, unique=True), TEXTS), max_size=20)


def rows_of(state: CustomerState, ids: list[str]) -> list[int]:
    rows: list[int] = state.rows_of(pa.array(ids, pa.utf8())).tolist()
    return rows


@given(STEPS)
def test_rows_are_assigned_in_order_and_found_until_they_are_erased(steps: list[list[str] | str]) -> None:
    state, rows, ids = CustomerState(), dict[str, int](), list[str]()
    for step in steps:
        if isinstance(step, str):
            row = rows.pop(step, None)
            assert state.erase(step) == row
            if row is not None:
                ids[row] = ""
            continue
        for identity in step:
            if identity not in rows:
                rows[identity] = len(ids)
                ids.append(identity)
        assert rows_of(state, step) == [rows[identity] for identity in step]
    assert list(state.ids) == ids
    assert state.ids.erased_count == ids.count("")
    assert {row: state.ids.row(row) for row in rows} == rows
    again = CustomerState()
    again.table.grow(len(ids))
    again.table["id_hash"][:] = state.table["id_hash"]
    again.restore(ids)
    assert list(again.ids) == ids
    assert again.ids.erased_count == state.ids.erased_count
    assert rows_of(again, [*rows]) == [*rows.values()]
    assert rows_of(again, ["somebody new" * 4]) == [len(ids)]


def test_ids_are_found_while_their_arrays_grow() -> None:
    state, step = CustomerState(), 777
    ids = [f"{'long ' * (number % 9)}{number}" for number in range(20 * SHARD_ROWS)]
    for start in range(0, len(ids), step):
        assert rows_of(state, ids[start : start + step]) == [*range(start, min(start + step, len(ids)))]
    assert rows_of(state, ids[::-3]) == [*range(len(ids))][::-3]
    assert state.ids.take(np.array([5, 0, 5])) == [ids[5], ids[0], ids[5]]
    assert len(state.ids) == len(ids)
    assert "9" in state.ids
    assert "nobody" not in state.ids


def test_ids_of_one_hash_are_distinguished() -> None:
    table = Table(STATE)
    ids, texts = Ids(table), pa.array(["a", "b", "ab", "c"], pa.utf8())
    same = np.zeros(4, np.uint64)
    table.grow(3)
    table["id_hash"][:] = 0
    ids.append(texts[:3])
    assert ids.find(texts, same).tolist() == [0, 1, 2, -1]
    assert ids.find(texts, hash_texts(texts)).tolist() == [-1] * 4


def test_no_byte_is_left_of_an_erased_customer() -> None:
    state = CustomerState()
    state.rows_of(pa.array(["first", "secret", "last"], pa.utf8()))
    state.erase("secret")
    assert state.ids._data.tobytes().rstrip(b"\0") == b"firstlast"
    assert [state.ids[row] for row in range(3)] == ["first", "", "last"]


def test_an_id_takes_little_more_than_its_data() -> None:
    state, number = CustomerState(), 100 * SHARD_ROWS
    ids = [f"load-{row:07d}" for row in range(number)]
    for start in range(0, number, SHARD_ROWS):
        state.rows_of(pa.array(ids[start : start + SHARD_ROWS], pa.utf8()))
    held = state.ids
    used = int(held._ends[number]) + held._ends[: number + 1].nbytes + held._slots.nbytes
    assert used / number < len(ids[0]) + 20
