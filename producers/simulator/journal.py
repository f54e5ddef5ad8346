"""The simulator's state across restarts: its world, and the event time up to which it has been sent."""

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

from ebb.errors import CorruptError, SettingsError
from ebb.settings import Settings
from producers.simulator.shifts import Shift, Shifts
from producers.simulator.world import World

HISTORY_DAYS = 60
CUSTOMERS = 5_000


@dataclass(frozen=True)
class Options:
    """Options of the command line; None: as before, or the default."""

    customers: int | None = None
    rate: float | None = None
    seed: int | None = None
    history_days: int | None = None
    shifts: tuple[Shift, ...] = ()


@dataclass(frozen=True)
class Journal:
    """A world and the event time (Unix seconds) up to which, inclusive, its events have been delivered."""

    path: Path
    world: World
    history_days: int
    sent_until: float

    @classmethod
    def open(cls, settings: Settings, options: Options, *, today: int) -> "Journal":
        """Resume the world that `settings.home` holds, or create one with `history_days` of history.

        Parameters
        ----------
        today
            Day number of the current event time.

        Raises
        ------
        SettingsError
            If customers, rate, seed or history differ from the world's, or a shift is in its past.
        CorruptError
            If the file cannot be read.
        """
        name = f"simulator-{settings.namespace}.json" if settings.namespace else "simulator.json"
        path = settings.home / name
        if not path.exists():
            return cls._begin(path, settings, options, today)
        known = cls._read(path)
        asked = {
            "customers": (options.customers, known.world.customers),
            "rate": (options.rate, known.world.rate),
            "seed": (options.seed, known.world.seed),
            "history-days": (options.history_days, known.history_days),
        }
        for option, (given, has) in asked.items():
            if given is not None and given != has:
                what = f"--{option} {given} is not what the simulated world in {settings.home} has ({has})."
                raise SettingsError(
                    what, "Leave the option out to resume that world, or `ebb reset` to start from scratch."
                )
        shifts = list(known.world.shifts.shifts)
        for shift in options.shifts:
            if shift in shifts:
                continue
            if known.world.first_day + shift.day <= known.sent_until // 86_400:
                day = int(known.sent_until // 86_400) - known.world.first_day
                what = f"--shift {shift.day}:{shift.kind} is in the past: the simulation is at day {day}."
                raise SettingsError(what, f"Choose a day from {day + 1} on.")
            shifts.append(shift)
        return replace(known, world=replace(known.world, shifts=Shifts(tuple(shifts))))

    @classmethod
    def _begin(cls, path: Path, settings: Settings, options: Options, today: int) -> "Journal":
        history = HISTORY_DAYS if options.history_days is None else options.history_days
        world = World(
            seed=settings.seed if options.seed is None else options.seed,
            customers=CUSTOMERS if options.customers is None else options.customers,
            first_day=today - history,
            rate=1.0 if options.rate is None else options.rate,
            shifts=Shifts(options.shifts),
        )
        return cls(path, world, history, sent_until=float("-inf"))

    @classmethod
    def _read(cls, path: Path) -> "Journal":
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            world = World(
                seed=stored["seed"],
                customers=stored["customers"],
                first_day=stored["first_day"],
                rate=stored["rate"],
                shifts=Shifts(tuple(Shift.parse(text) for text in stored["shifts"])),
            )
            return cls(path, world, stored["history_days"], stored["sent_until"])
        except (KeyError, TypeError, ValueError) as error:
            what = f"{path} does not hold the state of a simulator: {error!r}."
            raise CorruptError(what, "`ebb reset` begins a new world.") from error

    def sent(self, until: float) -> "Journal":
        """Save that everything up to `until` has been delivered; atomic."""
        journal = replace(self, sent_until=until)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_suffix(".draft")
        stored = {
            "seed": self.world.seed,
            "customers": self.world.customers,
            "first_day": self.world.first_day,
            "rate": self.world.rate,
            "shifts": [f"{shift.day}:{shift.kind}" for shift in self.world.shifts.shifts],
            "history_days": self.history_days,
            "sent_until": until,
        }
        draft.write_text(json.dumps(stored), encoding="utf-8")
        os.replace(draft, self.path)
        return journal
