"""A process that serves every metric of `ebb.metrics` with plausible labels, moving, until it is stopped."""

import sys
import time

from ebb import metrics
from ebb.contracts.scores import BANDS
from ebb.settings import Settings

TARGETS = ("churn", "purchase")
CANDIDATES = ("logistic", "recency", "count")
TABLES = ("events", "scores")
METRICS = ("roc_auc", "roc_auc_low", "roc_auc_high", "pr_auc", "log_loss", "brier", "ece", "base_rate")
DECISIONS = ("accuracy", "precision", "recall", "f1", "lift_top_decile", "profit", "profit_best", "profit_all")


def still(now: float) -> None:
    """Set what a gauge shows."""
    for partition in ("0", "1"):
        metrics.LAG_EVENTS.labels("ebb.activity", partition).set(40)
        metrics.LAG_SECONDS.labels("ebb.activity", partition).set(0.4)
        metrics.WATERMARK.labels(partition).set(now - 3_600)
        metrics.CUSTOMERS.labels(partition).set(2_500)
        metrics.LEARNER_CLOSED.labels(partition).set(now - 90_000)
        for band in BANDS:
            metrics.CUSTOMERS_BY_BAND.labels(partition, band.value).set(600)
    for target in TARGETS:
        metrics.LABELS_PENDING.labels(target).set(9_000)
        for candidate in CANDIDATES:
            metrics.CHAMPION.labels(target, candidate).set(candidate == "logistic")
            metrics.MODEL_VERSION.labels(target, candidate).set(4)
            for name in METRICS + DECISIONS:
                metrics.MODEL_METRIC.labels(target, candidate, name).set(0.7)
            metrics.EXPECTED_METRIC.labels(target, candidate, "roc_auc").set(0.72)
        metrics.SEGMENT_METRIC.labels(target, "country", "DE", "roc_auc").set(0.7)
        metrics.SCORE_DRIFT.labels(target).set(0.05)
        metrics.ERROR_DRIFT.labels(target).set(now - 400_000)
        metrics.ERROR_SHIFT.labels(target).set(0.02)
        metrics.MODEL_HELD.labels(target).set(0)
    metrics.FEATURE_DRIFT.labels("recency_days").set(0.02)
    for target in TARGETS:
        metrics.MODEL_IN_USE.labels(target, "logistic").set(4)
    metrics.LEARNER_BOUNDARY.set(now - 90_000)
    metrics.LEARNER_WAITING.set(1_000)
    metrics.WS_CLIENTS.set(3)
    metrics.SCORES_HELD.set(5_000)
    metrics.ERASURES_OPEN.set(1)


def move() -> None:
    """Advance what counts or times."""
    for result in ("accepted", "duplicate", "late", "dead_letter", "tick"):
        metrics.EVENTS.labels(result).inc()
    metrics.DEAD_LETTERS.labels("bad_json").inc()
    for cause in ("event", "sweep"):
        metrics.SCORES.labels(cause).inc()
    for band in BANDS:
        metrics.ALERTS.labels(band.value).inc()
    metrics.BLOCKS_REFUSED.labels("corrupt").inc()
    metrics.MODELS_WITHHELD.labels("churn", "nimble").inc()
    metrics.CHECKPOINT_BYTES.inc(1_000)
    for table in TABLES:
        metrics.INSERT_SECONDS.labels(table).observe(0.01)
        metrics.INSERT_ROWS.labels(table).inc(100)
        metrics.INSERT_RETRIES.labels(table).inc()
    for histogram in (
        metrics.BATCH_SECONDS,
        metrics.LATENCY_SECONDS,
        metrics.SWEEP_SECONDS,
        metrics.CHECKPOINT_SECONDS,
        metrics.LEARN_SECONDS,
    ):
        histogram.observe(0.02)
    for target in TARGETS:
        for label in ("0", "1"):
            metrics.LABELS_MATURED.labels(target, label).inc()
        for result in ("learned", "left_out"):
            metrics.TREE_LABELS.labels(target, result).inc()
    metrics.HTTP_REQUESTS.labels("GET", "/v1/summary", "200").inc()
    metrics.HTTP_SECONDS.labels("/v1/summary").observe(0.003)
    metrics.WS_SENT.labels("score").inc()
    metrics.WS_CLOSED.labels("1001").inc()
    metrics.COLLECTED.labels("track", "accepted").inc()
    metrics.COLLECT_REFUSED.labels("no_customer").inc()
    metrics.COLLECT_WITHHELD.labels("email").inc()
    metrics.WEBHOOKS.labels("crm", "delivered").inc()
    metrics.RECORDS_REFUSED.labels("scores").inc()
    metrics.PRODUCED.labels("simulator").inc()
    metrics.PRODUCE_FAILURES.labels("simulator").inc()


def main() -> None:
    """Serve on the port of the argument."""
    metrics.serve_metrics(Settings(metrics_port=int(sys.argv[1])))
    while True:
        still(time.time())
        move()
        time.sleep(0.2)


if __name__ == "__main__":
    main()
