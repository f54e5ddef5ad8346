"""Erasures as a replica reads them from the topic."""

from datetime import UTC, datetime, timedelta

import pytest

from ebb.contracts.erasures import ErasurePart, ErasurePartReport, ErasureRequest, digest_of, key_of, partition_of
from ebb.contracts.stream import Filter
from serving.projections.alerts import RecentAlerts
from serving.projections.erasures import ErasureView
from serving.projections.scores import ScoreChange, ScoreFields
from serving.streaming.hub import Hub
from serving.streaming.message import StreamMessage
from serving.streaming.subscriptions import Subscription
from tests.support.sender import make_alert, make_score

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
Record = tuple[bytes, bytes]


def request_record(identity: str = "e1", customer: str | None = "c-1", at: datetime = AT) -> Record:
    request = ErasureRequest(
        erasure_id=identity,
        customer_id=customer,
        digest=digest_of("c-1"),
        requested_at=at,
        requested_by="key",
        done_at=None if customer else at,
    )
    return key_of(identity, ErasurePart.REQUEST).encode(), request.model_dump_json().encode()


def report_record(part: ErasurePart, seconds: float, identity: str = "e1", customer: str | None = None) -> Record:
    report = ErasurePartReport(at=AT + timedelta(seconds=seconds), customer_id=customer)
    return key_of(identity, part).encode(), report.model_dump_json().encode()


def test_erasure_is_done_when_every_part_has_reported_and_the_id_is_removed() -> None:
    ledger = ErasureView()
    steps = [
        request_record(),
        report_record(ErasurePart.ORDER, 1),
        report_record(ErasurePart.WORKER, 2, customer="c-1"),
        report_record(ErasurePart.LEARNER, 4),
        report_record(ErasurePart.HISTORY, 3),
    ]
    for step in steps:
        ledger.apply([step])
        assert not ledger.open()[0].history_deleted, "history was deleted before the learner had reported"
    ledger.apply([report_record(ErasurePart.HISTORY, 5)])
    assert ledger.open()[0].history_deleted
    ledger.apply([request_record(customer=None)])
    assert ledger.open(), "the worker's report still names the customer"
    ledger.apply([report_record(ErasurePart.WORKER, 2)])
    assert ledger.open() == []
    erasure = ledger.of("c-1")
    assert erasure is not None
    assert erasure.done
    assert erasure.customer_id is None


def test_state_rebuilt_from_old_records_opens_an_erasure_again() -> None:
    ledger = ErasureView()
    ledger.apply(
        [
            request_record(customer=None),
            *(report_record(part, 1) for part in (ErasurePart.ORDER, ErasurePart.WORKER, ErasurePart.LEARNER)),
        ]
    )
    ledger.apply([report_record(ErasurePart.HISTORY, 2)])
    assert ledger.open() == []
    ledger.apply([report_record(ErasurePart.WORKER, 3, customer="c-1")])
    assert [erasure.customer_id for erasure in ledger.open()] == ["c-1"]
    assert not ledger.open()[0].history_deleted


def test_reports_that_compaction_left_before_their_request_count() -> None:
    ledger = ErasureView()
    ledger.apply(
        [
            report_record(ErasurePart.ORDER, 1),
            report_record(ErasurePart.WORKER, 1),
            report_record(ErasurePart.LEARNER, 1),
            report_record(ErasurePart.HISTORY, 2),
        ]
    )
    assert ledger.open() == []
    ledger.apply([request_record(customer=None)])
    erasure = ledger.get("e1")
    assert erasure is not None
    assert erasure.done


def test_latest_erasure_of_a_customer_counts() -> None:
    ledger = ErasureView()
    ledger.apply([request_record("late", at=AT + timedelta(days=1)), request_record("early")])
    erasure = ledger.of("c-1")
    assert erasure is not None
    assert erasure.request.erasure_id == "late"
    assert ledger.is_erased("c-1", AT + timedelta(hours=1))
    assert ledger.is_erased("c-1", AT + timedelta(days=2)), "the worker may still write about the customer"
    assert ledger.pending() == {"c-1": digest_of("c-1")}
    ledger.apply([report_record(ErasurePart.WORKER, 2 * 86_400, "late", "c-1")])
    assert ledger.is_erased("c-1", AT + timedelta(hours=1))
    assert not ledger.is_erased("c-1", AT + timedelta(days=2)), "later activity is new data"
    assert ledger.pending(), "the other request's order is still to be met"
    ledger.apply([report_record(ErasurePart.WORKER, 2 * 86_400, "early", "c-1")])
    assert ledger.pending() == {}
    assert not ledger.is_erased("c-2", AT)


@pytest.mark.parametrize("key", [b"", b"e1", b"e1/", b"e1/nothing", b"\xff/request", b"e1/request"])
def test_invalid_record_stops_nothing(key: bytes) -> None:
    ledger = ErasureView()
    assert ledger.apply([(key, b"{"), request_record()]) == {digest_of("c-1")}


def test_all_records_of_an_erasure_are_in_one_existing_partition() -> None:
    assert {partition_of(f"e{n}", 4) for n in range(100)} == {0, 1, 2, 3}
    assert partition_of("e1", 4) == partition_of("e1", 4)


async def test_alerts_and_the_resume_buffer_are_erased() -> None:
    alerts = RecentAlerts(10)
    alerts.add([make_alert(name).model_dump_json().encode() for name in ("c-1", "c-2")])
    alerts.forget(lambda alert: alert.customer_id == "c-1")
    assert len(alerts) == 1
    hub = Hub(10)
    scores = [make_score(name).model_dump_json().encode() for name in ("c-1", "c-2")]
    hub.publish([StreamMessage.of_score(ScoreChange(_fields(body), body)) for body in scores])
    hub.forget({digest_of("c-1")})
    missed = hub.missed(hub.epoch, 0, Subscription(frozenset({"scores"}), Filter()))
    assert missed is not None
    assert [item.customer_id for item in missed] == ["c-2"]


def _fields(body: bytes) -> ScoreFields:
    import msgspec  # noqa: PLC0415

    return msgspec.json.decode(body, type=ScoreFields)
