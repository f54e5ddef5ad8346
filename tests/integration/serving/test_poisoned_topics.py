"""Records that nobody can read, first on every topic: a new replica is ready all the same and serves the others."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ebb.contracts.activity import TICK_HEADER
from ebb.kafka.producer import Publisher
from ebb.settings import Settings
from tests.support.flow import wait_for
from tests.support.sender import TopicSender, make_score
from tests.support.serving import fresh, serving

ODD = (None, b"", b"null", b"{", b"\xff\xfe", b"[]", b'{"customer_id": 1}')


@pytest.mark.timeout(300)
def test_a_new_replica_is_ready_though_every_topic_begins_with_records_that_nobody_can_read(stack: Settings) -> None:
    settings = fresh(stack)
    topics = settings.topics
    publisher = Publisher(settings)
    for topic in (topics.scores, topics.alerts, topics.models, topics.keys, topics.handling, topics.erasures):
        for number, value in enumerate(ODD):
            for key in (b"", b"\xff", f"odd-{number}".encode()):  # compacted topics take no record without a key
                publisher.send(topic, key=key, value=value, partition=0)
    for value in (None, b"\xff", b"nan", b"1e3"):
        publisher.send(topics.activity, key=None, value=b"", partition=0, headers=[(TICK_HEADER, value)])
    publisher.send(topics.activity, key=None, value=None, partition=0)
    publisher.flush()
    sender = TopicSender(settings)
    sender.score(make_score("c-1"))
    sender.flush()
    with serving(settings) as api:  # ready, or this fails
        assert api.get("/v1/customers/c-1/score").status_code == 200
        # The activity topic is looked at by a thread of its own, and what it finds is no reason to be unready.
        wait_for("a sample", lambda: api.get("/v1/summary").json()["pipeline"])
        assert api.get("/readyz").status_code == 200
        assert api.get("/livez").status_code == 200
        families = text_string_to_metric_families(api.get("/metrics").text)
        counted = {
            sample.labels["topic"]: sample.value
            for family in families
            for sample in family.samples
            if sample.name == "ebb_records_refused_total"
        }
        assert {"scores", "alerts", "models", "keys", "handling", "erasures"} <= counted.keys()
