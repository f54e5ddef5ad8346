"""A blocked package counts as not installed, and code that only checks for it still works."""

import subprocess
import sys

SCRIPT = """
from ebb.absent import keep_out
keep_out("pandas", "scipy")
import sys
import pyarrow as pa
from stream_processors.native.hashing import hash_ids
assert pa.array(["a", "b"]).to_pylist() == ["a", "b"]
assert hash_ids(["a", "b"]).tolist() == [{}, {}]
assert not {{"pandas", "scipy"}} & set(sys.modules)
try:
    import scipy
except ModuleNotFoundError as error:
    assert error.name == "scipy"
else:
    raise AssertionError
"""


def test_code_that_only_checks_for_a_blocked_package_still_works() -> None:
    from stream_processors.native.hashing import hash_ids  # noqa: PLC0415 - compiled code, which the process above loads

    script = SCRIPT.format(*hash_ids(["a", "b"]).tolist())
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
