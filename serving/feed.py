"""What the topics tell, brought to the board, the registry, the recent alerts and the streams."""

import asyncio
import contextlib
import threading
from collections.abc import Sequence

from confluent_kafka import Message

from ebb.contracts.stream import ALERTS_HELD
from ebb.settings import PlaceSettings
from serving.projections.alert_handling import AlertHandlingView
from serving.projections.alerts import RecentAlerts
from serving.projections.api_keys import ApiKeyView
from serving.projections.erasures import ErasureView
from serving.projections.models import ModelView
from serving.projections.reader import Source, TopicReader
from serving.projections.scores import ScoreView
from serving.streaming.hub import Hub
from serving.streaming.message import StreamMessage

_UNDER_WAY = 20
"""Batches handed to the event loop and not yet fanned out; beyond it the reader waits, so memory stays bounded."""


class Feed:
    """Owns the reader thread and what it fills."""

    def __init__(self, settings: PlaceSettings, hub: Hub) -> None:
        self.board = ScoreView()
        self.registry = ModelView()
        self.alerts = RecentAlerts(ALERTS_HELD)
        self._hub = hub
        self._loop: asyncio.AbstractEventLoop | None = None
        self._room = threading.Semaphore(_UNDER_WAY)
        self.ring = ApiKeyView()
        self.ledger = ErasureView()
        self.desk = AlertHandlingView()
        topics = settings.topics
        self.reader = TopicReader(
            settings,
            {
                topics.keys: Source(self._take_keys),
                topics.erasures: Source(self._take_erasures),
                topics.handling: Source(self._take_handling),
                topics.models: Source(self._take_models),
                topics.scores: Source(self._take_scores),
                topics.alerts: Source(self._take_alerts, newest=ALERTS_HELD),
            },
        )

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to read; changes are fanned out in `loop`."""
        self._loop = loop
        self.ring.start(loop)
        self.reader.start()

    def stop(self) -> None:
        """Stop reading."""
        self._loop = None
        self._room.release(_UNDER_WAY)
        self.reader.stop()

    def _take_scores(self, records: Sequence[Message], fresh: bool) -> None:
        changes = self.board.apply([(_bytes(record.key()), _bytes(record.value())) for record in records])
        if fresh:
            self._publish([StreamMessage.of_score(change) for change in changes])

    def _take_alerts(self, records: Sequence[Message], fresh: bool) -> None:
        raised = self.alerts.add([body for record in records if (body := _bytes(record.value())) is not None])
        if self.ledger.known:
            raised = [one for one in raised if not self.ledger.is_erased(one[0].customer_id, one[0].raised_at)]
            self.alerts.forget(lambda alert: self.ledger.is_erased(alert.customer_id, alert.raised_at))
        if fresh:
            self._publish([StreamMessage.of_alert(alert, body) for alert, body in raised])

    def _take_models(self, records: Sequence[Message], fresh: bool) -> None:  # noqa: ARG002
        for record in records:
            self.registry.apply(_bytes(record.key()), _bytes(record.value()))

    def _take_keys(self, records: Sequence[Message], fresh: bool) -> None:  # noqa: ARG002
        for record in records:
            self.ring.apply(_bytes(record.key()), _bytes(record.value()))

    def _take_handling(self, records: Sequence[Message], fresh: bool) -> None:  # noqa: ARG002
        for record in records:
            self.desk.apply(_bytes(record.key()), _bytes(record.value()))

    def _take_erasures(self, records: Sequence[Message], fresh: bool) -> None:  # noqa: ARG002
        digests = self.ledger.apply([(_bytes(record.key()), _bytes(record.value())) for record in records])
        if digests:
            self.alerts.forget(lambda alert: self.ledger.is_erased(alert.customer_id, alert.raised_at))
        loop = self._loop
        if digests and loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has closed, and what it remembered with it
                loop.call_soon_threadsafe(self._hub.forget, digests)

    def _publish(self, items: list[StreamMessage]) -> None:
        loop = self._loop
        if not items or loop is None:
            return
        self._room.acquire()
        try:
            loop.call_soon_threadsafe(self._fan_out, items)
        except RuntimeError:  # the loop closed between the look and the call: nobody is left to be told
            self._room.release()

    def _fan_out(self, items: list[StreamMessage]) -> None:
        self._room.release()
        self._hub.publish(items)


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
