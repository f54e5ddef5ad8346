"""A body as it was before its `Content-Encoding`, piece by piece and within bounds; and the write key in it."""

import codecs
import zlib

import msgspec

from ebb.errors import EbbError
from serving.http.middleware import MAX_BODY_BYTES

MAX_PLAIN_BYTES = 4 * MAX_BODY_BYTES
"""Largest body after it was unpacked."""
MAX_RATIO = 250
"""Most bytes that one packed byte may unpack to, in a body above `_FREE_BYTES`: batches of calls reach some 30, gzip
at most 1,032."""
_FREE_BYTES = 262_144
_PIECE_BYTES = 65_536
_MOST_MEMBERS = 100
"""Members of one gzip body; each costs a decompressor, and an empty one is 20 bytes."""
_LONGEST_KEY = 1_000


class MalformedError(EbbError):
    """A request that is no call and no batch of calls; `kind` is the type of problem."""

    def __init__(self, what: str, *, kind: str = "invalid-request") -> None:
        super().__init__(what)
        self.kind = kind


class _Keyed(msgspec.Struct):
    """The one field of a body that is looked at before its sender is known: the others are skipped, not built."""

    writeKey: str | None = None


_keyed = msgspec.json.Decoder(_Keyed)


def unpack(body: bytes, encoding: str, largest: int = MAX_PLAIN_BYTES) -> bytes:
    """Return a body as it was before it was encoded.

    Parameters
    ----------
    encoding
        The `Content-Encoding` header: `gzip`, `identity` or nothing.
    largest
        Bytes of the result at most.

    Raises
    ------
    MalformedError
        If it is not so encoded, or unpacks to too much.
    """
    coding = encoding.strip().lower()
    if coding in {"", "identity"}:
        return body
    if coding not in {"gzip", "x-gzip"}:
        what = f"Content-Encoding {encoding[:40]!r} is not known; send gzip or none."
        raise MalformedError(what)
    sent = len(body)
    most = min(largest, max(_FREE_BYTES, MAX_RATIO * sent))
    plain = bytearray()
    for _ in range(_MOST_MEMBERS):
        decompressor = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        while not decompressor.eof:
            try:
                piece = decompressor.decompress(body, _PIECE_BYTES)
            except zlib.error as error:
                what = f"The body is not gzip, as its Content-Encoding says: {error}."
                raise MalformedError(what) from None
            plain += piece
            if len(plain) > most:
                what = f"The body unpacks to more than {most} bytes, the most that is taken of {sent}."
                raise MalformedError(what, kind="too-large")
            body = decompressor.unconsumed_tail
            if not piece and not body and not decompressor.eof:
                what = "The gzip body ends too early."
                raise MalformedError(what)
        body = decompressor.unused_data.lstrip(b"\0")
        if not body:
            return bytes(plain)
    what = f"The gzip body has more than {_MOST_MEMBERS} members."
    raise MalformedError(what)


def is_small(body: bytes, encoding: str, most: int) -> bool:
    """Return whether a body, unpacked, has at most `most` bytes; no more than that is unpacked to find out."""
    if len(body) > most or "gzip" not in encoding.lower():
        return len(body) <= most
    decompressor = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        decompressor.decompress(body, most)
    except zlib.error:
        return True
    return decompressor.eof and not decompressor.unused_data


def key_in(plain: bytes) -> str | None:
    """Return the `writeKey` of a JSON object, None if it has none or is none."""
    try:
        key = _keyed.decode(plain.removeprefix(codecs.BOM_UTF8)).writeKey
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None
    return key if key and len(key) <= _LONGEST_KEY else None
