"""`python -m stream_processors`: run one worker until SIGTERM."""

import gc
import sys

from clickhouse.migrations import migrate
from ebb.absent import keep_out
from ebb.kafka.admin import create_topics
from ebb.kafka.faust_app import run_app
from ebb.liveness import Liveness
from ebb.log import configure_logging
from ebb.metrics import serve_metrics
from ebb.settings import settings

COLLECT_EVERY = 100_000
"""Allocations between two runs of the garbage collector: scores are many small objects, and collecting took as long as
making them."""

SWITCH_SECONDS = 0.0001
"""Seconds a thread waits for Python's lock before it requests it: reading, decoding and inserting release it hundreds
of times per fetched batch, and the default of 5 ms, waited for each time, left both cores idle half of the time."""


def main() -> None:
    """Prepare topics and tables, then work."""
    keep_out("pandas", "scipy")
    from stream_processors.app import ActivityWorker  # noqa: PLC0415 - only now, without those two

    gc.freeze()
    gc.set_threshold(COLLECT_EVERY, 20, 100)
    sys.setswitchinterval(SWITCH_SECONDS)
    configured = settings()
    configure_logging(configured, "worker")
    create_topics(configured)
    migrate(configured)
    liveness = Liveness(ends=True)
    serve_metrics(configured, liveness)
    worker = ActivityWorker(configured)
    liveness.watch("the reader of models", worker.models_trouble)
    run_app(worker.app, liveness)


if __name__ == "__main__":
    main()
