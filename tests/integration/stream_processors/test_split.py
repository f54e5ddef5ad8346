"""Customers split between two models, on a real broker: assignment, evaluation by arm, and the end of the split."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from clickhouse_connect.driver.client import Client

from clickhouse.client import connect
from ebb.contracts.examples import ChampionRequest
from ebb.contracts.scores import Score
from ebb.kafka.reader import read_to_end
from ebb.settings import Settings
from ebb_cli.local import parts
from ebb_cli.model_registry import ask, latest
from online_ml.scoring.cold_start import cold_start
from stream_processors.native.hashing import hash_ids
from stream_processors.scoring.split import Split
from tests.support.flow import Source, wait_for
from tests.support.workers import hurried

pytestmark = pytest.mark.timeout(480)
DAY = 86_400
T0 = 19_700 * DAY
CUSTOMERS = [f"c{number:03d}" for number in range(240)]
DAYS = 12


@pytest.fixture
def settings(space: Settings) -> Settings:
    """A namespace whose time is moved by its records alone, and whose labels mature within days."""
    return hurried(space, checkpoint_seconds=0.3, sweep_seconds=0.5, allowed_lateness_seconds=0.0)


@pytest.fixture
def client(settings: Settings) -> Iterator[Client]:
    client = connect(settings)
    yield client
    client.close()


class Shop:
    """Customers who are active on two days of five, and their scores."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.source = Source(settings)
        self.rng = np.random.default_rng(1)
        self.now = float(T0)

    def day(self) -> None:
        """Live a day, to its end."""
        for index in np.flatnonzero(self.rng.random(len(CUSTOMERS)) < 0.4).tolist():
            self.now += 60
            self.source.event(CUSTOMERS[index], self.now)
        self.now = self.now // DAY * DAY + DAY
        self.source.tick(self.now)
        self.source.flush()

    def models(self) -> dict[str, str]:
        """Send an event of every customer, and return which model scored each last."""
        for name in CUSTOMERS:
            self.now += 1
            self.source.event(name, self.now)
        self.source.flush()
        last_models = {}
        for message in read_to_end(self.settings, self.settings.topics.scores, range(self.settings.partitions)):
            score = Score.model_validate_json(message.value() or b"")
            last_models[score.customer_id] = score.model.name
        return last_models

    def learned(self) -> int:
        """Return the day until which what serves has learned; 0 before there is such."""
        served = [
            model for model in latest(self.settings).values() if (model.target, model.role) == ("churn", "champion")
        ]
        return served[0].trained_until if served else 0


def test_a_split_scores_by_hash_is_judged_by_arm_outlives_restarts_and_ends(
    settings: Settings, client: Client, run_part: Callable[[parts.ManagedProcess], Any]
) -> None:
    worker, learner = run_part(parts.worker(settings)), run_part(parts.learner(settings))
    shop = Shop(settings)
    for _ in range(DAYS):
        shop.day()
    wait_for("a champion", lambda: shop.learned() == T0 // DAY + DAYS)

    request = {"target": "churn", "asked_at": datetime.now(UTC)}
    # Activity by chance alone: with a signal, the rule would change the champion during the test.
    assert ask(
        settings, ChampionRequest.model_validate({**request, "action": "hold", "candidate": "logistic"}), patience=90
    )
    half = ChampionRequest.model_validate({**request, "action": "split", "candidate": "recency", "share": 0.5})
    decided = ask(settings, half, patience=90)
    assert decided is not None
    assert (decided["outcome"], decided["champion"]) == ("done", "logistic")
    in_share = Split(cold_start("churn", settings), 0.5).takes(hash_ids(CUSTOMERS)).tolist()
    arms = {name: "recency" if challenged else "logistic" for name, challenged in zip(CUSTOMERS, in_share, strict=True)}
    expected = {name: f"churn.{arm}" for name, arm in arms.items()}
    wait_for("scores of both models", lambda: shop.models() == expected)

    worker.take_down("worker-0", hard=True)
    worker.bring_up("worker-0")
    learner.take_down("learner", hard=True)
    learner.bring_up("learner")
    for _ in range(8):
        shop.day()
    wait_for("the same scores after a restart", lambda: shop.models() == expected)

    # What was served before the split belongs to no arm; from its first day on each customer stays in one arm.
    query = (
        "SELECT DISTINCT customer_id, arm FROM v_outcomes WHERE candidate = 'served' AND target = 'churn' "
        "AND snapshot_day >= (SELECT min(snapshot_day) FROM v_outcomes WHERE arm != '') ORDER BY 1"
    )
    wait_for("outcomes by arm", lambda: client.query(query).result_rows == sorted(arms.items()))
    assert client.query("SELECT count() FROM v_outcomes WHERE arm = ''").result_rows[0][0] > 0

    def judged() -> bool:
        models = latest(settings)
        return all(models[f"churn.{arm}"].metrics.get("arm_labels", 0) >= 50 for arm in ("recency", "logistic"))

    wait_for("measures by arm", judged)
    for arm in ("recency", "logistic"):
        metrics = latest(settings)[f"churn.{arm}"].metrics
        assert metrics["arm_base_rate_low"] < metrics["arm_base_rate"] < metrics["arm_base_rate_high"]
    assert "arm_labels" not in latest(settings)["churn.count"].metrics
    assert latest(settings)["churn.recency"].share == 0.5

    assert ask(settings, ChampionRequest.model_validate({**request, "action": "unsplit"}), patience=90)
    wait_for("one model for all", lambda: set(shop.models().values()) == {"churn.logistic"})
