"""What the peers of `bench-peers` compute, held against the judge, each by the step that its framework calls."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks._peers import judge, steps
from benchmarks._peers.definition import FEATURES, WEIGHTS, Seen, describe, parse
from ebb.events import encode_activity
from ebb.messages import utc

DAY = 86_400
BEGIN = 1_760_000_000
TYPES = ("view", "session_start", "add_to_cart", "purchase", "support_contact", "wishlist")

Records = list[tuple[str, bytes]]


def record(number: int, at: float, *, customer: str = "c1", kind: str = "view", amount: float | None = None) -> Records:
    properties = {} if amount is None else {"amount": amount}
    return [(customer, encode_activity(f"e{number}", customer, kind, utc(BEGIN + at), properties))]


@st.composite
def logs(draw: st.DrawFn) -> Records:
    """Events of a few customers over three months, some sent again, some an hour late."""
    found: Records = []
    at = 0.0
    for number in range(draw(st.integers(1, 60))):
        at += draw(st.sampled_from([0.0, 60.0, 3_600.0, DAY, 3.0 * DAY, 31.0 * DAY]))
        back = draw(st.sampled_from([0, 0, 900, 3_600]))
        kind = draw(st.sampled_from(TYPES))
        amount = draw(st.sampled_from([0.01, 19.99, 1_000.0])) if kind == "purchase" else None
        customer = draw(st.sampled_from(["c1", "c2"]))
        found += record(number, max(at - back, 0), customer=customer, kind=kind, amount=amount)
        if draw(st.booleans()):
            found.append(found[draw(st.integers(0, len(found) - 1))])
    return found


def in_quix(records: Records, size: int) -> dict[str, judge.Described]:
    kept: dict[str, bytes] = {}
    found: dict[str, judge.Described] = {}
    seen = Seen(1)
    for key, body in records:
        result = steps.one_record(body, kept.get(key), seen)
        if result is not None:
            kept[key], found[key] = result
    return found


def in_faust(records: Records, size: int) -> dict[str, judge.Described]:
    table: dict[str, bytes] = {}
    found: dict[str, judge.Described] = {}
    seen = Seen(1)
    for start in range(0, len(records), size):
        bodies = [body for _, body in records[start : start + size]]
        for customer, (state, described) in steps.many_records(bodies, table.get, seen).items():
            table[customer], found[customer] = state, described
    return found


def in_bytewax(records: Records, size: int) -> dict[str, judge.Described]:
    snapshots: dict[str, bytes] = {}
    found: dict[str, judge.Described] = {}
    seen = Seen(1)
    for start in range(0, len(records), size):
        queued: dict[str, list[steps.Change]] = {}
        for _, body in records[start : start + size]:
            event = parse(body)
            if event is not None and seen.new(event[0]):
                queued.setdefault(event[1], []).append(event[2:])
        for customer, changes in queued.items():
            state = steps.read(snapshots[customer]) if customer in snapshots else None
            state, found[customer] = steps.queued_changes(state, changes)
            snapshots[customer] = steps.write(state)
    return found


def in_pathway(records: Records, size: int) -> dict[str, judge.Described]:
    results: dict[str, steps.Result] = {}
    seen = Seen(1)
    for start in range(0, len(records), size):
        rows: dict[str, dict[bytes, int]] = {}
        for key, body in records[start : start + size]:
            rows.setdefault(key, {}).setdefault(body, 0)
            rows[key][body] += 1
        for key, times in rows.items():
            results[key] = steps.minibatch(
                results.get(key), [((body,), count) for body, count in reversed(times.items())], seen
            )
    assert sum(processed for _, _, processed in results.values()) == len(records)
    return {
        key: (describe(steps.read(state)), probability) for key, (state, probability, _) in results.items() if state
    }


PEERS = [in_quix, in_faust, in_bytewax, in_pathway]
Peer = Callable[[Records, int], dict[str, judge.Described]]


@pytest.mark.parametrize("peer", PEERS)
@settings(max_examples=40)
@given(records=logs(), size=st.integers(1, 20))
def test_each_peer_computes_what_the_judge_does_however_its_batches_are_cut(
    peer: Peer, records: Records, size: int
) -> None:
    assert judge.differences(peer(records, size), judge.expected(records)) == []


@pytest.mark.parametrize("peer", PEERS)
def test_a_record_that_cannot_be_accepted_changes_no_customer(peer: Peer) -> None:
    good = record(1, 0)
    naive = b'{"event_id": "x", "customer_id": "c1", "type": "view", "occurred_at": "2026-01-01T00:00:00"}'
    bad: Records = [("c1", b""), ("c1", b"{"), ("c1", naive), ("c2", b"null")]
    assert peer(bad + good, 10) == peer(good, 10)


def test_windows_forget_what_lies_before_their_days() -> None:
    records = record(1, 0, kind="purchase", amount=5.0) + record(2, 20.0 * DAY) + record(3, 31.0 * DAY)
    features, _ = in_quix(records, 1)["c1"]
    named = dict(zip(FEATURES, features, strict=True))
    assert (named["events_30d"], named["events_7d"], named["events_1d"]) == (2, 1, 1)
    assert (named["purchases_30d"], named["spend_30d"], named["spend_total"]) == (0, 0, 500)
    assert named["active_days_total"] == 3


def test_an_event_of_yesterday_counts_on_its_own_day() -> None:
    midnight = (BEGIN // DAY + 1) * DAY - BEGIN
    records = record(1, midnight + 10.0) + record(2, midnight - 10.0) + record(3, midnight + 2.0 * DAY)
    features, _ = in_quix(records, 1)["c1"]
    named = dict(zip(FEATURES, features, strict=True))
    assert (named["active_days_total"], named["events_1d"], named["events_7d"]) == (3, 1, 3)
    assert named["events_hl14"] == pytest.approx(1 + 0.5 ** (2 / 14) + 0.5 ** (3 / 14))


def test_a_window_of_ids_forgets_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks._peers.definition.IDS_KEPT", 2)
    seen = Seen(1)
    assert [seen.new(name) for name in ("a", "b", "a", "c", "b", "a")] == [True, True, False, True, False, True]


def test_every_weight_is_on_a_feature() -> None:
    assert set(WEIGHTS) <= set(FEATURES)
    assert len(FEATURES) == len(set(FEATURES))
