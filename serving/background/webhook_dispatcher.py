"""Alerts to webhooks: each receiver has a consumer group of its own, so that a slow or dead one delays no other.

Guarantee: at least once from the first time the receiver was set up, across restarts; an alert is committed when it was
delivered, or dead-lettered with the reason. Replicas of the API share the partitions.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import orjson
from confluent_kafka import OFFSET_INVALID, Consumer, Message, TopicPartition
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from ebb.contracts.webhooks import Webhook, headers, message
from ebb.kafka.follower import TopicFollower
from ebb.kafka.producer import Publisher
from ebb.log import get_logger
from ebb.metrics import RECORDS_REFUSED, WEBHOOKS
from ebb.settings import Settings
from serving.background.webhook_client import NotDeliveredError, WebhookClient
from serving.projections.types import IsErased

FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 300.0
LOOK_SECONDS = 0.2
_log = get_logger(__name__)


class _ErasedError(Exception):
    """The customer of an alert is to be erased, since it began to be delivered."""


class WebhookDispatcher:
    """Delivers to one receiver, in a thread of its own.

    Parameters
    ----------
    complete
        Whether `is_erased` knows all erasures; before, nothing is delivered.
    """

    def __init__(
        self, settings: Settings, webhook: Webhook, is_erased: IsErased, complete: Callable[[], bool] = lambda: True
    ) -> None:
        self._settings = settings
        self._webhook = webhook
        self._is_erased = is_erased
        self._complete = complete
        self._client = WebhookClient(private=settings.webhook_private)
        self._follower = TopicFollower(
            settings,
            f"webhook-{webhook.name}",
            self._handle,
            begin=lambda consumer: consumer.subscribe([settings.topics.alerts], on_assign=_start_at_end),
            commits=True,
            group=f"{settings.group('webhooks')}.{webhook.name}",
            auto_offset_reset="latest",
            # All attempts at one message fit in, also where the receiver asks for the longest pause each time. Other
            # replicas wait for this one meanwhile, but only with messages to the same receiver, which asked for it.
            max_poll_interval_ms=86_400_000,
        )
        self.stopping = self._follower.stopping
        """Set when it is to end."""

    @property
    def name(self) -> str:
        """The receiver's."""
        return self._webhook.name

    @property
    def death(self) -> str | None:
        """That the thread has died, None if it lives."""
        return self._follower.death

    def start(self) -> None:
        """Begin to deliver."""
        self._follower.start()

    def stop(self) -> None:
        """Stop, after 5 s at most; a message under way may be delivered once more by the next consumer."""
        self._follower.stop()
        self._client.close()

    def _handle(self, records: Sequence[Message]) -> None:
        for record in records:
            self._deliver(record)

    def _deliver(self, record: Message) -> None:
        body = record.value() or b""
        while not self._complete():
            self._follower.sleep(LOOK_SECONDS)
        try:
            alert: dict[str, Any] = orjson.loads(body)
            matches = alert["band"] in self._webhook.bands
            customer, raised_at = str(alert["customer_id"]), datetime.fromisoformat(alert["raised_at"])
            content = message(self._webhook, alert)
            erased = self._is_erased(customer, raised_at)
        except Exception as error:  # noqa: BLE001 - only the record is looked at here; met again, it would hold up all others
            RECORDS_REFUSED.labels("alerts").inc()
            _log.warning("alert refused", webhook=self._webhook.name, error=str(error))
            return
        if erased or not matches:
            return

        def send() -> None:
            # Asked again at each attempt: between two of them minutes pass.
            if self._is_erased(customer, raised_at):
                raise _ErasedError
            self._client.post(self._webhook.url, headers(self._webhook, str(alert["alert_id"]), content), content)

        try:
            self._post(send)
        except _ErasedError:
            return
        except NotDeliveredError as error:
            if not self._is_erased(customer, raised_at):
                self._dead_letter(record, body, error)
        else:
            WEBHOOKS.labels(self._webhook.name, "delivered").inc()

    def _post(self, send: Callable[[], None]) -> None:
        attempts = Retrying(
            retry=retry_if_exception(lambda error: isinstance(error, NotDeliveredError) and not error.final),
            stop=stop_after_attempt(self._settings.webhook_attempts),
            wait=_wait,
            # Ends with ShutdownError when the process does; the message stays uncommitted.
            sleep=self._follower.sleep,
            before_sleep=self._report_retry,
            reraise=True,
        )
        attempts(send)

    def _dead_letter(self, record: Message, body: bytes, error: NotDeliveredError) -> None:
        # Under the key of the alert, which names the customer.
        publisher = Publisher(self._settings)
        reason = [("webhook", self._webhook.name.encode()), ("reason", error.what.encode()[:500])]
        publisher.send(self._settings.topics.dead_webhooks, key=record.key(), value=body, headers=reason)
        publisher.flush()
        WEBHOOKS.labels(self._webhook.name, "dead").inc()
        _log.error("webhook given up", webhook=self._webhook.name, reason=error.what)

    def _report_retry(self, state: RetryCallState) -> None:
        WEBHOOKS.labels(self._webhook.name, "retried").inc()
        error = state.outcome.exception() if state.outcome else None
        attempts = state.attempt_number
        if attempts in {1, 5}:
            _log.warning("webhook retried", webhook=self._webhook.name, attempts=attempts, reason=str(error))


def _wait(state: RetryCallState) -> float:
    """Return the seconds until the next attempt: doubling, and never sooner than the receiver asks for."""
    error = state.outcome.exception() if state.outcome else None
    pause = error.retry_after if isinstance(error, NotDeliveredError) else 0.0
    return max(wait_exponential_jitter(multiplier=FIRST_WAIT_SECONDS, max=LONGEST_WAIT_SECONDS)(state), pause)


def _start_at_end(consumer: Consumer, assigned: list[TopicPartition]) -> None:
    """Start a new receiver at the end of the topic, and commit that, so that no alert is lost while no replica runs."""
    partitions = consumer.committed(assigned, timeout=30)
    fresh = [partition for partition in partitions if partition.offset == OFFSET_INVALID]
    for partition in fresh:
        _, partition.offset = consumer.get_watermark_offsets(partition, timeout=30)
    if fresh:
        consumer.commit(offsets=fresh, asynchronous=False)
    consumer.assign(partitions)


class WebhookDispatchers:
    """One dispatcher for each webhook of the settings."""

    def __init__(self, settings: Settings, is_erased: IsErased, complete: Callable[[], bool] = lambda: True) -> None:
        self._dispatchers = [WebhookDispatcher(settings, webhook, is_erased, complete) for webhook in settings.webhooks]

    def start(self) -> None:
        """Start them."""
        for dispatcher in self._dispatchers:
            dispatcher.start()

    @property
    def failure(self) -> str | None:
        """Which of the threads has died, None if none has."""
        deaths = ((one.name, one.death) for one in self._dispatchers)
        return next((f"({name}) {death}" for name, death in deaths if death is not None), None)

    def stop(self) -> None:
        """Stop them, all at once: each may have to finish a message."""
        for dispatcher in self._dispatchers:
            dispatcher.stopping.set()
        for dispatcher in self._dispatchers:
            dispatcher.stop()
