"""The judge of `bench-peers`: it finds what is wrong, and Ebb's own features satisfy it."""

from collections.abc import Callable

import numpy as np
import pytest

from benchmarks._peers import judge
from benchmarks._peers.definition import FEATURES
from benchmarks._peers.log import HISTORY_RECORDS, Source
from benchmarks._peers.ours import scored
from ebb.contracts.activity import encode_activity
from ebb.contracts.scores import utc
from ebb.settings import Settings
from stream_processors.ingest.decoder import Decoder
from stream_processors.state.engine import Engine
from stream_processors.state.features import describe

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
    bought = encode_activity("1", "c1", "purchase", utc(END), {"amount": 19.99, "discount": 2})
    seen = encode_activity("2", "c1", "view", utc(END + 3 * 86_400))
    return [("c1", bought), ("c1", seen), ("c1", bought)]


def changed(name: str, value: Callable[[float], float]) -> dict[str, judge.Described]:
    """Return right results but for one feature."""
    features, score = right(records())["c1"]
    return {
        "c1": (
            [value(feature) if known == name else feature for known, feature in zip(FEATURES, features, strict=True)],
            score,
        )
    }


def test_the_judge_counts_by_days() -> None:
    result = judge.expected(records())["c1"]
    assert tuple(result) == FEATURES
    assert (result["events_total"], result["purchases_total"], result["spend_7d"]) == (2, 1, 19.99)
    assert (result["purchases_1d"], result["purchases_7d"], result["active_days_7"], result["purchase_days_60"]) == (
        0,
        1,
        2,
        1,
    )
    assert result["tenure_days"] == result["purchase_recency_days"] == result["gap_mean_days"] == 3
    assert result["recency_days"] == result["recency_over_gap"] == result["gap_std_days"] == 0
    assert result["discount_share"] == 0.5
    assert result["events_hl14"] == result["active_hl14"] == pytest.approx(1 + 0.5 ** (3 / 14))


def test_right_results_have_no_differences() -> None:
    assert judge.differences(right(records()), judge.expected(records())) == []


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("name", FEATURES)
def test_any_feature_that_is_off_is_found(name: str, single: bool) -> None:
    wrong = changed(name, lambda value: value + (1 if isinstance(value, int) else 1e-5))
    (result,) = judge.differences(wrong, judge.expected(records()), single=single)
    assert name in result


def test_the_precision_of_32_bits_is_enough_for_ebb_alone() -> None:
    expected = judge.expected(records())
    off = changed("events_hl14", lambda value: value * (1 + 1e-8))
    assert "events_hl14" in judge.differences(off, expected)[0]
    assert judge.differences(off, expected, single=True) == []


def test_a_score_a_customer_too_few_or_too_many_are_found() -> None:
    expected = judge.expected(records())
    features, score = right(records())["c1"]
    assert "score" in judge.differences({"c1": (features, score + 2e-6)}, expected)[0]
    assert judge.differences({}, expected) == ["c1 has no result."]
    assert judge.differences({"c1": (features, score), "c2": (features, score)}, expected) == [
        "c2 has a result and no event."
    ]


def ours(records: list[tuple[str, bytes]]) -> dict[str, judge.Described]:
    """Features by Ebb's own engine, all records in one partition, and the score by its own scorer."""

    class Record:
        headers = ()
        timestamp = (END + 10) * 1_000

        def __init__(self, offset: int, key: str, value: bytes) -> None:
            self.offset, self.key, self.value = offset, key.encode(), value

    settings = Settings()
    engine = Engine(0, settings)
    decoder = Decoder(settings)
    for start in range(0, len(records), 1_000):
        part = [Record(start + index, *record) for index, record in enumerate(records[start : start + 1_000])]
        engine.process(decoder.decode(part))
    rows = np.arange(len(engine.state))
    matrix = describe(engine.state, rows, END * 1_000, minor_units=settings.minor_units)
    return scored(settings, dict(zip(engine.state.ids, matrix.tolist(), strict=True)))


def test_ebb_computes_what_the_judge_does_from_the_log_of_the_benchmark(source: Source) -> None:
    log = source.log(20_000)
    result = ours(log.records)
    expected = judge.expected(log.records)
    assert judge.differences(result, expected, single=True) == []
    features, score = result["load-0000003"]
    result["load-0000003"] = ([*features[:-1], features[-1] + 1], score)
    (difference,) = judge.differences(result, expected, single=True)
    assert difference.startswith("load-0000003: discount_share")


def test_logs_of_any_length_begin_alike_and_end_with_every_customer_at_one_time(source: Source) -> None:
    long, short = source.log(20_000), source.log(15_000)
    assert (len(long.records), len(short.records)) == (20_000, 15_000)
    assert long.warm_up == HISTORY_RECORDS
    assert short.records[: 15_000 - CUSTOMERS] == long.records[: 15_000 - CUSTOMERS]
    assert short.records[-CUSTOMERS:] == long.records[-CUSTOMERS:]
    assert len({key for key, _ in long.records[-CUSTOMERS:]}) == CUSTOMERS
    expected = judge.expected(long.records)
    assert any(features["events_30d"] < features["events_total"] for features in expected.values())
    assert any(features["events_7d"] < features["events_30d"] for features in expected.values())
    assert len({features["discount_share"] for features in expected.values()}) > 3


def test_the_log_contains_duplicates_and_invalid_records(source: Source) -> None:
    log = source.log(20_000)
    bodies = [body for _, body in log.records]
    counted = sum(int(features["events_total"]) for features in judge.expected(log.records).values())
    assert 50 < len(bodies) - len(set(bodies)) < 1_000
    assert counted < len(set(bodies))
