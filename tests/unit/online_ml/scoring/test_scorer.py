"""From snapshot to score: the scorer predicts what the candidate predicts, and its reasons add up."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ebb.contracts.features import INDEX, WIDTH
from ebb.contracts.models import TARGETS, ModelSnapshot, Target
from ebb.contracts.scores import Reason
from ebb.errors import SchemaMismatchError
from ebb.settings import Settings
from online_ml.candidates import candidates
from online_ml.scoring.cold_start import cold_start
from online_ml.scoring.inputs import GROUPS, POSITION, design
from online_ml.scoring.reasons import WORDS, days, explain
from online_ml.scoring.scorer import CHUNK_ROWS, load, sigmoid
from tests.support.sender import make_model

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)
PAYLOAD: dict[str, object] = {
    "kind": "linear",
    "inputs": ["log_recency_days", "log_events_total"],
    "weights": [1.0, -1.0],
    "mean": [0.0, 0.0],
    "scale": [1.0, 1.0],
    "intercept": 0.0,
    "calibration": [1.0, 0.0],
}
CALIBRATION = (0.8, -0.3)
SINGLE_PRECISION = 1e-4
"""Scores are sums of a hundred products in single precision."""


def features(rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).gamma(1, 5, (rows, WIDTH)).astype(np.float32)


def snapshot(target: Target, candidate: str, payload: dict[str, object]) -> ModelSnapshot:
    return make_model(candidate, name=f"{target}.{candidate}", target=target, payload=payload)


def learned(target: Target) -> list[tuple[str, ModelSnapshot, np.ndarray]]:
    """Return every candidate after some learning: name, snapshot as read back, its own probabilities."""
    inputs = design(features(640, 1))
    labels = (inputs[:, 0] + np.random.default_rng(2).normal(size=640) > 1.5).astype(np.uint8)
    customers = []
    for candidate in candidates(target):
        for start in range(0, 640, 64):
            candidate.learn_matrix(inputs[start : start + 64], labels[start : start + 64])
        body = snapshot(target, candidate.name, candidate.payload(CALIBRATION)).encode()
        logits = candidate.logits(design(features(50)))
        customers.append(
            (candidate.name, ModelSnapshot.decode(body), sigmoid(logits * CALIBRATION[0] + CALIBRATION[1]))
        )
    return customers


@pytest.mark.parametrize("target", TARGETS)
def test_a_loaded_scorer_predicts_what_its_candidate_predicts(target: Target) -> None:
    for name, model, expected in learned(target):
        scorer = load(model)
        assert (scorer.candidate, scorer.target, scorer.version) == (name, target, 3)
        assert np.abs(scorer.predict(features(50)) - expected).max() < SINGLE_PRECISION


def test_contributions_and_intercept_are_the_calibrated_logit() -> None:
    rows = features(CHUNK_ROWS + 10)
    for _, model, _ in learned("churn"):
        scorer = load(model)
        inputs = design(rows).astype(np.float64)
        total = scorer.contributions(inputs).sum(axis=1) + scorer.intercept
        assert scorer.contributions(inputs).shape == (len(rows), len(GROUPS))
        assert np.abs(sigmoid(total) - scorer.predict(rows)).max() < SINGLE_PRECISION
        assert np.abs(total - scorer.logit(inputs)).max() < 1e-9


def test_a_score_does_not_depend_on_the_rest_of_the_batch() -> None:
    scorer = cold_start("churn", Settings())
    rows = features(CHUNK_ROWS + 3)
    apart = np.concatenate([scorer.predict(rows[:5]), scorer.predict(rows[5:])])
    assert np.abs(scorer.predict(rows) - apart).max() < 1e-6
    assert scorer.predict(rows[:0]).shape == (0,)


def test_a_payload_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(SchemaMismatchError, match="of kind 'tree'"):
        load(snapshot("churn", "tree", {"kind": "tree"}))


@pytest.mark.parametrize(
    "change",
    [
        {"inputs": ["log_recency_days", "log_of_nothing"]},
        {"weights": [1.0]},
        {"weights": [1.0, float("nan")]},
        {"scale": [1.0, 0.0]},
        {"calibration": [1.0]},
        {"intercept": None},
        {"inputs": [["log_recency_days"], {}]},
        {"inputs": ["log_recency_days", "log_recency_days"]},
        {"inputs": 5},
        {"weights": [[1.0], [2.0]]},
        {"weights": [1e308, -1e308], "calibration": [1e300, 0.0]},
        {"weights": [1e30, -1e30]},
        {"scale": [1e-320, 1.0]},
        {"mean": [1e300, 0.0]},
        {"intercept": 1e300},
    ],
)
def test_a_payload_that_does_not_fit_is_refused(change: dict[str, object]) -> None:
    load(snapshot("churn", "logistic", PAYLOAD))
    with pytest.raises(SchemaMismatchError, match=r"churn\.logistic"):
        load(snapshot("churn", "logistic", PAYLOAD | change))


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "inputs": st.lists(st.sampled_from([*POSITION][:4]), max_size=3) | JSON,
            "weights": st.lists(st.floats(), max_size=3) | JSON,
            "mean": st.lists(st.floats(), max_size=3) | JSON,
            "scale": st.lists(st.floats(min_value=0), max_size=3) | JSON,
            "intercept": st.floats() | JSON,
            "calibration": st.lists(st.floats(), min_size=2, max_size=2) | JSON,
        },
    ),
    arrays(np.float32, (2, WIDTH), elements=st.floats(width=32)),
)
def test_whatever_a_payload_holds_it_is_refused_or_scores_in_numbers(
    changes: dict[str, object], rows: np.ndarray
) -> None:
    try:
        scorer = load(snapshot("churn", "logistic", PAYLOAD | changes))
    except SchemaMismatchError:
        return
    with np.errstate(all="ignore"):
        inputs = design(rows)
    assert np.isfinite(scorer.score(inputs)).all()
    assert np.isfinite(scorer.contributions(inputs)).all()


def customer(**values: float) -> np.ndarray:
    row = np.zeros((1, WIDTH), np.float32)
    base = {"gap_mean_days": 3, "active_days_total": 30, "active_days_60": 20, "tenure_days": 90, "active_hl14": 6.7}
    for name, value in (base | values).items():
        row[0, INDEX[name]] = value
    return row


def test_before_any_label_a_silence_of_several_gaps_is_a_high_risk_and_a_fresh_visit_a_low_one() -> None:
    scorer = cold_start("churn", Settings())
    assert scorer.version == 0
    fresh = scorer.predict(customer(recency_days=0.1, recency_over_gap=0.03))[0]
    # Thirty days are more than two half-lives.
    silent = scorer.predict(customer(recency_days=30, recency_over_gap=10, active_hl14=1.5))[0]
    departed = scorer.predict(customer(recency_days=60, recency_over_gap=20, active_hl14=0.3))[0]
    assert fresh < 0.15
    assert 0.5 < silent < departed
    assert departed > 0.9


def test_before_any_label_silence_alone_raises_the_risk_step_by_step() -> None:
    rows = np.concatenate([customer(recency_days=day, recency_over_gap=day / 3) for day in range(40)])
    risk = cold_start("churn", Settings()).predict(rows)
    assert (np.diff(risk) > 0).all()


def test_before_any_label_recent_buyers_are_likelier_to_buy() -> None:
    scorer = cold_start("purchase", Settings())
    buyer = scorer.predict(customer(purchases_30d=3, purchase_recency_days=2))[0]
    visitor = scorer.predict(customer(purchase_recency_days=90))[0]
    assert buyer > 2 * visitor


def test_reasons_are_messages_strongest_first_and_equal_for_equal_customers() -> None:
    scorer = load(learned("churn")[0][1])
    rows = np.concatenate([features(20), features(20)])
    reasons = explain(scorer, rows)
    assert reasons[:20] == reasons[20:]
    for made in reasons:
        read = [Reason.model_validate(reason) for reason in made]
        assert 1 <= len(read) <= 3
        sizes = [abs(reason.contribution) for reason in read]
        assert sizes == sorted(sizes, reverse=True)
    assert len(explain(scorer, rows[:1], top=1)[0]) == 1


def test_reasons_compare_with_the_customers_own_baseline_and_never_claim_causes() -> None:
    scorer = cold_start("churn", Settings())
    [silent] = explain(scorer, customer(recency_days=12, recency_over_gap=4))
    assert "No activity for 12 days; usually every 3 days: associated with a higher risk of leaving" in {
        reason["text"] for reason in silent
    }
    [fresh] = explain(scorer, customer())
    texts = " ".join(str(reason["text"]) for reason in silent + fresh)
    assert "lower risk of leaving" in texts
    assert not any(word in texts for word in ("because", "caus", "due to", "leads to"))


def test_every_group_has_a_text_for_any_customer() -> None:
    assert set(WORDS) == set(GROUPS)
    for row in (np.zeros((1, WIDTH), np.float32), features(1)):
        for words in WORDS.values():
            (text,) = words(row.astype(np.float64))
            assert text[0].isupper() or text[0].isdigit()
            assert "nan" not in text


@pytest.mark.parametrize(
    ("span", "text"),
    [(0.01, "less than an hour"), (0.5, "12 hours"), (1, "1 day"), (1.5, "1.5 days"), (12.4, "12 days")],
)
def test_durations_are_formatted_for_people(span: float, text: str) -> None:
    assert days(span) == text
