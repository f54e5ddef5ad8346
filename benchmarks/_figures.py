"""What benchmarks share: percentiles, matching of what was sent with what came, metrics of a part."""

import re
from collections.abc import Mapping, Sequence

import httpx
import numpy as np
import psutil

from ebb_cli.local.parts import ManagedProcess, metrics_url

_scraper = httpx.Client(trust_env=False, verify=False, timeout=30)  # noqa: S501 - plain HTTP, on this machine
"""One for all: to make one anew, with the authorities it would trust, takes as long as 2,000 events do."""
_PROCESSED = re.compile(
    r'^ebb_(?:events_total\{result="(?!tick)\w+"\}|dead_letters_total\{[^}]*\}) (\S+)', re.MULTILINE
)
_LINE = re.compile(r"^(?P<name>\w+)(?:\{(?P<labels>[^}]*)\})? (?P<value>\S+)$", re.MULTILINE)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the least of the values that at least `share` (0 to 1) of them do not exceed.

    No interpolation: what is told has been measured.

    Raises
    ------
    ValueError
        If there are no values.
    """
    if not len(values):
        message = "There is no percentile of nothing."
        raise ValueError(message)
    return float(np.percentile(values, share * 100, method="inverted_cdf"))


def waits(
    sent: Mapping[str, float], came: Mapping[str, float], *, since: float = -np.inf
) -> tuple[list[float], list[str]]:
    """Match what was sent with what came of it.

    Parameters
    ----------
    sent, came
        Key → Unix time, seconds.
    since
        What was sent before is left out (the burn-in).

    Returns
    -------
    list of float
        Milliseconds from one to the other, in order of sending.
    list of str
        Keys of which nothing came.
    """
    counted = [key for key, _ in sorted(sent.items(), key=lambda item: item[1]) if sent[key] >= since]
    found = [(came[key] - sent[key]) * 1_000 for key in counted if key in came]
    return found, [key for key in counted if key not in came]


def metric(text: str, name: str, **labels: str) -> float:
    """Return the sum of the samples of a name that carry some labels, from Prometheus text; 0 if there is none."""
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    return sum(
        float(line["value"])
        for line in _LINE.finditer(text)
        if line["name"] == name and all(one in (line["labels"] or "").split(",") for one in wanted)
    )


def scrape(part: ManagedProcess) -> str:
    """Return the metrics that a part serves now."""
    return _scraper.get(metrics_url(part)).text


def process_of(part: ManagedProcess) -> psutil.Process:
    """Return the process of a part that this one runs; it is found by the port on which it alone serves its metrics.

    Raises
    ------
    LookupError
        If there is none.
    """
    port = part.environment["EBB_METRICS_PORT"]
    for process in psutil.Process().children(recursive=True):
        if process.cmdline() == list(part.command) and process.environ().get("EBB_METRICS_PORT") == port:
            return process
    message = f"The process of {part.name} is not to be found."
    raise LookupError(message)


def processed(part: ManagedProcess) -> float:
    """Return the records that a worker is done with: accepted, late, dropped as duplicates, refused."""
    return sum(float(value) for value in _PROCESSED.findall(scrape(part)))
