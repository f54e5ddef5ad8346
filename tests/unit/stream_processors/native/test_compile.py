"""Compiled functions: what they refuse, and that their cache is never out of date."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stream_processors.native.compile import native
from stream_processors.native.hashing import hash_ids
from tests.support.project import ROOT

ENTRY = """
import numpy as np
from helping import answer
from stream_processors.native.compile import native

@native(np.int64, None)
def scaled_last(numbers, count):
    return answer(numbers[count - 1])

print(scaled_last(np.array([1, 2, 3]), 3))
"""
HELPER = """
from stream_processors.native.compile import native_helper

@native_helper
def answer(number):
    return number * {factor}
"""


@native(np.int64, None)
def _last(numbers: "np.typing.NDArray[np.int64]", count: int) -> int:
    return int(numbers[count - 1])


@pytest.mark.parametrize("numbers", [np.zeros(3, np.int32), np.zeros(6, np.int64)[::2], [1, 2, 3]])
def test_an_array_of_another_type_is_refused(numbers: object) -> None:
    assert _last(np.array([1, 2, 3]), 3) == 3
    with pytest.raises(ctypes.ArgumentError):
        _last(numbers, 3)


def run(folder: Path, *command: str, **changes: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **changes}
    done = subprocess.run(
        [sys.executable, "-W", "error", *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_cached_code_is_recompiled_once_a_helper_has_changed(tmp_path: Path) -> None:
    (tmp_path / "telling.py").write_text(ENTRY)
    for factor, expected in ((2, "6"), (2, "6"), (15, "45")):
        (tmp_path / "helping.py").write_text(HELPER.format(factor=factor))
        assert run(tmp_path, "telling.py") == expected
    cached = [path.name for path in (tmp_path / "__pycache__").glob("telling.*.nbc")]
    assert len(cached) == 2, "one for each form of the helper, and none for the run that changed nothing"


def test_code_runs_where_it_cannot_be_cached(tmp_path: Path) -> None:
    command = "from stream_processors.native.hashing import hash_ids; print(hash_ids(['c1'])[0])"
    nowhere = str(Path(os.devnull) / "nothing")
    assert run(tmp_path, "-c", command, NUMBA_CACHE_DIR=nowhere) == str(hash_ids(["c1"])[0])
