"""Scores that are due: customers of several partitions described, scored, and what is told of them published."""

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from math import isnan
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from ebb.contracts.features import INDEX
from ebb.contracts.models import TARGETS
from ebb.contracts.scores import BANDS, utc
from ebb.kafka.producer import Publisher
from ebb.metrics import ALERTS, SCORES
from ebb.settings import Settings
from online_ml.scoring.inputs import design
from online_ml.scoring.reasons import explain
from online_ml.scoring.scorer import Scorer
from stream_processors.partition import SLICE_ROWS, PartitionWorker
from stream_processors.scoring.history import ScoreHistory
from stream_processors.scoring.split import Assignment, ServingModels
from stream_processors.sink import Sink, alert_columns
from stream_processors.state.customers import DAY_MS, Rows
from stream_processors.state.features import Subjects, describe_all

NAMES: tuple[str, ...] = tuple(band.value for band in BANDS)
HIGH = 2
"""Bands from here on are worth an alert; leaving them for a lower one is worth telling too."""
TREND_STEPS = 5
"""A trend is told again when it changed by so many times what makes a score worth telling."""


@dataclass(frozen=True)
class ScoringRequest(Subjects):
    """Customers of one partition whose scores are due."""

    board: ScoreHistory
    always: bool
    """Tell every score (the customer has just acted) rather than those that moved."""


@dataclass
class ScoreUpdates:
    """What is to be published of one partition."""

    rows: Rows
    """Rows of the customers whose score is told."""
    customer_ids: list[str]
    bodies: list[bytes]
    """A message of the form of `ebb.contracts.scores.Score` for each row, encoded."""
    alerts: list[dict[str, Any]] = field(default_factory=list)
    """Of the form of `ebb.contracts.scores.Alert`."""


@dataclass
class _Scored:
    """Customers of several partitions, one after another."""

    places: npt.NDArray[np.intp]
    """Of the partition among those asked about, by customer."""
    rows: Rows
    now: npt.NDArray[np.int64]
    churn: npt.NDArray[np.float32]
    before: npt.NDArray[np.float32]
    """What was last published."""
    old: npt.NDArray[np.int8]
    band: npt.NDArray[np.int8]
    trend: npt.NDArray[np.float32]

    def of(self, chosen: npt.NDArray[np.intp]) -> "_Scored":
        return _Scored(**{name: values[chosen] for name, values in vars(self).items()})


