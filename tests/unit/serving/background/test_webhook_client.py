"""Webhooks: what is sent, how it is signed, and whereto never."""

import base64
import hashlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import pytest
from pydantic import ValidationError

from ebb.contracts.scores import Band
from ebb.contracts.webhooks import Webhook, headers, make_secret, message, secret_bytes, sign
from ebb.errors import SettingsError
from ebb.settings import Settings, read_settings
from serving.background import webhook_client
from serving.background.webhook_client import (
    LONGEST_RETRY_AFTER_SECONDS,
    NotDeliveredError,
    WebhookClient,
    is_public,
    retry_after,
)
from tests.support.receiver import receiving
from tests.support.sender import make_alert

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 - an example
"""The secret of the example in the specification of Standard Webhooks."""


def webhook(**fields: Any) -> Webhook:
    return Webhook(**{"name": "crm", "url": "https://crm.example/hook", "secret": SECRET, **fields})


def test_signature_is_that_of_the_example_in_the_specification() -> None:
    signature = sign(SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_message_is_the_alert_with_headers_that_a_receiver_can_verify() -> None:
    alert = json.loads(make_alert("c-1").model_dump_json())
    one = webhook()
    body = message(one, alert)
    assert json.loads(body) == {"type": "alert.band", "timestamp": alert["raised_at"], "data": alert}
    sent = headers(one, "a-1", body, now=1_700_000_000.9)
    assert (sent["Webhook-Id"], sent["Webhook-Timestamp"]) == ("a-1", "1700000000")
    scheme, _, signature = sent["Webhook-Signature"].partition(",")
    expected = hmac.new(base64.b64decode(SECRET[6:]), b"a-1.1700000000." + body, hashlib.sha256).digest()
    assert scheme == "v1"
    assert base64.b64decode(signature) == expected
    assert headers(one, "a-1", body + b" ", now=1_700_000_000)["Webhook-Signature"] != sent["Webhook-Signature"]


def test_slack_gets_a_line_of_text_that_cannot_be_mistaken_for_markup() -> None:
    alert = json.loads(make_alert("<!channel> & co", why="Risk rose.", value_at_risk=1234.5).model_dump_json())
    one = webhook(kind="slack", secret="")
    assert json.loads(message(one, alert)) == {"text": "&lt;!channel&gt; &amp; co: Risk rose. Value at risk: 1,234.50."}
    assert "Webhook-Signature" not in headers(one, "a", b"{}")


def test_generated_secret_is_valid() -> None:
    assert len(secret_bytes(make_secret())) == 32
    assert make_secret() != make_secret()
    webhook(secret=make_secret())


@pytest.mark.parametrize(
    "fields",
    [
        {"url": "ftp://crm.example"},
        {"url": "https:///x"},
        {"url": "https://user:pass@crm.example"},
        {"url": "http://[::1"},
        {"secret": ""},
        {"secret": "whsec_c2hvcnQ="},
        {"secret": "whsec_???"},
        {"secret": "é"},
        {"name": "A B"},
        {"bands": ["odd"]},
        {"unknown": 1},
    ],
)
def test_webhook_that_cannot_work_is_refused_at_the_start(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        webhook(**fields)


def test_settings_read_and_pass_on_webhooks_and_show_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    two = [webhook().model_dump(mode="json"), webhook(name="slack", kind="slack", secret="").model_dump(mode="json")]
    monkeypatch.setenv("EBB_WEBHOOKS", json.dumps(two))
    settings = read_settings()
    assert [webhook.name for webhook in settings.webhooks] == ["crm", "slack"]
    assert settings.webhooks[0].bands == (Band.HIGH, Band.CRITICAL)
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    assert read_settings() == settings
    for wrong in ([two[0], two[0]], [{**two[0], "url": "gopher://very-secret"}], "very-secret"):
        monkeypatch.setenv("EBB_WEBHOOKS", json.dumps(wrong))
        with pytest.raises(SettingsError) as caught:
            read_settings()
        assert "EBB_WEBHOOKS" in str(caught.value)
        assert SECRET not in str(caught.value)
        assert "very-secret" not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "192.168.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",  # noqa: S104 - an address to refuse
        "224.0.0.1",
        "240.0.0.1",
        "::1",
        "fe80::1%eth0",
        "fd00::1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "2002:a00:1::1",
        "ff02::1",
        "::",
    ],
)
def test_address_of_a_private_network_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "::ffff:8.8.8.8"])
def test_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0x7f000001", "2130706433"])
def test_private_receiver_is_posted_to_only_if_that_is_allowed(host: str) -> None:
    with receiving() as receiver:
        url = f"http://{host}:{receiver.port}/hook"
        with pytest.raises(NotDeliveredError, match="no public address"):
            WebhookClient(private=False).post(url, {}, b"{}")
        assert receiver.heard == []
        if host == "127.0.0.1":
            WebhookClient(private=True).post(url, {"Webhook-Id": "1"}, b"{}")
            assert receiver.heard[0][1]["webhook-id"] == "1"


