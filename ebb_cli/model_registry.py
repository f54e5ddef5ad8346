"""Access for `ebb models`: the models topic, the registry in ClickHouse, requests to the learner."""

import time
from typing import Any

from clickhouse.store import Store
from ebb.contracts.examples import REQUEST_PARTITION, ChampionRequest
from ebb.contracts.models import TARGETS, ModelSnapshot, Target
from ebb.errors import EbbError, SourceError, UnavailableError
from ebb.kafka.producer import Publisher
from ebb.kafka.reader import read_to_end
from ebb.settings import Settings
from ebb_cli.console import ANSWER_SECONDS

POLL_SECONDS = 0.3


def latest(settings: Settings) -> dict[str, ModelSnapshot]:
    """Return the models on the topic by name, grouped by target, each group's champion first.

    Raises
    ------
    UnavailableError
        If Kafka does not answer.
    """
    bodies: dict[str, bytes] = {}
    topic = settings.topics.models
    for message in read_to_end(settings, topic, [0], timeout=ANSWER_SECONDS, silence=ANSWER_SECONDS):
        name, body = (message.key() or b"").decode(errors="replace"), message.value()
        if body is None:
            bodies.pop(name, None)
        else:
            bodies[name] = body
    models = []
    for body in bodies.values():
        try:
            models.append(ModelSnapshot.decode(body))
        except EbbError:  # of another version of the code; a worker skips it too
            continue
    models.sort(key=lambda model: (model.target, model.role != "champion", model.name))
    return {model.name: model for model in models}


def find(settings: Settings, name: str, version: int | None = None) -> ModelSnapshot:
    """Return a model from the topic, or one of its versions from the registry.

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
    store = Store(settings, seconds=ANSWER_SECONDS)
    rows = store.query("model_version", model=name, version=version)
    store.close()
    if not rows:
        what = f"The registry has no version {version} of {name}."
        raise SourceError(what, f"`ebb models show {name}` lists the versions that were published.")
    return ModelSnapshot.from_row(rows[0])


def parse_target(text: str) -> Target:
    """Return the target of that name.

    Raises
    ------
    SourceError
        If there is none.
    """
    if text not in TARGETS:
        what = f"There is no target {text}; the targets are {', '.join(TARGETS)}."
        raise SourceError(what, "Give the target alone: churn.logistic is a model, churn its target.")
    return text


def ask(settings: Settings, request: ChampionRequest, *, patience: float) -> dict[str, Any] | None:
    """Send a request to the learner and return its decision; None if it has not decided in time.

    Raises
    ------
    UnavailableError
        If Kafka does not accept the request.
    """
    publisher = Publisher(settings)
    publisher.send(settings.topics.examples, key=None, value=request.encode(), partition=REQUEST_PARTITION)
    publisher.flush(ANSWER_SECONDS)
    store = Store(settings, seconds=ANSWER_SECONDS)
    deadline = time.monotonic() + patience
    try:
        while time.monotonic() < deadline:
            for row in store.query("promotions", target=request.target, limit=50):
                if row["request_id"] == request.request_id:
                    return row
            time.sleep(POLL_SECONDS)
    except UnavailableError:
        return None
    finally:
        store.close()
    return None
