"""The simulator as a process: a history as fast as the broker accepts it, then events at the pace of the clock.

Guarantees: no event before its time by the clock; to every partition a tick that closes each day, the allowed
lateness after its end, after all events before that moment; restarted, it
resumes where it was, with the same customers. After a crash the last second's events may be sent twice, with the same
ids.
"""

import fcntl
import math
import signal
import sys
import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from ebb.clock import DAY, day_of
from ebb.errors import EbbError, SetupError
from ebb.kafka.admin import create_topics
from ebb.log import configure_logging, get_logger
from ebb.metrics import serve_metrics
from ebb.settings import Settings, settings
from producers.activity_producer import ActivityProducer
from producers.simulator.journal import Journal, Options
from producers.simulator.records import SimulatedRecord, records
from producers.simulator.shifts import KINDS, Shift
from producers.simulator.truth import truth_folder, write_truth
from producers.simulator.world import Simulation

LONGEST_DELAY_SECONDS = 0.02
"""Longest that an event is sent after its time, in real seconds."""
SAVE_SECONDS = 1.0

Customers = Annotated[int | None, typer.Option(min=1, help="Customers at the start; newcomers arrive. [5000]")]
Rate = Annotated[float | None, typer.Option(min=0.01, max=100, help="Factor on how often customers visit. [1]")]
Seed = Annotated[int | None, typer.Option(help="The same seed gives the same events. [EBB_SEED]")]
History = Annotated[int | None, typer.Option(min=0, max=3650, help="Days sent at once at the first start. [60]")]
ShiftTexts = Annotated[
    list[str] | None,
    typer.Option("--shift", metavar="DAY:KIND", help=f"A regime shift, e.g. 90:price. Kinds: {', '.join(KINDS)}."),
]


class Simulator:
    """Sends the events of one world.

    Parameters
    ----------
    stopping
        Set from outside to end `run` cleanly.
    """

    def __init__(self, settings: Settings, options: Options, stopping: threading.Event) -> None:
        self._settings = settings
        self._clock = settings.clock
        self._stopping = stopping
        self._journal = Journal.open(settings, options, today=day_of(self._clock.now()))
        self._simulation = Simulation(self._journal.world)
        self._reached = self._journal.sent_until
        self._saved_at = time.monotonic()
        self._log = get_logger(__name__)

    def run(self) -> None:
        """Send until `stopping` is set.

        Raises
        ------
        UnavailableError
            If Kafka does not accept the events.
        """
        world = self._journal.world
        with ActivityProducer(self._settings, source="simulator") as producer:
            # Saved before anything is sent, so that after a crash in the history the same world begins again.
            self._journal = self._journal.sent(self._reached if math.isfinite(self._reached) else 0.0)
            self._log.info("simulating", world=world.tag, customers=world.customers, first_day=world.first_day)
            while not self._stopping.is_set():
                self._day(producer)
            producer.flush()
            self._journal = self._journal.sent(max(self._reached, 0.0))
            self._log.info("stopped", sent_until=self._reached, delivered=producer.delivered)

    def _day(self, producer: ActivityProducer) -> None:
        simulation = self._simulation
        start = simulation.day * DAY
        if start + DAY <= self._journal.sent_until:  # sent before the restart: only step
            simulation.step()
            return
        if not self._wait(start, producer):
            return
        horizon, lookback = self._settings.horizon_days, self._settings.lookback_days
        truth = simulation.truth(horizon=horizon, lookback=lookback)
        write_truth(truth_folder(self._settings), truth, horizon=horizon, lookback=lookback)
        # A day closes when time has moved past its end by the lateness: no sooner does a tick say anything.
        closing = start + self._settings.allowed_lateness_seconds
        day = records(simulation.step(), self._journal.world.tag)
        cut = bisect_left([record.time for record in day], closing)
        if not (self._send(day[:cut], producer) and self._wait(closing, producer)):
            return
        if closing >= self._journal.sent_until:
            producer.send_tick(closing)
            self._reached = max(self._reached, closing)
        self._send(day[cut:], producer)

    def _send(self, day: list[SimulatedRecord], producer: ActivityProducer) -> bool:
        """Send records, each when its time has come; False if stopped before."""
        times = [record.time for record in day]
        index = bisect_right(times, self._journal.sent_until)
        while index < len(day):
            due = bisect_right(times, self._clock.now(), lo=index)
            for record in day[index:due]:
                producer.send(record.customer_id, record.body)
            if due > index:
                self._reached = times[due - 1]
                index = due
            self._save(producer)
            if index < len(day) and not self._wait(times[index], producer):
                return False
        return True

    def _wait(self, event_time: float, producer: ActivityProducer) -> bool:
        """Wait until the clock reaches an event time; False if stopped before."""
        while (ahead := self._clock.wall(event_time) - time.time()) > 0:
            self._save(producer)
            # Short waits are rounded up, so that a busy second is sent in fifty batches.
            if self._stopping.wait(min(max(ahead, LONGEST_DELAY_SECONDS), SAVE_SECONDS)):
                return False
        return not self._stopping.is_set()

    def _save(self, producer: ActivityProducer) -> None:
        now = time.monotonic()
        if now - self._saved_at >= SAVE_SECONDS and self._reached > self._journal.sent_until:
            producer.flush()
            self._journal = self._journal.sent(self._reached)
            self._saved_at = now


def command(
    customers: Customers = None,
    rate: Rate = None,
    seed: Seed = None,
    history_days: History = None,
    shift: ShiftTexts = None,
) -> None:
    """Simulate a shop's customers into the activity topic until stopped."""
    try:
        shared = settings()
        configure_logging(shared, "simulator")
        shifts = tuple(Shift.parse(text) for text in shift or ())
        simulate(shared, Options(customers, rate, seed, history_days, shifts))
    except EbbError as error:
        print(error, file=sys.stderr)  # noqa: T201 - for the terminal that started the process
        raise typer.Exit(1) from error


def simulate(shared: Settings, options: Options) -> None:
    """Run a simulator in this process until SIGTERM or SIGINT."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    with _single_instance(shared):
        create_topics(shared)
        serve_metrics(shared)
        Simulator(shared, options, stopping).run()


@contextmanager
def _single_instance(shared: Settings) -> Iterator[None]:
    """Hold the home's simulator lock, which the system releases however the process ends."""
    shared.home.mkdir(parents=True, exist_ok=True)
    name = f"simulator-{shared.namespace}.lock" if shared.namespace else "simulator.lock"
    with (shared.home / name).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            what = f"A simulator already runs on {shared.home}."
            raise SetupError(what, "Stop it (`ebb up --no-simulator` starts none), or set EBB_HOME.") from error
        yield


if __name__ == "__main__":
    typer.run(command)
