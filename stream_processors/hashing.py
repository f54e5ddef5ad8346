"""Hashes of ids that are the same in every process and on every machine."""

import numpy as np
import numpy.typing as npt
import pandas as pd


def hash_ids(ids: list[str]) -> npt.NDArray[np.uint64]:
    """Return 64-bit hashes (SipHash with a fixed key, by pandas), shape (len(ids),)."""
    return pd.util.hash_array(np.array(ids, dtype=object), categorize=False)


def mixed(hashes: npt.NDArray[np.uint64], salt: int) -> npt.NDArray[np.uint64]:
    """Mix hashes with a number so that each number samples others (finaliser of SplitMix64, Steele et al. 2014)."""
    z = hashes + np.uint64((salt * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
