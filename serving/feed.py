"""Read the topics into the projections, and fan scores and alerts out to the streams."""

import asyncio
import contextlib
import threading
from collections.abc import Sequence

from confluent_kafka import Message

from ebb.contracts.stream import ALERTS_HELD
from ebb.settings import Settings
from serving.projections.alert_handling import AlertHandlingView
from serving.projections.alerts import AlertFields, RecentAlerts
from serving.projections.api_keys import ApiKeyView
from serving.projections.erasures import ErasureView
from serving.projections.models import ModelView
from serving.projections.reader import Source, TopicReader
from serving.projections.scores import ScoreView
from serving.projections.withheld import Withheld
from serving.streaming.hub import Hub
from serving.streaming.message import StreamMessage

_PENDING_BATCHES = 20
"""Batches handed to the event loop and not yet fanned out; beyond it the reader waits (backpressure)."""


class Feed:
    """The reader thread and the projections that it fills."""

    def __init__(self, settings: Settings, hub: Hub) -> None:
        self.scores = ScoreView()
        self.models = ModelView(settings)
        self.alerts = RecentAlerts(ALERTS_HELD)
        self._hub = hub
        self._loop: asyncio.AbstractEventLoop | None = None
        self._slots = threading.Semaphore(_PENDING_BATCHES)
        self.api_keys = ApiKeyView()
        self.erasures = ErasureView()
        self._withheld = Withheld()
        self.erased_version = 0
        """Rises whenever somebody was hidden: what was computed before may show them."""
        self.alert_handling = AlertHandlingView()
        topics = settings.topics
        self.reader = TopicReader(
            settings,
            {
                topics.keys: Source(self._on_keys),
                topics.erasures: Source(self._on_erasures),
                topics.handling: Source(self._on_handling),
                topics.models: Source(self._on_models),
                topics.scores: Source(self._on_scores),
                topics.alerts: Source(self._on_alerts, newest=ALERTS_HELD),
            },
        )

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to read; changes are fanned out in `loop`."""
        self._loop = loop
        self.api_keys.start(loop)
        self.reader.start()

    def stop(self) -> None:
        """Stop reading."""
        self._loop = None
        self._slots.release(_PENDING_BATCHES)
        self.reader.stop()

    def _on_scores(self, records: Sequence[Message], fresh: bool) -> None:
        pairs = [(_bytes(record.key()), _bytes(record.value())) for record in records]
        if pending := self.erasures.pending():
            pairs = self._withheld.passing(pending, pairs)
        changes = self.scores.apply(pairs)
        if fresh:
            self._publish([StreamMessage.of_score(change) for change in changes])

    def _on_alerts(self, records: Sequence[Message], fresh: bool) -> None:
        raised = self.alerts.add([body for record in records if (body := _bytes(record.value())) is not None])
        if self.erasures.known:
            pending = self.erasures.pending()
            for one in raised:
                if (digest := pending.get(one[0].customer_id)) is not None:
                    self._withheld.keep_alert(digest, one)
            raised = [one for one in raised if not self._is_erased(one[0])]
            self.alerts.forget(self._is_erased)
        if fresh:
            self._publish([StreamMessage.of_alert(alert, body) for alert, body in raised])

    def _on_models(self, records: Sequence[Message], fresh: bool) -> None:  # noqa: ARG002
        for record in records:
            self.models.apply(_bytes(record.key()), _bytes(record.value()))

    def _on_keys(self, records: Sequence[Message], fresh: bool) -> None:  # noqa: ARG002
        for record in records:
            self.api_keys.apply(_bytes(record.key()), _bytes(record.value()))

    def _on_handling(self, records: Sequence[Message], fresh: bool) -> None:  # noqa: ARG002
        for record in records:
            self.alert_handling.apply(_bytes(record.key()), _bytes(record.value()))

    def _on_erasures(self, records: Sequence[Message], fresh: bool) -> None:  # noqa: ARG002
        digests = self.erasures.apply([(_bytes(record.key()), _bytes(record.value())) for record in records])
        self.alerts.forget(self._is_erased)
        if not digests:
            return
        for digest in digests:
            self._hide(digest)
        self.erased_version += 1
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has closed, and what it remembered with it
                loop.call_soon_threadsafe(self._hub.forget, digests)
        for digest in digests:
            self._release(digest)

    def _hide(self, digest: str) -> None:
        """Put the score of a customer aside whom no worker has erased yet."""
        erasure = self.erasures.of_digest(digest)
        customer = erasure.customer_id if erasure is not None else None
        if customer in self.erasures.pending() and customer is not None:
            body = self.scores.score(customer)
            if body is not None:
                self._withheld.keep_score(digest, (customer.encode(), body))
                self.scores.apply([(customer.encode(), None)])

    def _release(self, digest: str) -> None:
        """Show what was put aside and is of who came back, once the worker has erased the customer."""
        erasure = self.erasures.of_digest(digest)
        if erasure is None or not erasure.untracked:
            return
        scores, alerts = self._withheld.release(erasure)
        added = self.alerts.add([body for _, body in alerts])
        changes = self.scores.apply(scores)
        self._publish([StreamMessage.of_score(change) for change in changes])
        self._publish([StreamMessage.of_alert(alert, body) for alert, body in added])

    def _is_erased(self, alert: AlertFields) -> bool:
        return self.erasures.is_erased(alert.customer_id, alert.raised_at)

    def _publish(self, messages: list[StreamMessage]) -> None:
        loop = self._loop
        if not messages or loop is None:
            return
        self._slots.acquire()
        try:
            loop.call_soon_threadsafe(self._fan_out, messages)
        except RuntimeError:  # the loop closed meanwhile: no client is left
            self._slots.release()

    def _fan_out(self, messages: list[StreamMessage]) -> None:
        self._slots.release()
        self._hub.publish(messages)


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
