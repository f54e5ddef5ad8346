"""Helpers of the benchmarks: percentiles, latencies of matched messages, metrics and processes of parts."""

import re
from collections.abc import Mapping, Sequence

import httpx
import numpy as np
import psutil

from ebb_cli.local.parts import ManagedProcess, metrics_url

_scraper = httpx.Client(trust_env=False, verify=False, timeout=30)  # noqa: S501 - plain HTTP, on this machine
"""Shared: creating a client loads the certificate authorities, which takes as long as processing 2,000 events."""
_PROCESSED = re.compile(
    r'^ebb_(?:events_total\{result="(?!tick)\w+"\}|dead_letters_total\{[^}]*\}) (\S+)', re.MULTILINE
)
_LINE = re.compile(r"^(?P<name>\w+)(?:\{(?P<labels>[^}]*)\})? (?P<value>\S+)$", re.MULTILINE)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the least of the values that at least `share` (0 to 1) of them do not exceed.

    No interpolation: the result is a value that was measured.

    Raises
    ------
    ValueError
        If there are no values.
    """
    if not len(values):
        message = "There is no percentile of nothing."
        raise ValueError(message)
    return float(np.percentile(values, share * 100, method="inverted_cdf"))


def latencies_of(
    sent: Mapping[str, float], arrived: Mapping[str, float], *, since: float = -np.inf
) -> tuple[list[float], list[str]]:
    """Return the latencies from sending to arrival, matched by key.

    Parameters
    ----------
    sent, arrived
        Key → Unix time, seconds.
    since
        Messages sent before are left out (the burn-in).

    Returns
    -------
    list of float
        Milliseconds from sending to arrival, in order of sending.
    list of str
        Keys that did not arrive.
    """
    counted = [key for key, _ in sorted(sent.items(), key=lambda item: item[1]) if sent[key] >= since]
    latencies = [(arrived[key] - sent[key]) * 1_000 for key in counted if key in arrived]
    return latencies, [key for key in counted if key not in arrived]


def metric(text: str, name: str, **labels: str) -> float:
    """Return the sum of a metric's samples with the given labels, from Prometheus text; 0 if there is none."""
    pairs = [f'{label}="{value}"' for label, value in labels.items()]
    return sum(
        float(line["value"])
        for line in _LINE.finditer(text)
        if line["name"] == name and all(pair in (line["labels"] or "").split(",") for pair in pairs)
    )


def scrape(part: ManagedProcess) -> str:
    """Return the present metrics of a part, as Prometheus text."""
    return _scraper.get(metrics_url(part)).text


def process_of(part: ManagedProcess) -> psutil.Process:
    """Return the process of a part that this process runs, found by the port of its metrics.

    Raises
    ------
    LookupError
        If there is none.
    """
    port = part.environment["EBB_METRICS_PORT"]
    for process in psutil.Process().children(recursive=True):
        if process.cmdline() == list(part.command) and process.environ().get("EBB_METRICS_PORT") == port:
            return process
    message = f"no process of {part.name} was found"
    raise LookupError(message)


def processed(part: ManagedProcess) -> float:
    """Return the records that a worker has processed: accepted, late, dropped as duplicates, dead letters."""
    return sum(float(value) for value in _PROCESSED.findall(scrape(part)))
