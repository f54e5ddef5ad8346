"""From probabilities to what people are told: bands with hysteresis, trends, value at risk, alerts with a cool-down."""

import hashlib
import time
from dataclasses import dataclass, field
from math import isnan
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from ebb.features import INDEX
from ebb.messages import BANDS, utc
from ebb.settings import Settings
from online_ml.reasons import explain
from online_ml.scoring import Scorer
from online_ml.transforms import design
from stream_processors.arms import Arms, Champions
from stream_processors.columns import NEVER, SERVED, Table
from stream_processors.state import DAY_MS, CustomerState, Rows

NAMES: tuple[str, ...] = tuple(band.value for band in BANDS)
HIGH = 2
"""Bands from here on are worth an alert; leaving them for a lower one is worth telling too."""
TREND_DAYS = 7
TREND_STEPS = 5
"""A trend is told again when it changed by so many times what makes a score worth telling."""
HISTORY = 8
"""Boundaries whose score is kept, so that the one seven days ago is at hand."""


@dataclass
class Told:
    """What is to be published."""

    rows: Rows = field(default_factory=lambda: np.empty(0, np.intp))
    """Rows of the customers whose score is told."""
    customer_ids: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    """A message of the form of `ebb.messages.Score` for each row, encoded."""
    columns: dict[str, Any] = field(default_factory=dict)
    """The same scores as columns of table `scores`."""
    alerts: list[dict[str, Any]] = field(default_factory=list)
    """Of the form of `ebb.messages.Alert`."""


