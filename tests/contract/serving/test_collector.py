"""The collector as HTTP clients meet it: nothing that comes makes it fail, and pressure is told as pressure."""

import asyncio
import gzip
import json
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from httpx import ASGITransport
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ebb.kafka import acknowledged_producer
from ebb.kafka.acknowledged_producer import AcknowledgedProducer, BusyError
from ebb.metrics import COLLECT_REFUSED, COLLECT_WITHHELD, COLLECTED
from ebb.settings import Settings
from serving.api import collector as routes_collector
from serving.api.collector import EXAMPLE_CALL, EXAMPLE_COLLECTED, Call, Collected
from serving.app import create_app
from serving.collector.segment import CALLS


@pytest.fixture(scope="module")
def app() -> FastAPI:
    """The application with Kafka replaced by something that takes everything."""
    app = create_app(Settings())

    async def deliver(_topic: str, _records: Sequence[tuple[str, bytes]]) -> None:
        return None

    app.state.context.producer.deliver = deliver
    return app


def ask(app: FastAPI, path: str, body: bytes, headers: dict[str, str] | None = None) -> httpx.Response:
    async def asking() -> httpx.Response:
        transport = ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.post(path, content=body, headers=headers)

    return asyncio.run(asking())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=15,
)
FIELDS = [
    "type",
    "userId",
    "anonymousId",
    "event",
    "messageId",
    "timestamp",
    "sentAt",
    "properties",
    "context",
    "batch",
]
TEXTS = st.sampled_from(["track", "page", "c-1", "Order Completed", "2026-03-01T14:00:00Z", "2026-03-01", ""])
CALL = st.dictionaries(st.sampled_from(FIELDS), JSON | TEXTS, max_size=8)
BODY = st.binary(max_size=100) | (
    JSON | CALL | st.fixed_dictionaries({"batch": st.lists(CALL | JSON, max_size=4)})
).map(lambda value: json.dumps(value).encode())
PATHS = st.sampled_from(
    [f"/v1/{one}" for one in ("track", "identify", "page", "screen", "group", "batch", "t", "i", "p", "s", "g", "b")]
)
TEXT_HEADER = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=PATHS,
    body=BODY,
    zipped=st.booleans(),
    encoding=st.sampled_from(["gzip", "", "br"]),
    authorization=TEXT_HEADER | TEXT_HEADER.map(lambda text: f"Basic {text}"),
)
def test_anything_that_comes_is_answered_and_never_by_a_failure(
    app: FastAPI, *, path: str, body: bytes, zipped: bool, encoding: str, authorization: str
) -> None:
    headers = {"Content-Encoding": encoding, "Authorization": authorization.strip()}
    answer = ask(app, path, gzip.compress(body) if zipped else body, headers)
    assert answer.status_code in {200, 413, 422}, answer.text
    if answer.status_code == 200:
        Collected.model_validate_json(answer.content)
    else:
        assert answer.headers["content-type"] == "application/problem+json"


NUMBERS = st.sampled_from(
    [
        "49,90",
        "$49.90",
        "1,249",
        "NaN",
        "1_000",
        True,
        -0.0,
        1e308,
        2**64,
        10**30,
        "٤٩",
        "",
        [],
        {},
        "1e999",
        20260101,
        46082,
    ]
)
ANY = JSON | TEXTS | NUMBERS
PROPERTIES = st.dictionaries(
    st.sampled_from(["revenue", "amount", "total", "value", "discount", "currency", "category", "sku", "email", "url"])
    | st.text(),
    ANY,
    max_size=5,
)
FULL_CALL = st.fixed_dictionaries(
    {"type": st.sampled_from(["track", "page", "identify"]) | ANY, "userId": st.sampled_from(["c-1", 17]) | ANY},
    optional={
        "event": st.just("Order Completed") | ANY,
        "messageId": ANY,
        "anonymousId": ANY,
        "timestamp": ANY,
        "originalTimestamp": ANY,
        "sentAt": ANY,
        "properties": PROPERTIES | ANY,
        "traits": ANY,
        "context": PROPERTIES | ANY,
        "channel": ANY,
    },
)
BROKEN = st.sampled_from(
    [
        '{"type":"page","userId":"c","n":NaN}', '{"type":"page","userId":"\\ud800"}', "[" * 3_000 + "]" * 3_000,
        '{"type":"page","userId":"c","context":' + '{"a":' * 1_500 + "1" + "}" * 1_501, '{"type":[],"userId":"c"}',
        '{"type":"page","type":"x","userId":"c","userId":"d"}', '{"type":"page","userId":' + "1" * 5_000 + "}",
        '{"type":"page","userId":"c","timestamp":"2026-03-01T14:00:00Z","a":' + "[" * 600 + "]" * 600 + "}",
    ]
)  # fmt: skip


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    calls=st.lists((FULL_CALL | JSON).map(json.dumps) | BROKEN, min_size=1, max_size=6),
    sent_at=ANY,
    context=ANY,
    bom=st.sampled_from([b"", b"\xef\xbb\xbf"]),
    members=st.integers(1, 3),
)
def test_every_call_of_a_batch_has_its_own_verdict_whatever_the_others_are(
    app: FastAPI, *, calls: list[str], sent_at: Any, context: Any, bom: bytes, members: int
) -> None:
    around = json.dumps({"sentAt": sent_at, "context": context})[:-1]
    body = bom + f'{around},"batch":[{",".join(calls)}]}}'.encode()
    step = len(body) // members + 1
    packed = b"".join(gzip.compress(body[at : at + step]) for at in range(0, len(body), step))
    answer = ask(app, "/v1/batch", packed, {"Content-Encoding": "gzip"})
    assert answer.status_code == 200, answer.text
    collected = Collected.model_validate_json(answer.content)
    assert [verdict.index for verdict in collected.verdicts] == list(range(len(calls)))
    assert collected.accepted + collected.refused + collected.ignored == len(calls)
    for verdict in collected.verdicts:
        assert verdict.status == "accepted" or (verdict.reason and verdict.detail)
    alone = ask(app, "/v1/batch", f'{around},"batch":[{calls[0]}]}}'.encode())
    first = collected.verdicts[0]
    assert (alone.json()["verdicts"][0]["status"], alone.json()["verdicts"][0]["reason"]) == (
        first.status,
        first.reason,
    )