class Teller:
    """Scores customers and says what must be published.

    Parameters
    ----------
    settings
        Thresholds, hysteresis, cool-down, worth of an offer.
    champions
        The models that score.
    """

    def __init__(self, settings: Settings, champions: ServingModels) -> None:
        self._champions = champions
        self._thresholds = np.array(settings.band_thresholds)
        self._hysteresis = settings.band_hysteresis
        self._cooldown = int(settings.alert_cooldown_days * DAY_MS)
        self._change = settings.publish_change
        self._value_days = settings.value_horizon_days
        self._save_rate = settings.save_rate
        self._offer_cost = settings.offer_cost

    def tell(
        self, due: Sequence[ScoringRequest], features: npt.NDArray[np.float32]
    ) -> tuple[list[ScoreUpdates], dict[str, Any]]:
        """Score customers of several partitions together: for few of them the cost is one a call.

        Parameters
        ----------
        due
            At least one.
        features
            Shape (n, `ebb.contracts.features.WIDTH`), in the order of `due`.

        Returns
        -------
        list of Told
            One for each of `due`.
        dict
            All the scores that are told, as columns of table `scores`; empty if there is none.
        """
        inputs = design(features)
        hashes = _joined(due, lambda one: one.state.table["id_hash"][one.rows])
        arms, buying = (Assignment.of(self._champions, target, hashes) for target in TARGETS)
        scored = self._scored(due, arms.say(lambda model, who: model.score(inputs[who])).astype(np.float32))
        chosen = np.flatnonzero(self._worth_telling(due, scored))
        picked = scored.of(chosen)
        features, inputs, arms = features[chosen], inputs[chosen], arms.rows(chosen)
        cuts = np.searchsorted(picked.places, np.arange(len(due) + 1)).tolist()
        spans = [slice(start, stop) for start, stop in pairwise(cuts)]
        if not len(chosen):
            return [ScoreUpdates(one.rows[:0], [], []) for one in due], {}
        columns = self._columns(due, spans, picked, features)
        purchase = buying.rows(chosen).say(lambda model, who: model.score(inputs[who]))
        columns["purchase"] = np.round(purchase, 6).tolist()
        columns["band"] = [NAMES[level] for level in picked.band.tolist()]
        columns["reasons"] = arms.say(lambda model, who: _reasons(model, features[who], inputs[who])).tolist()
        scored_at = utc(time.time())
        bodies = _bodies(columns, arms, scored_at, picked.now)
        told = [ScoreUpdates(picked.rows[span], columns["customer_id"][span], bodies[span]) for span in spans]
        which = arms.taken.astype(np.intp)
        columns["model"] = pa.array(np.array([model.name for model in arms.models])[which])
        columns["model_version"] = np.array([model.version for model in arms.models], np.uint32)[which]
        columns["as_of"] = _moments(picked.now)
        columns["scored_at"] = _moments(np.full(len(chosen), int(scored_at.timestamp() * 1000)))
        for place in np.flatnonzero(picked.band != picked.old).tolist():
            where = int(picked.places[place])
            old, new, now = int(picked.old[place]), int(picked.band[place]), int(picked.now[place])
            if self._worth_an_alert(due[where].board, int(picked.rows[place]), old, new, now):
                told[where].alerts.append(_alert(orjson.loads(bodies[place]), old, now // DAY_MS))
        for one, span in zip(due, spans, strict=True):
            for name, values in (("published", picked.churn), ("trend", picked.trend), ("band", picked.band)):
                one.board.table[name][picked.rows[span]] = values[span]
        return told, columns

    def _scored(self, due: Sequence[ScoringRequest], churn: npt.NDArray[np.float32]) -> _Scored:
        """Put beside the scores what was told before."""
        start = 0
        for one in due:
            one.board.table.grow(len(one.state))
            one.board.table["churn"][one.rows] = churn[start : start + len(one.rows)]
            start += len(one.rows)
        counts = [len(one.rows) for one in due]
        old = _joined(due, lambda one: one.board.table["band"][one.rows])
        return _Scored(
            places=np.repeat(np.arange(len(due)), counts),
            rows=_joined(due, lambda one: one.rows),
            now=np.repeat([one.now for one in due], counts),
            churn=churn,
            before=_joined(due, lambda one: one.board.table["published"][one.rows]),
            old=old,
            band=self._banded(churn, old),
            trend=churn - _joined(due, lambda one: one.board.week_ago(one.rows, one.now)),
        )

    def _worth_telling(self, due: Sequence[ScoringRequest], scored: _Scored) -> npt.NDArray[np.bool_]:
        always: npt.NDArray[np.bool_] = np.array([one.always for one in due])[scored.places]
        if always.all():
            return always
        told = _joined(due, lambda one: one.board.table["trend"][one.rows])
        # A trend that was told and no longer holds is as wrong as a score; NaN (none yet) compares as unmoved.
        turned = np.abs(scored.trend - told) >= TREND_STEPS * self._change
        moved = np.isnan(scored.before) | (np.abs(scored.churn - scored.before) >= self._change)
        found: npt.NDArray[np.bool_] = always | moved | (scored.band != scored.old) | turned
        return found

    def _columns(
        self, due: Sequence[ScoringRequest], spans: list[slice], picked: _Scored, features: npt.NDArray[np.float32]
    ) -> dict[str, Any]:
        """Return what is told of each customer, by name, as plain numbers rounded to what is worth saying."""
        risk = np.round(picked.churn.astype(np.float64), 6)
        tenure = np.maximum(features[:, INDEX["tenure_days"]].astype(np.float64), 30.0)
        value = np.maximum(features[:, INDEX["spend_total"]] / tenure * self._value_days, 0.0)
        ids: list[str] = []
        countries: list[str | None] = []
        channels: list[str | None] = []
        for one, span in zip(due, spans, strict=True):
            rows, state = picked.rows[span], one.state
            ids += state.ids.take(rows)
            countries += state.countries.of(state.table["country"][rows])
            channels += state.channels.of(state.table["channel"][rows])
        return {
            "customer_id": ids,
            "churn": risk.tolist(),
            "previous": _numbers(picked.before),
            "trend_7d": _numbers(picked.trend),
            "value_at_risk": np.round(risk * value, 2).tolist(),
            "expected_gain": np.round(risk * self._save_rate * value - self._offer_cost, 2).tolist(),
            "country": countries,
            "channel": channels,
        }

    def _banded(self, churn: npt.NDArray[np.float32], old: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
        """Rise at the thresholds, fall only below them by the hysteresis, so that noise does not flip a band."""
        rising = np.searchsorted(self._thresholds, churn, side="right")
        falling = np.searchsorted(self._thresholds - self._hysteresis, churn, side="right")
        return np.where(old < 0, rising, np.where(rising > old, rising, np.minimum(old, falling))).astype(np.int8)

    def _worth_an_alert(self, board: ScoreHistory, row: int, old: int, new: int, now: int) -> bool:
        """Tell whether a change of band pages somebody, and note that it did.

        A rise to high or critical does, and a fall from there. Within the cool-down after an alert only a band higher
        than the one alerted does: nobody is paged twice for one fact. A first score is no change.
        """
        if old < 0 or max(old, new) < HIGH or (new < old and new >= HIGH):
            return False
        alerted = board.alerted(row)
        if alerted is not None and now - alerted[0] < self._cooldown and new <= alerted[1]:
            return False
        board.page(row, new, now)
        return True


def _joined(due: Sequence[ScoringRequest], part: Callable[[ScoringRequest], npt.NDArray[Any]]) -> npt.NDArray[Any]:
    return part(due[0]) if len(due) == 1 else np.concatenate([part(one) for one in due])


def _numbers(values: npt.NDArray[np.float32]) -> list[float | None]:
    """Return plain numbers, None for what is not one."""
    return [None if isnan(value) else value for value in np.round(values.astype(np.float64), 6).tolist()]


def _reasons(model: Scorer, features: npt.NDArray[np.float32], inputs: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
    return np.array([orjson.dumps(why).decode() for why in explain(model, features, inputs=inputs)], dtype=object)


def _bodies(
    columns: dict[str, list[Any]], arms: Assignment, scored_at: datetime, now: npt.NDArray[np.int64]
) -> list[bytes]:
    """Encode scores as messages, one for each place of the columns; what is the same for many is encoded once."""
    names = tuple(columns)
    last = names.index("reasons")
    models = [{"name": model.name, "version": model.version} for model in arms.models]
    endings = {
        (at, which): b"," + orjson.dumps({"model": model, "as_of": utc(at / 1000), "scored_at": scored_at})[1:]
        for at in np.unique(now).tolist()
        for which, model in enumerate(models)
    }
    bodies = []
    for at, which, *values in zip(now.tolist(), arms.taken.tolist(), *columns.values(), strict=True):
        message = dict(zip(names, values, strict=True))
        message["reasons"] = orjson.Fragment(values[last])
        bodies.append(orjson.dumps(message)[:-1] + endings[at, which])
    return bodies


def _moments(milliseconds: npt.NDArray[np.int64]) -> pa.Array:
    return pa.array(milliseconds, pa.timestamp("ms", tz="UTC"))


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


class Scoring:
    """Scores customers of all of a worker's partitions.

    Parameters
    ----------
    settings
        Of the features and of what is worth telling.
    publisher
        Where scores and alerts go.
    sink
        Where rows for ClickHouse go.
    champions
        The models in use.
    """

    def __init__(self, settings: Settings, *, publisher: Publisher, sink: Sink, champions: ServingModels) -> None:
        self._topics = settings.topics
        self._minor_units = settings.minor_units
        self._publisher = publisher
        self._sink = sink
        self._teller = Teller(settings, champions)

    def score(self, asked: Iterable[tuple[PartitionWorker, Rows]], *, cause: Literal["event", "sweep"]) -> None:
        """Score customers and publish what is to be told.

        Who has acted is told their score at once, moved or not, so that it is seen to be of now; while records wait,
        and in a sweep, only if it moved.

        Parameters
        ----------
        asked
            Each partition once, with rows that are distinct and ascending.
        """
        for part in _slices(asked):
            due = [
                ScoringRequest(
                    worker.engine.state, rows, worker.now(), worker.board, cause == "event" and not worker.behind
                )
                for worker, rows in part
            ]
            told, columns = self._teller.tell(due, describe_all(due, minor_units=self._minor_units))
            for (worker, _), one in zip(part, told, strict=True):
                self._publish(worker, one)
            if columns:
                self._sink.add("scores", columns)
                SCORES.labels(cause).inc(len(columns["customer_id"]))

    def _publish(self, worker: PartitionWorker, told: ScoreUpdates) -> None:
        if not told.bodies:
            return
        worker.engine.touch(told.rows)
        scores = zip(told.customer_ids, told.bodies, strict=True)
        self._publisher.send_all(self._topics.scores, scores, partition=worker.partition)
        if told.alerts:
            alerts = [(alert["customer_id"], orjson.dumps(alert)) for alert in told.alerts]
            self._publisher.send_all(self._topics.alerts, alerts, partition=worker.partition)
            self._sink.add("alerts", alert_columns(told.alerts))
            for alert in told.alerts:
                ALERTS.labels(alert["band"]).inc()


def _slices(asked: Iterable[tuple[PartitionWorker, Rows]]) -> Iterator[list[tuple[PartitionWorker, Rows]]]:
    """Cut into slices of `SLICE_ROWS`, over the borders of partitions; leave out who was forgotten."""
    part: list[tuple[PartitionWorker, Rows]] = []
    room = SLICE_ROWS
    for worker, every in asked:
        rows = worker.engine.state.somebodys(every)
        while len(rows):
            part.append((worker, rows[:room]))
            rows, room = rows[room:], room - len(rows[:room])
            if not room:
                yield part
                part, room = [], SLICE_ROWS
    if part:
        yield part
