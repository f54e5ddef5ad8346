"""What `ebb models` reads and asks for: the models topic, the registry in ClickHouse, requests to the learner."""

import time
from typing import Any

from clickhouse.store import Store
from ebb.contracts.examples import REQUEST_PARTITION, ChampionRequest
from ebb.contracts.models import TARGETS, ModelSnapshot, Target
from ebb.errors import EbbError, SourceError, UnavailableError
from ebb.kafka.producer import Publisher
from ebb.kafka.reader import read_to_end
from ebb.settings import Settings

LOOK_SECONDS = 0.3


def latest(settings: Settings) -> dict[str, ModelSnapshot]:
    """Return the models on the topic by name, those of each target together and what serves first.

    Raises
    ------
    UnavailableError
        If Kafka does not answer.
    """
    bodies: dict[str, bytes] = {}
    for message in read_to_end(settings, settings.topics.models, [0]):
        name, body = (message.key() or b"").decode(), message.value()
        if body is None:
            bodies.pop(name, None)
        else:
            bodies[name] = body
    found = []
    for body in bodies.values():
        try:
            found.append(ModelSnapshot.decode(body))
        except EbbError:  # of another version of the code; a worker refuses it too
            continue
    found.sort(key=lambda one: (one.target, one.role != "champion", one.name))
    return {one.name: one for one in found}


def find(settings: Settings, name: str, version: int | None = None) -> ModelSnapshot:
    """Return a model as it is on the topic, or one of its versions as the registry keeps it.

    Raises
    ------
    SourceError
        If there is none of that name, or no such version.
    """
    known = latest(settings)
    if name not in known:
        what = f"There is no model {name}; there are {', '.join(known) or 'none yet'}."
        raise SourceError(what, "`ebb models list` shows them.")
    if version is None or known[name].version == version:
        return known[name]
    store = Store(settings)
    rows = store.query("model_version", model=name, version=version)
    store.close()
    if not rows:
        what = f"The registry has no version {version} of {name}."
        raise SourceError(what, f"`ebb models show {name}` lists the versions that were published.")
    return ModelSnapshot.from_row(rows[0])


def as_target(text: str) -> Target:
    """Return the target of that name.

    Raises
    ------
    SourceError
        If there is none.
    """
    if text not in TARGETS:
        what = f"There is no target {text}; the targets are {', '.join(TARGETS)}."
        raise SourceError(what, "A model is named target.candidate; here only the target is asked for.")
    return text


def ask(settings: Settings, request: ChampionRequest, *, patience: float) -> dict[str, Any] | None:
    """Send a request to the learner and wait for what becomes of it; None if it has not been decided in time.

    Raises
    ------
    UnavailableError
        If Kafka does not take the request.
    """
    publisher = Publisher(settings)
    publisher.send(settings.topics.examples, key=None, value=request.encode(), partition=REQUEST_PARTITION)
    publisher.flush()
    store = Store(settings)
    deadline = time.monotonic() + patience
    try:
        while time.monotonic() < deadline:
            for row in store.query("promotions", target=request.target, limit=50):
                if row["request_id"] == request.request_id:
                    return row
            time.sleep(LOOK_SECONDS)
    except UnavailableError:
        return None
    finally:
        store.close()
    return None
