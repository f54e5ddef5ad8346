"""Send a recorded log to the activity topic in order of event time, with a tick at every day boundary."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from ebb.clock import DAY, day_of
from ebb.contracts.topics import MAX_MESSAGE_BYTES
from producers.activity_producer import ActivityProducer
from producers.replay.log import RejectedRow
from producers.replay.pacing import PaceGate
from producers.replay.rows import Row, Rows

PROGRESS_ROWS = 500


@dataclass
class ReplayTally:
    """Counts of the rows of a log by result."""

    read: int = 0
    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """By reason."""
    examples: dict[str, str] = field(default_factory=dict)
    """Reason → where and why, for the first row refused for it."""
    customers: set[str] = field(default_factory=set)
    first: float | None = None
    """Event time of the first event, Unix seconds."""
    last: float | None = None
    stopped: bool = False
    """Whether the replay was stopped before the log ended."""
    waited: int = 0
    """Boundaries at which it waited for the learner."""
    waited_seconds: float = 0.0

    @property
    def final_boundary(self) -> int | None:
        """Day number of the boundary that the last tick closes: the first after the last event."""
        return None if self.last is None else day_of(self.last) + 1


def replay(
    rows: Rows,
    producer: ActivityProducer,
    *,
    name: str,
    speed: float | None = None,
    gate: PaceGate | None = None,
    progress: Callable[[int], None] = lambda _: None,
    stopping: Callable[[], bool] = lambda: False,
) -> ReplayTally:
    """Send a log.

    The first tick, at the start of the first day, and one at every further boundary move the time of all partitions, so
    that a partition without events keeps up. The last is the first boundary after the last event: what can mature by
    then does, and nothing beyond the end of the log.

    Parameters
    ----------
    name
        Name of the log in the headers of what is refused.
    speed
        Seconds of event time per real second; None: as fast as the broker accepts it.
    gate
        Where to wait for the learner; None: nowhere. No event of a day is sent before the models are published that
        were learned at its beginning, and the first record behind them has the workers use them.
    progress
        Receives how many more rows are done, every few hundred.
    stopping
        Called now and then; once true, the replay flushes and returns.

    Raises
    ------
    UnavailableError
        If Kafka does not accept the events.
    """
    tally = ReplayTally(read=len(rows))
    for refusal in rows.early:
        _refuse(tally, producer, refusal, name)
    progress(len(rows.early))
    pace = _Pace(speed, stopping)
    done = 0
    for row in rows:
        done += 1
        if done % PROGRESS_ROWS == 0:
            progress(PROGRESS_ROWS)
            if stopping():
                tally.stopped = True
                break
        if isinstance(row, RejectedRow):
            _refuse(tally, producer, row, name)
            continue
        if not pace.reach(row.time):
            tally.stopped = True
            break
        if not _tick_up_to(tally, producer, day_of(row.time), gate):
            tally.stopped = True
            break
        _accept(tally, producer, row)
    if tally.final_boundary is not None and not tally.stopped:
        producer.send_tick(tally.final_boundary * DAY)
    producer.flush()
    progress(done % PROGRESS_ROWS)
    return tally


def _accept(tally: ReplayTally, producer: ActivityProducer, row: Row) -> None:
    producer.send(row.customer_id, row.body)
    tally.accepted += 1
    tally.customers.add(row.customer_id)
    tally.last = row.time
    if tally.first is None:
        tally.first = row.time


def _tick_up_to(tally: ReplayTally, producer: ActivityProducer, day: int, gate: PaceGate | None) -> bool:
    """Send the ticks up to a day; return False if stopped while waiting for the learner."""
    if tally.first is None or tally.last is None:
        producer.send_tick(day * DAY)
        return True
    first, last = day_of(tally.first), day_of(tally.last)
    for boundary in range(last + 1, day + 1):
        producer.send_tick(boundary * DAY)
        if gate is None or not gate.is_due(boundary, first=first, last=last):
            continue
        producer.flush()
        began = time.monotonic()
        if not gate.wait(boundary):
            return False
        tally.waited += 1
        tally.waited_seconds += time.monotonic() - began
        producer.send_tick(boundary * DAY, published=boundary)
    return True


def _refuse(tally: ReplayTally, producer: ActivityProducer, refusal: RejectedRow, name: str) -> None:
    tally.refused[refusal.reason] += 1
    tally.examples.setdefault(refusal.reason, f"{refusal.place}: {refusal.what}")
    if len(refusal.body) > MAX_MESSAGE_BYTES // 2:
        return  # too large for any topic; it is counted, and its row is in `examples`
    headers: list[tuple[str, str | bytes | None]] = [
        ("reason", refusal.reason),
        ("detail", refusal.what[:500]),
        ("stage", "replay"),
        ("topic", name),
        ("partition", "0"),
        ("offset", str(refusal.row)),
    ]
    producer.send_dead_letter(refusal.body, headers)


class _Pace:
    """Delays events until they are due, `speed` times faster than they happened."""

    def __init__(self, speed: float | None, stopping: Callable[[], bool]) -> None:
        self._speed = speed
        self._stopping = stopping
        self._began: tuple[float, float] | None = None

    def reach(self, event_time: float) -> bool:
        """Wait until an event is due; False if stopped before."""
        if self._speed is None:
            return True
        if self._began is None:
            self._began = time.monotonic(), event_time
        wall, event = self._began
        due = wall + (event_time - event) / self._speed
        while (ahead := due - time.monotonic()) > 0:
            if self._stopping():
                return False
            time.sleep(min(ahead, 0.1))
        return True
