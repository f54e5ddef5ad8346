"""What the peers of `bench-peers` compute, compared with the judge, each by the step that its framework calls."""

from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks._peers import judge, steps
from benchmarks._peers.definition import FEATURES, WEIGHTS, Event, Result, Seen, parse, score
from ebb.contracts.activity import encode_activity
from ebb.contracts.scores import utc
from ebb.settings import Settings
from online_ml.scoring.cold_start import cold_start

DAY = 86_400
BEGIN = 1_760_000_000
TYPES = ("view", "session_start", "add_to_cart", "purchase", "support_contact", "wishlist")

Records = list[tuple[str, bytes]]
read_message = msgspec.json.Decoder(Result).decode


def record(
    number: int,
    at: float,
    *,
    customer: str = "c1",
    kind: str = "view",
    amount: float | None = None,
    discount: float | None = None,
) -> Records:
    given = {"amount": amount, "discount": discount}
    properties = {name: value for name, value in given.items() if value is not None}
    return [(customer, encode_activity(f"e{number}", customer, kind, utc(BEGIN + at), properties))]


@st.composite
def logs(draw: st.DrawFn) -> Records:
    """Events of a few customers over years, some sent again, some an hour late."""
    drawn: Records = []
    at = 0.0
    for number in range(draw(st.integers(1, 60))):
        at += draw(st.sampled_from([0.0, 60.0, 3_600.0, DAY, 3.0 * DAY, 31.0 * DAY, 70.0 * DAY]))
        back = draw(st.sampled_from([0, 0, 900, 3_600]))
        kind = draw(st.sampled_from(TYPES))
        amount = draw(st.sampled_from([0.01, 19.99, 1_000.0])) if kind == "purchase" else None
        discount = draw(st.sampled_from([None, 0.0, 0.5])) if kind == "purchase" else None
        customer = draw(st.sampled_from(["c1", "c2"]))
        drawn += record(number, max(at - back, 0), customer=customer, kind=kind, amount=amount, discount=discount)
        if draw(st.booleans()):
            drawn.append(drawn[draw(st.integers(0, len(drawn) - 1))])
    return drawn


def decode_results(messages: dict[str, bytes]) -> dict[str, judge.Described]:
    """Read messages as a consumer of the results topic does."""
    results = {key: read_message(body) for key, body in messages.items()}
    assert all(key == message.customer_id for key, message in results.items())
    return {key: (message.features, message.score) for key, message in results.items()}


def in_quix(records: Records, size: int) -> dict[str, judge.Described]:
    published: dict[str, bytes] = {}
    messages: dict[str, bytes] = {}
    seen = Seen(1)
    for key, body in records:
        result = steps.one_record(body, published.get(key), seen)
        if result is not None:
            published[key], messages[key] = result
    return decode_results(messages)


def in_faust(records: Records, size: int) -> dict[str, judge.Described]:
    table: dict[str, bytes] = {}
    messages: dict[str, bytes] = {}
    seen = Seen(1)
    for start in range(0, len(records), size):
        bodies = [body for _, body in records[start : start + size]]
        for customer, (state, message) in steps.many_records(bodies, table.get, seen).items():
            table[customer], messages[customer] = state, message
    return decode_results(messages)


def in_bytewax(records: Records, size: int) -> dict[str, judge.Described]:
    snapshots: dict[str, bytes] = {}
    messages: dict[str, bytes] = {}
    seen = Seen(1)
    for start in range(0, len(records), size):
        queued: dict[str, list[Event]] = {}
        for _, body in records[start : start + size]:
            event = parse(body)
            if event is not None and seen.new(event[0]):
                queued.setdefault(event[1], []).append(event)
        for customer, events in queued.items():
            state = steps.read(snapshots[customer]) if customer in snapshots else None
            state, messages[customer] = steps.queued_events(state, events)
            snapshots[customer] = steps.write(state)
    return decode_results(messages)


def in_pathway(records: Records, size: int) -> dict[str, judge.Described]:
    reduced: dict[str, steps.Reduced] = {}
    messages: dict[str, bytes] = {}
    seen = Seen(1)
    for start in range(0, len(records), size):
        rows: dict[str, dict[bytes, int]] = {}
        for key, body in records[start : start + size]:
            rows.setdefault(key, {}).setdefault(body, 0)
            rows[key][body] += 1
        for key, times in rows.items():
            brought = [((body,), count) for body, count in reversed(times.items())]
            reduced[key] = steps.minibatch(reduced.get(key), brought, seen)
            if reduced[key][1]:
                messages[key] = reduced[key][1]
    return decode_results(messages)


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


def named(records: Records) -> dict[str, float]:
    features, _ = in_quix(records, 1)["c1"]
    return dict(zip(FEATURES, features, strict=True))


def test_windows_exclude_events_before_their_days() -> None:
    records = record(1, 0, kind="purchase", amount=5.0) + record(2, 20.0 * DAY) + record(3, 31.0 * DAY)
    features = named(records)
    assert (features["events_30d"], features["events_7d"], features["events_1d"]) == (2, 1, 1)
    assert (features["purchases_30d"], features["spend_30d"], features["spend_total"]) == (0, 0, 5)
    assert (features["active_days_total"], features["active_days_60"], features["active_days_30"]) == (3, 3, 2)
    assert (features["purchase_days_60"], named(records + record(4, 61.0 * DAY))["purchase_days_60"]) == (1, 0)


def test_an_event_of_yesterday_counts_on_its_own_day() -> None:
    midnight = (BEGIN // DAY + 1) * DAY - BEGIN
    records = record(1, midnight + 10.0) + record(2, midnight - 10.0) + record(3, midnight + 2.0 * DAY)
    records_ = named(records)
    assert (records_["active_days_total"], records_["events_1d"], records_["events_7d"]) == (3, 1, 3)
    assert records_["events_hl14"] == records_["active_hl14"] == pytest.approx(1 + 0.5 ** (2 / 14) + 0.5 ** (3 / 14))
    assert (records_["gap_mean_days"], records_["gap_std_days"]) == (1.5, 0.5)


def test_a_gap_is_cut_in_two_by_a_day_that_becomes_active_late() -> None:
    midnight = (BEGIN // DAY + 5) * DAY - BEGIN
    records = record(1, midnight - 4.0 * DAY) + record(2, midnight + 10.0)
    assert (named(records)["gap_mean_days"], named(records)["gap_std_days"]) == (4, 0)
    records += record(3, midnight - 10.0)
    assert (named(records)["gap_mean_days"], named(records)["gap_std_days"]) == (2, 1)


def test_a_window_of_ids_forgets_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks._peers.definition.IDS_KEPT", 2)
    seen = Seen(1)
    assert [seen.new(name) for name in ("a", "b", "a", "c", "b", "a")] == [True, True, False, True, False, True]


def test_the_score_is_that_of_ebb_before_a_label_has_matured() -> None:
    assert set(WEIGHTS) <= set(FEATURES)
    features = np.random.default_rng(1).lognormal(0, 2, (50, len(FEATURES))).astype(np.float32)
    ours = cold_start("churn", Settings()).predict(features)
    assert [score(row) for row in features.tolist()] == pytest.approx(ours.tolist(), abs=judge.SCORE_TOLERANCE)
