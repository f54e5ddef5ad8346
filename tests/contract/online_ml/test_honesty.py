"""From events to judged predictions, by the real engine and learner: nothing is known before its time."""

from collections.abc import Callable

import numpy as np
import pytest

from benchmarks._stream import Judged, Stream, after, pooled
from ebb.clock import DAY
from ebb.contracts.activity import encode_activity
from ebb.contracts.scores import utc
from ebb.settings import Settings
from online_ml.evaluation.metrics import ece, roc_auc

FIRST_DAY = 20_000
DAYS = 46
HORIZON = 7
CUSTOMERS = 240
SETTINGS = Settings(
    partitions=3,
    horizon_days=HORIZON,
    purchase_horizon_days=3,
    lookback_days=20,
    allowed_lateness_seconds=0,
    # River's trees take most of the time, and what they say of every tenth customer (24 of 240) is compared too.
    tree_labels=4,
)
Rates = Callable[[int], np.ndarray]


def differing(day: int) -> np.ndarray:
    """Return everybody's chance to come on a day: each at a rate of their own, and half of them gone one day."""
    rates = np.linspace(0.05, 0.7, CUSTOMERS)
    gone = np.random.default_rng(4).integers(10, 2 * DAYS, CUSTOMERS)
    return np.where(FIRST_DAY + gone > day, rates, 0.0)


def alike(day: int) -> np.ndarray:
    """Return the same chance for everybody on every day: nothing that anyone did says what they will do."""
    return np.full(CUSTOMERS, 0.2)


def run(rates: Rates, *, other_from: int | None = None, shuffled: int | None = None, days: int = DAYS) -> Stream:
    """Send a world; from `other_from` on it goes another way."""
    stream = Stream(SETTINGS, shuffled=shuffled)
    for day in range(FIRST_DAY, FIRST_DAY + days):
        stream.tick(day)
        turned = other_from is not None and day >= other_from
        rng = np.random.default_rng([9, day, int(turned)])
        for number in np.flatnonzero(rng.random(CUSTOMERS) < rates(day)).tolist():
            body = encode_activity(f"{day}-{number}-{turned}", f"c{number}", "view", utc(day * DAY + number), {})
            stream.send(f"c{number}", body)
    stream.tick(FIRST_DAY + days)
    return stream


@pytest.fixture(scope="module")
def straight() -> Stream:
    return run(differing)


def said(judged: list[Judged], until: int) -> dict[tuple[int, str], list[float]]:
    """Return what every candidate said, by day and customer, of snapshots up to a day."""
    return {
        (one.day, customer): [float(told[place]) for told in one.predictions.values()]
        for one in judged
        if one.day <= until
        for place, customer in enumerate(one.customers)
    }


def test_another_future_changes_nothing_that_was_said_before_it(straight: Stream) -> None:
    turn = FIRST_DAY + 30
    other = run(differing, other_from=turn)
    before, afterwards = said(straight.judged, turn), said(other.judged, turn)
    assert len(before) > 3_000
    assert before.keys() == afterwards.keys()
    for key, told in before.items():
        assert told == pytest.approx(afterwards[key], abs=0, nan_ok=True), key
    late = FIRST_DAY + DAYS
    assert said(straight.judged, late) != said(other.judged, late)


def test_labels_of_the_last_horizon_are_counted_nowhere(straight: Stream) -> None:
    end = FIRST_DAY + DAYS
    assert max(one.day for one in straight.judged) == end - HORIZON
    judged = sum(len(one.labels) for one in straight.judged)
    assert straight.learner.targets["churn"].examples == judged
    assert straight.learner.labels_pending("churn") > 0


def test_the_same_log_gives_the_same_models_bit_for_bit(straight: Stream) -> None:
    assert run(differing).learner.digest() == straight.learner.digest()


def test_where_customers_differ_it_is_found_and_told_in_calibrated_words(straight: Stream) -> None:
    judged = after(straight.judged, 2_000)
    told, labels = pooled(judged, "logistic")
    area = roc_auc(told, labels)
    assert area is not None
    assert area > 0.8
    assert ece(told, labels) < 0.06


@pytest.mark.parametrize("world", [(alike, None), (differing, 5)], ids=["memoryless", "labels dealt out anew"])
def test_where_there_is_nothing_to_know_nothing_is_found(world: tuple[Rates, int | None]) -> None:
    rates, shuffled = world
    areas, weights = [], []
    for one in after(run(rates, shuffled=shuffled).judged, 500):
        ones = int(one.labels.sum())
        area = roc_auc(one.predictions["logistic"].astype(np.float64), one.labels)
        if area is not None and one.day % HORIZON == 0:  # horizons that do not overlap: labels are independent
            areas.append(area)
            weights.append(12 * ones * (len(one.labels) - ones) / (len(one.labels) + 1))
    assert len(areas) >= 3
    assert np.average(areas, weights=weights) == pytest.approx(0.5, abs=3.29 / np.sqrt(sum(weights)))
