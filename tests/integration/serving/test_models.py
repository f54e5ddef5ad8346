"""What the API returns about models, on a real broker and a real ClickHouse; predictions for real events."""

import math
from collections.abc import Callable, Iterator
from datetime import date, datetime
from typing import Any

import numpy as np
import pytest

from clickhouse.store import Store
from ebb.contracts.features import NAMES
from ebb.contracts.models import ModelSnapshot
from ebb.contracts.scores import utc
from ebb.settings import Settings
from ebb_cli.local import parts
from online_ml.registry import model_rows
from online_ml.scoring.inputs import INPUTS
from online_ml.scoring.scorer import payload
from serving.api.models import Metrics, ModelDrift, Promotions, Versions
from serving.api.predictions import Predicted
from stream_processors.state.features import describe
from tests.support.flow import Source, linear_replay, wait_for
from tests.support.rows import table_rows
from tests.support.sender import TopicSender, make_model
from tests.support.serving import Api, fresh, serving

DAY = 86_400
T0 = 19_700 * DAY
CUSTOMERS = 12


def learned(target: str, version: int, seed: int) -> ModelSnapshot:
    """Return a champion that weighs every input, so that no feature can be wrong unseen."""
    rng = np.random.default_rng(seed)
    size = len(INPUTS)
    made = payload(
        [feature.name for feature in INPUTS],
        weights=rng.normal(0, 0.15, size),
        mean=rng.random(size),
        scale=0.5 + rng.random(size),
        intercept=-0.3,
        calibration=(1.1, 0.2),
    )
    return make_model(version=version, payload=made, target=target, name=f"{target}.logistic")


def test_prediction_for_the_features_of_a_customer_is_the_score_that_the_worker_published(
    stack: Settings, run_part: Callable[[parts.ManagedProcess], Any]
) -> None:
    settings = fresh(stack, idle_after_seconds=0.0, checkpoint_seconds=0.3, sweep_seconds=0.5, publish_change=0.0)
    run_part(parts.worker(settings))
    source, rng = Source(settings), np.random.default_rng(3)
    for day in range(25):
        for number in range(CUSTOMERS):
            if rng.random() < 0.2 + 0.05 * number:
                kind = ["view", "view", "add_to_cart", "purchase", "support_contact"][rng.integers(5)]
                at = T0 + day * DAY + int(rng.integers(DAY))
                source.event(f"c-{number}", at, kind, amount=float(rng.integers(1, 90)), currency="EUR")
    end = T0 + 30 * DAY + 7_200
    source.tick(end)
    source.flush()
    features_by_customer: dict[str, dict[str, float]] = {}
    for engine in linear_replay(settings).values():
        rows = np.arange(len(engine.state), dtype=np.intp)
        features = describe(engine.state, rows, end * 1_000, minor_units=settings.minor_units)
        features_by_customer |= {
            engine.state.ids[row]: dict(zip(NAMES, features[row].tolist(), strict=True)) for row in rows.tolist()
        }
    assert len(features_by_customer) == CUSTOMERS
    with serving(settings) as api:

        def scores(version: int) -> dict[str, dict[str, Any]] | None:
            request = {"customer_ids": sorted(features_by_customer)}
            results = api.client.post("/v1/customers/scores", json=request).json()["results"]
            scored = {result["customer_id"]: result["score"] for result in results if result["status"] == "found"}
            due = [(datetime.fromisoformat(score["as_of"]), score["model"]["version"]) for score in scored.values()]
            return scored if due == [(utc(end), version)] * CUSTOMERS else None

        def agree(scored: dict[str, dict[str, Any]], version: int) -> None:
            for name, score in scored.items():
                request = {"features": features_by_customer[name]}
                response = Predicted.model_validate_json(api.client.post("/v1/predict", json=request).content)
                assert response.churn == pytest.approx(score["churn"], abs=2e-6)
                assert response.purchase == pytest.approx(score["purchase"], abs=2e-6)
                assert response.models["churn"].version == version
                assert response.left_out == []
                reasons = [(reason["feature"], reason["text"]) for reason in score["reasons"]]
                assert [(reason.feature, reason.text) for reason in response.reasons] == reasons
                shares = [reason["contribution"] for reason in score["reasons"]]
                assert [reason.contribution for reason in response.reasons] == pytest.approx(shares, abs=2e-4)

        agree(wait_for("scores of the cold start", lambda: scores(0)), 0)
        sender = TopicSender(settings)
        for target in ("purchase", "churn"):
            sender.model(learned(target, 7, seed=len(target)))
        sender.flush()
        after = wait_for("scores of the champion", lambda: scores(7))
        assert len({score["churn"] for score in after.values()}) > 6
        agree(after, 7)


DERIVED = ("order_value", "recency_over_gap", "trend", "view_to_cart", "cart_to_purchase")


def test_omitted_features_are_derived_from_the_rest_as_the_worker_computes_them(space: Settings) -> None:
    from serving.api.predictions import vector  # noqa: PLC0415

    source, rng = Source(space), np.random.default_rng(5)
    for day in range(20):
        for number in range(CUSTOMERS):
            if rng.random() < 0.1 * number or (day, number) == (0, 0):
                kind = ["view", "add_to_cart", "purchase"][rng.integers(3)]
                source.event(f"c-{number}", T0 + day * DAY + 60 * number, kind, amount=float(rng.integers(1, 90)))
    source.flush()
    now = (T0 + 20 * DAY) * 1_000
    seen = 0
    for engine in linear_replay(space).values():
        rows = np.arange(len(engine.state), dtype=np.intp)
        for row in describe(engine.state, rows, now, minor_units=space.minor_units):
            whole = dict(zip(NAMES, row.tolist(), strict=True))
            newcomer = whole["active_days_total"] < 2
            hidden = {*DERIVED, *(("gap_mean_days",) if newcomer else ())}
            hidden |= {"purchase_recency_days"} if not whole["purchases_total"] else set()
            filled, left_out = vector({name: value for name, value in whole.items() if name not in hidden})
            assert set(left_out) == hidden
            assert filled[0].tolist() == pytest.approx(row.tolist(), rel=1e-5, abs=1e-6)
            seen += 1
    assert seen >= CUSTOMERS - 2


