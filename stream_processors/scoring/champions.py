"""The models that score, kept up to date from `ebb.models` while the worker runs."""

from threading import Event, Thread

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from ebb.contracts.models import TARGETS, ModelSnapshot, Target
from ebb.contracts.topics import MAX_MESSAGE_BYTES
from ebb.errors import CorruptError, SchemaMismatchError
from ebb.kafka.config import client_config
from ebb.log import get_logger
from ebb.metrics import MODEL_IN_USE
from ebb.settings import Settings
from online_ml.scoring.cold_start import cold_start
from online_ml.scoring.scorer import Scorer, load
from stream_processors.scoring.split import Split

log = get_logger(__name__)
CATCH_UP_SECONDS = 10.0
"""How long a worker waits for the models before it scores with those it has: risk told late is no better."""


class ModelFollower:
    """Follows the models topic with a consumer of its own, so that its silence cannot slow the activity topic.

    A snapshot that cannot be used (checksum, schema, unknown kind) is said once and the model in use stays.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._scorers: dict[Target, Scorer] = {target: cold_start(target, settings) for target in TARGETS}
        self.splits: dict[Target, Split] = {}
        """By target, who scores a share of the customers in the champion's place."""
        self._stop, self._current = Event(), Event()
        self._thread = Thread(target=self._follow, name="models", daemon=True)
        self.changes = 0
        """Rises with every model taken into use, so that a sweep can tell that scores are due again."""

    @property
    def churn(self) -> Scorer:
        """The champion for churn; the cold start before there is one."""
        return self._scorers["churn"]

    @property
    def purchase(self) -> Scorer:
        """The champion for purchase; the cold start before there is one."""
        return self._scorers["purchase"]

    def start(self) -> None:
        """Begin to follow, unless it has begun, and wait until the models that are there are in use.

        A worker that scored before that would serve the cold start after each restart, and end a split for a moment.
        """
        if self._thread.ident is None:
            self._thread.start()
        if not self._current.wait(CATCH_UP_SECONDS):
            log.warning("models are not read yet", topic=self._settings.topics.models, in_use=self.churn.name)

    def stop(self) -> None:
        """Stop following and wait for the thread."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=10)

    def take(self, body: bytes) -> None:
        """Use a snapshot that scores somebody: a champion, or a challenger with a share of the customers."""
        try:
            snapshot = ModelSnapshot.decode(body)
            if not snapshot.share:
                self._unsplit(snapshot)
            if snapshot.role != "champion" and not snapshot.share:
                return
            scorer = load(snapshot)
        except (CorruptError, SchemaMismatchError) as error:
            log.warning("model refused", reason=error.what, hint=error.hint)
            return
        if snapshot.share:
            self.splits[snapshot.target] = Split(scorer, snapshot.share)
        else:
            self._scorers[snapshot.target] = scorer
        self.changes += 1
        MODEL_IN_USE.labels(snapshot.target, snapshot.candidate).set(snapshot.version)

    def _unsplit(self, snapshot: ModelSnapshot) -> None:
        """End the split whose challenger this is: it scores nobody now, or everybody."""
        split = self.splits.get(snapshot.target)
        if split is not None and split.challenger.name == snapshot.name:
            del self.splits[snapshot.target]
            self.changes += 1

    def _follow(self) -> None:
        consumer = Consumer(
            client_config(
                self._settings,
                group_id=f"{self._settings.topics.prefix}reader",
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                fetch_message_max_bytes=MAX_MESSAGE_BYTES,
                enable_partition_eof=True,
            )
        )
        consumer.assign([TopicPartition(self._settings.topics.models, 0, OFFSET_BEGINNING)])
        while not self._stop.is_set():
            message = consumer.poll(0.5)
            if message is None:
                continue
            if (error := message.error()) is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    self._current.set()
                    continue
                log.warning("models topic cannot be read", reason=str(error))
                self._stop.wait(1)
                continue
            if (body := message.value()) is not None:
                self.take(body)
        consumer.close()
