"""The kernel: what every process shares; imports no other room."""

import os

__version__ = "0.1.0"

# Ebb multiplies narrow matrices. OpenBLAS would split each product among threads that spin until the next one comes: a
# third of a worker's processor time went there. It reads this once, when numpy is first imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
