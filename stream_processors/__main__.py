"""`python -m stream_processors`: run one worker until SIGTERM."""

from clickhouse.migrations import migrate
from ebb.log import configure_logging
from ebb.metrics import serve_metrics
from ebb.settings import settings
from ebb.streams import run_app
from ebb.topics import create_topics
from stream_processors.app import ActivityWorker


def main() -> None:
    """Prepare topics and tables, then work."""
    configured = settings()
    configure_logging(configured, "worker")
    create_topics(configured)
    migrate(configured)
    serve_metrics(configured)
    run_app(ActivityWorker(configured).app)


if __name__ == "__main__":
    main()
