"""Every Prometheus metric of Ebb, in one place, so that dashboards and rules have one list to follow."""

import socket
import threading
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import Counter, Gauge, Histogram, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

from ebb.liveness import Liveness
from ebb.settings import Settings

FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
"""Seconds; from a REST answer to a stalled insert."""

# Stream processors
EVENTS = Counter("ebb_events_total", "Records of the activity topic, by what became of them", ["result"])
"""`result`: accepted, duplicate, late (stored, but too late to count), dead_letter, tick."""
DELAYED = Counter("ebb_delayed_events_total", "Events counted on a day that had been closed before they came")
AHEAD = Counter("ebb_ahead_events_total", "Events whose time was ahead of the clock and was taken back to it")
CONTRADICTED = Counter("ebb_labels_contradicted_total", "Published labels that delayed events contradict, at most")
TIME_HELD = Gauge("ebb_time_held", "1 while a worker holds event time because the whole intake is silent")
INTAKE_SILENT = Gauge("ebb_intake_silent_seconds", "Real seconds since the last event that a worker knows of")
DEAD_LETTERS = Counter("ebb_dead_letters_total", "Records sent to the dead-letter topic", ["reason"])
LAG_EVENTS = Gauge("ebb_consumer_lag_events", "Records not yet processed", ["topic", "partition"])
LAG_SECONDS = Gauge("ebb_consumer_lag_seconds", "Age of the oldest unprocessed record", ["topic", "partition"])
WATERMARK = Gauge("ebb_watermark_timestamp_seconds", "Event time up to which a partition is complete", ["partition"])
CUSTOMERS = Gauge("ebb_customers", "Customers in the state of a partition", ["partition"])
CUSTOMERS_BY_BAND = Gauge("ebb_customers_by_band", "Customers by risk band", ["partition", "band"])
BATCH_SECONDS = Histogram("ebb_batch_seconds", "Time to process one polled batch", buckets=FAST)
LATENCY_SECONDS = Histogram("ebb_event_to_score_seconds", "From produced to score produced", buckets=FAST)
SCORES = Counter("ebb_scores_total", "Scores published", ["cause"])
"""`cause`: event or sweep."""
ALERTS = Counter("ebb_alerts_total", "Alerts published", ["band"])
SWEEP_SECONDS = Histogram("ebb_sweep_seconds", "Time of one sweep over all customers of a worker", buckets=FAST)
CHECKPOINT_SECONDS = Histogram("ebb_checkpoint_seconds", "Time of one checkpoint", buckets=FAST)
CHECKPOINT_BYTES = Counter("ebb_checkpoint_bytes_total", "Bytes written to the state topic")
INSERT_SECONDS = Histogram("ebb_clickhouse_insert_seconds", "Time of one ClickHouse insert", ["table"], buckets=FAST)
INSERT_ROWS = Counter("ebb_clickhouse_rows_total", "Rows inserted into ClickHouse", ["table"])
INSERT_RETRIES = Counter("ebb_clickhouse_retries_total", "ClickHouse inserts tried again", ["table"])
MODEL_IN_USE = Gauge("ebb_model_in_use_version", "Version of the champion that scores", ["target", "candidate"])

# Online learning
LABELS_PENDING = Gauge("ebb_labels_pending", "Snapshots whose label has not matured", ["target"])
LABELS_MATURED = Counter("ebb_labels_matured_total", "Labels matured and learned", ["target", "label"])
TREE_LABELS = Counter(
    "ebb_tree_labels_total", "Labels matured, by what became of them at the tree and the forest", ["target", "result"]
)
"""`result`: learned, left_out: beyond `EBB_TREE_LABELS` of a boundary."""
MODEL_METRIC = Gauge(
    "ebb_model_metric", "Progressive validation over the metric window", ["target", "candidate", "metric"]
)
"""`metric`: roc_auc (with _low and _high), pr_auc, log_loss, brier, ece, base_rate, accuracy, precision, recall, f1 and
the counts behind them at `threshold`, lift_top_decile; for churn profit, profit_best, profit_all. Of a candidate that
speaks for a sample: its labels, and champion_roc_auc, _pr_auc, _log_loss, _brier, _ece on the same rows."""
SEGMENT_METRIC = Gauge(
    "ebb_segment_metric",
    "What serves, validated by segment over the metric window",
    ["target", "kind", "segment", "metric"],
)
"""`kind`: country, channel, tenure; `metric`: roc_auc, ece, base_rate."""
EXPECTED_METRIC = Gauge(
    "ebb_model_expected_metric",
    "Performance that the latest snapshot's own probabilities promise, while its labels are pending",
    ["target", "candidate", "metric"],
)
"""`metric`: roc_auc, log_loss, brier, accuracy, base_rate."""
FEATURE_DRIFT = Gauge("ebb_feature_drift_psi", "Population stability index of a feature, latest days", ["feature"])
SCORE_DRIFT = Gauge("ebb_score_drift_psi", "Population stability index of the champion's scores", ["target"])
ERROR_DRIFT = Gauge(
    "ebb_error_drift_timestamp_seconds", "Boundary at which ADWIN last found the error changed", ["target"]
)
ERROR_SHIFT = Gauge("ebb_error_drift_shift", "Mean squared error after that change less before", ["target"])
MODELS_WITHHELD = Counter(
    "ebb_models_withheld_total",
    "Versions not published, since they know less than the prior rate",
    ["target", "candidate"],
)
MODEL_HELD = Gauge("ebb_model_held", "1 while a request, not the rule, decides what serves", ["target"])
MODEL_VERSION = Gauge("ebb_model_version", "Latest published version", ["target", "candidate"])
CHAMPION = Gauge("ebb_model_champion", "1 for the champion of a target", ["target", "candidate"])
LEARNER_BOUNDARY = Gauge("ebb_learner_boundary_timestamp_seconds", "Boundary up to which labels are learned")
LEARNER_CLOSED = Gauge(
    "ebb_learner_closed_timestamp_seconds", "Boundary up to which a partition has written its blocks", ["partition"]
)
"""The partition with the lowest one holds back learning."""
LEARNER_WAITING = Gauge(
    "ebb_learner_waiting_rows", "Rows of blocks held for boundaries that some partition has not closed"
)
BLOCKS_REFUSED = Counter(
    "ebb_blocks_refused_total", "Records of the examples topic that the learner passed over", ["reason"]
)
"""`reason`: corrupt, schema; customers: labels of others than their snapshot's; definition: of another label."""
LEARN_SECONDS = Histogram("ebb_learn_seconds", "Time to score and learn one boundary", buckets=FAST)

