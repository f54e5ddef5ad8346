"""The text of a file: unpacked by what its bytes say, decoded by an encoding that is known, told, or safe to guess."""

import bz2
import codecs
import gzip
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import BinaryIO, cast

from backports import zstd

from ebb.errors import SourceError

SAMPLE = 1 << 20
"""Bytes read at a time, and bytes from which an encoding is guessed."""
LINE_LIMIT = 1 << 24
"""Most characters of a line or of a field: what is longer is no log (or a quote that is never closed)."""

_PACKED: tuple[tuple[bytes, str, Callable[[Path], object]], ...] = (
    (b"\x1f\x8b", "gzip", gzip.open),
    (b"\x28\xb5\x2f\xfd", "zstd", zstd.open),
    (b"BZh", "bzip2", bz2.open),
    (b"\xfd7zXZ\x00", "xz", lzma.open),
)
PACKED_SUFFIXES = {".gz": "gzip", ".zst": "zstd", ".zstd": "zstd", ".bz2": "bzip2", ".xz": "xz"}
_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF8, "utf-8-sig", "UTF-8 with BOM"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
_FOREIGN = re.compile(
    "[^\\x00-\\x7f]{4,}"
    "|[A-Za-z][\u00a1-\u00b3\u00b5\u00b6\u00b8-\u00bf\u00d7\u00f7\u02c6\u02dc\u2020\u2021\u2030\u2039\u203a][A-Za-z]"
)
"""What Western text in Windows-1252 hardly holds: words without a plain letter, signs in the middle of a word."""
_UNGUESSED = "Say which it is by --encoding, for example windows-1252, windows-1251 or shift_jis."


@dataclass(frozen=True)
class TextFile:
    """A file and how its bytes become characters."""

    path: Path
    codec: str
    label: str
    """The encoding's name, for people."""
    packed: str | None = None
    """What it is compressed by."""
    clean: bool = False
    """Whether every byte is known to be part of a character."""

    def open(self) -> TextIOWrapper:
        """Open the file as characters; bytes that are none become lone surrogates where the encoding allows it."""
        whole = self.codec.startswith(("utf-16", "utf-32", "utf-7"))
        errors = "strict" if whole else "surrogateescape"
        return TextIOWrapper(open_bytes(self.path), encoding=self.codec, errors=errors, newline="")

    def lines(self, file: TextIOWrapper) -> Iterator[str]:
        """Yield lines with their ends.

        Raises
        ------
        SourceError
            If one has more than `LINE_LIMIT` characters.
        """
        for number, line in enumerate(iter(partial(file.readline, LINE_LIMIT), ""), 1):
            if len(line) == LINE_LIMIT:
                what = f"Line {number:,} of {self.path.name} has more than {LINE_LIMIT:,} characters: it is no log."
                raise SourceError(what, "Check that the file is text with a row a line.")
            yield line

    @property
    def words(self) -> list[str]:
        """How the file is read, for people."""
        return [self.label, *([self.packed] if self.packed else [])]


def open_bytes(path: Path) -> BinaryIO:
    """Open a file for reading, unpacked if it is compressed (also in several members)."""
    with path.open("rb") as file:
        start = file.read(8)
    for magic, _, opener in _PACKED:
        if start.startswith(magic):
            return cast(BinaryIO, opener(path))
    return path.open("rb")


def packed_by(path: Path) -> str | None:
    """Return what a file is compressed by, None if it is not.

    Raises
    ------
    SourceError
        If its name says that it is compressed and its bytes do not.
    """
    with path.open("rb") as file:
        start = file.read(8)
    found = next((name for magic, name, _ in _PACKED if start.startswith(magic)), None)
    named = PACKED_SUFFIXES.get(path.suffix.lower())
    if found is None and named is not None:
        what = f"{path} is not {named}, as its name says: it is damaged or was never compressed."
        raise SourceError(what, "Fetch it again; if it is plain text, rename it.")
    return found


@contextmanager
def refusing_damage(path: Path) -> Iterator[None]:
    """Turn what a damaged file raises while it is read into a `SourceError`."""
    try:
        yield
    except EOFError as error:
        what = f"{path} is cut off: its compressed data end in the middle."
        raise SourceError(what, "Fetch the file again; nothing was sent.") from error
    except UnicodeError as error:
        what = f"{path} cannot be decoded: {error}."
        raise SourceError(what, "It is cut off, or in another encoding: see --encoding.") from error
    except (gzip.BadGzipFile, zlib.error, lzma.LZMAError, zstd.ZstdError) as error:
        what = f"{path} is damaged: {str(error).rstrip('.')}."
        raise SourceError(what, "Fetch the file again; nothing was sent.") from error
    except OSError as error:
        what = f"{path} cannot be read: {error.strerror or error}."
        raise SourceError(what, "Check the file and its permissions; a compressed one may be damaged.") from error