@pytest.fixture(scope="module")
def api(stack: Settings) -> Iterator[Api]:
    """An API with a champion of five versions, a challenger, and what was measured of them."""
    settings = fresh(stack)
    published = [learned("churn", version, seed=version) for version in range(1, 6)]
    published = [model.model_copy(update={"config": {"label": "silence", "horizon_days": 14}}) for model in published]
    store = Store(settings)
    store.insert("models", model_rows([model.sealed() for model in published]))
    measured = [
        {"metric": metric, "matured_day": date(2025, 3, day), "window": window, "value": value, "labels": 10 * day}
        for window in ("day", "rolling")
        for day in (1, 2, 3)
        for metric, value in (("roc_auc", 0.8 + day / 100), ("ece", math.nan if day == 1 else 0.02))
    ]
    named = {"target": "churn", "candidate": "logistic"}
    store.insert("model_metrics", table_rows("model_metrics", [{**named, **row} for row in measured]))
    segment = {**named, "kind": "country", "segment": "DE", "metric": "roc_auc", "value": 0.9, "labels": 40}
    store.insert("segment_metrics", table_rows("segment_metrics", [segment]))
    moved = [
        {"kind": "feature", "name": "recency_days", "statistic": "psi", "value": 0.4, "target": ""},
        {"kind": "score", "name": "churn", "statistic": "psi", "value": 0.1, "target": "churn"},
    ]
    store.insert("drift", table_rows("drift", moved))
    change = {"cause": "rule", "champion": "logistic", "version": 5, "outcome": "done", "why": "lower loss"}
    store.insert("promotions", table_rows("promotions", [{"target": "churn", **change}]))
    store.close()
    sender = TopicSender(settings)
    for snapshot in (*published, make_model("recency", role="challenger")):
        sender.model(snapshot)
    sender.flush()
    with serving(settings) as running:
        yield running


def test_model_is_returned_with_its_metrics_over_time(api: Api) -> None:
    assert api.get("/v1/models/churn.logistic").json()["version"] == 5
    metrics = Metrics.model_validate_json(api.get("/v1/models/churn.logistic/metrics", days=2, window="day").content)
    assert [(day.day.day, day.labels) for day in metrics.days] == [(2, 20), (3, 30)]
    assert metrics.days[1].metrics == pytest.approx({"roc_auc": 0.83, "ece": 0.02})
    whole = Metrics.model_validate_json(api.get("/v1/models/churn.logistic/metrics").content)
    assert whole.window == "rolling"
    assert whole.days[0].metrics == {"roc_auc": 0.8 + 1 / 100, "ece": None}
    assert api.get("/v1/models/churn.recency/metrics").json()["days"] == []
    for path in ("", "/metrics", "/versions", "/card", "/artefact"):
        missing = api.get(f"/v1/models/churn.nobody{path}")
        assert missing.status_code == 404
        assert missing.json()["type"] == "/problems/unknown-model"
        assert "churn.logistic, churn.recency" in missing.json()["detail"]


def test_versions_are_paged_and_each_can_be_fetched_complete(api: Api) -> None:
    first = Versions.model_validate_json(api.get("/v1/models/churn.logistic/versions", page_size=3).content)
    token = first.next_page_token
    later = Versions.model_validate_json(api.get("/v1/models/churn.logistic/versions", page_token=token).content)
    assert [version.version for version in (*first.versions, *later.versions)] == [5, 4, 3, 2, 1]
    assert later.next_page_token is None
    for version, expected in ((None, first.versions[0]), (5, first.versions[0]), (2, later.versions[0])):
        query = {} if version is None else {"version": version}
        answer = api.get("/v1/models/churn.logistic/artefact", **query)
        snapshot = ModelSnapshot.decode(answer.content)
        assert (snapshot.version, snapshot.checksum) == (expected.version, expected.checksum)
        assert f'filename="churn.logistic-{expected.version}.json"' in answer.headers["content-disposition"]
    missing = api.get("/v1/models/churn.logistic/artefact", version=9)
    assert missing.json()["type"] == "/problems/unknown-model"
    assert "version 9" in missing.json()["detail"]


def test_card_contains_what_was_measured(api: Api) -> None:
    answer = api.get("/v1/models/churn.logistic/card")
    assert answer.headers["content-type"] == "text/markdown; charset=utf-8"
    for part in ("# churn.logistic, version 5", "no activity within 14 days", "| DE | 40 |", "| recency_days | psi |"):
        assert part in answer.text
    again = api.client.get("/v1/models/churn.logistic/card", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304


def test_drift_and_promotions_are_returned(api: Api) -> None:
    drift_rows = ModelDrift.model_validate_json(api.get("/v1/drift").content).drift
    assert [(drift.kind, drift.name, drift.value) for drift in drift_rows] == [
        ("score", "churn", 0.1),
        ("feature", "recency_days", 0.4),
    ]
    assert len(ModelDrift.model_validate_json(api.get("/v1/drift", kind="score").content).drift) == 1
    [change] = Promotions.model_validate_json(api.get("/v1/promotions").content).promotions
    assert (change.champion, change.why) == ("logistic", "lower loss")
    assert api.get("/v1/promotions", target="purchase").json() == {"promotions": []}
