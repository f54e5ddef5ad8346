"""The supervisor: starts the parts, waits until they are ready, restarts those that crash or hang, stops them all."""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from ebb.errors import SetupError
from ebb_cli.local.parts import ManagedProcess
from ebb_cli.local.process import Process, ending

TICK = 0.05
"""Seconds between two checks of whether a part is ready."""
ATTEMPTS = 3
"""Starts of a part that never was ready before the supervisor gives up on it."""


class Backoff:
    """Waits that double with each crash, and start again from the first after a run that counts as stable.

    Parameters
    ----------
    first, most
        Seconds of the first and of the longest wait.
    stable
        Seconds of running after which earlier crashes are forgotten.
    """

    def __init__(self, *, first: float = 0.5, most: float = 30.0, stable: float = 60.0) -> None:
        self.first = first
        self.most = most
        self.stable = stable
        self.crashes = 0

    def crashed(self, ran: float) -> float:
        """Return the seconds to wait after a run of `ran` seconds ended in a crash."""
        if ran >= self.stable:
            self.crashes = 0
        wait = min(self.most, self.first * 2.0 ** min(self.crashes, 60))
        self.crashes += 1
        return wait


class _Slot:
    """A part and its present state."""

    def __init__(self, part: ManagedProcess) -> None:
        self.part = part
        self.process: Process | None = None
        self.ready = False
        self.was_ready = False
        self.attempts = 0
        self.first_started: float | None = None
        self.backoff = Backoff()
        self.start_at: float | None = None
        """When to start it next; None: not due."""
        self.held = False
        """Taken down on purpose: not restarted."""


