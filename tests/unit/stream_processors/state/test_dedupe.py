"""The window of duplicates against a plain list that remembers everything."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream_processors.state.dedupe import LEAST_SLOTS, DuplicateWindow

Arrivals = list[tuple[int, int]]
"""Hash and day of each event."""


def linear_admit(arrivals: Arrivals, *, size: int, days: int) -> list[bool]:
    """Say which arrivals are new, going through all that was remembered for each."""
    remembered: Arrivals = []
    fresh = []
    for value, day in arrivals:
        known = [old for old, arrived in remembered[-size:] if arrived >= day - days]
        fresh.append(value not in known)
        if fresh[-1]:
            remembered.append((value, day))
    return fresh


def admit_all(window: DuplicateWindow, arrivals: Arrivals, cuts: list[int]) -> list[bool]:
    admitted: list[bool] = []
    edges = [0, *sorted(min(cut, len(arrivals)) for cut in cuts), len(arrivals)]
    for start, stop in pairwise(edges):
        part = arrivals[start:stop]
        hashes, days = np.array([v for v, _ in part], np.uint64), np.array([d for _, d in part], np.int64)
        admitted += window.admit(hashes, days).tolist()
    return admitted


@st.composite
def arriving(draw: st.DrawFn) -> Arrivals:
    """Draw arrivals whose days never fall, as the newest day of a partition never does."""
    values = draw(st.lists(st.integers(0, draw(st.sampled_from([3, 30, 3_000]))), max_size=900))
    steps = draw(st.lists(st.integers(0, 3), min_size=len(values), max_size=len(values)))
    sparse = draw(st.sampled_from([1, 40, 400]))
    days = np.cumsum([step if index % sparse == 0 else 0 for index, step in enumerate(steps)])
    return list(zip(values, days.tolist(), strict=True))


@given(arriving(), st.lists(st.integers(0, 900), max_size=5), st.integers(1, 400), st.integers(1, 5))
def test_an_event_is_new_unless_it_is_remembered(arrivals: Arrivals, cuts: list[int], size: int, days: int) -> None:
    expected = linear_admit(arrivals, size=size, days=days)
    assert admit_all(DuplicateWindow(size, days), arrivals, cuts) == expected


@given(arriving(), st.integers(0, 900), st.integers(1, 400))
def test_a_restored_window_continues_as_the_original(arrivals: Arrivals, cut: int, size: int) -> None:
    window, days = DuplicateWindow(size, 2), 2
    before, after = arrivals[:cut], arrivals[cut:]
    admitted = admit_all(window, before, [])
    restored = DuplicateWindow(size, days)
    restored.restore(window.ring.copy(), window.seen, list(window.begun))
    assert admitted + admit_all(restored, after, []) == linear_admit(arrivals, size=size, days=days)


def test_a_restored_window_knows_events_that_came_in_any_order() -> None:
    values = [((n * 7_919) % 1_009, 0) for n in range(1_000)]
    window, restored = DuplicateWindow(LEAST_SLOTS * 4, 7), DuplicateWindow(LEAST_SLOTS * 4, 7)
    assert all(admit_all(window, values, []))
    restored.restore(window.ring.copy(), window.seen, list(window.begun))
    assert not any(admit_all(restored, values, []))


def test_a_grown_window_knows_what_it_knew_and_looks_up_the_rest_in_one_slot() -> None:
    values = [(n, 0) for n in range(1, 301)]
    small, grown, again = DuplicateWindow(200, 7), DuplicateWindow(5_000, 7), DuplicateWindow(5_000, 7)
    assert all(admit_all(small, values * 20, list(range(0, 6_000, 300))))
    grown.restore(small.ring.copy(), small.seen, list(small.begun))
    again.restore(grown.ring.copy(), grown.seen, list(grown.begun))
    assert np.count_nonzero(again._slots) == 201
    assert admit_all(again, values, []) == [True] * 100 + [False] * 200


def test_events_that_share_a_slot_are_distinguished() -> None:
    values = [(n * 2**40 + 1, 0) for n in range(LEAST_SLOTS)]
    window = DuplicateWindow(LEAST_SLOTS // 4, 7)
    expected = linear_admit(values + values, size=window.size, days=7)
    assert admit_all(window, values + values, list(range(0, len(values) * 2, 100))) == expected


def test_a_window_takes_bounded_memory_however_many_events_come() -> None:
    window = DuplicateWindow(LEAST_SLOTS, 7)
    for first in range(0, 100 * LEAST_SLOTS, LEAST_SLOTS):
        assert all(admit_all(window, [(first + n, 0) for n in range(LEAST_SLOTS)], []))
    assert len(window._slots) <= 8 * LEAST_SLOTS


def test_a_window_of_no_size_knows_nothing() -> None:
    window = DuplicateWindow(0, 7)
    assert admit_all(window, [(1, 0), (1, 0)], []) == [True, True]


def test_a_large_batch_is_looked_up_as_a_small_one() -> None:
    values = [(n, 0) for n in range(LEAST_SLOTS * 4)]
    window = DuplicateWindow(LEAST_SLOTS * 8, 7)
    assert all(admit_all(window, values, []))
    assert not any(admit_all(window, values, []))
    assert not any(admit_all(window, values, list(range(0, LEAST_SLOTS * 4, 7))))
    assert window.seen == LEAST_SLOTS * 4
