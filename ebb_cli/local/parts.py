"""The parts of the running system, one process each: its command, its environment and its readiness check."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

from ebb.settings import Settings
from ebb_cli.local.ports import LOOPBACK, free_port

PROCESS = {
    # So that the log holds all that a part printed, and the stack if native code crashed.
    "PYTHONUNBUFFERED": "1",
    "PYTHONFAULTHANDLER": "1",
    # glibc gives each thread a heap of its own, up to eight a core; memory freed in one cannot be used by another.
    "MALLOC_ARENA_MAX": "2",
    # Arrow's own allocator returns hardly any memory to the system, and is no faster here.
    "ARROW_DEFAULT_MEMORY_POOL": "system",
}
"""Environment variables of every part, besides its settings."""


def _running() -> bool:
    return True


@dataclass(frozen=True)
class ManagedProcess:
    """Description of a process that the supervisor runs."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str]
    ready: Callable[[], bool] = field(default=_running, compare=False)
    """Called repeatedly until true; must return within a second or two and never raise."""
    after: tuple[str, ...] = ()
    """Names of the parts that must be ready before this one starts, and that stop only after it."""
    alive: Callable[[], bool] | None = field(default=None, compare=False)
    """Sign of life, asked for from the moment that the part is ready; as `ready`. None: the process is enough."""
    hang_seconds: float = 60.0
    """Seconds without a sign of life after which it is killed and started again."""
    patience: float = 180.0
    """Seconds it may take to become ready; a busy machine needs ten times what an idle one does."""
    grace: float = 15.0
    """Seconds between SIGTERM and SIGKILL when it is stopped."""


def environment(settings: Settings) -> dict[str, str]:
    """Return the whole environment of a child process with exactly these settings."""
    return {**foreign_environment(), **settings.environment()}


def foreign_environment() -> dict[str, str]:
    """Return the environment of a child process that is not ours: no setting, and so no secret, is in it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("EBB_")}
    return {**kept, **PROCESS}


def module(name: str, *arguments: str) -> tuple[str, ...]:
    """Return the command that runs a module under the present Python."""
    return (sys.executable, "-m", name, *arguments)


def responds(url: str) -> bool:
    """Return whether a URL answers 200."""
    try:
        # Plain HTTP on this machine; loading the certificate authorities would take longer than the answer.
        return httpx.get(url, timeout=2, trust_env=False, verify=False).status_code == httpx.codes.OK  # noqa: S501
    except httpx.HTTPError:
        return False


def api_url(settings: Settings) -> str:
    """Return the address at which this machine reaches the API."""
    host = settings.api_host
    if host in {"0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
        host = LOOPBACK
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.api_port}"


def metrics_url(part: ManagedProcess) -> str:
    """Return where a part serves its metrics; empty if it does not."""
    port = part.environment.get("EBB_METRICS_PORT", "0")
    return f"http://{LOOPBACK}:{port}/metrics" if port != "0" else ""


def _without_secrets(settings: Settings) -> Settings:
    """Return settings without what only the API needs: its address, its keys, the receivers of its webhooks."""
    return settings.model_copy(update={"api_host": LOOPBACK, "api_keys": (), "require_key": False, "webhooks": ()})


def _with_metrics(
    name: str, settings: Settings, command: tuple[str, ...], after: tuple[str, ...] = ()
) -> ManagedProcess:
    own = _without_secrets(settings).model_copy(update={"metrics_port": free_port(), "metrics_host": LOOPBACK})
    url = f"http://{LOOPBACK}:{own.metrics_port}"
    return ManagedProcess(
        name,
        command,
        environment(own),
        lambda: responds(f"{url}/metrics"),
        alive=lambda: responds(f"{url}/livez"),
        after=after,
    )


def worker(settings: Settings, index: int = 0, *, after: tuple[str, ...] = ()) -> ManagedProcess:
    """Describe a stream worker; ready when it serves its metrics, on a free port of its own."""
    return _with_metrics(f"worker-{index}", settings, module("stream_processors"), after)


def learner(settings: Settings, *, after: tuple[str, ...] = ()) -> ManagedProcess:
    """Describe the learner; ready when it serves its metrics, on a free port of its own."""
    return _with_metrics("learner", settings, module("online_ml"), after)


def api(settings: Settings, *, after: tuple[str, ...] = ()) -> ManagedProcess:
    """Describe the API, which listens on `settings.api_port`; ready when `/readyz` answers 200."""
    url = api_url(settings)
    return ManagedProcess(
        "api",
        module("serving"),
        environment(settings),
        lambda: responds(f"{url}/readyz"),
        alive=lambda: responds(f"{url}/livez"),
        after=after,
        grace=ManagedProcess.grace + settings.drain_seconds,
    )


def simulator(settings: Settings, *arguments: str, after: tuple[str, ...] = ()) -> ManagedProcess:
    """Describe the simulator; `arguments` are those of `ebb simulate`. Ready when it serves its metrics."""
    without = settings.model_copy(update={"clickhouse_password": ""})
    return _with_metrics("simulator", without, module("producers.simulator.app", *arguments), after)


def clickhouse(settings: Settings) -> ManagedProcess:
    """Describe the embedded ClickHouse server; it keeps its data in `settings.home/clickhouse`."""
    url = f"{settings.clickhouse_url}/ping"
    own = environment(_without_secrets(settings))

    def answers() -> bool:
        return responds(url)

    return ManagedProcess("clickhouse", module("clickhouse.embedded"), own, answers, alive=answers, grace=30)
