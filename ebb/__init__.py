"""What every part of Ebb shares: settings, contracts on the wire, clock, metrics; the command line and the runtime."""

import os

__version__ = "0.1.0"

# Our products are of narrow matrices. OpenBLAS would divide each among threads that then spin until the next one comes:
# a third of a worker's processor time went there. It reads this once, when numpy is first imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