class Supervisor:
    """Keeps a set of parts running; a context manager that stops them on the way out.

    Parameters
    ----------
    parts
        In the order in which they are named to the user; each waits for those in its `ManagedProcess.after`, the
        others start side by side.
    logs
        Folder that receives `<part>.log`.
    report
        Called with a sentence when a part becomes ready, crashes or is ready again.
    stopping
        Asked while waiting for readiness; once true, `start` returns early.
    keep_open
        File descriptors that the watchdog holds open as long as any part may live (the lock of the home).
    """

    def __init__(
        self,
        parts: Sequence[ManagedProcess],
        *,
        logs: Path,
        report: Callable[[str], None],
        stopping: Callable[[], bool] = lambda: False,
        keep_open: Sequence[int] = (),
    ) -> None:
        self.logs = logs
        self._report = report
        self._stopping = stopping
        self._keep_open = tuple(keep_open)
        self._slots = {part.name: _Slot(part) for part in parts}
        self._watchdog: subprocess.Popen[str] | None = None
        unknown = {name for part in parts for name in part.after} - set(self._slots)
        if unknown:
            message = f"parts wait for {sorted(unknown)}, which are not among them"
            raise ValueError(message)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # Starting

    def start(self) -> None:
        """Start every part and return when all are ready (or when `stopping` returns true).

        Raises
        ------
        SetupError
            If a part ends again and again or does not become ready in its time; the message names its log.
        """
        now = time.monotonic()
        for slot in self._slots.values():
            slot.start_at = now
        while not self._stopping():
            self._advance(starting=True)
            if all(slot.ready for slot in self._slots.values()):
                return
            time.sleep(TICK)

    def poll(self) -> None:
        """Detect crashes, hangs and new readiness, and restart what is due; never waits for a part that is ready."""
        self._advance(starting=False)

    def _advance(self, *, starting: bool) -> None:
        for slot in self._slots.values():
            if slot.held:
                continue
            if slot.process is None:
                self._launch_if_due(slot)
            elif (code := slot.process.code()) is not None:
                self._on_crash(slot, slot.process, code, starting=starting)
            elif not slot.ready:
                self._check_ready(slot, slot.process, starting=starting)
            else:
                self._check_alive(slot, slot.process)

    def _launch_if_due(self, slot: _Slot) -> None:
        due = slot.start_at is not None and time.monotonic() >= slot.start_at
        # A part that was ready once can wait for its dependencies by itself; only the first start is gated.
        gated = slot.was_ready or all(self._slots[name].ready for name in slot.part.after)
        if due and gated:
            self._launch(slot)

    def _launch(self, slot: _Slot) -> None:
        slot.start_at = None
        slot.attempts += 1
        slot.process = Process(slot.part, self.logs / f"{slot.part.name}.log")
        slot.first_started = slot.first_started or slot.process.started
        self._notify_watchdog(f"+{slot.process.pid}")

    def _check_ready(self, slot: _Slot, process: Process, *, starting: bool) -> None:
        name = slot.part.name
        if slot.part.ready() and process.code() is None:
            verb = "is back" if slot.was_ready else "is ready"
            slot.ready = slot.was_ready = True
            self._report(f"{name} {verb} ({process.age:.1f} s).")
        elif starting and process.age > slot.part.patience:
            what = f"{name} runs but is not ready after {slot.part.patience:.0f} s."
            raise SetupError(what, self._see_log(process))

    def _check_alive(self, slot: _Slot, process: Process) -> None:
        """Kill a part that hangs; its end is seen, and it is started again, as after a crash."""
        if process.silent_seconds() >= slot.part.hang_seconds:
            seconds = slot.part.hang_seconds
            self._report(f"{slot.part.name} runs but has given no sign of life for {seconds:.0f} s; it is killed.")
            process.kill()

    def _on_crash(self, slot: _Slot, process: Process, code: int, *, starting: bool) -> None:
        name = slot.part.name
        self._forget(slot, process)
        if starting and not slot.was_ready and slot.attempts >= ATTEMPTS:
            what = f"{name} does not start: {ending(code)}, {slot.attempts} times."
            raise SetupError(what, self._see_log(process))
        wait = slot.backoff.crashed(process.age)
        slot.start_at = time.monotonic() + wait
        tail = "\n".join(f"    {line}" for line in process.last_lines(4))
        self._report(
            f"{name} ended ({ending(code)}) after {process.age:.0f} s; it is started again in {wait:.1f} s. "
            f"Its log is {process.log}" + (f" and ends:\n{tail}" if tail else ".")
        )

    @staticmethod
    def _see_log(process: Process) -> str:
        tail = "\n".join(f"    {line}" for line in process.last_lines())
        return f"Read {process.log}" + (f"; its last lines are:\n{tail}" if tail else "; it is empty.")

    # While running

    def ready(self, name: str) -> bool:
        """Return whether a part is ready."""
        return self._slots[name].ready

    def pid(self, name: str) -> int | None:
        """Return the process id of a part, or None while it is down."""
        process = self._slots[name].process
        return process.pid if process else None

    def take_down(self, name: str, *, hard: bool = False) -> None:
        """Stop one part and keep it down until `bring_up`; `hard` kills it without warning."""
        slot = self._slots[name]
        slot.held = True
        if slot.process:
            if not hard:
                slot.process.ask_to_stop()
            slot.process.finish(0 if hard else slot.part.grace)
            self._forget(slot, slot.process)

    def bring_up(self, name: str) -> None:
        """Start a part that was taken down and wait until it is ready.

        Raises
        ------
        SetupError
            If it is not ready in its time.
        """
        slot = self._slots[name]
        slot.held = False
        slot.start_at = time.monotonic()
        while not slot.ready and not self._stopping():
            self._advance(starting=True)
            time.sleep(TICK)

    # Stopping

    def stop(self) -> None:
        """Stop all parts, dependent ones first; kill those that do not end in time. Safe to call again."""
        for slot in self._slots.values():
            slot.held = True
        while running := {name: slot for name, slot in self._slots.items() if slot.process}:
            needed = {name for slot in running.values() for name in slot.part.after}
            # Parts that wait for each other cannot have started; `or` keeps the loop finite all the same.
            wave = [slot for name, slot in reversed(running.items()) if name not in needed] or list(running.values())
            for slot in wave:
                if slot.process:
                    slot.process.ask_to_stop()
            signalled = time.monotonic()
            for slot in wave:
                if process := slot.process:
                    if not process.finish(signalled + slot.part.grace - time.monotonic()):
                        self._report(f"{slot.part.name} did not stop within {slot.part.grace:.0f} s and was killed.")
                    self._forget(slot, process)
        if self._watchdog:
            self._watchdog.communicate()
            self._watchdog = None

    def _forget(self, slot: _Slot, process: Process) -> None:
        process.kill()
        slot.process = None
        slot.ready = False
        self._notify_watchdog(f"-{process.pid}")

    def _notify_watchdog(self, line: str) -> None:
        if self._watchdog is None:
            self._watchdog = subprocess.Popen(
                [sys.executable, "-m", "ebb_cli.local.watchdog"],
                stdin=subprocess.PIPE,
                text=True,
                start_new_session=True,
                pass_fds=self._keep_open,
            )
        pipe = self._watchdog.stdin
        try:
            if pipe:
                pipe.write(line + "\n")
                pipe.flush()
        except BrokenPipeError:
            self._report("The watchdog has died: if the supervisor is killed, its parts keep running.")
