"""Shapes of the answer of `/v1/trends`."""

from datetime import date

from pydantic import Field

from ebb.messages import Band
from serving.schemas import Answer


class BandThen(Answer):
    """A band at the end of a day."""

    band: Band
    customers: int
    value_at_risk: float


class BandDay(Answer):
    """How a day of event time ended."""

    day: date
    bands: list[BandThen] = Field(description="All four, low first.")


class Estimate(Answer):
    """What the probabilities of a day's snapshot promise of their ROC-AUC, and what came of it."""

    snapshot_day: date
    due_day: date = Field(description="When the labels are known.")
    estimated: float
    realised: float | None
    customers: int


class Moved(Answer):
    """A feature whose values lie away from what they were."""

    name: str
    psi: float = Field(description="Population stability index against the reference.")


class Drift(Answer):
    """How far what comes in and what goes out lie from what they were."""

    score_psi: float | None
    features: int = Field(description="Features watched.")
    moved: list[Moved] = Field(description="Features with a PSI above 0.25, the largest first.")


class Trends(Answer):
    """What moves in days rather than seconds. A part that cannot be told now is null."""

    bands: list[BandDay] | None
    estimated: list[Estimate] | None
    drift: Drift | None
    countries: list[str] = Field(description="Countries of the customers held, to filter by.")
