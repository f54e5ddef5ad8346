"""The models that score, kept up to date from `ebb.models` while the worker runs."""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from threading import Event

from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition

from ebb.contracts.models import PUBLISHED, TARGETS, ModelSnapshot, PublishedThrough, Target
from ebb.contracts.topics import MAX_MESSAGE_BYTES
from ebb.errors import CorruptError, SchemaMismatchError, UnavailableError
from ebb.kafka.follower import TopicFollower
from ebb.log import get_logger
from ebb.metrics import MODEL_IN_USE, RECORDS_REFUSED
from ebb.settings import Settings
from online_ml.scoring.cold_start import cold_start
from online_ml.scoring.gate import ModelGate
from online_ml.scoring.scorer import Scorer
from stream_processors.scoring.split import Split

log = get_logger(__name__)
CATCH_UP_SECONDS = 10.0
"""How long a worker waits for the models before it scores with those it has: a late score is no better."""
PUBLISHED_SECONDS = 120.0
"""How long a paced replay's worker waits for models that its log says are published."""
LOOK_SECONDS = 0.002


class ModelFollower:
    """The `ServingModels` of a worker, read by a consumer of their own: a quiet topic would slow the activity topic.

    A snapshot that cannot be used (checksum, schema, unknown kind, another label) is logged once; the one in use stays.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._scorers: dict[Target, Scorer] = {target: cold_start(target, settings) for target in TARGETS}
        self.splits: dict[Target, Split] = {}
        """By target, the challenger that scores a share of the customers in the champion's place."""
        self._gate = ModelGate(settings)
        self.changes = 0
        """Rises with every model taken into use: scores computed before that are due again."""
        self._published = 0
        """Boundary (day number) through which the learner of a paced replay has published, as far as was read."""
        self._waiting = deque[bytes]()
        """Models read in a paced replay whose log has not asked for them yet."""
        self._current = Event()
        self._next = OFFSET_BEGINNING
        self._follower = TopicFollower(
            settings,
            "models",
            self._handle,
            begin=self._assign,
            at_end=lambda *_: self._current.set(),
            group=f"{settings.topics.prefix}reader",
            auto_offset_reset="earliest",
            fetch_message_max_bytes=MAX_MESSAGE_BYTES,
        )

    @property
    def churn(self) -> Scorer:
        """The champion for churn; the cold start before there is one."""
        return self._scorers["churn"]

    @property
    def purchase(self) -> Scorer:
        """The champion for purchase; the cold start before there is one."""
        return self._scorers["purchase"]

    @property
    def trouble(self) -> str | None:
        """In what way the thread has failed for good; None if it works, or was not started or was stopped."""
        return self._follower.failure

    def start(self) -> None:
        """Begin to follow, unless it has begun, and wait until the models on the topic are in use.

        A worker that scored before that would serve the cold start after each restart, and end a split for a moment.
        """
        first = not self._current.is_set()
        self._follower.start()
        if not self._current.wait(CATCH_UP_SECONDS):
            log.warning("models are not read yet", topic=self._settings.topics.models, in_use=self.churn.name)
        if first:
            self._apply_waiting()

    async def wait(self, boundary: int) -> None:
        """Use the models that a paced replay's learner has published through a boundary; wait until they are there.

        Until the log asks for them, models that have been read wait: what scores follows from the log, not from time.

        Raises
        ------
        UnavailableError
            If they do not come.
        """
        until = time.monotonic() + PUBLISHED_SECONDS
        while self._published < boundary:
            if time.monotonic() > until:
                what = f"The models of day {boundary} are not on {self._settings.topics.models}; the log says they are."
                raise UnavailableError(what, "The worker tries again; see the learner's log.")
            await asyncio.sleep(LOOK_SECONDS)
        if boundary:
            self._apply_waiting()

    def stop(self) -> None:
        """Stop following and wait for the thread, at most 5 s."""
        self._follower.stop()

    def apply(self, body: bytes) -> None:
        """Use a snapshot that scores customers: a champion, or a challenger with a share of the customers."""
        try:
            snapshot = ModelSnapshot.decode(body)
            if not snapshot.share:
                self._unsplit(snapshot)
            if snapshot.role != "champion" and not snapshot.share:
                return
            scorer = self._gate.admit(snapshot)
        except (CorruptError, SchemaMismatchError) as error:
            RECORDS_REFUSED.labels("models").inc()
            log.warning("model refused", reason=error.what, hint=error.hint)
            return
        if snapshot.share:
            self.splits[snapshot.target] = Split(scorer, snapshot.share)
        else:
            self._scorers[snapshot.target] = scorer
        self.changes += 1
        MODEL_IN_USE.labels(snapshot.target, snapshot.candidate).set(snapshot.version)

    def _unsplit(self, snapshot: ModelSnapshot) -> None:
        """End the split whose challenger this is: it scores no customers now, or all of them."""
        split = self.splits.get(snapshot.target)
        if split is not None and split.challenger.name == snapshot.name:
            del self.splits[snapshot.target]
            self.changes += 1

    def _assign(self, consumer: Consumer) -> None:
        consumer.assign([TopicPartition(self._settings.topics.models, 0, self._next)])

    def _handle(self, records: Sequence[Message]) -> None:
        for record in records:
            # Moved on first: a record that cannot be borne is not to be met again and again.
            self._next = int(record.offset() or 0) + 1
            if (body := record.value()) is not None:
                if record.key() == PUBLISHED.encode():
                    self._note_published(body)
                elif self._settings.paced:
                    self._waiting.append(body)
                else:
                    self.apply(body)

    def _note_published(self, body: bytes) -> None:
        try:
            self._published = PublishedThrough.decode(body).boundary
        except CorruptError as error:
            RECORDS_REFUSED.labels("models").inc()
            log.warning("record passed over", reason=error.what)

    def _apply_waiting(self) -> None:
        while self._waiting:
            self.apply(self._waiting.popleft())
