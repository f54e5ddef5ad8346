"""Content encodings of HTTP bodies that clickhouse-connect and curl negotiate: gzip, deflate, lz4, zstd."""

import zlib
from collections.abc import Callable, Iterable, Iterator

import lz4.frame  # type: ignore[import-untyped]
from backports import zstd

from clickhouse.embedded.errors import BAD_ARGUMENTS, LIMIT_EXCEEDED, EngineError

_GZIP = 16 + zlib.MAX_WBITS
_PREFERRED = ("lz4", "zstd", "gzip")
"""By speed: the network is loopback, so size matters little."""


def _lz4(body: bytes, limit: int) -> bytes:
    return bytes(lz4.frame.LZ4FrameDecompressor().decompress(body, max_length=limit))


def _zlib(bits: int) -> Callable[[bytes, int], bytes]:
    return lambda body, limit: zlib.decompressobj(bits).decompress(body, limit)


_DECODERS: dict[str, Callable[[bytes, int], bytes]] = {
    "lz4": _lz4,
    "zstd": lambda body, limit: bytes(zstd.ZstdDecompressor().decompress(body, max_length=limit)),
    "gzip": _zlib(_GZIP),
    "deflate": _zlib(zlib.MAX_WBITS),
}


def decode(body: bytes, encoding: str, limit: int) -> bytes:
    """Undo a `Content-Encoding`.

    Parameters
    ----------
    limit
        Most bytes that it may grow to.

    Raises
    ------
    EngineError
        If the encoding is not known, the bytes are not in it, or they hold more than `limit`.
    """
    if encoding in {"", "identity"} or not body:
        return body
    decoder = _DECODERS.get(encoding)
    if decoder is None:
        what = f"Content-Encoding {encoding!r} is not supported; send one of {', '.join(_DECODERS)}."
        raise EngineError.of(BAD_ARGUMENTS, "BAD_ARGUMENTS", what)
    try:
        plain = decoder(body, limit + 1)
    except (RuntimeError, zlib.error, zstd.ZstdError) as error:
        what = f"The body is not {encoding}: {error}."
        raise EngineError.of(BAD_ARGUMENTS, "BAD_ARGUMENTS", what) from None
    if len(plain) > limit:
        raise EngineError.of(LIMIT_EXCEEDED, "LIMIT_EXCEEDED", f"The body holds more than {limit} bytes.")
    return plain


def choose(accepted: str) -> str:
    """Return the encoding to answer in, given the header `Accept-Encoding`; empty for none."""
    offered = {part.split(";")[0].strip() for part in accepted.split(",")}
    return next((name for name in _PREFERRED if name in offered), "")


def encode(chunks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """Encode a body, chunk by chunk, in `lz4`, `zstd` or `gzip`."""
    if encoding == "lz4":
        packer = lz4.frame.LZ4FrameCompressor()
        yield packer.begin()
        compress, flush = packer.compress, packer.flush
    elif encoding == "zstd":
        fast = zstd.ZstdCompressor(level=1)
        compress, flush = fast.compress, fast.flush
    else:
        deflater = zlib.compressobj(1, wbits=_GZIP)
        compress, flush = deflater.compress, deflater.flush
    for chunk in chunks:
        if part := compress(chunk):
            yield part
    yield flush()
