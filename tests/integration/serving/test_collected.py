"""What SDKs really send, through a running API to Kafka: nothing personal arrives, each call has its own verdict."""

import gzip
import json
from datetime import UTC, datetime
from typing import Any

from ebb.kafka.reader import read_to_end
from ebb.settings import Settings
from stream_processors.ingest.decoder import Decoder
from tests.support.flow import activity_records
from tests.support.serving import fresh, serving

SECRETS = (
    "jo@example.com",
    "jo%40example.com",
    "4111111111111111",
    "DE89370400440532013000",
    "1701234567",
    "Main St",
    "tok-1",
)


def call(number: int, **fields: Any) -> str:
    given = {"type": "track", "userId": "17850", "event": "Order Completed", "messageId": f"m-{number}"}
    return json.dumps(given | {"timestamp": datetime.now(UTC).isoformat().lower()} | fields)


def test_calls_arrive_as_one_customer_without_anything_personal_and_the_others_cost_themselves(stack: Settings) -> None:
    calls = [
        call(
            0,
            properties={
                "revenue": "1.249,50 €",
                "customer_email": "jo@example.com",
                "note": "card 4111 1111 1111 1111",
            },
        ),
        call(1, userId=17850, properties={"shippingAddress": "Main St 1", "url": "https://shop.example/a?token=tok-1"}),
        call(2, userId=17850.0, properties={"memo": "DE89370400440532013000", "phone2": "+491701234567"}),
        call(3, userId=" 17850 ", category="jo@example.com", traits={"email": "jo@example.com"}),
        call(4, userId="undefined"),
        call(5, properties={"revenue": "NaN", "customer_email": "jo@example.com"}),
        call(6)[:-1] + ',"context":' + "[" * 3_000 + "]" * 3_000 + "}",
        call(7)[:-1] + ',"n":NaN, "email":"jo@example.com"}',
        call(8, userId="jo@example.com"),
        call(9, type=[]),
    ]
    body = b"\xef\xbb\xbf" + f'{{"sentAt":"0001-01-01T00:00:00Z","batch":[{",".join(calls)}]}}'.encode()
    packed = gzip.compress(body[:500]) + gzip.compress(body[500:])
    with serving(fresh(stack)) as api:
        answer = api.client.post("/v1/batch", content=packed, headers={"Content-Encoding": "gzip"})
        metrics = api.client.get("/metrics").text
        letters = list(read_to_end(api.settings, api.settings.topics.dead_letters, range(api.settings.partitions)))
        records = activity_records(api.settings)
    assert answer.status_code == 200, answer.text
    verdicts = answer.json()["verdicts"]
    assert [verdict["reason"] for verdict in verdicts] == [
        *[None] * 4, "no_customer", "wrong_type", "bad_json", "bad_json", "personal_id", "unknown_call",
    ]  # fmt: skip
    assert verdicts[5]["field"] == "properties.revenue"
    assert all(verdict["notes"] for verdict in verdicts[:4])
    assert 'ebb_collect_refused_total{reason="bad_json"} 2.0' in metrics
    assert 'ebb_collect_withheld_total{kind="iban"} 1.0' in metrics
    assert letters == []
    sent = [record for partition in records.values() for record in partition]
    assert len(sent) == 4
    for record in sent:
        assert record.value is not None
        assert [secret for secret in SECRETS if secret in record.value.decode()] == []
    (batch,) = [Decoder(api.settings).decode(partition) for partition in records.values() if partition]
    assert batch.customers.values.to_pylist() == ["17850"]
    assert batch.amounts.tolist() == [124_950, 0, 0, 0]
    assert batch.refused == []
