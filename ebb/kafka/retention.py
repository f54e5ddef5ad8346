"""When a topic lets go of a record, from its configuration: until then what is on it can be read."""

import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource

from ebb.kafka.config import client_config
from ebb.log import get_logger
from ebb.settings import PlaceSettings

FRESH_SECONDS = 60.0
BROKER_CHECKS = timedelta(minutes=6)
"""How often a broker looks for segments to delete, and how long it then keeps the files, by its own defaults."""
_log = get_logger(__name__)
_NEVER_MS = 100 * 365 * 86_400_000
"""What lasts longer has no end."""


@dataclass(frozen=True)
class TopicRetention:
    """How long a topic keeps records; None where nothing ends it.

    A record goes with its segment: the whole segment is deleted `kept` after its newest record, which may have come
    `segment` after the record. A compacted topic drops a record within `compacted` of another under its key, once its
    segment is closed; the empty record that withdraws a key goes `withdrawn` after that.
    """

    segment: timedelta | None
    kept: timedelta | None
    compacted: timedelta | None
    withdrawn: timedelta | None

    @classmethod
    def of(cls, config: dict[str, str]) -> "TopicRetention":
        """Read a topic's configuration, as the broker describes it."""
        policy = config.get("cleanup.policy", "delete")
        return cls(
            segment=_span(config.get("segment.ms", "604800000")),
            kept=_span(config.get("retention.ms", "604800000")) if "delete" in policy else None,
            compacted=_span(config.get("max.compaction.lag.ms", "9223372036854775807"))
            if "compact" in policy
            else None,
            withdrawn=_span(config.get("delete.retention.ms", "86400000")) if "compact" in policy else None,
        )

    def lets_go(self, at: datetime) -> datetime | None:
        """Return by when a record written at a time is gone; None if nothing ends it.

        On a compacted topic: one that another of its key replaced at that time, or that withdrew its key. Compaction
        needs a later record in the partition, which closes the segment.
        """
        ends = []
        if self.kept is not None and self.segment is not None:
            ends.append(at + self.segment + self.kept + BROKER_CHECKS)
        if self.compacted is not None and self.segment is not None and self.withdrawn is not None:
            # Compacted twice: first what was replaced goes, then the withdrawal, each after its segment was closed.
            ends.append(at + 2 * (self.segment + self.compacted) + self.withdrawn + BROKER_CHECKS)
        return min(ends, default=None)


class TopicRetentions:
    """How long topics keep records, as the broker says; asked anew after a minute. Any number of threads may ask."""

    def __init__(self, settings: PlaceSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._asked_at = -FRESH_SECONDS
        self._known: dict[str, TopicRetention] = {}

    def of(self, topics: Collection[str]) -> Mapping[str, TopicRetention]:
        """Return the retention of some topics, of those of which it is known. Blocks while the broker is asked."""
        with self._lock:
            if time.monotonic() - self._asked_at >= FRESH_SECONDS or not set(topics) <= set(self._known):
                try:
                    self._known.update(self._ask(topics))
                except KafkaException as error:
                    _log.warning("topics not described", reason=str(error.args[0]))
                self._asked_at = time.monotonic()
            return dict(self._known)

    def _ask(self, topics: Collection[str]) -> dict[str, TopicRetention]:
        admin = AdminClient(client_config(self._settings, socket_timeout_ms=5_000))
        resources = [ConfigResource(ConfigResource.Type.TOPIC, topic) for topic in topics]
        described = admin.describe_configs(resources, request_timeout=5)
        return {
            where.name: TopicRetention.of(
                {name: str(entry.value) for name, entry in future.result(timeout=10).items() if entry.value is not None}
            )
            for where, future in described.items()
        }


def _span(milliseconds: str) -> timedelta | None:
    value = int(milliseconds)
    return timedelta(milliseconds=value) if 0 <= value < _NEVER_MS else None
