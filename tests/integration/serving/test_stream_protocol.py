"""The stream protocol: subscriptions by name, the published document, and invalid frames."""

import json
import os
import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.sync.client import ClientConnection

from ebb.contracts.stream import MAX_CLIENT_BYTES, MAX_SUBSCRIPTIONS, CloseCode
from ebb.settings import Settings
from tests.support.flow import wait_for
from tests.support.raw_socket import RawSocket
from tests.support.sender import make_alert, make_score
from tests.support.serving import Api, Listener, fresh, serving

DOCUMENTED = {int(code) for code in CloseCode} | {1002, 1007, 1009}
"""Codes with which a server may close, as docs/serving.md has them."""


@pytest.fixture(scope="module")
def api(stack: Settings) -> Iterator[Api]:
    with serving(fresh(stack, heartbeat_seconds=0.5)) as running:
        yield running


def send(listener: Listener, **fields: Any) -> None:
    listener.socket.send(json.dumps(fields))


def test_messages_name_the_subscriptions_that_they_are_of(api: Api) -> None:
    listener = api.subscribed(id="mine", topics=["scores"], filter={"customers": ["sp-1"]})
    assert listener.answer["id"] == "mine"
    send(
        listener, type="subscribe", id="high", topics=["scores"], filter={"customers": ["sp-1", "sp-2"], "minimum": 0.6}
    )
    assert listener.next()["id"] == "high"
    for customer, churn in (("sp-1", 0.1), ("sp-1", 0.7), ("sp-2", 0.1), ("sp-2", 0.9)):
        api.sender.score(make_score(customer, churn))
        api.sender.flush()
    received = [listener.next() for _ in range(3)]
    named = {
        (message["data"]["customer_id"], message["data"]["churn"]): sorted(message["subscriptions"])
        for message in received
    }
    assert named == {("sp-1", 0.1): ["mine"], ("sp-1", 0.7): ["high", "mine"], ("sp-2", 0.9): ["high"]}
    listener.socket.close()


def test_subscription_ends_by_its_name_and_the_others_continue(api: Api) -> None:
    listener = api.subscribed(id="a", topics=["alerts"], filter={"customers": ["sp-3"]})
    send(listener, type="subscribe", id="b", topics=["alerts"], filter={"customers": ["sp-4"]})
    assert listener.next()["type"] == "subscribed"
    send(listener, type="unsubscribe", id="a")
    answer = listener.next()
    assert (answer["type"], answer["id"]) == ("unsubscribed", "a")
    api.sender.alert(make_alert("sp-3"))
    api.sender.alert(make_alert("sp-4"))
    api.sender.flush()
    message = listener.next()
    assert (message["data"]["customer_id"], message["subscriptions"]) == ("sp-4", ["b"])
    send(listener, type="ping")
    # Alerts of two customers may lie in two partitions, which are read in either order.
    pong = listener.next()
    assert pong["type"] == "pong"
    assert pong["sequence"] - message["sequence"] in (0, 1)
    listener.socket.close()


def test_each_subscription_resumes_by_itself(api: Api) -> None:
    listener = api.subscribed(id="a", topics=["alerts"], filter={"customers": ["sp-5"]})
    epoch, sequence = listener.answer["epoch"], listener.answer["sequence"]
    listener.socket.close()
    both: dict[str, Any] = {"topics": ["alerts"], "filter": {"customers": ["sp-5", "sp-6"]}}
    witness = api.subscribed(**both)
    for customer in ("sp-5", "sp-6"):
        api.sender.alert(make_alert(customer))
    api.sender.flush()
    assert {witness.next()["data"]["customer_id"] for _ in range(2)} == {"sp-5", "sp-6"}, "no message is pending"
    witness.socket.close()
    fresh_one = api.subscribed(**both)
    for name, customer in (("a", "sp-5"), ("b", "sp-6")):
        criteria = {"topics": ["alerts"], "filter": {"customers": [customer]}}
        send(fresh_one, type="resume", id=name, epoch=epoch, sequence=sequence, **criteria)
        assert fresh_one.next()["resumed"]
        missed = fresh_one.next()
        assert (missed["data"]["customer_id"], missed["subscriptions"]) == (customer, [name])
    fresh_one.socket.close()


def test_connection_has_no_more_subscriptions_than_it_may(api: Api) -> None:
    listener = api.subscribed(id="0")
    for number in range(1, MAX_SUBSCRIPTIONS):
        send(listener, type="subscribe", id=str(number))
        assert listener.next()["id"] == str(number)
    send(listener, type="subscribe", id="0")
    assert listener.next()["id"] == "0", "a replacement does not count as another subscription"
    send(listener, type="subscribe", id="one too many")
    assert listener.next()["data"]["code"] == str(int(CloseCode.BAD_MESSAGE))


