"""Bands, trends, alerts: what is published about a customer, and when."""

from typing import Any, ClassVar

import numpy as np
import orjson
import pyarrow as pa
import pytest

from clickhouse.tables import SCHEMAS
from ebb.contracts.features import INDEX, WIDTH
from ebb.contracts.models import Target
from ebb.contracts.scores import Alert, Score
from ebb.settings import Settings
from online_ml.scoring.cold_start import cold_start
from online_ml.scoring.scorer import Scorer
from stream_processors.native.hashing import hash_ids
from stream_processors.scoring.history import ScoreHistory
from stream_processors.scoring.split import Split
from stream_processors.scoring.updates import ScoreUpdater, ScoreUpdates, ScoringRequest
from stream_processors.state.customers import CustomerState
from stream_processors.state.table import DAY_MS

DAY = 20_000


class FixedModels:
    """Models whose probability the test chooses."""

    def __init__(self) -> None:
        self.probability = 0.1
        self.purchase = cold_start("purchase", Settings())
        self.splits: dict[Target, Split] = {}

    @property
    def churn(self) -> Scorer:
        """A model whose logit is one constant."""
        return fixed("fixed", self.probability)


def fixed(candidate: str, probability: float) -> Scorer:
    """Return a model of churn that predicts the same for every customer."""
    payload = {
        "kind": "linear",
        "inputs": ["log_recency_days"],
        "weights": [0.0],
        "mean": [0.0],
        "scale": [1.0],
        "intercept": float(np.log(probability / (1 - probability))),
        "calibration": [1.0, 0.0],
    }
    return Scorer.from_payload(payload, name=f"churn.{candidate}", candidate=candidate, target="churn", version=1)


class Partition:
    """A partition of one customer, and what is published about them."""

    def __init__(self, **settings: Any) -> None:
        self.state = CustomerState()
        self.state.rows_of(pa.array(["c"], pa.utf8()))
        self.models = FixedModels()
        self.history = ScoreHistory()
        self.updater = ScoreUpdater(Settings(**settings), self.models)

    def update(self, probability: float, day: float = DAY, *, force: bool = False, **features: float) -> ScoreUpdates:
        row = np.zeros((1, WIDTH), np.float32)
        for name, value in features.items():
            row[0, INDEX[name]] = value
        self.models.probability = probability
        due = ScoringRequest(self.state, np.array([0]), int(day * DAY_MS), self.history, force)
        (update,), columns = self.updater.updates([due], row)
        return checked(update, columns)


def checked(update: ScoreUpdates, columns: dict[str, Any]) -> ScoreUpdates:
    """Return the updates; rows for ClickHouse must agree with them."""
    messages = [orjson.loads(body) for body in update.bodies]
    rows = pa.table(columns, schema=SCHEMAS["scores"]).to_pylist() if messages else []
    for message, row in zip(messages, rows, strict=True):
        score = Score.model_validate(message)
        assert row | {"reasons": orjson.loads(row["reasons"])} == {
            **score.model_dump(exclude={"model"}),
            "band": score.band.value,
            "model": score.model.name,
            "model_version": score.model.version,
        } | {"as_of": row["as_of"], "scored_at": row["scored_at"]}
        assert abs((row["as_of"] - score.as_of).total_seconds()) < 0.002
    return update


def scores(update: ScoreUpdates) -> list[dict[str, Any]]:
    """Return the scores update."""
    return [orjson.loads(body) for body in update.bodies]


def test_a_score_is_published_first_then_when_it_moved_and_always_after_an_event() -> None:
    board = Partition()
    (first,) = scores(board.update(0.20))
    assert Score.model_validate(first).previous is None
    assert not board.update(0.205).bodies
    (moved,) = scores(board.update(0.22))
    assert moved["previous"] == pytest.approx(0.20, abs=1e-6)
    (again,) = scores(board.update(0.22, force=True))
    assert again["previous"] == pytest.approx(0.22, abs=1e-6)


def test_a_band_rises_at_its_threshold_and_falls_only_well_below_it() -> None:
    board = Partition()
    bands = [scores(board.update(p, force=True))[0]["band"] for p in (0.29, 0.31, 0.27, 0.24, 0.29, 0.95, 0.76, 0.74)]
    assert bands == ["low", "medium", "medium", "low", "low", "critical", "critical", "high"]


def test_a_rise_to_high_alerts_once_with_the_reason() -> None:
    board = Partition()
    assert not board.update(0.5).alerts, "a first score is no change"
    (alert,) = board.update(0.7, DAY + 0.1, force=True).alerts
    update = Alert.model_validate(alert)
    assert (update.band, update.previous_band) == ("high", "medium")
    assert "from medium to high" in update.why
    assert not board.update(0.7, DAY + 0.2, force=True).alerts


def test_flapping_alerts_once_within_the_cooldown_but_an_escalation_alerts_again() -> None:
    board = Partition(alert_cooldown_days=1.0)
    board.update(0.5)
    assert board.update(0.7, DAY + 0.1).alerts
    assert not board.update(0.4, DAY + 0.2).alerts
    assert not board.update(0.7, DAY + 0.3).alerts
    assert board.update(0.9, DAY + 0.4).alerts, "critical is an escalation"
    assert board.update(0.1, DAY + 2).alerts, "risk has fallen and the cooldown is over"


def test_a_move_among_the_lower_bands_raises_no_alert() -> None:
    board = Partition()
    board.update(0.1)
    assert not board.update(0.5, DAY + 1).alerts
    assert not board.update(0.1, DAY + 2).alerts


def test_the_same_fact_has_the_same_alert_id_and_another_day_another() -> None:
    ids = []
    for day in (DAY, DAY, DAY + 5):
        board = Partition()
        board.update(0.5, day)
        ids.append(board.update(0.7, day + 0.5).alerts[0]["alert_id"])
    assert ids[0] == ids[1] != ids[2]


