"""Decide which changes of band raise an alert, and write it."""

import hashlib
from typing import Any

from ebb.settings import ScoreSettings
from stream_processors.scoring.bands import HIGH, NAMES
from stream_processors.scoring.history import ScoreHistory
from stream_processors.state.table import DAY_MS


class AlertRule:
    """Raises at most one alert per customer and fact.

    A rise to high or critical raises one, and a fall from there. Within the cool-down after an alert only a band
    higher than the one alerted does. A first score is no change.
    """

    def __init__(self, settings: ScoreSettings) -> None:
        self._cooldown = int(settings.alert_cooldown_days * DAY_MS)

    def raises(self, history: ScoreHistory, row: int, *, old: int, new: int, now: int) -> bool:
        """Decide whether a change of band raises an alert, and record it if so.

        Parameters
        ----------
        old, new
            Levels of the bands; `old` is below 0 before the first score.
        now
            Event time, ms.
        """
        if old < 0 or max(old, new) < HIGH or (new < old and new >= HIGH):
            return False
        last = history.last_alert(row)
        if last is not None and now - last[0] < self._cooldown and new <= last[1]:
            return False
        history.record_alert(row, new, now)
        return True


def alert_message(score: dict[str, Any], old: int, day: int) -> dict[str, Any]:
    """Return the alert, of the form of `ebb.contracts.scores.Alert`, for a score whose band was `old`.

    Parameters
    ----------
    score
        Of the form of `ebb.contracts.scores.Score`.
    day
        Day of event time. The id is a hash of customer, bands and day, so that a replay raises the same alert.
    """
    previous = NAMES[old]
    fact = f"{score['customer_id']}|{previous}|{score['band']}|{day}"
    risen = NAMES.index(score["band"]) > old
    because = "; ".join(reason["text"] for reason in score["reasons"][:2] if (reason["contribution"] > 0) == risen)
    why = f"Risk {'rose' if risen else 'fell'} from {previous} to {score['band']} ({score['churn']:.0%})"
    return {
        "alert_id": hashlib.blake2b(fact.encode(), digest_size=12).hexdigest(),
        "kind": "band",
        "customer_id": score["customer_id"],
        "band": score["band"],
        "previous_band": previous,
        "churn": score["churn"],
        "previous": score["previous"],
        "why": f"{why}. {because}." if because else f"{why}.",
        "value_at_risk": score["value_at_risk"],
        "country": score["country"],
        "channel": score["channel"],
        "as_of": score["as_of"],
        "raised_at": score["scored_at"],
    }