def test_refusal_names_the_call_the_field_and_what_to_do(app: FastAPI) -> None:
    revenue = {**EXAMPLE_CALL, "properties": {"revenue": "1,249"}}
    answer = ask(app, "/v1/batch", json.dumps({"batch": [EXAMPLE_CALL, revenue]}).encode()).json()
    assert (answer["accepted"], answer["refused"]) == (1, 1)
    verdict = answer["verdicts"][1]
    assert (verdict["index"], verdict["reason"], verdict["field"]) == (1, "wrong_type", "properties.revenue")
    assert verdict["detail"] == (
        "`properties.revenue` is '1,249', which may be 1249 or 1.249; send a number, or write 1249.00 or 1.2490."
    )
    alone = ask(app, "/v1/track", json.dumps(revenue).encode())
    assert alone.status_code == 422
    assert alone.json()["errors"] == [
        {"where": "properties.revenue", "message": verdict["detail"], "reason": "wrong_type"}
    ]


def test_labels_of_the_collectors_metrics_are_a_few_words_whatever_is_sent(app: FastAPI) -> None:
    calls: list[Any] = [{"type": f"t-{n}", "userId": f"{n}"} for n in range(50)]
    calls += [{**EXAMPLE_CALL, f"x-{n}": 1, "properties": {f"email{n}": "x", "revenue": f"bad-{n}"}} for n in range(50)]
    calls += [{**EXAMPLE_CALL, "properties": {f"email{n}": "x"}} for n in range(50)]
    ask(app, "/v1/batch", json.dumps({"batch": calls}).encode())
    labels = {
        tuple(sample.labels.values())
        for metric in (COLLECTED, COLLECT_REFUSED, COLLECT_WITHHELD)
        for family in metric.collect()
        for sample in family.samples
    }
    known = {
        "accepted", "refused", "ignored", "other", *CALLS, "no_customer", "inexact_id", "personal_id", "personal_data",
        "no_event_name", "unknown_call", "wrong_type", "bad_time", "naive_time", "far_past", "far_future", "bad_json",
        "too_large", "name", "email", "phone", "card", "iban", "url",
    }  # fmt: skip
    assert {one for values in labels for one in values} <= known
    assert {("wrong_type",), ("unknown_call",), ("name",), ("other", "refused")} <= labels


def test_kafka_that_is_away_is_503_with_a_time_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acknowledged_producer, "ACK_TIMEOUT_SECONDS", 0.5)
    app = create_app(Settings(kafka_bootstrap="127.0.0.1:9"))
    kept: AcknowledgedProducer = app.state.context.producer
    kept.start()
    try:
        for _ in range(2):  # the second one is not made to wait
            answer = ask(app, "/v1/track", json.dumps(EXAMPLE_CALL).encode())
            assert answer.status_code == 503
            assert answer.headers["retry-after"]
            assert answer.json()["type"] == "/problems/unavailable"
        refused = ask(app, "/v1/track", json.dumps({**EXAMPLE_CALL, "userId": None}).encode())
        assert refused.status_code == 422, "what is wrong is told even so"
    finally:
        kept.stop()


def test_collector_with_as_much_under_way_as_it_may_is_429(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acknowledged_producer, "IN_FLIGHT", 3)
    app = create_app(Settings(kafka_bootstrap="127.0.0.1:9"))
    body = json.dumps({"batch": [EXAMPLE_CALL] * 4}).encode()
    answer = ask(app, "/v1/batch", body)
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "1"


async def test_records_under_way_count_until_they_are_acknowledged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acknowledged_producer, "IN_FLIGHT", 3)
    kept = AcknowledgedProducer(Settings(kafka_bootstrap="127.0.0.1:9"))
    waiting = asyncio.create_task(kept.deliver("t", [("a", b""), ("b", b"")]))
    await asyncio.sleep(0.05)
    with pytest.raises(BusyError):
        await kept.deliver("t", [("c", b""), ("d", b"")])
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert kept._waiting == 0
    kept._producer.purge()


def test_example_of_the_description_is_a_call_that_is_accepted_as_the_description_says(app: FastAPI) -> None:
    Call.model_validate(EXAMPLE_CALL)
    answer = ask(app, "/v1/track", json.dumps(EXAMPLE_CALL).encode())
    assert answer.json() == EXAMPLE_COLLECTED
    document: dict[str, Any] = app.openapi()
    for name in ("track", "identify", "page", "screen", "group", "batch"):
        operation = document["paths"][f"/v1/{name}"]["post"]
        assert {"200", "401", "403", "408", "413", "422", "429", "503"} <= set(operation["responses"])
        assert operation["requestBody"]["content"]["application/json"]["example"]
    assert "/v1/t" not in document["paths"]


def test_large_bodies_are_judged_off_the_loop(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes_collector, "_THREAD_BYTES", 10)
    answer = ask(app, "/v1/batch", json.dumps({"batch": [EXAMPLE_CALL] * 3}).encode())
    assert answer.json()["accepted"] == 3
