"""The judge of `bench-peers`: it finds what is wrong, and Ebb's own features satisfy it."""

import numpy as np
import pytest

from benchmarks._peers import judge
from benchmarks._peers.definition import FEATURES
from benchmarks._peers.log import HISTORY_RECORDS, Source
from benchmarks._peers.ours import COLUMNS
from ebb.events import encode_activity
from ebb.features import INDEX
from ebb.messages import utc
from ebb.settings import Settings
from stream_processors.decode import Decoder
from stream_processors.engine import Engine
from stream_processors.features import describe

END = 1_760_000_400
CUSTOMERS = 2_000


@pytest.fixture(scope="module")
def source() -> Source:
    return Source(20_000, seed=3, end=END, customers=CUSTOMERS)


def right(records: list[tuple[str, bytes]]) -> dict[str, judge.Described]:
    return {
        customer: ([features[name] for name in FEATURES], judge.score(features))
        for customer, features in judge.expected(records).items()
    }


def records() -> list[tuple[str, bytes]]:
    bought = encode_activity("1", "c1", "purchase", utc(END), {"amount": 19.99})
    seen = encode_activity("2", "c1", "view", utc(END + 3 * 86_400))
    return [("c1", bought), ("c1", seen), ("c1", bought)]


def test_the_judge_counts_by_days_and_money_in_minor_units() -> None:
    found = judge.expected(records())["c1"]
    assert (found["events_total"], found["purchases_total"], found["spend_7d"], found["spend_1d"]) == (2, 1, 1_999, 0)
    assert found["tenure_ms"] == found["since_purchase_ms"] == 3 * 86_400_000
    assert found["events_hl14"] == pytest.approx(1 + 0.5 ** (3 / 14))


def test_right_results_have_no_differences() -> None:
    assert judge.differences(right(records()), judge.expected(records())) == []


@pytest.mark.parametrize("name", [name for name in FEATURES if name != "events_hl14"])
def test_any_whole_feature_that_is_off_by_one_is_found(name: str) -> None:
    wrong = {customer: (list(features), score) for customer, (features, score) in right(records()).items()}
    wrong["c1"][0][FEATURES.index(name)] += 1
    (found,) = judge.differences(wrong, judge.expected(records()))
    assert name in found


def test_a_score_a_rate_a_customer_too_few_or_too_many_are_found() -> None:
    wanted = judge.expected(records())
    features, score = right(records())["c1"]
    rate = [*features[:-1], features[-1] * (1 + 1e-8)]
    assert "score" in judge.differences({"c1": (features, score + 2e-6)}, wanted)[0]
    assert "events_hl14" in judge.differences({"c1": (rate, score)}, wanted)[0]
    assert judge.differences({}, wanted) == ["c1 has no result."]
    assert judge.differences({"c1": (features, score), "c2": (features, score)}, wanted) == [
        "c2 has a result and no event."
    ]


def ours(records: list[tuple[str, bytes]]) -> dict[str, dict[str, float]]:
    """Features by Ebb's own engine, all records in one partition."""

    class Record:
        headers = ()
        timestamp = (END + 10) * 1_000

        def __init__(self, offset: int, key: str, value: bytes) -> None:
            self.offset, self.key, self.value = offset, key.encode(), value

    settings = Settings()
    engine = Engine(0, settings)
    decoder = Decoder(settings)
    for start in range(0, len(records), 1_000):
        part = [Record(start + place, *record) for place, record in enumerate(records[start : start + 1_000])]
        engine.process(decoder.decode(part))
    rows = np.arange(len(engine.state))
    matrix = describe(engine.state, rows, END * 1_000, minor_units=settings.minor_units)
    return {
        customer: {name: float(matrix[row, INDEX[column]]) for name, column in COLUMNS.items()}
        for row, customer in enumerate(engine.state.ids)
    }


def test_ebb_computes_what_the_judge_does_from_the_log_of_the_benchmark(source: Source) -> None:
    log = source.log(20_000)
    found = ours(log.records)
    wanted = judge.expected(log.records)
    assert judge.differences_of_ours(found, wanted) == []
    found["load-0000003"]["events_30d"] += 1
    (difference,) = [text for text in judge.differences_of_ours(found, wanted) if "events_30d" in text]
    assert "load-0000003" in difference


def test_logs_of_any_length_begin_alike_and_end_with_everybody_at_one_moment(source: Source) -> None:
    long, short = source.log(20_000), source.log(15_000)
    assert (len(long.records), len(short.records)) == (20_000, 15_000)
    assert long.warm_up == HISTORY_RECORDS
    assert short.records[: 15_000 - CUSTOMERS] == long.records[: 15_000 - CUSTOMERS]
    assert short.records[-CUSTOMERS:] == long.records[-CUSTOMERS:]
    assert len({key for key, _ in long.records[-CUSTOMERS:]}) == CUSTOMERS
    wanted = judge.expected(long.records)
    assert any(features["events_30d"] < features["events_total"] for features in wanted.values())
    assert any(features["events_7d"] < features["events_30d"] for features in wanted.values())


def test_the_log_holds_repetitions_and_records_that_nobody_accepts(source: Source) -> None:
    log = source.log(20_000)
    bodies = [body for _, body in log.records]
    counted = sum(int(features["events_total"]) for features in judge.expected(log.records).values())
    assert 50 < len(bodies) - len(set(bodies)) < 1_000
    assert counted < len(set(bodies))
