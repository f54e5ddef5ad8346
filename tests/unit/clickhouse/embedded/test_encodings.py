"""Bodies in the encodings that clients negotiate."""

import gzip
import zlib
from collections.abc import Callable

import lz4.frame  # type: ignore[import-untyped]
import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from clickhouse.embedded import encodings
from clickhouse.embedded.faults import BAD_ARGUMENTS, LIMIT_EXCEEDED, FaultError

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "lz4": lz4.frame.compress,
    "zstd": zstd.compress,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
}


@pytest.mark.parametrize("encoding", PACKERS)
def test_compressed_bodies_are_decompressed(encoding: str) -> None:
    plain = b"abc" * 1_000
    assert encodings.decode(PACKERS[encoding](plain), encoding, 10_000) == plain


@pytest.mark.parametrize("encoding", PACKERS)
def test_a_decompression_bomb_is_refused_before_it_fills_memory(encoding: str) -> None:
    bomb = PACKERS[encoding](b"\0" * 1_000_000)
    with pytest.raises(FaultError) as caught:
        encodings.decode(bomb, encoding, 1_000)
    assert (caught.value.code, caught.value.status) == (LIMIT_EXCEEDED, 413)


@pytest.mark.parametrize("encoding", [*PACKERS, "br"])
def test_a_body_that_does_not_match_its_encoding_is_a_bad_argument(encoding: str) -> None:
    with pytest.raises(FaultError) as caught:
        encodings.decode(b"not packed at all", encoding, 1_000)
    assert (caught.value.code, caught.value.status) == (BAD_ARGUMENTS, 400)


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [("lz4,zstd,gzip,deflate", "lz4"), ("gzip, br;q=0.5", "gzip"), ("gzip;q=1, zstd", "zstd"), ("br", ""), ("", "")],
)
def test_the_response_is_compressed_by_the_fastest_encoding_that_the_client_accepts(accepted: str, chosen: str) -> None:
    assert encodings.choose(accepted) == chosen


@pytest.mark.parametrize("encoding", ["lz4", "zstd", "gzip"])
@given(chunks=st.lists(st.binary(max_size=300), max_size=6))
def test_chunks_come_back_as_one_body(encoding: str, chunks: list[bytes]) -> None:
    packed = b"".join(encodings.encode(chunks, encoding))
    assert encodings.decode(packed, encoding, 10_000) == b"".join(chunks)


def test_a_body_without_encoding_passes_untouched() -> None:
    assert encodings.decode(b"plain", "", 3) == b"plain"
    assert encodings.decode(b"", "lz4", 3) == b""
