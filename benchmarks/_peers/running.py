"""Runs one peer on one topic and brings back what it delivered, and how long that took."""

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
"""From the start of a peer to its last record processed, on a busy machine."""
LOOK_SECONDS = 0.05
STOP_SECONDS = 10.0
ATTEMPTS = 2
"""A framework that does not find the topic at once gives up; it may try again."""


@dataclass(frozen=True)
class Run:
    """What came of a run."""

    events_per_s: float
    seconds: float
    cpu_seconds: float
    delivered: int
    """Records on the topic of results, those of the warm-up included."""
    results: dict[str, Described]
    """The last of each customer, as it lies on that topic."""


def run(peer: str, python: Path, task: Task) -> Run:
    """Start a peer, wait for its results, stop it.

    Raises
    ------
    EbbError
        If it ends, or takes too long, without results; the message holds the end of what it said.
    """
    for attempt in range(1, ATTEMPTS + 1):
        # Where the topic's own data lies there is room for a peer's state too.
        with tempfile.TemporaryDirectory() as home:
            name = f"peer-{peer}-{uuid4().hex[:8]}"
            own = replace(task, folder=home, name=name, results=f"{name}-results")
            with Delivered(own.bootstrap, own.results, partitions=own.partitions) as delivered:
                found = _once(peer, python, own, delivered)
        if isinstance(found, Run):
            return found
        print(f"{peer} ended without results (attempt {attempt}).", flush=True)
    what = f"{peer} processed no more: {found}"
    raise EbbError(what, "Run it again; if it stays so, the framework and this machine do not agree.")


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
                time.sleep(LOOK_SECONDS)
            spent = _watch(process, delivered) if measured.exists() else []
        finally:
            _stop(process)
    if not spent:
        return log.read_text(errors="replace")[-1_500:].strip() or "it said nothing"
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
    """Wait until no more results come; return the processor time spent at moments meanwhile, by Unix time."""
    spent: list[tuple[float, float]] = []
    ends: list[int] = []
    quiet_since = time.monotonic()
    while process.poll() is None and time.monotonic() < quiet_since + QUIET_SECONDS:
        spent.append((time.time(), cpu_seconds(psutil.Process(process.pid))))
        if (now := delivered.ends()) != ends:
            ends, quiet_since = now, time.monotonic()
        time.sleep(LOOK_SECONDS)
    return spent


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def cpu_seconds(process: psutil.Process) -> float:
    """Return the processor time of all threads of a process so far."""
    times = process.cpu_times()
    return float(times.user + times.system)
