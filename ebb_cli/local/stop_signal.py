"""Ctrl-C and SIGTERM as a flag that loops check, so that no signal interrupts a stop."""

import signal
from types import FrameType
from typing import Self


class StopSignal:
    """True in a boolean context once the process was asked to stop; a context manager.

    While it is entered, the first signal sets it and further ones change nothing: stopping is bounded by the parts'
    grace, and a second Ctrl-C must not leave some of them running.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self._received: signal.Signals | None = None
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        for number in self.SIGNALS:
            self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _receive(self, number: int, _: FrameType | None) -> None:
        self._received = self._received or signal.Signals(number)

    def __bool__(self) -> bool:
        return self._received is not None

    def __call__(self) -> bool:
        """Return whether the process was asked to stop."""
        return bool(self)
