"""Alerts to webhooks: each receiver has a consumer group of its own, so that a slow or dead one holds up no other.

Guarantee: at least once from the first time the receiver was set up, across restarts; an alert is committed when it was
delivered, or given up and written to the dead-letter topic with the reason. Replicas of the API share the partitions.
"""

import contextlib
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any

import orjson
from confluent_kafka import OFFSET_INVALID, Consumer, KafkaException, Message, TopicPartition
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from ebb.contracts.webhooks import Webhook, headers, message
from ebb.errors import UnavailableError
from ebb.kafka.admin import create_topics
from ebb.kafka.config import client_config
from ebb.kafka.producer import Publisher
from ebb.log import get_logger
from ebb.metrics import WEBHOOKS
from ebb.settings import Settings
from serving.background.webhook_client import NotDeliveredError, WebhookClient

FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 300.0
_log = get_logger(__name__)

Hides = Callable[[str, datetime], bool]
"""Whether what was told of a customer at a time has been erased since."""


class ShutdownError(Exception):
    """The process ends while a message waits to be tried again; it stays uncommitted."""


class WebhookDispatcher:
    """Delivers to one receiver, in a thread of its own."""

    def __init__(self, settings: Settings, webhook: Webhook, hides: Hides) -> None:
        self._settings = settings
        self._webhook = webhook
        self._hides = hides
        self._client = WebhookClient(private=settings.webhook_private)
        self.stopping = threading.Event()
        """Set when it is to end."""
        self._thread = threading.Thread(target=self._run, name=f"courier-{webhook.name}", daemon=True)

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def stop(self) -> None:
        """Stop; a message under way may be delivered once more by whoever follows."""
        self.stopping.set()
        if self._thread.is_alive():
            self._thread.join(5)
        self._client.close()

    def _run(self) -> None:
        while not self.stopping.is_set():
            try:
                create_topics(self._settings)
                self._follow()
            except ShutdownError:
                return
            except (KafkaException, UnavailableError) as error:
                _log.warning("courier_interrupted", webhook=self._webhook.name, error=str(error))
                self.stopping.wait(2)
            except Exception as error:  # noqa: BLE001 - a defect must not end deliveries in silence
                _log.error("courier_failed", webhook=self._webhook.name, error=repr(error))
                self.stopping.wait(2)

    def _follow(self) -> None:
        consumer = Consumer(
            client_config(
                self._settings,
                group_id=f"{self._settings.group('webhooks')}.{self._webhook.name}",
                enable_auto_commit=False,
                auto_offset_reset="latest",
                # All attempts at one message fit in.
                max_poll_interval_ms=3_600_000,
                allow_auto_create_topics=False,
            )
        )
        try:
            consumer.subscribe([self._settings.topics.alerts], on_assign=_begin_now)
            while not self.stopping.is_set():
                record = consumer.poll(0.5)
                if record is None:
                    continue
                if (error := record.error()) is not None:
                    if error.fatal():
                        raise KafkaException(error)
                    continue
                self._take(record)
                consumer.commit(message=record, asynchronous=False)
        finally:
            with contextlib.suppress(KafkaException):
                consumer.close()

    def _take(self, record: Message) -> None:
        body = record.value() or b""
        try:
            alert: dict[str, Any] = orjson.loads(body)
            wanted = alert["band"] in self._webhook.bands
            hidden = self._hides(alert["customer_id"], datetime.fromisoformat(alert["raised_at"]))
            told = message(self._webhook, alert)
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            _log.warning("alert_refused", webhook=self._webhook.name, error=str(error))
            return
        if not wanted or hidden:
            return
        try:
            self._deliver(str(alert["alert_id"]), told)
        except NotDeliveredError as error:
            self._give_up(record, body, error)
        else:
            WEBHOOKS.labels(self._webhook.name, "delivered").inc()

    def _deliver(self, identity: str, body: bytes) -> None:
        tries = Retrying(
            retry=retry_if_exception(lambda error: isinstance(error, NotDeliveredError) and not error.final),
            stop=stop_after_attempt(self._settings.webhook_attempts),
            wait=wait_exponential_jitter(multiplier=FIRST_WAIT_SECONDS, max=LONGEST_WAIT_SECONDS),
            sleep=self._sleep,
            before_sleep=self._tell,
            reraise=True,
        )
        tries(lambda: self._client.post(self._webhook.url, headers(self._webhook, identity, body), body))

    def _give_up(self, record: Message, body: bytes, error: NotDeliveredError) -> None:
        # The key of the record is kept, so that its partition still tells whose alert it is.
        publisher = Publisher(self._settings)
        told = [("webhook", self._webhook.name.encode()), ("reason", error.what.encode()[:500])]
        publisher.send(self._settings.topics.dead_webhooks, key=record.key(), value=body, headers=told)
        publisher.flush()
        WEBHOOKS.labels(self._webhook.name, "dead").inc()
        _log.error("webhook_given_up", webhook=self._webhook.name, reason=error.what)

    def _sleep(self, seconds: float) -> None:
        if self.stopping.wait(seconds):
            raise ShutdownError

    def _tell(self, state: RetryCallState) -> None:
        WEBHOOKS.labels(self._webhook.name, "retried").inc()
        error = state.outcome.exception() if state.outcome else None
        if state.attempt_number in {1, 5}:
            _log.warning("webhook_retried", webhook=self._webhook.name, tries=state.attempt_number, reason=str(error))


def _begin_now(consumer: Consumer, assigned: list[TopicPartition]) -> None:
    """Begin a new receiver at the end of the topic, and hold the place: what comes while nobody runs is not lost."""
    places = consumer.committed(assigned, timeout=30)
    fresh = [place for place in places if place.offset == OFFSET_INVALID]
    for place in fresh:
        _, place.offset = consumer.get_watermark_offsets(place, timeout=30)
    if fresh:
        consumer.commit(offsets=fresh, asynchronous=False)
    consumer.assign(places)


class WebhookDispatchers:
    """One courier a webhook of the settings."""

    def __init__(self, settings: Settings, hides: Hides) -> None:
        self._couriers = [WebhookDispatcher(settings, webhook, hides) for webhook in settings.webhooks]

    def start(self) -> None:
        """Start them."""
        for courier in self._couriers:
            courier.start()

    def stop(self) -> None:
        """Stop them, all at once: each may have to finish a message."""
        for courier in self._couriers:
            courier.stopping.set()
        for courier in self._couriers:
            courier.stop()
