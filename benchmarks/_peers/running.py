"""Run of one peer on one topic: starts it, measures it and reads its results."""

import json
import os
import subprocess
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from uuid import uuid4

import psutil

from benchmarks._peers.delivered import QUIET_SECONDS, Delivered
from benchmarks._peers.judge import Described
from benchmarks._peers.meter import Task
from ebb.errors import EbbError

PATIENCE_SECONDS = 600.0
"""Limit from the start of a peer until its last record is processed, on a busy machine."""
POLL_SECONDS = 0.05
STOP_SECONDS = 10.0
ATTEMPTS = 2
"""Starts of a peer: a framework that does not find the topic at once exits."""


@dataclass(frozen=True)
class Run:
    """Figures and results of a run."""

    events_per_s: float
    seconds: float
    cpu_seconds: float
    delivered: int
    """Records on the results topic, including those of the warm-up."""
    results: dict[str, Described]
    """The last result of each customer on that topic."""


def run(peer: str, python: Path, task: Task) -> Run:
    """Start a peer, wait for its results, stop it.

    Raises
    ------
    EbbError
        If it ends, or takes too long, without results; the message contains the end of its log.
    """
    for attempt in range(1, ATTEMPTS + 1):
        # The disk of the temporary folder has room for the topic, and so for a peer's state too.
        with tempfile.TemporaryDirectory() as home:
            name = f"peer-{peer}-{uuid4().hex[:8]}"
            own = replace(task, folder=home, name=name, results=f"{name}-results")
            with Delivered(own.bootstrap, own.results, partitions=own.partitions) as delivered:
                outcome = _once(peer, python, own, delivered)
        if isinstance(outcome, Run):
            return outcome
        print(f"{peer} ended without results (attempt {attempt}).", flush=True)
    what = f"{peer} did not process all records: {outcome}"
    raise EbbError(what, "Run it again; if it persists, the framework does not work on this machine.")


def _once(peer: str, python: Path, task: Task, delivered: Delivered) -> Run | str:
    folder = Path(task.folder)
    environment = {**os.environ, "BENCH_TASK": json.dumps(asdict(task)), "PYTHONPATH": os.getcwd()}
    log, measured = folder / "log", folder / "measured.json"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(python), "-m", f"benchmarks._peers.{peer}_peer"],
            env=environment,
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while not measured.exists() and process.poll() is None and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
            spent = _watch(process, delivered) if measured.exists() else []
        finally:
            _stop(process)
    if not spent:
        return log.read_text(errors="replace")[-1_500:].strip() or "its log is empty"
    results, count, ended = delivered.read()
    began = json.loads(measured.read_text())
    seconds = ended - began["at"]
    return Run(
        events_per_s=(task.records - began["processed"]) / seconds,
        seconds=seconds,
        cpu_seconds=next((cpu for at, cpu in spent if at >= ended), spent[-1][1]) - began["cpu_seconds"],
        delivered=count,
        results=results,
    )


def _watch(process: subprocess.Popen[bytes], delivered: Delivered) -> list[tuple[float, float]]:
    """Wait until no more results arrive; return pairs of Unix time and CPU seconds spent until then."""
    spent: list[tuple[float, float]] = []
    ends: list[int] = []
    quiet_since = time.monotonic()
    while process.poll() is None and time.monotonic() < quiet_since + QUIET_SECONDS:
        spent.append((time.time(), cpu_seconds(psutil.Process(process.pid))))
        if (now := delivered.ends()) != ends:
            ends, quiet_since = now, time.monotonic()
        time.sleep(POLL_SECONDS)
    return spent


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def cpu_seconds(process: psutil.Process) -> float:
    """Return the CPU seconds of all threads of a process so far."""
    times = process.cpu_times()
    return float(times.user + times.system)
