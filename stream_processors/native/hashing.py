"""Hashes of ids that are the same in every process and on every machine."""

from typing import Any

import numpy as np
import pyarrow as pa

from stream_processors.native.compile import native, native_inline
from stream_processors.native.strings import string_buffers
from stream_processors.types import ByteArray, Hashes, Int32Array

State = tuple[np.uint64, np.uint64, np.uint64, np.uint64]

KEY = np.frombuffer(b"0123456789123456", np.uint64)
"""Any key would do; this one, pandas' own, is in the hashes that checkpoints keep. Tables place them by `secret`."""
BEGIN = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)
_V0, _V1, _V2, _V3 = (KEY[number % 2] ^ np.uint64(value) for number, value in enumerate(BEGIN))
_WORD = 8
_LAST_BYTE, END = np.uint64(56), np.uint64(0xFF)
_ROUNDS, _LAST_ROUNDS = 2, 4


def hash_texts(texts: pa.StringArray) -> Hashes:
    """Return 64-bit hashes of strings, shape (len(texts),); none may be null.

    They are SipHash-2-4 (Aumasson and Bernstein 2012) with a fixed key, mixed once more: pandas' `hash_array`.
    """
    found = np.empty(len(texts), np.uint64)
    _hash(*string_buffers(texts), len(texts), found)
    return found


def hash_ids(ids: list[str]) -> Hashes:
    """Return the hash of each id, shape (len(ids),); see `hash_texts`."""
    return hash_texts(pa.array(ids, pa.utf8()))


def _finish(z: Any) -> Any:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


_finished = native_inline(_finish)
"""`_finish` for one hash, within machine code."""


@native_inline
def _turned(value: np.uint64, bits: int) -> np.uint64:
    return value << np.uint64(bits) | value >> np.uint64(64 - bits)


@native_inline
def sip_round(state: State) -> State:
    """Return the state after one of SipHash's rounds."""
    v0, v1, v2, v3 = state
    v0 += v1
    v2 += v3
    v1 = _turned(v1, 13) ^ v0
    v3 = _turned(v3, 16) ^ v2
    v0 = _turned(v0, 32)
    v2 += v1
    v0 += v3
    v1 = _turned(v1, 17) ^ v2
    v3 = _turned(v3, 21) ^ v0
    return v0, v1, _turned(v2, 32), v3


@native(np.uint8, np.int32, None, np.uint64)
def _hash(data: ByteArray, offsets: Int32Array, count: int, found: Hashes) -> int:
    for number in range(count):
        at, end = offsets[number], offsets[number + 1]
        size = end - at
        state = (_V0, _V1, _V2, _V3)
        for word in range(size // _WORD + 1):
            # The last word holds the remaining bytes, and the size in its highest byte.
            left = min(size - word * _WORD, _WORD)
            value = np.uint64(0)
            for place in range(left):
                value |= np.uint64(data[at + place]) << np.uint64(8 * place)
            if left < _WORD:
                value |= np.uint64(size & 0xFF) << _LAST_BYTE
            at += left
            state = (state[0], state[1], state[2], state[3] ^ value)
            for _ in range(_ROUNDS):
                state = sip_round(state)
            state = (state[0] ^ value, state[1], state[2], state[3])
        state = (state[0], state[1], state[2] ^ END, state[3])
        for _ in range(_LAST_ROUNDS):
            state = sip_round(state)
        found[number] = _finished(state[0] ^ state[1] ^ state[2] ^ state[3])
    return count


def mixed(hashes: Hashes, salt: int) -> Hashes:
    """Mix hashes with a number so that each number samples others (finaliser of SplitMix64, Steele et al. 2014)."""
    found: Hashes = _finish(hashes + np.uint64((salt * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF))
    return found