# Serving
HTTP_REQUESTS = Counter("ebb_http_requests_total", "Requests answered", ["method", "route", "status"])
HTTP_SECONDS = Histogram("ebb_http_request_seconds", "Time to answer a request", ["route"], buckets=FAST)
WS_CLIENTS = Gauge("ebb_ws_clients", "WebSocket clients connected")
WS_SENT = Counter("ebb_ws_messages_total", "Messages sent to WebSocket clients", ["type"])
WS_CLOSED = Counter("ebb_ws_closed_total", "WebSocket connections closed by the server", ["code"])
SCORES_HELD = Gauge("ebb_scores_held", "Customers whose score this replica holds")
COLLECTED = Counter("ebb_collected_total", "Calls to the collector, by what became of them", ["call", "verdict"])
"""`verdict`: accepted, refused, ignored."""
COLLECT_REFUSED = Counter("ebb_collect_refused_total", "Calls that the collector refused", ["reason"])
COLLECT_WITHHELD = Counter("ebb_collect_withheld_total", "Values that the collector withheld as personal", ["kind"])
"""`kind`: name, that of the property; email, phone, card, iban, in the value; url: its user, query or fragment."""
WEBHOOKS = Counter("ebb_webhooks_total", "Alerts to webhooks, by what became of them", ["endpoint", "result"])
"""`result`: delivered, retried, dead."""
RECORDS_REFUSED = Counter(
    "ebb_records_refused_total",
    "Records that a reader of the API or of a worker could not use and passed over",
    ["topic"],
)
"""`topic`: without the prefix of all topics."""
ERASURES_OPEN = Gauge("ebb_erasures_open", "Erasures requested and not yet done everywhere")

# Producers
PRODUCED = Counter("ebb_produced_total", "Events acknowledged by the broker", ["source"])
PRODUCE_FAILURES = Counter("ebb_produce_failures_total", "Events the broker refused", ["source"])


def forget_partition(partition: int) -> None:
    """Remove a worker's gauges of a partition that was revoked.

    Otherwise each would show its last value for as long as the process lives: a lag that no longer exists.
    """
    for gauge in (LAG_EVENTS, LAG_SECONDS, WATERMARK, CUSTOMERS, CUSTOMERS_BY_BAND):
        gauge.remove_by_labels({"partition": str(partition)})


def serve_metrics(settings: Settings, liveness: Liveness | None = None) -> None:
    """Serve `/metrics` of this process, and `/livez` (200, or 503 with the reason), if a port is set.

    Parameters
    ----------
    liveness
        What `/livez` answers by; None: the process lives if it answers.
    """
    if not settings.metrics_port:
        return
    exposition = make_wsgi_app()

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ.get("PATH_INFO") != "/livez":
            metrics: Iterable[bytes] = exposition(environ, start_response)
            return metrics
        trouble = liveness.trouble() if liveness is not None else None
        body = f"{trouble or 'ok'}\n".encode()
        headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
        start_response("503 Service Unavailable" if trouble else "200 OK", headers)
        return [body]

    host = settings.metrics_host
    server = _IPv6Server if ":" in host else ThreadingWSGIServer
    running = make_server(host, settings.metrics_port, answer, server, handler_class=_QuietHandler)
    threading.Thread(target=running.serve_forever, name="metrics", daemon=True).start()


class _IPv6Server(ThreadingWSGIServer):
    address_family = socket.AF_INET6


class _QuietHandler(WSGIRequestHandler):
    """A handler that logs no requests, and waits for none that does not come."""

    timeout = 30.0

    def log_message(self, *_: object) -> None:
        """Log nothing."""