def text_file(path: Path, encoding: str | None) -> TextFile:
    """Find how a file becomes text.

    A byte order mark says it, and so do bytes that are UTF-8 from the first to the last (the file is read for that).
    Otherwise it is taken for Windows-1252 if it then looks like a Western language.

    Raises
    ------
    SourceError
        If it is damaged, empty, no text, or in an encoding that must be told; or if `encoding` is not known.
    """
    packed = packed_by(path)
    with refusing_damage(path), open_bytes(path) as file:
        start = file.read(SAMPLE)
        if not start.strip():
            what = f"{path} is empty."
            raise SourceError(what)
        if encoding is not None:
            return TextFile(path, *_told(encoding, start), packed)
        for mark, codec, label in _BOMS:
            if start.startswith(mark):
                clean, _ = _scan(start, file) if codec == "utf-8-sig" else (False, b"")
                return TextFile(path, codec, label, packed, clean)
        if wide := _without_mark(start):
            return TextFile(path, wide, "UTF-16", packed)
        clean, sample = _scan(start, file)
    known = clean or _broken_utf8(sample)
    if known and 10 * start.count(0) <= len(start):
        return TextFile(path, "utf-8", "UTF-8", packed, clean)
    if b"\0" in start:
        what = f"{path} is not text: it holds zero bytes."
        raise SourceError(what, "Logs are CSV, JSON lines or Parquet.")
    try:
        text = sample.decode("cp1252")
    except UnicodeDecodeError:
        text = "\u00ff" * 4
    if _FOREIGN.search(text):
        what = f"{path} is not UTF-8, and nothing in it says what else: {_first_foreign(sample)}."
        raise SourceError(what, _UNGUESSED)
    return TextFile(path, "cp1252", "Windows-1252", packed)


def _told(encoding: str, start: bytes) -> tuple[str, str]:
    try:
        codec = codecs.lookup(encoding).name
        b"-".decode(codec, "ignore")  # not every codec is one of text
    except (LookupError, ValueError, UnicodeError) as error:
        what = f"There is no encoding {encoding!r}."
        raise SourceError(what, "For example utf-8, windows-1252, latin-1, utf-16, windows-1251, shift_jis.") from error
    if codec == "utf-8" and start.startswith(codecs.BOM_UTF8):
        codec = "utf-8-sig"
    return codec, encoding


def _without_mark(start: bytes) -> str | None:
    """Return which UTF-16 a text without a byte order mark is, None if it is none: every other byte of Latin is 0."""
    part = start[: 4_096 // 2 * 2]
    even, odd = part[::2].count(0), part[1::2].count(0)
    half = max(len(part) // 2, 1)
    if odd / half > 0.3 and even / half < 0.05:
        return "utf-16-le"
    if even / half > 0.3 and odd / half < 0.05:
        return "utf-16-be"
    return None


def _scan(block: bytes, file: BinaryIO) -> tuple[bool, bytes]:
    """Return whether all is UTF-8, else also the block with the first byte that is not."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    pending: bytes = b""
    while block:
        try:
            decoder.decode(block)
        except UnicodeDecodeError:
            return False, pending + block
        pending = decoder.getstate()[0]
        block = file.read(SAMPLE)
    return not pending, pending


def _broken_utf8(sample: bytes) -> bool:
    """Return whether text is UTF-8 in which some bytes are broken: most characters beyond ASCII are whole."""
    text = sample.decode("utf-8", "surrogateescape")
    beyond = re.findall(r"[^\x00-\x7f]", text)
    broken: int = sum("\ud800" <= character <= "\udfff" for character in beyond)
    return len(beyond) > 2 * broken


def _first_foreign(sample: bytes) -> str:
    text = sample.decode("utf-8", "surrogateescape")
    at = next(index for index, character in enumerate(text) if "\udc80" <= character <= "\udcff")
    around = text[max(at - 20, 0) : at + 20].encode("utf-8", "surrogateescape")
    return f"byte 0x{ord(text[at]) - 0xDC00:02x} in {around!r}"
