"""Paths in the checkout and beside it."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The checkout."""
LIB = Path(os.environ.get("EBB_LIB", ROOT / ".ebb" / "lib"))
"""Kafka's jars, shared by all tests."""
DATA = Path(os.environ.get("EBB_DATA", ROOT.parent / "shared" / "data"))
"""Recorded logs, not part of the project; a test that wants them skips, and says so, where they are absent."""