def test_the_trend_is_against_seven_days_ago_and_is_published_again_when_it_no_longer_holds() -> None:
    board = Partition()
    board.update(0.1, DAY)
    for day in range(DAY + 1, DAY + 8):
        board.history.remember(day)
    (risen,) = scores(board.update(0.6, DAY + 8))
    assert risen["trend_7d"] == pytest.approx(0.5, abs=1e-6)
    for day in range(DAY + 8, DAY + 16):
        board.history.remember(day)
    (settled,) = scores(board.update(0.6, DAY + 16))
    assert settled["trend_7d"] == pytest.approx(0.0, abs=1e-6)
    assert not board.update(0.6, DAY + 16.5).bodies


def test_worth_follows_from_spend_risk_and_the_offer() -> None:
    board = Partition(value_horizon_days=90, save_rate=0.1, offer_cost=5)
    (score,) = scores(board.update(0.5, spend_total=300.0, tenure_days=100.0))
    value = 300 / 100 * 90
    assert score["value_at_risk"] == pytest.approx(0.5 * value, abs=0.01)
    assert score["expected_gain"] == pytest.approx(0.5 * 0.1 * value - 5, abs=0.01)
    (returned,) = scores(Partition().update(0.5, spend_total=-50.0, tenure_days=100.0))
    assert returned["value_at_risk"] == 0


def _crowd(seed: int) -> Partition:
    """A partition of customers of whom some were update a score before."""
    board, rng = Partition(), np.random.default_rng(seed)
    board.state.rows_of(pa.array([f"{seed}-{n}" for n in range(6)], pa.utf8()))
    board.state.start(DAY)
    update = rng.permutation(len(board.state))[:4]
    due = ScoringRequest(board.state, np.sort(update), DAY * DAY_MS + seed, board.history, force=True)
    board.updater.updates([due], rng.gamma(2.0, 3.0, (4, WIDTH)).astype(np.float32))
    return board


def test_partitions_scored_together_publish_what_they_publish_separately() -> None:
    rng = np.random.default_rng(7)
    for force in ([False, False, False], [True, False, True]):
        together, apart = [_crowd(seed) for seed in range(3)], [_crowd(seed) for seed in range(3)]
        rows = [np.array([0, 2, 5]), np.array([1]), np.array([0, 1, 2, 3, 4])]
        features = [rng.gamma(2.0, 3.0, (len(some), WIDTH)).astype(np.float32) for some in rows]

        def due(boards: list[Partition], index: int, rows: Any = rows, force: Any = force) -> ScoringRequest:
            board = boards[index]
            return ScoringRequest(board.state, rows[index], DAY * DAY_MS + 100 * index, board.history, force[index])

        models = Varied()
        updater = ScoreUpdater(Settings(alert_cooldown_days=0.0), models)
        updates, columns = updater.updates([due(together, index) for index in range(3)], np.concatenate(features))
        assert sum(len(update.bodies) for update in updates) > 3
        assert any(update.alerts for update in updates)
        rows_alone: list[dict[str, Any]] = []
        for index, update in enumerate(updates):
            (alone,), alone_columns = updater.updates([due(apart, index)], features[index])
            assert alone.customer_ids == update.customer_ids
            assert alone.rows.tolist() == update.rows.tolist()
            assert [_coarse(orjson.loads(body)) for body in alone.bodies] == [
                _coarse(orjson.loads(body)) for body in update.bodies
            ]
            assert [alert["alert_id"] for alert in alone.alerts] == [alert["alert_id"] for alert in update.alerts]
            rows_alone += [] if not alone_columns else pa.table(alone_columns, schema=SCHEMAS["scores"]).to_pylist()
            for name in ("churn", "published", "trend", "band", "alerted_at"):
                # Products of matrices of other shapes may differ in the last bits.
                tables = together[index].history.table[name], apart[index].history.table[name]
                assert np.allclose(*tables, rtol=0, atol=1e-6, equal_nan=True)
        rows_together = pa.table(columns, schema=SCHEMAS["scores"]).to_pylist()
        assert [_coarse(row) for row in rows_together] == [_coarse(row) for row in rows_alone]


class Varied:
    """Champions whose score depends on the customer."""

    churn = cold_start("churn", Settings())
    purchase = cold_start("purchase", Settings())
    splits: ClassVar[dict[Target, Split]] = {"churn": Split(fixed("other", 0.65), 0.3)}


def _coarse(score: dict[str, Any]) -> dict[str, Any]:
    """Leave out when it was scored, what is the same update in other words, and the last digits."""
    known = {name: value for name, value in score.items() if name not in {"scored_at", "reasons"}}
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in known.items()}


def test_in_a_split_each_score_is_that_of_the_model_that_it_names() -> None:
    ids = [f"c{number}" for number in range(40)]
    state, models = CustomerState(), FixedModels()
    rows = state.rows_of(pa.array(ids, pa.utf8()))
    split = Split(fixed("other", 0.7), 0.5)
    models.splits["churn"] = split
    features = np.zeros((len(ids), WIDTH), np.float32)
    due = ScoringRequest(state, rows, DAY * DAY_MS, ScoreHistory(), force=True)
    (update,), columns = ScoreUpdater(Settings(), models).updates([due], features)
    in_share = dict(zip(ids, split.takes(hash_ids(ids)).tolist(), strict=True))
    assert 0 < sum(in_share.values()) < len(ids)
    for score in scores(checked(update, columns)):
        expected = ("churn.other", 0.7) if in_share[score["customer_id"]] else ("churn.fixed", 0.1)
        assert (score["model"]["name"], score["churn"]) == (expected[0], pytest.approx(expected[1], abs=1e-5))