def test_dns_rebinding_gains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    lookups: list[str] = []
    connected: list[str] = []
    real = socket.getaddrinfo

    def resolve(host: str, port: int, *rest: Any, **more: Any) -> Any:
        if host != "rebinding.example":
            return real(host, port, *rest, **more)
        lookups.append(host)
        address = "93.184.215.14" if len(lookups) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    def connect(address: tuple[str, int], *_rest: Any, **_more: Any) -> Any:
        connected.append(address[0])
        raise OSError

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(NotDeliveredError):
        WebhookClient(private=False).post("http://rebinding.example/", {}, b"{}")
    assert lookups == ["rebinding.example"], "resolved once"
    assert connected == ["93.184.215.14"], "and connected to what was checked"


@pytest.mark.parametrize(("status", "final"), [(500, False), (404, False), (301, False), (410, True), (429, False)])
def test_answer_that_is_not_2xx_is_no_delivery_and_no_redirect_is_followed(status: int, final: bool) -> None:
    with receiving() as receiver:
        receiver.answers = [status]
        with pytest.raises(NotDeliveredError) as caught:
            WebhookClient(private=True).post(receiver.url, {}, b"{}")
        assert caught.value.final == final
        assert str(status) in str(caught.value)
        assert len(receiver.heard) == 1


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 7 ", 7),
        ("1e3", 0),
        ("-5", 0),
        ("²", 0),
        ("soon", 0),
        ("", 0),
        ("9" * 400, LONGEST_RETRY_AFTER_SECONDS),
        ("Fri, 27 Nov 2026 21:00:30 GMT", 30),
        ("Fri, 27 Nov 2026 20:59:30 GMT", 0),
        ("Friday, 27-Nov-26 21:00:30 GMT", 30),
        ("Fri Nov 27 21:00:30 2026", 30),
        ("Sat, 28 Nov 2099 21:00:30 GMT", LONGEST_RETRY_AFTER_SECONDS),
        ("Fri, 99 Nov 2026 21:00:30 GMT", 0),
    ],
)
def test_pause_that_a_receiver_asks_for_is_read(asked: str, seconds: float) -> None:
    answer = [(b"Date", b"Fri, 27 Nov 2026 21:00:00 GMT"), (b"Retry-After", asked.encode("latin-1"))]
    assert retry_after(answer) == seconds


def test_date_without_one_of_the_answer_counts_from_now() -> None:
    assert 0 < retry_after([(b"retry-after", b"Sat, 28 Nov 2099 21:00:30 GMT")]) <= LONGEST_RETRY_AFTER_SECONDS
    assert retry_after([]) == 0


