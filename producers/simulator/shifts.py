"""Regime shifts on demand: from a day on behaviour changes, for a segment or for all."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from ebb.errors import SettingsError
from producers.simulator.population import CHANNELS, COUNTRIES, Floats, SimulatedCustomers

KINDS: dict[str, str] = {
    "price": "prices rise: price-sensitive customers leave twice as fast",
    "competitor": "a competitor opens in DE: its customers leave three times as fast",
    "outage": "the app fails for 7 days: visits by it halve and disappoint six times as often",
    "holiday": "holidays for 14 days: everyone visits half as often, nobody leaves for that",
    "loyalty": "a loyalty scheme: everyone leaves half as fast",
    "habit": "habits change: everyone visits a third as often, for good",
    "growth": "a campaign: three times as many newcomers, half of whom are disappointed often",
}


@dataclass(frozen=True)
class Shift:
    """What changes (`kind`, one of `KINDS`) and on which day of the simulation (0 is the first)."""

    day: int
    kind: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `day:kind`.

        Raises
        ------
        SettingsError
            If it is not of that form or the kind is unknown.
        """
        day, _, kind = text.partition(":")
        if not (day.isascii() and day.isdigit() and len(day) < 6) or kind not in KINDS:
            what = f"--shift {text} is not of the form day:kind, such as 90:price."
            raise SettingsError(what, f"The kinds are {', '.join(KINDS)}; days count from the start of the history.")
        return cls(int(day), kind)


@dataclass(frozen=True)
class Shifts:
    """The factors that hold on a day of the simulation."""

    shifts: Sequence[Shift] = ()

    def hazard(self, customers: SimulatedCustomers, day: int) -> Floats:
        """Return each customer's factor on the hazard of leaving, shape (customers,)."""
        factor = np.ones(len(customers))
        if self._on("price", day):
            factor *= np.where(customers.price_sensitivity > 0.5, 2.0, 1.0)
        if self._on("competitor", day):
            factor *= np.where(customers.country == COUNTRIES.index("DE"), 3.0, 1.0)
        if self._on("loyalty", day):
            factor *= 0.5
        return factor

    def visits(self, customers: SimulatedCustomers, day: int) -> Floats:
        """Return each customer's factor on the rate of visits."""
        factor = np.ones(len(customers))
        if self._on("outage", day, days=7):
            factor *= np.where(customers.channel == CHANNELS.index("app"), 0.5, 1.0)
        if self._on("holiday", day, days=14):
            factor *= 0.5
        if self._on("habit", day):
            factor /= 3.0
        return factor

    def disappointment(self, customers: SimulatedCustomers, day: int) -> Floats:
        """Return each customer's factor on the probability that a visit disappoints."""
        factor = np.ones(len(customers))
        if self._on("outage", day, days=7):
            factor *= np.where(customers.channel == CHANNELS.index("app"), 6.0, 1.0)
        if self._on("growth", day):
            factor *= np.where((day - customers.joined < 30) & (customers.number % 2 == 0), 4.0, 1.0)
        return factor

    def newcomers(self, day: int) -> float:
        """Return the factor on arrivals."""
        return 3.0 if self._on("growth", day) else 1.0

    def _on(self, kind: str, day: int, *, days: int | None = None) -> bool:
        return any(
            shift.kind == kind and shift.day <= day and (days is None or day < shift.day + days)
            for shift in self.shifts
        )
