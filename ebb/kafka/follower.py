"""The consumer thread: the one loop behind everything that follows topics beside a process's main work."""

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message

from ebb.errors import EbbError
from ebb.kafka.admin import create_topics
from ebb.kafka.config import client_config
from ebb.liveness import LATE_SECONDS
from ebb.log import get_logger
from ebb.settings import PlaceSettings

FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 5.0
STOP_SECONDS = 5.0
"""How long `stop` waits for the thread. It is a daemon: a broker that hangs delays a process no longer."""
_log = get_logger(__name__)


class ShutdownError(Exception):
    """A handler was interrupted by `stop`; its records stay uncommitted."""


class TopicFollower:
    """A thread that hands the records of some topics to a handler, until it is stopped.

    What happens when the broker is lost, or the handler fails, is decided here for all followers: the consumer is
    closed, the thread waits (1 s, doubling up to 5 s) and begins again with a new one, as often as it takes. A
    `KafkaException` or an `EbbError` is a warning; anything else is a defect, logged with its traceback and retried
    alike, because a thread that ends in silence is worse. Errors that librdkafka recovers from itself are only logged.

    Records are delivered at least once, in the order of their offsets in each partition. Those of a failed batch come
    again: from the committed offsets in a consumer group, or else from the offsets that `begin` assigns.

    Parameters
    ----------
    name
        Of the thread, and in its log lines.
    handle
        Called in the thread with the records of a batch; an empty one if none came for `idle_seconds`. It may raise.
    begin
        Subscribes or assigns a new consumer.
    group
        The consumer group; only named, never joined, if `begin` assigns.
    commits
        Whether to commit a batch after `handle` has returned.
    at_end
        Called with topic, partition and offset when the end of a partition is reached, after the batch before it.
    batch
        Records handed over at once, at most.
    linger_seconds
        How long to wait for a batch to fill after its first record.
    config
        Further settings of the consumer, as for `client_config`.
    """

    def __init__(
        self,
        settings: PlaceSettings,
        name: str,
        handle: Callable[[Sequence[Message]], None],
        *,
        begin: Callable[[Consumer], None],
        group: str,
        commits: bool = False,
        at_end: Callable[[str, int, int], None] | None = None,
        batch: int = 1,
        idle_seconds: float = 0.5,
        linger_seconds: float = 0.0,
        **config: Any,
    ) -> None:
        self._settings = settings
        self._name = name
        self._handle = handle
        self._begin = begin
        self._commits = commits
        self._at_end = at_end
        self._batch = batch
        self._idle_seconds = idle_seconds
        self._linger_seconds = linger_seconds
        self._config: dict[str, Any] = {
            "group_id": group,
            "enable_auto_commit": False,
            "enable_partition_eof": at_end is not None,
            "allow_auto_create_topics": False,
            **config,
        }
        self._consumer: Consumer | None = None
        self._handling_since: float | None = None
        self._retry_seconds = FIRST_RETRY_SECONDS
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.stopping = threading.Event()
        """Set when the thread is to end; a handler that takes long looks at it."""
        self.trouble: str | None = "It has not begun to read."
        """Why it does not read at present; None if it does."""

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def failure(self) -> str | None:
        """In what way the thread has failed for good: it died, or its handler hangs. None if it works.

        For handlers that never wait for a neighbour; one that does may take its time.
        """
        seconds = self.handling_seconds
        return self.death or (f"has been at one batch for {seconds:.0f} s" if seconds > LATE_SECONDS else None)

    @property
    def death(self) -> str | None:
        """That the thread has died, where it was neither stopped nor not yet started; None if it lives."""
        ended = self._thread.ident is not None and not self.alive and not self.stopping.is_set()
        return "has died" if ended else None

    @property
    def handling_seconds(self) -> float:
        """For how long the handler has been at work on its present batch; 0 if it is not."""
        since = self._handling_since
        return 0.0 if since is None else time.monotonic() - since

    @property
    def partitions(self) -> set[int]:
        """The partitions assigned at present; to be read by the handler."""
        return set() if self._consumer is None else {one.partition for one in self._consumer.assignment()}

    def start(self) -> None:
        """Start the thread, unless it was started before."""
        if self._thread.ident is None:
            self._thread.start()

    def stop(self) -> None:
        """Stop, and wait for the batch being handled, at most 5 s."""
        self.stopping.set()
        if self._thread.ident is not None:
            self._thread.join(STOP_SECONDS)

    def sleep(self, seconds: float) -> None:
        """Pause a handler.

        Raises
        ------
        ShutdownError
            If the follower is stopped meanwhile.
        """
        if self.stopping.wait(seconds):
            raise ShutdownError

    def _run(self) -> None:
        while not self.stopping.is_set():
            try:
                create_topics(self._settings)
                self._follow()
            except ShutdownError:
                return
            except (KafkaException, EbbError) as error:
                self._retry(error)
            except Exception as error:  # noqa: BLE001 - see the class: no defect ends the thread
                self._retry(error, defect=True)

    def _retry(self, error: Exception, *, defect: bool = False) -> None:
        seconds, self.trouble = self._retry_seconds, str(error)
        if defect:
            _log.error("follower failed", follower=self._name, retry_in_seconds=seconds, exc_info=error)
        elif not self.stopping.is_set():
            _log.warning("follower interrupted", follower=self._name, error=str(error), retry_in_seconds=seconds)
        self._retry_seconds = min(2 * seconds, LONGEST_RETRY_SECONDS)
        self.stopping.wait(seconds)

    def _follow(self) -> None:
        consumer = self._consumer = Consumer(client_config(self._settings, **self._config))
        try:
            self._begin(consumer)
            while not self.stopping.is_set():
                self._step(consumer)
                self.trouble = None
        finally:
            self._consumer = None
            with contextlib.suppress(KafkaException):
                consumer.close()

    def _step(self, consumer: Consumer) -> None:
        first = consumer.poll(self._idle_seconds)
        polled = [] if first is None else [first]
        if polled and self._batch > 1:
            polled += consumer.consume(self._batch - 1, self._linger_seconds)
        records = [message for message in polled if message.error() is None]
        ends = [message for message in polled if (error := message.error()) is not None and self._is_end(error)]
        self._handling_since = time.monotonic()
        try:
            self._handle(records)
        finally:
            self._handling_since = None
        if records:
            if self._commits:
                consumer.commit(asynchronous=False)
            self._retry_seconds = FIRST_RETRY_SECONDS
        if self._at_end is not None:
            for end in ends:
                self._at_end(str(end.topic()), int(end.partition() or 0), int(end.offset() or 0))

    def _is_end(self, error: KafkaError) -> bool:
        """Return whether an error is the end of a partition. Raises those after which a new consumer is needed."""
        if error.code() == KafkaError._PARTITION_EOF:
            return True
        if error.fatal() or error.code() in {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC}:
            raise KafkaException(error)
        _log.warning("reading hindered", follower=self._name, error=str(error))
        return False