def test_pause_is_told_with_the_refusal() -> None:
    with receiving() as receiver:
        receiver.answers, receiver.says = [503], {"Retry-After": "17"}
        with pytest.raises(NotDeliveredError) as caught:
            WebhookClient(private=True).post(receiver.url, {}, b"{}")
        assert caught.value.retry_after == 17


@contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """Run a receiver whose answer is anything; yields its port."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:

        def serve() -> None:
            with suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    answer(connection)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


def drip(connection: socket.socket) -> None:
    for _ in range(600):
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n"[:1])
        time.sleep(0.1)


def promise(connection: socket.socket) -> None:
    for _ in range(600):
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.1)


def ramble(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"X-More: " + b"x" * 1_000 + b"\r\n")


def pour(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"400\r\n" + b"x" * 0x400 + b"\r\n")


@pytest.mark.parametrize("answer", [drip, promise, ramble])
def test_answer_that_does_not_come_to_an_end_is_none(
    answer: Callable[[socket.socket], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_client, "RESPONSE_TIMEOUT_SECONDS", 1.0)
    began = time.monotonic()
    with answering(answer) as port, pytest.raises(NotDeliveredError, match="does not answer"):
        WebhookClient(private=True).post(f"http://127.0.0.1:{port}/", {}, b"{}")
    assert time.monotonic() - began < 30, "the answer was waited for as long as it dripped"


def test_body_without_an_end_is_not_read() -> None:
    with answering(pour) as port:
        WebhookClient(private=True).post(f"http://127.0.0.1:{port}/", {}, b"{}")


def test_name_server_that_is_silent_costs_seconds_and_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_client, "RESPONSE_TIMEOUT_SECONDS", 0.3)
    answered, lookups = threading.Event(), []

    def silent(host: str, *_: Any, **__: Any) -> Any:
        lookups.append(host)
        answered.wait(60)
        raise OSError

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    client = WebhookClient(private=True)
    with pytest.raises(NotDeliveredError, match="not resolved in time"):
        client.post("http://slow.example/", {}, b"{}")
    with pytest.raises(NotDeliveredError, match="not been resolved since"):
        client.post("http://slow.example/", {}, b"{}")
    assert lookups == ["slow.example"]
    answered.set()


def test_address_that_leads_nowhere_does_not_hide_the_one_that_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a host with an IPv6 address and no route to it: connecting to the first address hangs."""
    monkeypatch.setattr(webhook_client, "CONNECT_TIMEOUT_SECONDS", 0.3)
    with receiving() as receiver, closing(socket.socket()) as full:
        full.bind(("127.0.0.2", receiver.port))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:  # the queue of connections is full: the kernel answers no further one
            one.setblocking(False)
            one.connect_ex(("127.0.0.2", receiver.port))
        tried: list[str] = []
        connect = socket.create_connection

        real = socket.getaddrinfo

        def resolve(host: str, port: int, *rest: Any, **more: Any) -> Any:
            addresses = ("127.0.0.2", "127.0.0.1") if host == "two.example" else (host,)
            return [one for address in addresses for one in real(address, port, *rest, **more)]

        def counted(address: tuple[str, int], *rest: Any, **more: Any) -> Any:
            tried.append(address[0])
            return connect(address, *rest, **more)

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        monkeypatch.setattr(socket, "create_connection", counted)
        client = WebhookClient(private=True)
        for _ in range(2):
            client.post(f"http://two.example:{receiver.port}/hook", {}, b"{}")
        assert len(receiver.heard) == 2
        assert tried == ["127.0.0.2", "127.0.0.1", "127.0.0.1"], "and what answered is tried first from then on"
        for one in waiting:
            one.close()


def test_unreachable_receiver_is_no_delivery() -> None:
    with pytest.raises(NotDeliveredError, match="ConnectError"):
        WebhookClient(private=True).post("http://127.0.0.1:9/", {}, b"{}")


def test_settings_without_webhooks_start_no_dispatcher() -> None:
    assert Settings().webhooks == ()
