"""Any id of 1 to 256 characters can be looked up and erased, over a running API, whatever a path makes of it."""

import contextlib
import http.client
import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from clickhouse.store import Store
from ebb.contracts.erasures import digest_of
from ebb.settings import Settings
from tests.support.flow import wait_for
from tests.support.sender import make_alert, make_score, past_scores
from tests.support.serving import Api, Listener, fresh, serving

AWKWARD = (
    *("a/b", "/", "//", "a/", "/score", "a/score", "a//b", ".", "..", "../c-1", "%", "100%", "%2F", "a%2Fb", "%252F"),
    *("?", "a?b=c", "#", "a#b", "&customer_id=c-1", ";", "+", "a+b", "a b", " ", " a ", "\\", "a\\b", "\x00", "\n"),
    *(
        "\u202eab",
        "🙂" * 256,
        "é",
        "e\u0301",
        "at-risk",
        "at-risk.csv",
        "scores",
        "'; DROP TABLE scores; --",
        '"',
        "<b>",
    ),
    *("{id}", "{customer:String}", "=1+1", "\t", "\ufeffx", "\u2028", "\ud7ff", "x" * 256),
)
IDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=256)
PARTS = st.lists(
    st.sampled_from(["/", ".", "%", "2F", "2f", "?", "#", "\\", " ", "score", "a", "🙂", "\x00"]), min_size=1
)


@pytest.fixture(scope="module")
def api(stack: Settings) -> Iterator[Api]:
    with serving(fresh(stack)) as running:
        yield running


class Raw:
    """Sends paths as they are: most clients change some of them."""

    def __init__(self, api: Api) -> None:
        self._where = urlsplit(api.url)

    def __call__(self, method: str, path: str) -> tuple[int, Any]:
        assert self._where.hostname is not None
        connection = http.client.HTTPConnection(self._where.hostname, self._where.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, json.loads(response.read() or b"null")


def check(api: Api, customer: str) -> None:
    """Look a customer up in every way, erase them, and look again."""
    # The path normalised by whoever may names another customer or nothing, so both ways are asked.
    raw, inside, query = Raw(api), quote(customer, safe=""), f"customer_id={quote(customer, safe='')}"
    score = make_score(customer, 0.7)
    api.sender.score(score)
    alert = make_alert(customer, alert_id=digest_of(customer)[:24])
    api.sender.alert(alert)
    api.sender.flush()
    store = Store(api.settings)
    store.insert("scores", past_scores(customer, [(20_150, 0.6), (20_151, 0.7)]))
    store.close()
    wait_for("the score", lambda: raw("GET", f"/v1/customer/score?{query}")[0] == 200)
    wait_for("the alert", lambda: raw("GET", f"/v1/alerts?{query}")[1]["alerts"])
    for path in (f"/v1/customers/{inside}/score", f"/v1/customer/score?{query}"):
        status, body = raw("GET", path)
        assert (status, body["customer_id"]) == (200, customer), path
    for path in (f"/v1/customers/{inside}/history?page_size=1", f"/v1/customer/history?{query}&page_size=1"):
        status, body = raw("GET", path)
        assert (status, body["customer_id"], len(body["scores"])) == (200, customer, 1), path
        status, rest = raw("GET", f"{path}&page_token={body['next_page_token']}")
        assert (status, len(rest["scores"])) == (200, 1), "the next page of the same customer"
    assert [one["customer_id"] for one in raw("GET", f"/v1/alerts?{query}")[1]["alerts"]] == [customer]
    found = api.client.post("/v1/customers/scores", json={"customer_ids": [customer]}).json()["results"]
    assert [one["status"] for one in found] == ["found"]

    status, report = raw("DELETE", f"/v1/customers/{inside}")
    assert (status, report["customer_digest"]) == (202, digest_of(customer)), "the very customer, no other"
    status, again = raw("DELETE", f"/v1/customer?{query}")
    assert (status, again["erasure_id"]) == (202, report["erasure_id"])
    gone = (
        *(f"/v1/customers/{inside}/score", f"/v1/customer/score?{query}"),
        *(f"/v1/customers/{inside}/history", f"/v1/customer/history?{query}"),
    )
    for path in gone:
        status, body = raw("GET", path)
        assert (status, body["type"]) == (404, "/problems/erased-customer"), path
    assert raw("GET", f"/v1/alerts?{query}")[1]["alerts"] == []


@pytest.mark.parametrize("customer", AWKWARD, ids=ascii)
def test_awkward_id_is_looked_up_and_erased(api: Api, customer: str) -> None:
    check(api, customer)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], print_blob=True)
@given(customer=IDS | PARTS.map("".join))
@example(customer="a/../b")
def test_any_id_is_looked_up_and_erased(api: Api, customer: str) -> None:
    # Hypothesis repeats an example; by then the customer of the first time is erased, and this one is new.
    check(api, f"{customer[:240]}{time.time_ns() % 10**12}"[:256])


def test_subscription_of_an_awkward_id_gets_its_scores(api: Api) -> None:
    customer = "a/../%2F \u202e?#"
    listener = api.subscribed(topics=["scores"], filter={"customers": [customer]})
    with api.client.stream("GET", "/v1/stream/sse", params={"customer": customer, "topics": "scores"}) as events:
        lines = events.iter_lines()
        assert "event: subscribed" in lines
        api.sender.score(make_score("another"))
        api.sender.score(make_score(customer, 0.4))
        api.sender.flush()
        data = next(line for line in lines if line.startswith('data: {"'))
    assert json.loads(data.removeprefix("data: "))["customer_id"] == customer
    assert isinstance(listener, Listener)
    assert listener.next()["data"]["customer_id"] == customer


def test_no_other_customer_is_erased_by_a_path_that_is_not_theirs(api: Api) -> None:
    raw = Raw(api)
    for path in ("/v1/customers/c-1/", "/v1/customers/", "/v1/customers//", "/v1/customer", "/v1/customers/a/b"):
        status, _ = raw("DELETE", path)
        assert status in {404, 405, 422}, path
    for path in ("/v1/customers/%FF", "/v1/customer?customer_id=%FF"):
        status, body = raw("DELETE", path)
        assert (status, body["type"]) == (422, "/problems/invalid-request"), "bytes that are no UTF-8 name nobody"
    for path in (f"/v1/customers/{'x' * 257}", f"/v1/customer?customer_id={'x' * 257}", "/v1/customer?customer_id="):
        assert raw("DELETE", path)[0] == 422
