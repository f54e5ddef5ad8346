"""`python -m online_ml`: run the learner until SIGTERM."""

from clickhouse.migrations import migrate
from ebb.kafka.admin import create_topics
from ebb.kafka.faust_app import run_app
from ebb.liveness import Liveness
from ebb.log import configure_logging
from ebb.metrics import serve_metrics
from ebb.settings import settings
from online_ml.app import LearnerApp


def main() -> None:
    """Prepare topics and tables, then learn."""
    configured = settings()
    configure_logging(configured, "learner")
    create_topics(configured)
    migrate(configured)
    liveness = Liveness(ends=True)
    serve_metrics(configured, liveness)
    run_app(LearnerApp(configured).app, liveness)


if __name__ == "__main__":
    main()
