"""Hashes of ids are pandas', whatever the id: they are in checkpoints, so they must never change."""

import numpy as np
import pandas as pd
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from stream_processors.native.hashing import hash_ids, hash_texts

IDS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=300), max_size=20)


@given(IDS)
def test_hashes_are_those_of_pandas(ids: list[str]) -> None:
    expected = pd.util.hash_array(np.array(ids, dtype=object), categorize=False)
    assert hash_ids(ids).tolist() == expected.tolist()


@given(IDS, st.integers(0, 20))
def test_a_hash_does_not_depend_on_its_neighbours(ids: list[str], first: int) -> None:
    assert hash_texts(pa.array(ids, pa.utf8())[first:]).tolist() == [
        hash_ids([identity])[0] for identity in ids[first:]
    ]


def test_hashes_are_stable() -> None:
    assert hash_ids(["", "c1", "Größe"]).tolist() == [1760245841805064774, 2680680849849350385, 6127157662880439173]
