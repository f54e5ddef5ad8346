"""The ground truth and the best possible score that follows from it."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ebb.errors import SourceError
from ebb.settings import Settings
from producers.simulator.oracle import Oracle, main, read_oracle, roc_auc
from producers.simulator.truth import DAYS_KEPT, read_truth, truth_folder, write_truth
from producers.simulator.world import Simulation, World

FIRST, DAYS, HORIZON, LOOKBACK = 20_000, 110, 14, 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("truth")
    simulation = Simulation(World(seed=7, customers=2_000, first_day=FIRST))
    for _ in range(DAYS):
        truth = simulation.truth(horizon=HORIZON, lookback=LOOKBACK)
        write_truth(folder, truth, horizon=HORIZON, lookback=LOOKBACK)
        simulation.step()
    return folder


@pytest.fixture(scope="module")
def oracle(folder: Path) -> Oracle:
    """From the day on which the look-back is full."""
    whole = read_oracle(folder)
    late = whole.day >= FIRST + LOOKBACK
    return Oracle(**{name: column[late] for name, column in vars(whole).items()})


def test_the_base_rate_is_realistic(oracle: Oracle) -> None:
    assert 0.10 < oracle.label.mean() < 0.26


def test_the_oracle_beats_recency_by_far_and_is_not_perfect(oracle: Oracle) -> None:
    best, recency = roc_auc(oracle.label, oracle.probability), roc_auc(oracle.label, oracle.recency)
    assert 0.85 < best < 0.93
    assert recency < best - 0.07
    assert recency > 0.65


def test_the_oracle_is_calibrated(oracle: Oracle) -> None:
    bins = np.minimum((oracle.probability * 10).astype(int), 9)
    error = 0.0
    for number in range(10):
        mine = bins == number
        gap = abs(oracle.label[mine].mean() - oracle.probability[mine].mean())
        # A customer stays in a bin for many days: the bins hold far fewer independent rows than rows.
        assert gap < 0.1
        error += mine.mean() * gap
    assert error < 0.015


def test_knowing_who_has_left_would_help_further(oracle: Oracle) -> None:
    assert roc_auc(oracle.label, oracle.clairvoyant) > roc_auc(oracle.label, oracle.probability) + 0.01


def test_labels_follow_from_what_the_customers_did(folder: Path) -> None:
    """The label of the oracle is the silence that the events show."""
    simulation = Simulation(World(seed=7, customers=2_000, first_day=FIRST))
    active: list[set[str]] = []
    for _ in range(60):
        day = simulation.step()
        ids = day.customers.ids()
        active.append({ids[row] for row in np.unique(day.events.row).tolist()})
    oracle = read_oracle(folder)
    for snapshot in (10, 30, 45):
        rows = oracle.day == FIRST + snapshot
        later = set().union(*active[snapshot : snapshot + HORIZON])
        seen = set().union(*active[:snapshot])
        ids = oracle.customer_id[rows].tolist()
        assert set(ids) == seen
        assert oracle.label[rows].tolist() == [int(name not in later) for name in ids]


def test_no_label_is_returned_before_it_has_matured(folder: Path) -> None:
    assert read_oracle(folder).day.max() == FIRST + DAYS - 1 - HORIZON


def test_the_oracle_is_found_by_customer_and_day(oracle: Oracle) -> None:
    keyed = oracle.by_key()
    assert len(keyed) == len(oracle.label)
    assert keyed[oracle.customer_id[5], int(oracle.day[5])] == oracle.probability[5]


def test_the_area_is_that_of_the_textbook() -> None:
    rng = np.random.default_rng(0)
    label, score = rng.integers(0, 2, 500), rng.integers(0, 20, 500) / 20
    assert roc_auc(label, score) == pytest.approx(roc_auc_score(label, score))
    assert np.isnan(roc_auc(np.zeros(3, np.int64), score[:3]))


def test_truth_is_kept_for_a_limited_time(tmp_path: Path) -> None:
    simulation = Simulation(World(seed=7, customers=20, first_day=FIRST))
    old = tmp_path / f"{FIRST - DAYS_KEPT}.parquet"
    old.write_bytes(b"")
    write_truth(tmp_path, simulation.truth(horizon=7, lookback=60), horizon=7, lookback=60)
    assert not old.exists()


def test_truth_of_two_horizons_is_not_mixed(tmp_path: Path) -> None:
    simulation = Simulation(World(seed=7, customers=20, first_day=FIRST))
    for horizon in (7, 14):
        simulation.step()
        write_truth(tmp_path, simulation.truth(horizon=horizon, lookback=60), horizon=horizon, lookback=60)
    with pytest.raises(SourceError, match="different horizons"):
        read_truth(tmp_path)


def test_without_truth_the_error_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="ebb simulate"):
        read_oracle(tmp_path)


def test_the_command_prints_oracle_and_recency(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = Settings(home=tmp_path)
    truth_folder(home).parent.mkdir(parents=True, exist_ok=True)
    truth_folder(home).symlink_to(folder)
    monkeypatch.setattr("producers.simulator.oracle.settings", lambda: home)
    assert main() == 0
    printed = capsys.readouterr().out
    assert "oracle (knows traits and history)" in printed
    assert "recency" in printed
    monkeypatch.setattr("producers.simulator.oracle.settings", lambda: Settings(home=tmp_path / "none"))
    assert main() == 1