def test_message_of_very_many_wrong_fields_is_refused_without_describing_them(api: Api) -> None:
    listener = api.subscribed(**{f"x{number}": 1 for number in range(5_000)})
    assert listener.answer["data"] == {
        "code": str(int(CloseCode.BAD_MESSAGE)),
        "detail": "5000 fields are wrong or not known.",
    }


@pytest.mark.parametrize("message", [{"type": "ping"}, {"type": "unsubscribe"}])
def test_first_message_must_subscribe(api: Api, message: dict[str, str]) -> None:
    connection = api.socket()
    connection.send(json.dumps(message))
    refused = Listener(connection)
    assert "must be subscribe" in refused.answer["data"]["detail"]
    assert code_of(connection) == CloseCode.BAD_MESSAGE


def code_of(connection: ClientConnection) -> int:
    """Read until the server closes, and return its code."""
    try:
        while True:
            connection.recv(timeout=30)
    except ConnectionClosed:
        return connection.close_code or 0


def test_every_message_of_a_live_session_matches_the_served_document(api: Api) -> None:
    document = api.get("/asyncapi.json").json()
    assert document["servers"]["replica"]["host"] == f"127.0.0.1:{api.settings.api_port}"
    received: dict[str, list[dict[str, Any]]] = {}

    def listen(listener: Listener, until: str) -> None:
        message = listener.answer
        received.setdefault(message["type"], []).append(message)
        while message["type"] != until:
            message = listener.any()
            received.setdefault(message["type"], []).append(message)

    listener = api.subscribed(id="a", filter={"customers": ["sp-7"]})
    api.sender.score(make_score("sp-7", previous=0.2, trend_7d=-0.1))
    api.sender.alert(make_alert("sp-7"))
    api.sender.flush()
    # Of two topics: either may arrive first, and a heartbeat before both.
    listen(listener, "score")
    if "alert" not in received:
        listen(listener, "alert")
    listen(listener, "heartbeat")
    send(listener, type="resume", epoch="of-long-ago", sequence=1)
    listen(listener, "unrecoverable")
    api.sender.score(make_score("sp-7", country=None, channel=None))
    api.sender.flush()
    listen(listener, "score")
    send(listener, type="ping")
    listen(listener, "pong")
    send(listener, type="unsubscribe", id="a")
    listen(listener, "unsubscribed")
    send(listener, type="nonsense")
    listen(listener, "error")
    message_names = {message["$ref"].rpartition("/")[2] for message in document["operations"]["send"]["messages"]}
    assert set(received) == message_names, "a type of message was not seen, or is not in the document"
    for kind, messages in received.items():
        payload = document["components"]["messages"][kind]["payload"]
        validator = Draft202012Validator({**payload, "components": document["components"]})
        for message in messages:
            validator.validate(message)
        assert not validator.is_valid({**messages[0], "surprise": 1})


