"""`ebb models` against a real learner: it shows what was published, and its requests are applied."""

import json
import re
import time
from pathlib import Path
from typing import Protocol

import pytest

from ebb.contracts.examples import encode
from ebb.contracts.models import ModelSnapshot
from ebb.errors import SchemaMismatchError
from ebb.kafka.producer import Publisher
from ebb.kafka.reader import read_to_end
from ebb.settings import Settings
from ebb_cli import main
from ebb_cli.local.parts import learner
from online_ml.candidates import candidates, sampled
from online_ml.exported import load_estimator
from tests.conftest import RunPart
from tests.support.examples import FIRST_DAY, World

pytestmark = pytest.mark.timeout(300)
WORLD = World(partitions=4, days=9, rows=120)


class Ebb(Protocol):
    """Runs `ebb models` and returns what it printed, or why it refused."""

    def __call__(self, *arguments: str) -> str: ...


@pytest.fixture
def namespaced(space: Settings) -> Settings:
    return space.model_copy(
        update={
            "horizon_days": WORLD.churn_horizon,
            "purchase_horizon_days": WORLD.purchase_horizon,
            "checkpoint_seconds": 0.3,
            "tree_labels": 40,
        }
    )


@pytest.fixture
def ebb(namespaced: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ebb:
    """Run the command line in this process, on the namespace of this test."""
    for name, value in {**namespaced.environment(), "COLUMNS": "200"}.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> str:
        monkeypatch.setattr("sys.argv", ["ebb", "models", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit):
            main()
        captured = capsys.readouterr()
        return captured.err or captured.out

    return run


def learned(settings: Settings) -> int:
    """Return the boundary up to which the published churn models have learned."""
    days = [
        ModelSnapshot.decode(message.value() or b"").trained_until
        for message in read_to_end(settings, settings.topics.models, [0])
        if (message.key() or b"").startswith(b"churn.")
    ]
    return max(days, default=0)


def test_models_are_listed_shown_exported_held_and_released(
    namespaced: Settings, ebb: Ebb, run_part: RunPart, tmp_path: Path
) -> None:
    assert "No model has been published yet" in ebb("list")
    publisher = Publisher(namespaced)
    for number in range(WORLD.partitions):
        for block in WORLD.partition(number):
            publisher.send(namespaced.topics.examples, key=None, value=encode(block), partition=number)
    publisher.flush()
    run_part(learner(namespaced))
    deadline = time.monotonic() + 180
    while learned(namespaced) < FIRST_DAY + WORLD.days - 1:
        assert time.monotonic() < deadline
        time.sleep(0.2)

    listed = ebb("list").splitlines()
    assert re.match(r"churn\.logistic +champion", listed[1])
    per_target = len(candidates("churn")) + len(sampled("churn", 7))
    assert len(listed) == 1 + 2 * per_target
    output = ebb("show", "churn.recency")
    assert "horizon days" in output
    versions = [int(version) for version in re.findall(r"^ +(\d+) +challenger", output, re.MULTILINE)]
    file = tmp_path / "model.json"
    assert "Written to" in ebb("export", "churn.recency", "--output", str(file))
    exported = ModelSnapshot.decode(file.read_bytes())
    assert exported.version == versions[0]
    older = json.loads(ebb("export", "churn.recency", "--version", str(versions[-1])))
    assert older["version"] == versions[-1]
    assert load_estimator(file).inputs == load_estimator(older).inputs == ["log_recency_days"]
    with pytest.raises(SchemaMismatchError, match="judged beside the others"):
        load_estimator(json.loads(ebb("export", "churn.forest")))

    held = ebb("promote", "churn.recency", "--why", "a broken input")
    assert "recency serves churn, by request, in the place of logistic" in held
    assert re.match(r"churn\.recency +champion", ebb("list").splitlines()[1])
    frozen = ebb("promote", "churn.count", "--version", str(exported.version))
    assert "count version" in frozen
    assert re.match(rf"churn\.held +champion +{exported.version}", ebb("list").splitlines()[1])
    back = ebb("rollback", "churn")
    assert "recency serves churn" in back
    assert "The rule decides again; logistic serves churn" in ebb("release", "churn")
    history = ebb("history", "churn")
    assert "a broken input" in history
    assert history.count("request to hold") == 3

    card = ebb("card", "churn.logistic")
    for section in ("What it predicts", "How well it does", "For whom", "Expected and realised", "Limits"):
        assert f"## {section}" in card
    assert "| DE |" in card
    assert "no activity within 3 days" in card

    forest = ebb("card", "churn.forest")
    assert "It can never serve: no form publishes it that loading would not execute." in forest
    assert "published in no form that has weights" in forest
    refused = ebb("promote", "churn.forest")
    assert "forest cannot serve churn" in refused


def test_an_unknown_name_is_refused_with_the_known_ones(ebb: Ebb) -> None:
    for arguments, message in (
        (("show", "churn.nobody"), "There is no model churn.nobody"),
        (("rollback", "sales"), "There is no target sales; the targets are churn, purchase"),
        (("rollback", "churn"), "No candidate served churn before"),
        (("rollback", "churn", "--to-version", "3"), "Nothing that was learned serves churn yet"),
    ):
        assert message in ebb(*arguments)
