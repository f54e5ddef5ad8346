"""The system on one machine: which parts run, at which addresses, with Kafka and ClickHouse embedded or elsewhere."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ebb.home_password import home_password
from ebb.settings import Settings
from ebb_cli.local import jars, kafka, parts, ports
from ebb_cli.local.home import HomeLock
from ebb_cli.local.parts import ManagedProcess, api_url, clickhouse, metrics_url
from ebb_cli.local.supervisor import Supervisor

REACHED_BY = (
    "home", "lib", "kafka_port", "kafka_bootstrap", "clickhouse_port", "clickhouse_url", "clickhouse_password",
)  # fmt: skip
"""Settings that `prepare` chooses, by which the services are reached."""
Report = Callable[[str], None]
"""Called with a sentence when a part becomes ready, ends or is killed."""


def ignore(_: str) -> None:
    """Report nothing."""


def logs(settings: Settings) -> Path:
    """Return the folder of the parts' logs."""
    return settings.home / "logs"


def prepare(settings: Settings, *, progress: jars.Progress = lambda *_: None) -> tuple[Settings, list[ManagedProcess]]:
    """Choose ports, download the jars, create the folders.

    Where `kafka_bootstrap` or `clickhouse_url` was given explicitly, that service runs elsewhere and none is embedded.

    Returns
    -------
    Settings
        With absolute folders, and with the addresses at which the services will answer and the password they ask for.
    list of ManagedProcess
        The services to start.

    Raises
    ------
    SetupError
        If a port was asked for and is taken, the jars cannot be downloaded, or the password cannot be kept.
    """
    changes: dict[str, object] = {"home": settings.home.absolute(), "lib": settings.lib.absolute()}
    elsewhere = settings.model_fields_set
    own_kafka, own_clickhouse = "kafka_bootstrap" not in elsewhere, "clickhouse_url" not in elsewhere
    taken: list[int] = []
    if own_kafka:
        port = ports.choose(settings, "kafka_port")
        taken.append(port)
        changes |= {"kafka_port": port, "kafka_bootstrap": f"{ports.LOOPBACK}:{port}"}
    if own_clickhouse:
        port = ports.choose(settings, "clickhouse_port", taken=taken)
        password = settings.clickhouse_password or home_password(settings.home)
        url = f"http://{ports.LOOPBACK}:{port}"
        changes |= {"clickhouse_port": port, "clickhouse_url": url, "clickhouse_password": password}
    chosen = settings.model_copy(update=changes)
    parts = []
    if own_kafka:
        parts.append(kafka.kafka(chosen, jars.classpath(chosen.lib, progress=progress)))
    if own_clickhouse:
        parts.append(clickhouse(chosen))
    return chosen, parts


@contextmanager
def running(settings: Settings, *, report: Report = ignore) -> Iterator[tuple[Settings, Supervisor]]:
    """Start Kafka and ClickHouse under `settings.home`; yield settings with their addresses, and their supervisor.

    The supervisor lets a test take a service down and bring it up again.

    Raises
    ------
    SetupError
        If the home is in use, a port is taken, or a service does not start.
    """
    with HomeLock(settings.home) as lock:
        chosen, parts = prepare(settings)
        with Supervisor(parts, logs=logs(chosen), report=report, keep_open=[lock.fileno()]) as supervisor:
            yield chosen, supervisor


@contextmanager
def services(settings: Settings, *, report: Report = ignore) -> Iterator[Settings]:
    """Start Kafka and ClickHouse under `settings.home`, yield settings that point at them, stop both at the end.

    Raises
    ------
    SetupError
        As `running`.
    """
    with running(settings, report=report) as (chosen, _):
        yield chosen


@dataclass(frozen=True)
class System:
    """A system that can be started: its settings, with every address chosen, and its parts in order."""

    settings: Settings
    parts: tuple[ManagedProcess, ...]

    @property
    def addresses(self) -> dict[str, str]:
        """Addresses for people and programs, by what each one is."""
        base = api_url(self.settings)
        addresses = {
            "Live page": base,
            "REST": f"{base}/v1",
            "API description": f"{base}/openapi.json",
            "WebSocket": f"{base.replace('http', 'ws', 1)}/v1/stream",
            "Kafka": self.settings.kafka_bootstrap,
            "ClickHouse": self.settings.clickhouse_url,
            "Metrics, api": f"{base}/metrics",
        }
        return addresses | {f"Metrics, {part.name}": url for part in self.parts if (url := metrics_url(part))}


def plan(
    settings: Settings, *, simulator: Sequence[str] | None = (), progress: jars.Progress = lambda *_: None
) -> System:
    """Choose ports, create folders and describe every part.

    Parameters
    ----------
    simulator
        Arguments of the simulator; None leaves it out.

    Raises
    ------
    SetupError
        If a port that was asked for is taken, or Kafka's jars cannot be downloaded.
    """
    # The ports first: they cost nothing, the jars may take a minute.
    api_port = ports.choose(settings, "api_port", settings.api_host)
    chosen, embedded = prepare(settings, progress=progress)
    chosen = chosen.model_copy(update={"api_port": api_port})
    services = tuple(part.name for part in embedded)
    own = [
        *(parts.worker(chosen, index, after=services) for index in range(chosen.workers)),
        parts.learner(chosen, after=services),
        parts.api(chosen, after=services),
    ]
    if simulator is not None:
        own.append(parts.simulator(chosen, *simulator, after=services))
    return System(chosen, (*embedded, *own))
