"""Alerts reach webhooks from a real broker: filtered, signed, retried, dead-lettered, and not lost over a restart."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from ebb.contracts.webhooks import Webhook, make_secret, sign
from ebb.kafka.reader import read_to_end
from ebb.settings import Settings
from ebb_cli.local.parts import environment
from serving.background import webhook_dispatcher
from serving.background.webhook_dispatcher import WebhookDispatchers
from tests.support.flow import wait_for
from tests.support.receiver import Receiver, receiving
from tests.support.sender import TopicSender, make_alert


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


@pytest.fixture(autouse=True)
def _fast_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_dispatcher, "FIRST_WAIT_SECONDS", 0.05)
    monkeypatch.setattr(webhook_dispatcher, "LONGEST_WAIT_SECONDS", 0.2)


def never_erased(_customer: str, _at: datetime) -> bool:
    return False


def with_hooks(space: Settings, *hooks: Webhook) -> Settings:
    return space.model_copy(update={"webhooks": hooks, "webhook_private": True, "webhook_attempts": 3})


def ids(receiver: Receiver) -> list[str]:
    return [headers["webhook-id"] for _, headers, _ in receiver.heard]


class Working:
    """Dispatchers at work, whose receivers have a committed offset in every partition."""

    def __init__(self, settings: Settings, is_erased: Any = never_erased) -> None:
        self.dispatchers = WebhookDispatchers(settings, is_erased)
        self._settings = settings

    def __enter__(self) -> "Working":
        self.dispatchers.start()
        wait_for("the groups", self._committed)
        return self

    def __exit__(self, *_: object) -> None:
        self.dispatchers.stop()

    def _committed(self) -> bool:
        from confluent_kafka import Consumer, TopicPartition  # noqa: PLC0415

        partitions = [
            TopicPartition(self._settings.topics.alerts, number) for number in range(self._settings.partitions)
        ]
        for hook in self._settings.webhooks:
            group = f"{self._settings.group('webhooks')}.{hook.name}"
            reader = Consumer({"bootstrap.servers": self._settings.kafka_bootstrap, "group.id": group})
            committed = reader.committed(partitions, timeout=60)
            reader.close()
            if any(partition.offset < 0 for partition in committed):
                return False
        return True


def test_alerts_are_delivered_once_signed_and_by_band_over_a_restart(space: Settings, receiver: Receiver) -> None:
    secret = make_secret()
    settings = with_hooks(space, Webhook(name="crm", url=receiver.url, secret=secret))
    sender = TopicSender(settings)
    sender.alert(make_alert("before", alert_id="before"))
    sender.flush()
    with Working(settings):
        sender.alert(make_alert("c-1", 0.9, alert_id="a-1"))
        sender.alert(make_alert("c-2", 0.1, alert_id="a-2"))
        sender.raw(settings.topics.alerts, "odd", b"{not json")
        sender.alert(make_alert("c-3", 0.7, alert_id="a-3"))
        sender.flush()
        wait_for("two alerts", lambda: len(receiver.heard) == 2)
    sender.alert(make_alert("c-4", 0.9, alert_id="while-none-runs"))
    sender.flush()
    with Working(settings):
        wait_for("the third", lambda: len(receiver.heard) == 3)
        time.sleep(0.5)
    assert sorted(ids(receiver)) == ["a-1", "a-3", "while-none-runs"]
    for path, headers, body in receiver.heard:
        assert path == "/hook"
        assert headers["webhook-signature"] == sign(secret, headers["webhook-id"], headers["webhook-timestamp"], body)
        assert json.loads(body)["data"]["alert_id"] == headers["webhook-id"]


def test_failing_receiver_is_retried_then_dead_lettered_and_delays_no_other(
    space: Settings, receiver: Receiver
) -> None:
    with receiving() as failing:
        failing.answers = [503, 500, 200, 500, 500, 500, 410]
        settings = with_hooks(
            space,
            Webhook(name="failing", url=failing.url, secret=make_secret()),
            Webhook(name="slack", url=receiver.url, kind="slack"),
        )
        sender = TopicSender(settings)
        with Working(settings):
            for number in range(4):
                # One customer: one partition, so that the order is known.
                sender.alert(make_alert("c-1", alert_id=f"a-{number}"))
            sender.flush()
            wait_for("the line", lambda: len(receiver.heard) == 4)
            wait_for("the failing one", lambda: len(failing.heard) == 8)
        assert ids(failing) == ["a-0"] * 3 + ["a-1"] * 3 + ["a-2", "a-3"]
        dead = list(read_to_end(settings, settings.topics.dead_webhooks, [0]))
        reported = [(json.loads(record.value() or b"{}")["alert_id"], dict(record.headers() or [])) for record in dead]
        assert [record[0] for record in reported] == ["a-1", "a-2"]
        assert [record[1]["reason"] for record in reported] == [b"It answers 500.", b"It answers 410."]
        assert {record[1]["webhook"] for record in reported} == {b"failing"}


@pytest.mark.parametrize("status", [429, 503])
def test_receiver_that_asks_for_a_pause_gets_it_and_delays_no_other(
    space: Settings, receiver: Receiver, status: int
) -> None:
    with receiving() as busy:
        busy.answers, busy.says = [status, status], {"Retry-After": "3"}
        settings = with_hooks(
            space,
            Webhook(name="busy", url=busy.url, secret=make_secret()),
            Webhook(name="slack", url=receiver.url, kind="slack"),
        )
        sender = TopicSender(settings)
        with Working(settings):
            for number in range(3):
                sender.alert(make_alert("c-1", alert_id=f"a-{number}"))
            sender.flush()
            wait_for("the other", lambda: len(receiver.heard) == 3)
            wait_for("the busy one", lambda: len(busy.heard) == 5)
        assert ids(busy) == ["a-0"] * 3 + ["a-1", "a-2"]
        first, second, third = busy.heard_at[:3]
        assert second - first >= 3
        assert third - second >= 3


def test_alert_pending_when_the_process_ends_is_delivered_by_the_next(
    space: Settings, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_dispatcher, "FIRST_WAIT_SECONDS", 60.0)
    monkeypatch.setattr(webhook_dispatcher, "LONGEST_WAIT_SECONDS", 60.0)
    receiver.answers = [500]
    settings = with_hooks(space, Webhook(name="crm", url=receiver.url, secret=make_secret()))
    sender = TopicSender(settings)
    with Working(settings):
        sender.alert(make_alert("c-1", alert_id="a-1"))
        sender.flush()
        wait_for("the first attempt", lambda: len(receiver.heard) == 1)
    with Working(settings):
        wait_for("the second", lambda: len(receiver.heard) == 2)
    assert ids(receiver) == ["a-1", "a-1"]


def test_alert_of_a_customer_who_was_erased_is_not_sent(space: Settings, receiver: Receiver) -> None:
    settings = with_hooks(space, Webhook(name="crm", url=receiver.url, secret=make_secret()))
    sender = TopicSender(settings)
    with Working(settings, is_erased=lambda customer, _: customer == "gone"):
        sender.alert(make_alert("gone", alert_id="a-1"))
        sender.alert(make_alert("here", alert_id="a-2"))
        sender.flush()
        wait_for("the other's", lambda: receiver.heard)
        time.sleep(0.5)
    assert ids(receiver) == ["a-2"]


def test_alert_of_a_customer_erased_between_two_attempts_is_neither_sent_again_nor_kept(
    space: Settings, receiver: Receiver
) -> None:
    receiver.answers = [500, 500]
    settings = with_hooks(space, Webhook(name="crm", url=receiver.url, secret=make_secret()))
    sender = TopicSender(settings)
    # Erased once they were tried: the first in the midst of the attempts, the second after the last of them.
    tried = {"gone": 1, "late": 3}

    def is_erased(customer: str, _: datetime) -> bool:
        heard = [json.loads(body)["data"]["customer_id"] for _, _, body in receiver.heard]
        return heard.count(customer) >= tried.get(customer, 99)

    with Working(settings, is_erased):
        sender.alert(make_alert("gone", alert_id="a-1"))
        sender.flush()
        wait_for("the first attempt", lambda: receiver.heard)
        receiver.answers = [500, 500, 500]
        sender.alert(make_alert("late", alert_id="a-2"))
        sender.flush()
        wait_for("the attempts", lambda: len(receiver.heard) == 4)
        sender.alert(make_alert("here", alert_id="a-3"))
        sender.flush()
        wait_for("the other's", lambda: len(receiver.heard) == 5)
    assert ids(receiver) == ["a-1", "a-2", "a-2", "a-2", "a-3"]
    assert list(read_to_end(settings, settings.topics.dead_webhooks, [0])) == []


def test_nothing_is_sent_before_it_is_known_who_was_erased(space: Settings, receiver: Receiver) -> None:
    settings = with_hooks(space, Webhook(name="crm", url=receiver.url, secret=make_secret()))
    known = threading.Event()
    working = Working(settings)
    working.dispatchers = WebhookDispatchers(settings, lambda customer, _: customer == "gone", known.is_set)
    sender = TopicSender(settings)
    with working:
        sender.alert(make_alert("gone", alert_id="a-1"))
        sender.alert(make_alert("here", alert_id="a-2"))
        sender.flush()
        time.sleep(0.5)
        assert receiver.heard == []
        known.set()
        wait_for("the other's", lambda: receiver.heard)
    assert ids(receiver) == ["a-2"]


def test_command_line_lists_and_tries_receivers_and_shows_no_secret(stack: Settings, receiver: Receiver) -> None:
    secret = make_secret()
    hooks = (
        Webhook(name="crm", url=receiver.url, secret=secret),
        Webhook(name="away", url="http://127.0.0.1:9/very-secret", kind="slack"),
    )

    def ebb(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).with_name("ebb")), "webhooks", *arguments]
        settings = environment(with_hooks(stack, *hooks))
        return subprocess.run(command, env=settings, capture_output=True, text=True, check=False)

    listed = ebb("list").stdout
    assert "crm" in listed
    assert "127.0.0.1" in listed
    assert secret not in listed
    assert "very-secret" not in listed
    assert "crm accepted the alert" in ebb("test", "crm").stdout
    assert len(receiver.heard) == 1
    refused = ebb("test", "away")
    assert refused.returncode == 1
    assert "away did not accept the alert" in refused.stderr
    assert "very-secret" not in refused.stderr
    assert "no receiver 'nobody'" in ebb("test", "nobody").stderr