FUZZED_FRAMES = st.one_of(
    st.text(max_size=200).map(str.encode),
    st.binary(max_size=200),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
        max_leaves=20,
    ).map(lambda message: json.dumps(message).encode()),
    st.fixed_dictionaries(
        {"type": st.sampled_from(["subscribe", "resume", "unsubscribe", "ping", "listen", "error", ""])},
        optional={
            "id": st.text(max_size=70) | st.integers(),
            "epoch": st.text(max_size=20) | st.none(),
            "sequence": st.integers() | st.floats(),
            "topics": st.lists(st.sampled_from(["scores", "alerts", "models"]), max_size=3),
            "bands": st.lists(st.sampled_from(["low", "high", "odd"]), max_size=3) | st.none(),
            "filter": st.dictionaries(
                st.sampled_from(["customers", "minimum", "bands", "x"]), st.integers() | st.none()
            ),
            "api_key": st.text(max_size=20) | st.integers(),
        },
    ).map(lambda message: json.dumps(message).encode()),
    st.just(b'{"type":"subscribe"'),
    st.just(b'{"type":"subscribe","id":"' + b"x" * (MAX_CLIENT_BYTES + 1) + b'"}'),
    st.just(b"[" * 30_000),
)
FRAMES = st.one_of(
    st.builds(lambda data: Frame(Opcode.TEXT, data).serialize(mask=True), FUZZED_FRAMES),
    st.builds(lambda data: Frame(Opcode.BINARY, data).serialize(mask=True), FUZZED_FRAMES),
    st.builds(lambda data: Frame(Opcode.PING, data[:125]).serialize(mask=True), st.binary(max_size=125)),
    st.sampled_from([b"", b"\x03", b"\x00\x01", b"\x03\xed", b"\x03\xe8\xff"]).map(
        lambda data: Frame(Opcode.CLOSE, data).serialize(mask=True)
    ),
    # Broken off in the middle of a message, out of place, unmasked, reserved, of more bytes than can be.
    st.builds(lambda data: Frame(Opcode.TEXT, data, fin=False).serialize(mask=True), FUZZED_FRAMES),
    st.builds(lambda data: Frame(Opcode.CONT, data).serialize(mask=True), FUZZED_FRAMES),
    st.builds(lambda data: Frame(Opcode.TEXT, data).serialize(mask=False), FUZZED_FRAMES),
    st.just(b"\xff" + os.urandom(30)),
    st.just(b"\x83\x80\x00\x00\x00\x00"),
    st.just(b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
    st.just(b"\x81\x84\x00\x00\x00\x00\xff\xfe\xfd\xfc"),
    st.binary(min_size=1, max_size=60),
)


def text(data: bytes, **how: Any) -> bytes:
    return Frame(Opcode.TEXT, data, **how).serialize(mask=True)


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (text(b"nonsense"), CloseCode.BAD_MESSAGE),
        (Frame(Opcode.BINARY, b"\x00\x01").serialize(mask=True), CloseCode.BAD_MESSAGE),
        (text(b"[" * 30_000), CloseCode.BAD_MESSAGE),
        (text(b'{"type":"ping"}') + text(b'{"type":"subscribe"}'), CloseCode.BAD_MESSAGE),
        (Frame(Opcode.TEXT, b'{"type":"subscribe"}').serialize(mask=False), 1002),
        (Frame(Opcode.CONT, b"more").serialize(mask=True), 1002),
        (text(b"begun", fin=False) + text(b"and begun again"), 1002),
        (b"\x83\x80\x00\x00\x00\x00", 1002),
        (text(b"\xff\xfe"), 1007),
        (text(b"x" * (MAX_CLIENT_BYTES + 1)), 1009),
        (b"\x81\xff\x00\x00\x00\x01\x00\x00\x00\x00", 1009),
        (text(b"x" * 40_000, fin=False) + Frame(Opcode.CONT, b"x" * 40_000).serialize(mask=True), 1009),
        (text(b'{"type":"subscribe"}') + b"".join(text(b'{"type":"ping"}') for _ in range(30)), 4429),
    ],
    # Masks are random: the frames' bytes would name the tests differently in each process.
    ids=lambda value: "frames" if isinstance(value, bytes) else None,
)
def test_frame_that_is_wrong_is_answered_by_the_code_for_it(api: Api, frames: bytes, code: int) -> None:
    with RawSocket(api.settings.api_port) as connection:
        connection.send(frames)
        assert connection.end() == code


class Witness:
    """A client beside the fuzzed ones, which must receive everything."""

    def __init__(self, api: Api) -> None:
        self.listener = api.subscribed(topics=["alerts"], filter={"customers": ["sp-8"]})
        self.received: list[str] = []
        self.thread = threading.Thread(target=self._listen)
        self.thread.start()

    def _listen(self) -> None:
        while not self.received or self.received[-1] != "the end":
            self.received.append(self.listener.next(60)["data"]["alert_id"])


def test_no_frames_crash_the_server_or_lose_another_client_a_message(api: Api) -> None:
    witness = Witness(api)
    written: list[str] = []
    codes: set[int | None] = set()

    @settings(max_examples=150, suppress_health_check=list(HealthCheck), database=None)
    @given(st.booleans(), st.lists(FRAMES, min_size=1, max_size=4))
    # Of each code one: chance has few of some, and may have none.
    @example(False, [text(b"nonsense")])
    @example(False, [Frame(Opcode.PING, b"").serialize(mask=True)])
    @example(False, [Frame(Opcode.CONT, b"more").serialize(mask=True)])
    @example(False, [text(b"\xff\xfe")])
    @example(False, [text(b"x" * (MAX_CLIENT_BYTES + 1))])
    def fuzz(subscribes: bool, frames: list[bytes]) -> None:
        with RawSocket(api.settings.api_port) as connection:
            if subscribes:
                connection.send(text(b'{"type":"subscribe","filter":{"customers":["nobody"]}}'))
            for frame in [*frames, Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=True)]:
                if not connection.send(frame):
                    break
            written.append(f"fuzzed-{len(written)}")
            api.sender.alert(make_alert("sp-8", alert_id=written[-1]))
            codes.add(connection.end(0.3))

    fuzz()
    api.sender.alert(make_alert("sp-8", alert_id="the end"))
    api.sender.flush()
    witness.thread.join(60)
    assert witness.received == [*written, "the end"]
    witness.listener.socket.close()
    assert codes - {None, 1000, 1005} <= DOCUMENTED
    assert {CloseCode.BAD_MESSAGE, 1000, 1002, 1007, 1009} <= codes, "the fuzzed frames do not cover enough cases"
    metrics = api.get("/metrics").text
    assert {int(code) for code in re.findall(r'ebb_ws_closed_total\{code="(\d+)"\}', metrics)} <= DOCUMENTED
    wait_for("the server to be ready", lambda: api.get("/readyz").status_code == 200)