class Scoreboard:
    """What was last told about each customer of a partition.

    Parameters
    ----------
    settings
        Thresholds, hysteresis, cool-down, worth of an offer.
    """

    def __init__(self, settings: Settings) -> None:
        self.table = Table(SERVED)
        self.remembered = 0
        """Last boundary whose scores stand in `history`."""
        self._thresholds = np.array(settings.band_thresholds)
        self._hysteresis = settings.band_hysteresis
        self._cooldown = int(settings.alert_cooldown_days * DAY_MS)
        self._change = settings.publish_change
        self._value_days = settings.value_horizon_days
        self._save_rate = settings.save_rate
        self._offer_cost = settings.offer_cost

    def forget(self, row: int) -> None:
        """Forget what was told of a row."""
        if row < self.table.rows:
            self.table.clear(row)

    def remember(self, boundary: int) -> None:
        """Keep the scores as they stand at a boundary, for the trend."""
        first = max(self.remembered + 1, boundary - HISTORY + 1)
        for day in range(first, boundary + 1):
            self.table["history"][:, day % HISTORY] = self.table["churn"]
        self.remembered = max(self.remembered, boundary)

    def tell(
        self,
        state: CustomerState,
        rows: Rows,
        features: npt.NDArray[np.float32],
        champions: Champions,
        *,
        now: int,
        always: bool,
    ) -> Told:
        """Score customers and say what must be published.

        Parameters
        ----------
        rows
            Shape (n,), distinct.
        features
            Shape (n, `ebb.features.WIDTH`), those of `rows` at `now`.
        now
            Event time, ms.
        always
            Publish every score (the customer has just acted) rather than those that moved.
        """
        self.table.grow(len(state))
        inputs = design(features)
        hashes = state.table["id_hash"][rows]
        arms, buying = Arms.of(champions, "churn", hashes), Arms.of(champions, "purchase", hashes)
        churn = arms.say(lambda model, who: model.score(inputs[who])).astype(np.float32)
        before = self.table["published"][rows]
        old = self.table["band"][rows]
        band = self._banded(churn, old)
        trend = churn - self._week_ago(rows, now)
        # A trend that was told and no longer holds is as wrong as a score; NaN (none yet) compares as unmoved.
        turned = np.abs(trend - self.table["trend"][rows]) >= TREND_STEPS * self._change
        moved = np.isnan(before) | (np.abs(churn - before) >= self._change) | (band != old) | turned
        chosen = np.arange(len(rows)) if always else np.flatnonzero(moved)
        self.table["churn"][rows] = churn
        if len(chosen) == 0:
            return Told()
        picked = rows[chosen]
        features, inputs, arms = features[chosen], inputs[chosen], arms.rows(chosen)
        columns = self._columns(state, picked, features=features, churn=churn[chosen], trend=trend[chosen])
        purchase = buying.rows(chosen).say(lambda model, who: model.score(inputs[who]))
        columns["purchase"] = np.round(purchase, 6).tolist()
        columns["band"] = [NAMES[level] for level in band[chosen].tolist()]
        columns["reasons"] = arms.say(lambda model, who: _reasons(model, features[who], inputs[who])).tolist()
        as_of, scored_at = utc(now / 1000), utc(time.time())
        endings = [
            {"model": {"name": model.name, "version": model.version}, "as_of": as_of, "scored_at": scored_at}
            for model in arms.models
        ]
        told = Told(picked, columns["customer_id"], _bodies(columns, endings, arms.taken), columns)
        n = len(picked)
        columns["model"] = pa.array(np.array([model.name for model in arms.models])[arms.taken.astype(np.intp)])
        columns["model_version"] = np.array([model.version for model in arms.models], np.uint32)[
            arms.taken.astype(np.intp)
        ]
        columns["as_of"], columns["scored_at"] = _moments(now, n), _moments(int(scored_at.timestamp() * 1000), n)
        for place in np.flatnonzero(band[chosen] != old[chosen]).tolist():
            at = chosen[place]
            if self._worth_an_alert(int(picked[place]), int(old[at]), int(band[at]), now):
                told.alerts.append(_alert(orjson.loads(told.bodies[place]), int(old[at]), now // DAY_MS))
        self.table["published"][picked] = churn[chosen]
        self.table["trend"][picked] = trend[chosen]
        self.table["band"][picked] = band[chosen]
        return told

    def _columns(
        self,
        state: CustomerState,
        rows: Rows,
        *,
        features: npt.NDArray[np.float32],
        churn: npt.NDArray[np.float32],
        trend: npt.NDArray[np.float32],
    ) -> dict[str, Any]:
        """Return what is told of each row, by name, as plain numbers rounded to what is worth saying."""
        risk = np.round(churn.astype(np.float64), 6)
        tenure = np.maximum(features[:, INDEX["tenure_days"]].astype(np.float64), 30.0)
        value = np.maximum(features[:, INDEX["spend_total"]] / tenure * self._value_days, 0.0)
        return {
            "customer_id": [state.ids[row] for row in rows.tolist()],
            "churn": risk.tolist(),
            "previous": _numbers(self.table["published"][rows]),
            "trend_7d": _numbers(trend),
            "value_at_risk": np.round(risk * value, 2).tolist(),
            "expected_gain": np.round(risk * self._save_rate * value - self._offer_cost, 2).tolist(),
            "country": state.countries.of(state.table["country"][rows]),
            "channel": state.channels.of(state.table["channel"][rows]),
        }

    def _banded(self, churn: npt.NDArray[np.float32], old: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
        """Rise at the thresholds, fall only below them by the hysteresis, so that noise does not flip a band."""
        rising = np.searchsorted(self._thresholds, churn, side="right")
        falling = np.searchsorted(self._thresholds - self._hysteresis, churn, side="right")
        return np.where(old < 0, rising, np.where(rising > old, rising, np.minimum(old, falling))).astype(np.int8)

    def _week_ago(self, rows: Rows, now: int) -> npt.NDArray[np.float32]:
        day = min(now // DAY_MS, self.remembered + 1) - TREND_DAYS
        found: npt.NDArray[np.float32] = self.table["history"][rows, day % HISTORY]
        return found

    def _worth_an_alert(self, row: int, old: int, new: int, now: int) -> bool:
        """Tell whether a change of band pages somebody, and note that it did.

        A rise to high or critical does, and a fall from there. Within the cool-down after an alert only a band higher
        than the one alerted does: nobody is paged twice for one fact. A first score is no change.
        """
        if old < 0 or max(old, new) < HIGH or (new < old and new >= HIGH):
            return False
        at, alerted = self.table["alerted_at"], self.table["alerted_band"]
        if at[row] != NEVER and now - at[row] < self._cooldown and new <= alerted[row]:
            return False
        at[row], alerted[row] = now, new
        return True


def _numbers(values: npt.NDArray[np.float32]) -> list[float | None]:
    """Return plain numbers, None for what is not one."""
    return [None if isnan(value) else value for value in np.round(values.astype(np.float64), 6).tolist()]


def _reasons(model: Scorer, features: npt.NDArray[np.float32], inputs: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
    return np.array([orjson.dumps(why).decode() for why in explain(model, features, inputs=inputs)], dtype=object)


def _bodies(columns: dict[str, list[Any]], endings: list[dict[str, Any]], which: npt.NDArray[np.bool_]) -> list[bytes]:
    """Encode scores as messages, one for each place of the columns; what all of a model share is encoded once."""
    names = tuple(columns)
    last = names.index("reasons")
    encoded = [b"," + orjson.dumps(ending)[1:] for ending in endings]
    bodies = []
    for ending, *values in zip([encoded[place] for place in which.tolist()], *columns.values(), strict=True):
        message = dict(zip(names, values, strict=True))
        message["reasons"] = orjson.Fragment(values[last])
        bodies.append(orjson.dumps(message)[:-1] + ending)
    return bodies


def _moments(milliseconds: int, n: int) -> pa.Array:
    return pa.repeat(pa.scalar(milliseconds, pa.timestamp("ms", tz="UTC")), n)


def _alert(score: dict[str, Any], old: int, day: int) -> dict[str, Any]:
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
