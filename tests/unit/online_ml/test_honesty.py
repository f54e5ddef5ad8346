"""From events to judged predictions, by the real engine and learner: no prediction uses later data."""

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
    partitions=3, horizon_days=HORIZON, purchase_horizon_days=3, lookback_days=20, allowed_lateness_seconds=0
)
Rates = Callable[[int], np.ndarray]


def differing(day: int) -> np.ndarray:
    """Return each customer's probability of activity on a day: rates of their own; half of them leave one day."""
    rates = np.linspace(0.05, 0.7, CUSTOMERS)
    gone = np.random.default_rng(4).integers(10, 2 * DAYS, CUSTOMERS)
    return np.where(FIRST_DAY + gone > day, rates, 0.0)


def alike(day: int) -> np.ndarray:
    """Return the same probability for every customer and day: the past predicts nothing."""
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


def predictions(judged: list[Judged], until: int) -> dict[tuple[int, str], list[float]]:
    """Return every candidate's predictions, by day and customer, of snapshots up to a day."""
    return {
        (judgement.day, customer): [float(predicted[index]) for predicted in judgement.said.values()]
        for judgement in judged
        if judgement.day <= until
        for index, customer in enumerate(judgement.customers)
    }


def test_another_future_changes_no_earlier_prediction(straight: Stream) -> None:
    turn = FIRST_DAY + 30
    other = run(differing, other_from=turn)
    before, afterwards = predictions(straight.judged, turn), predictions(other.judged, turn)
    assert len(before) > 3_000
    assert before.keys() == afterwards.keys()
    for key, predicted in before.items():
        assert predicted == pytest.approx(afterwards[key], abs=0, nan_ok=True), key
    late = FIRST_DAY + DAYS
    assert predictions(straight.judged, late) != predictions(other.judged, late)


def test_labels_of_the_last_horizon_are_counted_nowhere(straight: Stream) -> None:
    end = FIRST_DAY + DAYS
    assert max(judgement.day for judgement in straight.judged) == end - HORIZON
    judged = sum(len(judgement.labels) for judgement in straight.judged)
    assert straight.learner.targets["churn"].examples == judged
    assert straight.learner.labels_pending("churn") > 0


def test_the_same_log_gives_the_same_models_bit_for_bit(straight: Stream) -> None:
    assert run(differing).learner.digest() == straight.learner.digest()


def test_where_customers_differ_the_model_learns_it_and_is_calibrated(straight: Stream) -> None:
    judged = after(straight.judged, 2_000)
    probabilities, labels = pooled(judged, "logistic")
    area = roc_auc(probabilities, labels)
    assert area is not None
    assert area > 0.8
    assert ece(probabilities, labels) < 0.06


@pytest.mark.parametrize("world", [(alike, None), (differing, 5)], ids=["memoryless", "labels shuffled"])
def test_where_there_is_no_signal_none_is_learned(world: tuple[Rates, int | None]) -> None:
    rates, shuffled = world
    areas, weights = [], []
    for judgement in after(run(rates, shuffled=shuffled).judged, 500):
        ones = int(judgement.labels.sum())
        area = roc_auc(judgement.said["logistic"].astype(np.float64), judgement.labels)
        if area is not None and judgement.day % HORIZON == 0:  # horizons that do not overlap: labels are independent
            areas.append(area)
            weights.append(12 * ones * (len(judgement.labels) - ones) / (len(judgement.labels) + 1))
    assert len(areas) >= 3
    assert np.average(areas, weights=weights) == pytest.approx(0.5, abs=3.29 / np.sqrt(sum(weights)))
