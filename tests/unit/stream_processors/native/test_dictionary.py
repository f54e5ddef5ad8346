"""Dictionary encoding of strings: the decoded values stay the same."""

from collections.abc import Sequence

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_processors.native import dictionary as repeated
from stream_processors.native.dictionary import MOST, dictionary_encode

FEW = ("", "a", "web", "12345678", "123456789", "1234567890123456", "1234567890123456x", "é", "日本", "\0", "\0\0")
LONG = ("begin---" + "m" * 40 + "---ended", "begin---" + "m" * 39 + "n---ended", "begin---" + "m" * 41 + "---ended")
"""The same at both ends."""
TEXTS = st.lists(st.one_of(st.none(), st.sampled_from(FEW + LONG), st.text(max_size=20)), max_size=60)


def chunked(pieces: Sequence[Sequence[str | None]]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(piece, pa.utf8()) for piece in pieces], pa.utf8())


@given(st.lists(TEXTS, max_size=4), st.integers(0, 9))
def test_dictionary_indices_stand_for_the_same_strings(pieces: list[list[str | None]], skipped: int) -> None:
    texts = chunked(pieces).slice(skipped)
    encoded = dictionary_encode(texts)
    assert encoded.to_pylist() == texts.to_pylist()
    assert encoded.null_count == texts.null_count
    if pa.types.is_dictionary(encoded.type):
        assert encoded.dictionary.to_pylist() == texts.drop_null().unique().to_pylist()
        encoded.validate(full=True)


def test_a_slice_of_one_chunk_is_read_from_its_own_offset() -> None:
    texts = pa.chunked_array([pa.array(["a", None, "b", None, "a", "b", None, "c", "a", "c"]).slice(3, 6)])
    encoded = dictionary_encode(texts)
    assert pa.types.is_dictionary(encoded.type)
    assert encoded.to_pylist() == [None, "a", "b", None, "c", "a"]


@pytest.mark.parametrize("size", [0, 7, 8, 9, 16, 17])
def test_strings_up_to_the_limit_are_encoded_and_one_more_leaves_the_column_as_it_is(size: int) -> None:
    texts = [f"{number:x<{size}}" for number in range(MOST)]
    assert dictionary_encode(chunked([texts, texts])).dictionary.to_pylist() == texts
    more = dictionary_encode(chunked([texts, ["another"]]))
    assert more.type == pa.utf8()
    assert more.to_pylist() == [*texts, "another"]


def test_a_column_too_large_for_one_chunk_stays_chunked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeated, "MOST_BYTES", 10)
    texts = chunked([["aaaaaa"], ["bbbbbb"]])
    assert dictionary_encode(texts) is texts


def test_a_column_of_nulls_stays_as_it_is() -> None:
    texts = pa.chunked_array([pa.nulls(3, pa.utf8())])
    assert dictionary_encode(texts).equals(texts.chunk(0))
