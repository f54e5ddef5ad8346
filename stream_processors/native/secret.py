"""Where in a hash table an id is looked up: by a key that nobody knows who can choose ids (docs/adr/0029)."""

import os

import numpy as np

from stream_processors.native.compile import native, native_inline
from stream_processors.native.hashing import BEGIN, END, State, sip_round
from stream_processors.types import Hashes, Int32Array, Words

SECRET: Words = np.frombuffer(os.urandom(16), np.uint64)
"""This process's key. Machine code takes it as an argument: its constants are kept in its cache on disk."""
_V0, _V1, _V2, _V3 = map(np.uint64, BEGIN)
_ROUNDS = 3


def home_slots(hashes: Hashes, slot_count: int) -> Int32Array:
    """Return the slot at which to begin looking for each hash, shape (len(hashes),).

    It is SipHash-1-3 (Aumasson and Bernstein 2012) of the hash under `SECRET`, without the block for the size, which
    never differs: to whoever does not know the key, slots are as good as drawn by lot. All are computed before the
    table is touched: beside it, a processor that guessed the end of a chain wrongly would compute them again.

    Parameters
    ----------
    slot_count
        A power of two, at most 2^31.
    """
    slots = np.empty(len(hashes), np.int32)
    _home_slots(np.ascontiguousarray(hashes), len(hashes), SECRET, slot_count, slots)
    return slots


@native_inline
def keyed_state(key: Words) -> State:
    """Return the state before the first word of what is hashed."""
    return key[0] ^ _V0, key[1] ^ _V1, key[0] ^ _V2, key[1] ^ _V3


@native_inline
def absorbed(state: State, word: np.uint64) -> State:
    """Return the state after one more word."""
    v0, v1, v2, v3 = sip_round((state[0], state[1], state[2], state[3] ^ word))
    return v0 ^ word, v1, v2, v3


@native_inline
def home_slot(state: State, slot_count: int) -> np.int64:
    """Return the slot for all words that the state has absorbed."""
    state = (state[0], state[1], state[2] ^ END, state[3])
    for _ in range(_ROUNDS):
        state = sip_round(state)
    return np.int64(state[0] ^ state[1] ^ state[2] ^ state[3]) & (slot_count - 1)


@native(np.uint64, None, np.uint64, None, np.int32)
def _home_slots(hashes: Hashes, count: int, key: Words, slot_count: int, slots: Int32Array) -> int:
    for number in range(count):
        slots[number] = home_slot(absorbed(keyed_state(key), hashes[number]), slot_count)
    return count
