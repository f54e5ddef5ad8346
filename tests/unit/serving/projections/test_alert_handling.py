"""The status of an alert follows from the latest act of each kind, in whatever order they are read."""

from datetime import timedelta
from itertools import permutations
from typing import Any

from ebb.contracts.alert_handling import Act, HandlingRecord, Outcome, Status, key_of
from serving.projections.alert_handling import AlertHandlingView
from tests.support.sender import AS_OF


def record(act: Act, minutes: int, **more: Any) -> tuple[bytes, bytes]:
    at = AS_OF + timedelta(minutes=minutes)
    about = {"alert_id": "a/1", "customer_id": "c-1", "as_of": AS_OF, "raised_at": AS_OF}
    made = HandlingRecord(act=act, by="k", at=at, **about, **more)
    return key_of("a/1", act).encode(), made.model_dump_json().encode()


def test_outcome_closes_whatever_else_is_read_after_it_and_a_snooze_ends_by_itself() -> None:
    soon = AS_OF + timedelta(minutes=30)
    acts = [record(Act.ACKNOWLEDGE, 1), record(Act.SNOOZE, 2, until=soon)]
    for order in permutations(acts):
        view = AlertHandlingView()
        for entry in order:
            view.apply(*entry)
        assert view.of("a/1", soon - timedelta(minutes=1)).status is Status.SNOOZED
        assert view.of("a/1", soon).status is Status.ACKNOWLEDGED
    for order in permutations([*acts, record(Act.OUTCOME, 0, outcome=Outcome.LEFT)]):
        view = AlertHandlingView()
        for entry in order:
            view.apply(*entry)
        assert (view.of("a/1").status, view.of("a/1").outcome) == (Status.CLOSED, Outcome.LEFT)


def test_withdrawn_or_invalid_act_leaves_the_alert_open() -> None:
    view = AlertHandlingView()
    key, body = record(Act.ACKNOWLEDGE, 1)
    for odd in ((b"a/1/dance", body), (key, b"{"), (b"b/acknowledge", body), (None, body)):
        view.apply(*odd)
    assert view.of("a/1").status is Status.OPEN
    view.apply(key, body)
    assert view.keys_of("c-1", lambda at: at <= AS_OF) == ["a/1/acknowledge"]
    assert view.keys_of("c-1", lambda at: at < AS_OF) == []
    view.apply(key, None)
    assert view.of("a/1").status is Status.OPEN
    assert view.keys_of("c-1", lambda _: True) == []
