"""Ebb on the same topic: its real worker process, everything on."""

import re
import time
from dataclasses import dataclass

import httpx
import psutil

from benchmarks._peers.definition import COUNTED, WINDOWS
from clickhouse.client import connect
from ebb.errors import EbbError
from ebb.runtime import parts
from ebb.runtime.supervisor import Supervisor
from ebb.settings import Settings

LOOK_SECONDS = 0.02
DURABLE_SECONDS = 120.0
"""How long the last features may take to be in ClickHouse, which no figure contains."""
_COUNTED = re.compile(r'^ebb_(?:events_total\{result="(?!tick)\w+"\}|dead_letters_total\{[^}]*\}) (\S+)', re.MULTILINE)

COLUMNS = {
    "tenure_ms": "tenure_days",
    "since_purchase_ms": "purchase_recency_days",
    **{f"{name}_{days}d": f"{name}_{days}d" for days in WINDOWS for name in COUNTED},
    "spend_7d": "spend_7d",
    "spend_30d": "spend_30d",
    "spend_total": "spend_total",
    "events_total": "events_total",
    "purchases_total": "purchases_total",
    "active_days_total": "active_days_total",
    "events_hl14": "events_hl14",
}
"""Feature of the definition to Ebb's column. Ebb has no spend of one day."""


@dataclass(frozen=True)
class OurRun:
    """What came of a run of Ebb; features by the names of the definition, in Ebb's units."""

    events_per_s: float
    seconds: float
    cpu_seconds: float
    results: dict[str, dict[str, float]]


def run(settings: Settings, *, records: int, warm_up: int, customers: int, end: float) -> OurRun:
    """Start a worker on a filled topic, measure it as the peers measure themselves, read its features, stop it.

    Parameters
    ----------
    end
        Unix time of the topic's last events, the moment that the features describe.

    Raises
    ------
    EbbError
        If the features do not arrive in ClickHouse.
    """
    part = parts.worker(settings)
    with Supervisor([part], logs=settings.home / "logs", say=lambda _: None):
        process = _process(part)
        began: tuple[float, float, float] | None = None
        while True:
            done, wall, cpu = _done(part), time.perf_counter(), _cpu_seconds(process)
            if began is None and done >= warm_up:
                began = (done, wall, cpu)
            if began is not None and done >= records:
                break
            time.sleep(LOOK_SECONDS)
        seconds = wall - began[1]
        results = _features(settings, customers=customers, end=end)
    return OurRun((done - began[0]) / seconds, seconds, cpu - began[2], results)


def _done(part: parts.Part) -> float:
    """Return the records processed: accepted, late, dropped as duplicates, refused."""
    return sum(float(value) for value in _COUNTED.findall(httpx.get(parts.metrics_url(part), trust_env=False).text))


def _process(part: parts.Part) -> psutil.Process:
    wanted = list(part.command)
    return next(child for child in psutil.Process().children(recursive=True) if child.cmdline() == wanted)


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _features(settings: Settings, *, customers: int, end: float) -> dict[str, dict[str, float]]:
    names = ", ".join(COLUMNS.values())
    query = f"SELECT customer_id, {names} FROM features FINAL WHERE as_of = fromUnixTimestamp64Milli({{end:Int64}})"  # noqa: S608
    client = connect(settings)
    try:
        deadline = time.monotonic() + DURABLE_SECONDS
        while time.monotonic() < deadline:
            rows = client.query(query, parameters={"end": int(end * 1000)}).result_rows
            if len(rows) >= customers:
                return {row[0]: dict(zip(COLUMNS, row[1:], strict=True)) for row in rows}
            time.sleep(0.5)
    finally:
        client.close()
    what = f"ClickHouse holds the features of {len(rows)} customers at the log's end, not of {customers}."
    raise EbbError(what, "Read the worker's log; a benchmark on a machine this busy says nothing.")
