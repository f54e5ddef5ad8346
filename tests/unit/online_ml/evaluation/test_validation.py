"""Measures of decisions, intervals and segments, each against a slow recomputation or a case worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score, roc_auc_score

from ebb.contracts.features import INDEX, WIDTH
from ebb.settings import Settings
from online_ml.evaluation.decisions import Policy, confusion, lift, profit
from online_ml.evaluation.intervals import Resampling, influence
from online_ml.evaluation.metrics import roc_auc
from online_ml.evaluation.segments import LARGEST, LabelContext, segments
from online_ml.evaluation.validation import MIN_SEGMENT_LABELS, Validator
from online_ml.evaluation.window import MaturedPredictions, Window

POLICY = Policy(high=0.6, save_rate=0.5, offer_cost=10.0, value_days=10.0)
ROWS = st.integers(2, 60).flatmap(
    lambda n: st.tuples(
        st.lists(st.sampled_from([0.0, 0.1, 0.35, 0.6, 0.61, 0.9]), min_size=n, max_size=n),
        st.lists(st.integers(0, 1), min_size=n, max_size=n),
    )
)
QUICK = hypothesis_settings(max_examples=60)


def arrays(rows: tuple[list[float], list[int]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array(rows[0], np.float32), np.array(rows[1], np.uint8)


def about(rows: int, *, customers: list[str] | None = None, **changed: np.ndarray) -> LabelContext:
    features = np.zeros((rows, WIDTH), np.float32)
    for name, values in changed.items():
        if name in INDEX:
            features[:, INDEX[name]] = values
    countries = changed.get("countries", np.array(["DE"] * rows)).tolist()
    arms = changed["arms"].tolist() if "arms" in changed else None
    return LabelContext.of(customers or [f"c{row}" for row in range(rows)], countries, [None] * rows, features, arms)


@QUICK
@given(ROWS)
def test_the_confusion_at_a_threshold_is_what_scikit_learn_makes_of_it(rows: tuple[list[float], list[int]]) -> None:
    p, y = arrays(rows)
    found = confusion(p, y, 0.6)
    called = (p >= 0.6).astype(int)
    assert found["accuracy"] == pytest.approx(accuracy_score(y, called))
    for name, judge in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score)):
        if name in found:
            assert found[name] == pytest.approx(judge(y, called))
    counts = [found[f"{a}_{b}"] for a in ("true", "false") for b in ("positives", "negatives")]
    assert sum(counts) == len(y)
    assert ("precision" in found) == bool(called.any())
    assert ("recall" in found) == bool(y.any())


def test_a_customer_at_the_threshold_is_called() -> None:
    found = confusion(np.array([0.6], np.float64), np.array([1], np.uint8), 0.6)
    assert (found["true_positives"], found["recall"], found["f1"]) == (1, 1.0, 1.0)


def test_lift_is_the_share_among_the_best_tenth_over_the_base_rate() -> None:
    p = np.linspace(1, 0, 20)
    y = np.zeros(20, np.uint8)
    y[[0, 5, 6, 7, 8]] = 1
    assert lift(p, y) == pytest.approx((1 / 2) / (5 / 20))
    assert lift(np.full(20, 0.5), y) == pytest.approx(1.0)
    assert lift(p, np.zeros(20, np.uint8)) is None


@QUICK
@given(ROWS, st.randoms(use_true_random=False))
def test_lift_does_not_depend_on_the_order_of_rows(rows: tuple[list[float], list[int]], mix: object) -> None:
    p, y = arrays(rows)
    order = list(range(len(y)))
    mix.shuffle(order)  # type: ignore[attr-defined]
    assert lift(p, y) == (None if not y.any() else pytest.approx(lift(p[order], y[order])))


def test_profit_counts_offers_where_the_expected_gain_is_positive() -> None:
    # Values of 10 days: 100, 100, 10, 100; offers go where p * 0.5 * value > 10: the first two.
    spend = np.array([10, 10, 1, 10], np.float32)
    found = profit(np.array([0.9, 0.5, 0.9, 0.1]), np.array([1, 0, 1, 1], np.uint8), spend, POLICY)
    assert found["profit"] == pytest.approx((1 * 50 - 10 - 10) / 4)
    assert found["profit_best"] == pytest.approx((40 + 0 + 0 + 40) / 4)
    assert found["profit_all"] == pytest.approx((40 - 10 - 5 + 40) / 4)


@QUICK
@given(ROWS)
def test_no_offers_bring_more_than_those_made_with_the_labels_known(rows: tuple[list[float], list[int]]) -> None:
    p, y = arrays(rows)
    spend = np.linspace(0, 20, len(y)).astype(np.float32)
    found = profit(p, y, spend, POLICY)
    assert found["profit"] <= found["profit_best"] + 1e-9
    assert found["profit_all"] <= found["profit_best"] + 1e-9


def test_the_policy_is_that_of_the_settings() -> None:
    policy = Policy.of(Settings(band_thresholds=(0.2, 0.4, 0.9), save_rate=0.3, offer_cost=2, value_horizon_days=7))
    assert policy == Policy(0.4, 0.3, 2, 7)
    assert (policy.threshold("churn"), policy.threshold("purchase")) == (0.4, 0.5)


@QUICK
@given(ROWS)
def test_influence_is_the_derivative_of_the_area_by_a_rows_weight(rows: tuple[list[float], list[int]]) -> None:
    p, y = arrays(rows)
    moves = influence(p, y)
    if moves is None:
        assert len(set(y.tolist())) < 2
        return
    assert moves.sum() == pytest.approx(0, abs=1e-9)
    step, area = 1e-5, roc_auc_score(y, p)
    for row in range(min(len(y), 5)):
        weights = np.ones(len(y))
        weights[row] += step
        moved = (roc_auc_score(y, p, sample_weight=weights) - area) / step
        assert moved == pytest.approx(moves[row], abs=1e-3)


def test_the_interval_is_that_of_a_plain_bootstrap_over_customers() -> None:
    rng = np.random.default_rng(3)
    per = 6
    customers = np.repeat(np.arange(400, dtype=np.uint32), per)
    y = np.repeat((rng.random(400) < 0.3).astype(np.uint8), per)
    p = np.repeat(rng.normal(size=400), per) + 0.2 * rng.normal(size=400 * per) + y
    area = roc_auc(p, y)
    moves = influence(p, y)
    assert area is not None
    assert moves is not None
    low, high = Resampling(customers, [1]).interval(area, moves)
    areas = []
    for _ in range(300):
        drawn = rng.integers(0, 400, 400)
        rows = (drawn[:, None] * per + np.arange(per)).reshape(-1)
        areas.append(roc_auc_score(y[rows], p[rows]))
    plain = np.quantile(areas, [0.025, 0.975])
    assert (low, high) == pytest.approx(plain.tolist(), abs=0.012)
    # Rows taken for independent would promise an interval less than half as wide.
    naive = Resampling(np.arange(400 * per, dtype=np.uint32), [1]).interval(area, moves)
    assert naive[1] - naive[0] < 0.6 * (high - low)


def test_the_same_seed_gives_the_same_interval() -> None:
    customers = np.arange(50, dtype=np.uint32)
    y = (customers % 3 == 0).astype(np.uint8)
    moves = influence(customers.astype(np.float64), y)
    assert moves is not None
    first, again, other = (Resampling(customers, [seed]).interval(0.5, moves) for seed in (4, 4, 5))
    assert first == again != other


def test_every_row_is_in_one_segment_of_each_kind() -> None:
    countries = np.array([f"L{number:02d}" for number in range(20) for _ in range(20 - number)] + [""] * 40)
    tenure = np.linspace(0, 500, len(countries)).astype(np.float32)
    found = list(segments(about(len(countries), countries=countries, tenure_days=tenure)))
    for kind in ("country", "channel", "tenure"):
        rows = np.sum([rows for one, _, rows in found if one == kind], axis=0)
        assert (rows == 1).all()
    names = [name for kind, name, _ in found if kind == "country"]
    assert names[:2] == ["unknown", "L00"]
    assert (len(names), names[-1]) == (LARGEST + 1, "other")
    assert [name for kind, name, _ in found if kind == "tenure"] == ["0-29 d", "30-89 d", "90-364 d", "365 d on"]
    assert [name for kind, name, _ in found if kind == "channel"] == ["unknown"]


def test_tenures_part_at_their_bounds() -> None:
    tenure = np.array([0, 29.9, 30, 89.9, 90, 364.9, 365], np.float32)
    found = {name: rows.sum() for kind, name, rows in segments(about(7, tenure_days=tenure)) if kind == "tenure"}
    assert found == {"0-29 d": 2, "30-89 d": 2, "90-364 d": 2, "365 d on": 1}


def test_customers_are_told_apart_alike_by_every_process() -> None:
    assert about(1, customers=["c0000001"]).customers.tolist() == [1822837168]


def test_a_customer_of_hours_is_not_worth_a_fortune_a_day() -> None:
    found = about(3, tenure_days=np.array([0.1, 30, 60], np.float32), spend_total=np.array([300, 300, -60], np.float32))
    assert found.spend_per_day.tolist() == [10.0, 10.0, 0.0]


def filled(parts: int = 3, rows: int = 200, *, known: bool = True) -> Window:
    """Return a window in which the first name is right and the second one says nothing of every other row."""
    window = Window()
    for boundary in range(parts):
        rng = np.random.default_rng(boundary)
        truth = rng.random(rows)
        labels = (rng.random(rows) < truth).astype(np.uint8)
        half = np.where(np.arange(rows) % 2, truth, np.nan)
        countries = np.where(np.arange(rows) < MIN_SEGMENT_LABELS - 20, "FR", "DE")
        who = about(rows, countries=countries, tenure_days=np.full(rows, 10 * boundary, np.float32))
        said = np.stack([truth, half]).astype(np.float32)
        window.add(MaturedPredictions(boundary, labels, said[:1], said, who if known else None))
    return window


def test_rolling_measures_come_with_an_interval_that_holds_them() -> None:
    window = filled()
    found = Validator("churn", POLICY, seed=7).rolling(window, ["logistic", "served"])
    for name in ("logistic", "served"):
        one = found[name]
        assert one["roc_auc_low"] < one["roc_auc"] < one["roc_auc_high"]
        assert {"pr_auc", "ece", "accuracy", "lift_top_decile", "profit"} <= one.keys()
    assert found["logistic"]["roc_auc"] == roc_auc(window.probabilities(0), window.labels())
    assert found["served"]["roc_auc_high"] - found["served"]["roc_auc_low"] > (
        found["logistic"]["roc_auc_high"] - found["logistic"]["roc_auc_low"]
    )
    assert "profit" not in Validator("purchase", POLICY, seed=7).rolling(window, ["a", "b"])["a"]


def test_measures_by_segment_are_those_of_its_rows_alone() -> None:
    window = filled()
    found = Validator("churn", POLICY, seed=7).by_segment(window, ["logistic", "served"], {"logistic", "served"})
    whole = window.context()
    assert whole is not None
    german = whole.countries == "DE"
    one = next(one for one in found if (one.candidate, one.kind, one.name) == ("logistic", "country", "DE"))
    assert one.labels == german.sum()
    assert one.measures["roc_auc"] == roc_auc(window.probabilities(0)[german], window.labels()[german])
    # 90 labels of FR, of which the second name has predicted 45.
    assert {(one.candidate, one.labels) for one in found if one.name == "FR"} == {("logistic", 90)}


def test_an_arm_is_judged_on_whom_its_model_scored_with_how_far_its_rate_may_be_off() -> None:
    rng = np.random.default_rng(5)
    # 200 customers, three labels each and all alike: a rate that is known as well as from 200 labels, not from 600.
    names = [f"c{row // 3}" for row in range(600)]
    arms = np.array([["", "logistic", "adam"][row // 3 % 3] for row in range(600)])
    labels = np.repeat(rng.integers(0, 2, 200), 3).astype(np.uint8)
    said = rng.random((2, 600)).astype(np.float32)
    window = Window()
    window.add(MaturedPredictions(1, labels, said[:1], said, about(600, customers=names, arms=arms)))
    found = {one.name: one for one in Validator("churn", POLICY, seed=7).by_segment(window, ["x", "served"], {"served"})
             if one.kind == "arm"}  # fmt: skip
    assert {name: one.labels for name, one in found.items()} == {"adam": 198, "logistic": 201}
    one, rows = found["adam"].measures, arms == "adam"
    rate = labels[rows].mean()
    assert (one["base_rate"], one["roc_auc"]) == (rate, roc_auc(said[1][rows], labels[rows]))
    error = 1.96 * np.sqrt(rate * (1 - rate) / 66)
    assert one["base_rate_high"] - one["base_rate_low"] == pytest.approx(2 * error, rel=0.2)
    assert one["roc_auc_low"] < one["roc_auc"] < one["roc_auc_high"]


def test_an_empty_window_and_rows_of_nobody_known_have_no_segments_and_no_intervals() -> None:
    validator = Validator("churn", POLICY, seed=7)
    assert validator.rolling(Window(), ["a"]) == {"a": {}}
    assert validator.by_segment(Window(), ["a"], {"a"}) == []
    found = validator.rolling(filled(known=False), ["a", "b"])["a"]
    assert "roc_auc" in found
    assert not {"roc_auc_low", "profit"} & found.keys()


def test_who_spoke_for_a_sample_stands_beside_the_champion_on_the_same_rows() -> None:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, 900).astype(np.uint8)
    said = rng.random((4, 900)).astype(np.float32)  # champion, another that speaks for all, tree, served
    said[2, 300:] = np.nan
    said[0, 100:150] = said[1, 100:150] = np.nan
    said[3, ::2] = np.nan
    said[0, 150:300] = labels[150:300]  # the champion is perfect on the sample and no better than chance elsewhere
    window = Window()
    window.add(MaturedPredictions(1, labels, said[:3], said, about(900)))
    names = ["logistic", "adam", "tree", "served"]
    found = Validator("churn", POLICY, seed=7).rolling(window, names, champion="logistic")
    assert found["tree"]["labels"] == 300
    rows = [*range(100), *range(150, 300)]
    assert found["tree"]["champion_roc_auc"] == roc_auc(said[0][rows], labels[rows])
    assert found["tree"]["champion_roc_auc"] > found["logistic"]["roc_auc"] + 0.1
    assert found["tree"]["roc_auc"] == roc_auc(said[2][:300], labels[:300])
    for name in ("logistic", "adam", "served"):
        assert not {one for one in found[name] if one.startswith("champion_") or one == "labels"}
    alone = Validator("churn", POLICY, seed=7).rolling(window, names)
    assert "champion_roc_auc" not in alone["tree"]
