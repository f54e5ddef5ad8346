"""The whole of Ebb on one machine: which parts there are, and where they can be reached."""

from collections.abc import Sequence
from dataclasses import dataclass

from ebb.runtime import jars, parts, ports, services
from ebb.runtime.parts import Part, api_url, metrics_url
from ebb.settings import Settings


@dataclass(frozen=True)
class System:
    """A system that can be started: its settings, with every address decided, and its parts in order."""

    settings: Settings
    parts: tuple[Part, ...]

    @property
    def addresses(self) -> dict[str, str]:
        """Where a person or a program reaches it, by what is found there."""
        base = api_url(self.settings)
        found = {
            "Live page": base,
            "REST": f"{base}/v1",
            "API description": f"{base}/openapi.json",
            "WebSocket": f"{base.replace('http', 'ws', 1)}/v1/stream",
            "Kafka": self.settings.kafka_bootstrap,
            "ClickHouse": self.settings.clickhouse_url,
            "Metrics, api": f"{base}/metrics",
        }
        return found | {f"Metrics, {part.name}": url for part in self.parts if (url := metrics_url(part))}


def plan(
    settings: Settings, *, simulator: Sequence[str] | None = (), progress: jars.Progress = lambda *_: None
) -> System:
    """Decide ports, lay out folders and describe every part.

    Parameters
    ----------
    simulator
        Arguments of the simulator; None leaves it out.

    Raises
    ------
    SetupError
        If a port that was asked for is taken, or Kafka's jars cannot be had.
    """
    # The ports first: they cost nothing, the jars may take a minute.
    api_port = ports.choose(settings, "api_port", settings.api_host)
    chosen, embedded = services.prepare(settings, progress=progress)
    chosen = chosen.model_copy(update={"api_port": api_port})
    below = tuple(part.name for part in embedded)
    own = [
        *(parts.worker(chosen, index, after=below) for index in range(chosen.workers)),
        parts.learner(chosen, after=below),
        parts.api(chosen, after=below),
    ]
    if simulator is not None:
        own.append(parts.simulator(chosen, *simulator, after=below))
    return System(chosen, (*embedded, *own))
