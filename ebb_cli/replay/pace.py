"""Wait for the learner: the gate of a replay that is paced by it."""

import time
from collections.abc import Callable
from enum import StrEnum
from types import TracebackType
from typing import Self

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from ebb.clock import date_of
from ebb.contracts.models import PUBLISHED, PublishedThrough
from ebb.contracts.topics import MAX_MESSAGE_BYTES
from ebb.errors import UnavailableError
from ebb.kafka.config import client_config
from ebb.settings import Settings
from ebb_cli.replay.progress import PATIENCE_SECONDS, ProgressPoller, ReplayProgress
from producers.replay.pacing import may_mature

LOOK_SECONDS = 0.1
"""Between two looks at the parts and at Ctrl-C, while the learner has published nothing."""
PROGRESS_SECONDS = 5.0
"""Between two looks at how far worker and learner are; only a wait of such length needs them."""


class Pace(StrEnum):
    """What a replay waits for."""

    LEARNER = "learner"
    """At each boundary, the models that were learned there: what is served is what a live system would have served."""
    NONE = "none"
    """Nothing: as fast as it goes, for throughput. What is served is whatever model was there."""


class LearnerGate:
    """Follows the models topic until it says that a boundary is published.

    Parameters
    ----------
    space
        Settings of the replay's namespace, `paced`.
    poll
        Called while waiting, to keep the parts running.
    stopping
        Once true, waiting ends.
    patience
        Seconds without any progress of worker and learner after which waiting fails.
    """

    def __init__(
        self,
        space: Settings,
        *,
        poll: Callable[[], None],
        stopping: Callable[[], bool],
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._space = space
        self._poll = poll
        self._stopping = stopping
        self._patience = patience
        self.published = 0
        """Boundary (day number) through which the learner has published."""
        self._progress: ProgressPoller | None = None
        self._consumer = Consumer(
            client_config(
                space,
                group_id=f"{space.topics.prefix}reader",
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                fetch_message_max_bytes=MAX_MESSAGE_BYTES,
            )
        )
        self._consumer.assign([TopicPartition(space.topics.models, 0, OFFSET_BEGINNING)])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._consumer.close()
        if self._progress is not None:
            self._progress.close()

    def is_due(self, boundary: int, *, first: int, last: int) -> bool:
        """Return whether labels may mature at a boundary."""
        return may_mature(boundary, self._space, first=first, last=last)

    def wait(self, boundary: int) -> bool:
        """Wait until the learner has published through a boundary; False if stopped before.

        Raises
        ------
        UnavailableError
            If neither worker nor learner makes progress for `patience` seconds.
        """
        progressed = looked = time.monotonic()
        before: ReplayProgress | None = None
        while self.published < boundary:
            if self._stopping():
                return False
            self._read()
            if (now := time.monotonic()) - looked < min(PROGRESS_SECONDS, self._patience / 3):
                continue
            looked = now
            if (progress := self._look()) is not None and progress != before:
                before, progressed = progress, now
            elif now - progressed > self._patience:
                self._give_up(boundary, before)
        return True

    def _read(self) -> None:
        """Take the next record of the models topic; while there is none, see that the parts run."""
        message = self._consumer.poll(LOOK_SECONDS)
        if message is None or message.error() is not None:
            self._poll()
            return
        body = message.value()
        if body is not None and message.key() == PUBLISHED.encode():
            self.published = max(self.published, PublishedThrough.decode(body).boundary)

    def _look(self) -> ReplayProgress | None:
        try:
            self._progress = self._progress or ProgressPoller(self._space)
            return self._progress.poll()
        except (UnavailableError, KafkaException):  # no progress either
            return None

    def _give_up(self, boundary: int, last: ReplayProgress | None) -> None:
        left = "" if last is None else f" {last.events_left} events and {last.blocks_left} blocks are not processed."
        what = (
            f"The learner has not published the models of {date_of(boundary)}, for which the replay waits, and nothing "
            f"has moved for {self._patience:.0f} s.{left}"
        )
        hint = (
            f"See the logs of worker and learner in {self._space.home / 'logs'}; "
            "--pace none sends the log without waiting."
        )
        raise UnavailableError(what, hint)
