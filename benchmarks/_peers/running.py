"""Runs one peer on one topic and brings back what it measured and computed."""

import json
import os
import subprocess
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from uuid import uuid4

from benchmarks._peers.judge import Described
from benchmarks._peers.meter import Task
from ebb.errors import EbbError

PATIENCE_SECONDS = 600.0
"""From the start of a peer to its last result, on a busy machine."""
STOP_SECONDS = 10.0
ATTEMPTS = 2
"""A framework that does not find the topic at once gives up; it may try again."""


@dataclass(frozen=True)
class Run:
    """What came of a run."""

    events_per_s: float
    seconds: float
    cpu_seconds: float
    results: dict[str, Described]


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
            own = replace(task, folder=home, name=f"peer-{peer}-{uuid4().hex[:8]}")
            found = _once(peer, python, own)
        if isinstance(found, Run):
            return found
        print(f"{peer} ended without results (attempt {attempt}).", flush=True)
    what = f"{peer} processed no more: {found}"
    raise EbbError(what, "Run it again; if it stays so, the framework and this machine do not agree.")


def _once(peer: str, python: Path, task: Task) -> Run | str:
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
                time.sleep(0.05)
        finally:
            _stop(process)
    if not measured.exists():
        return log.read_text(errors="replace")[-1_500:].strip() or "it said nothing"
    rows = map(json.loads, (folder / "results.jsonl").read_text().splitlines())
    return Run(
        **json.loads(measured.read_text()), results={customer: (vector, score) for customer, vector, score in rows}
    )


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
