"""Waits before a restart: growing, bounded, forgotten after a stable run."""

from hypothesis import given
from hypothesis import strategies as st

from ebb_cli.local.supervisor import Backoff


def test_the_wait_doubles_with_each_crash() -> None:
    backoff = Backoff(first=0.5, most=30)
    assert [backoff.crashed(1.0) for _ in range(4)] == [0.5, 1.0, 2.0, 4.0]


def test_a_stable_run_starts_the_waits_over() -> None:
    backoff = Backoff(first=0.5, stable=60)
    for _ in range(5):
        backoff.crashed(1.0)
    assert backoff.crashed(60.0) == 0.5
    assert backoff.crashed(1.0) == 1.0


@given(st.lists(st.floats(0, 59.9), max_size=2_000))
def test_the_wait_never_exceeds_the_most(runs: list[float]) -> None:
    backoff = Backoff(first=0.5, most=30, stable=60)
    assert all(0.5 <= backoff.crashed(ran) <= 30 for ran in runs)
