"""The states of an erasure, against a slow re-computation over random sequences of records."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebb.contracts.erasures import (
    ERASED_AT_MS,
    TRANSITIONS,
    Erasure,
    ErasurePart,
    ErasurePartReport,
    ErasureRequest,
    ErasureState,
    digest_of,
)
from ebb.errors import IllegalTransitionError

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
Record = tuple[ErasurePart, int, bool]
"""Part, time in seconds, and whether the record names the customer."""
REPORTS = [part for part in ErasurePart if part is not ErasurePart.REQUEST]
RECORDS = st.lists(st.tuples(st.sampled_from(ErasurePart), st.integers(0, 9), st.booleans()), max_size=12)


def request(*, named: bool) -> ErasureRequest:
    return ErasureRequest(
        erasure_id="e1",
        customer_id="c-1" if named else None,
        digest=digest_of("c-1"),
        requested_at=AT,
        requested_by="key",
    )


def apply(erasure: Erasure, record: Record) -> None:
    part, seconds, named = record
    if part is ErasurePart.REQUEST:
        erasure.request = request(named=named)
        return
    customer = "c-1" if named and part is ErasurePart.WORKER else None
    erasure.reports[part] = ErasurePartReport(at=AT + timedelta(seconds=seconds), customer_id=customer)


def slow_state(records: list[Record]) -> ErasureState:
    """Read the whole history backwards for the latest record of each part, and check one condition after another."""
    latest: dict[ErasurePart, Record] = {}
    for record in reversed([(ErasurePart.REQUEST, 0, True), *records]):
        if record[0] not in latest:
            latest[record[0]] = record
    missing = [part for part in (ErasurePart.ORDER, ErasurePart.WORKER, ErasurePart.LEARNER) if part not in latest]
    if missing:
        first = {
            ErasurePart.ORDER: ErasureState.REQUESTED,
            ErasurePart.WORKER: ErasureState.ORDERED,
            ErasurePart.LEARNER: ErasureState.UNTRACKED,
        }
        return first[missing[0]]
    deleted = latest.get(ErasurePart.HISTORY)
    if deleted is None or any(latest[part][1] > deleted[1] for part in (ErasurePart.WORKER, ErasurePart.LEARNER)):
        return ErasureState.UNLEARNED
    named = latest[ErasurePart.REQUEST][2] or latest[ErasurePart.WORKER][2]
    return ErasureState.DELETED if named else ErasureState.DONE


@given(RECORDS)
def test_state_is_that_of_the_latest_record_of_each_part(records: list[Record]) -> None:
    erasure = Erasure(request(named=True))
    for number, record in enumerate(records, 1):
        apply(erasure, record)
        assert erasure.state is slow_state(records[:number])
    assert erasure.done is (erasure.state is ErasureState.DONE)
    assert erasure.history_deleted is (erasure.state in {ErasureState.DELETED, ErasureState.DONE})


@given(RECORDS)
def test_only_the_records_that_the_table_allows_are_due(records: list[Record]) -> None:
    erasure = Erasure(request(named=True))
    for record in records:
        apply(erasure, record)
    for part in ErasurePart:
        if erasure.state in TRANSITIONS[part].sources:
            erasure.check(part)
        else:
            with pytest.raises(
                IllegalTransitionError, match=rf"Erasure e1 is {erasure.state}, not .*: record {part} is"
            ):
                erasure.check(part)


@pytest.mark.parametrize("part", [ErasurePart.HISTORY, ErasurePart.REQUEST])
def test_history_is_not_reported_deleted_nor_the_name_removed_before_all_writers_have_erased(part: ErasurePart) -> None:
    erasure = Erasure(request(named=True))
    for earlier in (ErasurePart.ORDER, ErasurePart.WORKER):
        apply(erasure, (earlier, 1, True))
        with pytest.raises(IllegalTransitionError):
            erasure.check(part)


def test_an_erasure_ends_and_an_old_checkpoint_opens_it_again() -> None:
    erasure = Erasure(request(named=True))
    steps: list[tuple[Record, ErasureState]] = [
        ((ErasurePart.ORDER, 1, True), ErasureState.ORDERED),
        ((ErasurePart.WORKER, 2, True), ErasureState.UNTRACKED),
        ((ErasurePart.LEARNER, 3, True), ErasureState.UNLEARNED),
        ((ErasurePart.HISTORY, 4, True), ErasureState.DELETED),
        ((ErasurePart.WORKER, 2, False), ErasureState.DELETED),
        ((ErasurePart.REQUEST, 0, False), ErasureState.DONE),
        ((ErasurePart.WORKER, 6, True), ErasureState.UNLEARNED),
        ((ErasurePart.HISTORY, 7, True), ErasureState.DELETED),
    ]
    assert erasure.state is ErasureState.REQUESTED
    for record, state in steps:
        apply(erasure, record)
        assert erasure.state is state


def test_what_was_made_before_the_worker_erased_is_covered_by_its_clock_and_what_follows_is_not() -> None:
    erasure = Erasure(request(named=True))
    asked = erasure.request.requested_at
    assert erasure.covers(asked + timedelta(days=9)), "until the worker has reported, all of it"
    details = {ERASED_AT_MS: int((asked + timedelta(seconds=5)).timestamp() * 1_000)}
    erasure.reports[ErasurePart.WORKER] = ErasurePartReport(at=asked + timedelta(seconds=9), details=details)
    assert erasure.covers(asked + timedelta(seconds=5))
    assert not erasure.covers(asked + timedelta(seconds=6)), "made before the report, and of who came back"
    erasure.reports[ErasurePart.WORKER] = ErasurePartReport(at=asked + timedelta(seconds=9))
    assert erasure.covers(asked), "reports of former versions do not say when"
    assert not erasure.covers(asked + timedelta(seconds=1))


def test_every_part_has_a_transition_and_every_state_but_the_last_a_successor() -> None:
    assert set(TRANSITIONS) == set(ErasurePart)
    source_states = {state for transition in TRANSITIONS.values() for state in transition.sources}
    assert source_states == set(ErasureState)
    assert all(transition.actors for transition in TRANSITIONS.values())
