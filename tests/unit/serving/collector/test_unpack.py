"""Bodies unpacked piece by piece, within bounds of bytes, ratio and members."""

import gzip
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.collector.unpack import MAX_PLAIN_BYTES, MAX_RATIO, MalformedError, is_small, unpack


@given(st.lists(st.binary(max_size=300_000), min_size=1, max_size=4), st.integers(min_value=0, max_value=3))
def test_members_are_joined_and_padding_left_out(parts: list[bytes], zeros: int) -> None:
    packed = b"".join(gzip.compress(part) for part in parts) + b"\0" * zeros
    assert unpack(packed, "gzip") == b"".join(parts)
    assert unpack(packed, " GZIP ") == b"".join(parts)


def test_what_is_not_packed_is_left_as_it_is() -> None:
    for coding in ("", "identity", "Identity"):
        assert unpack(b"abc", coding) == b"abc"
    for coding in ("br", "gzip, gzip", "deflate", "\xff"):
        with pytest.raises(MalformedError, match="is not known"):
            unpack(b"abc", coding)


def test_too_much_is_refused_by_bytes_and_by_ratio() -> None:
    dense = gzip.compress(os.urandom(MAX_PLAIN_BYTES + 1))
    with pytest.raises(MalformedError, match="unpacks to more than") as caught:
        unpack(dense, "gzip")
    assert caught.value.kind == "too-large"
    zeros = gzip.compress(bytes(MAX_PLAIN_BYTES))
    assert len(zeros) * MAX_RATIO < MAX_PLAIN_BYTES
    with pytest.raises(MalformedError, match="unpacks to more than"):
        unpack(zeros, "gzip")
    assert len(unpack(gzip.compress(bytes(200_000)), "gzip")) == 200_000, "small bodies may repeat themselves"


@pytest.mark.parametrize(
    "body",
    [b"", b"abc", gzip.compress(b"abc")[:-1], gzip.compress(b"abc") + b"x", gzip.compress(b"") * 101],
    ids=["empty", "plain", "short", "rest", "members"],
)
def test_damaged_bodies_are_refused(body: bytes) -> None:
    with pytest.raises(MalformedError):
        unpack(body, "gzip")


def test_small_is_what_is_small_unpacked() -> None:
    assert is_small(b"x" * 100, "", 100)
    assert not is_small(b"x" * 101, "", 100)
    assert is_small(gzip.compress(b"x" * 100), "gzip", 100)
    assert not is_small(gzip.compress(b"x" * 1_000), "gzip", 100)
    assert not is_small(gzip.compress(b"x") * 2, "gzip", 100)
    assert is_small(b"no gzip", "gzip", 100)
