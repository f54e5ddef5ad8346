"""Event time over restarts: with compressed days it continues from where the last run stopped."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from ebb.clock import DAY
from ebb.contracts.scores import utc
from ebb.errors import CorruptError, SettingsError
from ebb.settings import Settings


@dataclass(frozen=True)
class Moment:
    """Event time when it was last saved."""

    event: float
    """Unix seconds of event time."""
    day_seconds: float
    """Real seconds that a day took."""
    clean: bool
    """Whether the run stopped cleanly; otherwise time may have advanced for up to a second more."""


def path(home: Path) -> Path:
    """Return the path of the file that holds event time."""
    return home / "clock.json"


def save(settings: Settings, wall: float, *, clean: bool) -> None:
    """Save event time as of a wall time; nothing is saved when event time is wall time."""
    if not settings.clock_origin_wall:
        return
    moment = Moment(settings.clock.at(wall), settings.day_seconds, clean)
    target = path(settings.home)
    fresh = target.with_suffix(".tmp")
    fresh.write_text(json.dumps(asdict(moment)))
    os.replace(fresh, target)


def load(home: Path) -> Moment | None:
    """Return the saved event time, None for a new home.

    Raises
    ------
    CorruptError
        If the file cannot be read as what `save` writes.
    """
    try:
        fields = json.loads(path(home).read_text())
        return Moment(float(fields["event"]), float(fields["day_seconds"]), bool(fields["clean"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        what = f"{path(home)} holds no valid event time."
        raise CorruptError(what, "Start over with `ebb reset`.") from error


def begin(settings: Settings, wall: float) -> Settings:
    """Return settings whose event time continues from the last run in this home, or starts.

    A home keeps the length of its day unless another is given. A new compressed clock starts with the present UTC day.
    An origin given explicitly is not changed.

    Parameters
    ----------
    wall
        Unix time now.

    Raises
    ------
    SettingsError
        If the home's event time has run ahead and wall time is asked for.
    """
    if settings.clock_origin_wall:
        return settings
    moment = load(settings.home)
    day_seconds = settings.day_seconds
    if moment and "day_seconds" not in settings.model_fields_set:
        day_seconds = moment.day_seconds
    if moment is None:
        if day_seconds >= DAY:
            return settings
        event = wall // DAY * DAY
    else:
        event = moment.event + (0 if moment.clean else DAY / moment.day_seconds)
        if day_seconds >= DAY:
            if event > wall:
                what = f"The data in {settings.home} has reached {utc(event):%d %B %Y}; real time would run behind it."
                raise SettingsError(what, "Keep a compressed day by --day-seconds, or empty the data by `ebb reset`.")
            return settings
    return settings.model_copy(
        update={"day_seconds": day_seconds, "clock_origin_wall": wall, "clock_origin_event": event}
    )
