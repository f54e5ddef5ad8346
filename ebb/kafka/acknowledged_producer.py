"""A producer for requests that wait until the broker has acknowledged their records."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Sequence

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from ebb.errors import EbbError, UnavailableError
from ebb.kafka.config import producer_config
from ebb.log import get_logger
from ebb.settings import PlaceSettings

IN_FLIGHT = 50_000
"""Records in flight at most, of all requests together; some 50 MB."""
ACK_TIMEOUT_SECONDS = 5.0
"""A broker that has not acknowledged a record by then counts as away; the HTTP client is still waiting."""
_RECENTLY = "it did not answer a moment ago"
_UNREPORTED = "there was no report about them"
DOWN_SECONDS = 1.0
"""For this long after a failure, calls fail at once instead of waiting for the broker."""
_log = get_logger(__name__)


class BusyError(EbbError):
    """Too many records are in flight."""


class AcknowledgedProducer:
    """Produces records and lets each caller await that all of its own are durable.

    Guarantee: when `deliver` returns, every record is acknowledged; if it raises, any of them may be on the topic, and
    sending them again is harmless where they carry the same event ids. Runs in the event loop; delivery reports
    come from a thread of its own.
    """

    def __init__(self, settings: PlaceSettings) -> None:
        self._bootstrap = settings.kafka_bootstrap
        self._producer = Producer(
            producer_config(
                settings,
                client_id="ebb-collector",
                linger_ms=2,
                delivery_timeout_ms=int(ACK_TIMEOUT_SECONDS * 1_000),
                queue_buffering_max_messages=2 * IN_FLIGHT,
            )
        )
        self._waiting = 0
        self._down_until = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="delivery", daemon=True)

    def start(self) -> None:
        """Start to poll for delivery reports."""
        self._thread.start()

    def stop(self) -> None:
        """Wait a moment for records in flight, and stop."""
        with contextlib.suppress(KafkaException):
            self._producer.flush(ACK_TIMEOUT_SECONDS)
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(5)

    async def deliver(self, topic: str, records: Sequence[tuple[str, bytes]], *, partition: int = -1) -> None:
        """Produce records, key and value each, and wait until all are acknowledged.

        Parameters
        ----------
        partition
            Where to; -1 means by key.

        Raises
        ------
        BusyError
            If too many records are in flight.
        UnavailableError
            If the broker does not acknowledge them in time.
        """
        if not records:
            return
        if self._waiting + len(records) > IN_FLIGHT:
            what = f"{self._waiting:,} records are waiting for Kafka."
            raise BusyError(what, "Send again in a moment.")
        if time.monotonic() < self._down_until:
            raise self._unavailable(_RECENTLY)
        pending = _PendingAck(len(records))
        self._waiting += len(records)
        try:
            for key, value in records:
                self._producer.produce(topic, value, key, partition, on_delivery=pending.delivered)
            # The report comes by then, also for records that the broker never took; a caller must not wait for ever.
            async with asyncio.timeout(2 * ACK_TIMEOUT_SECONDS + 5):
                await pending.done
        except TimeoutError:
            raise self._unavailable(_UNREPORTED) from None
        except BufferError:
            what = "The queue of records for Kafka is full."
            raise BusyError(what, "Send again in a moment.") from None
        except KafkaException as error:
            self._down_until = time.monotonic() + DOWN_SECONDS
            raise self._unavailable(error.args[0].name()) from error
        finally:
            self._waiting -= len(records)

    @property
    def failure(self) -> str | None:
        """In what way the thread of delivery reports has failed for good, None if it works."""
        ended = self._thread.ident is not None and not self._thread.is_alive() and not self._stopping.is_set()
        return "has died" if ended else None

    def _serve(self) -> None:
        while not self._stopping.is_set():
            try:
                self._producer.poll(0.1)
            except Exception as error:  # noqa: BLE001 - the reports of other requests are still to come
                _log.error("delivery reports interrupted", exc_info=error)
                self._stopping.wait(0.1)

    def _unavailable(self, why: str) -> UnavailableError:
        what = f"Kafka at {self._bootstrap} does not accept the records: {why}."
        return UnavailableError(what, "Send them again; duplicates count once.")


class _PendingAck:
    """A future that resolves when every record of one request has its delivery report."""

    def __init__(self, records: int) -> None:
        self._loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = self._loop.create_future()
        self._left = records
        self._failure: KafkaError | None = None

    def delivered(self, error: KafkaError | None, _message: Message) -> None:
        """Count one report; called in the polling thread."""
        self._left -= 1
        self._failure = self._failure or error
        if self._left == 0:
            with contextlib.suppress(RuntimeError):  # the loop has closed: no caller waits any more
                self._loop.call_soon_threadsafe(self._resolve)

    def _resolve(self) -> None:
        if self.done.done():
            return
        if self._failure is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(KafkaException(self._failure))
