"""Turn churn probabilities into scores and alerts, and decide which of them to publish."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from math import isnan
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from ebb.contracts.features import INDEX, LEAST_TENURE_DAYS
from ebb.contracts.models import TARGETS
from ebb.contracts.scores import utc
from ebb.settings import ScoreSettings
from online_ml.scoring.inputs import design
from online_ml.scoring.reasons import explain
from online_ml.scoring.scorer import Scorer
from stream_processors.scoring.alerts import AlertRule, alert_message
from stream_processors.scoring.bands import NAMES, BandRule
from stream_processors.scoring.history import ScoreHistory
from stream_processors.scoring.split import Assignment, ServingModels
from stream_processors.state.features import Subjects
from stream_processors.state.table import DAY_MS
from stream_processors.types import AnyArray, Flags, Float32Array, Int8Array, Int64Array, RowIndices

TREND_STEPS = 5
"""A trend is published again when it changed by so many times `publish_change`."""


def _no_change(_: RowIndices) -> None:
    """Ignore that rows changed."""


@dataclass(frozen=True)
class ScoringRequest(Subjects):
    """Customers of one partition to score."""

    history: ScoreHistory
    force: bool
    """Publish every score (the customer has just acted) rather than those that moved."""
    partition: int = 0
    changed: Callable[[RowIndices], None] = _no_change
    """Receives the rows whose published score changed, so that the next checkpoint includes them."""


@dataclass
class ScoreUpdates:
    """What to publish about customers of one partition."""

    rows: RowIndices
    """Rows of the customers whose score is published."""
    customer_ids: list[str]
    bodies: list[bytes]
    """A message of the form of `ebb.contracts.scores.Score` for each row, encoded."""
    alerts: list[dict[str, Any]] = field(default_factory=list)
    """Of the form of `ebb.contracts.scores.Alert`."""


@dataclass
class _Scored:
    """Customers of several partitions, one after another; every array has shape (n,)."""

    request: RowIndices
    """Index of the request that each customer belongs to."""
    rows: RowIndices
    now: Int64Array
    churn: Float32Array
    published: Float32Array
    """Probability last published, NaN if none was."""
    old: Int8Array
    band: Int8Array
    trend: Float32Array

    def select(self, chosen: RowIndices) -> "_Scored":
        return _Scored(**{name: values[chosen] for name, values in vars(self).items()})


class ScoreUpdater:
    """Scores customers and returns what to publish.

    Parameters
    ----------
    settings
        Thresholds, hysteresis, cool-down, worth of an offer.
    models
        The models that score.
    """

    def __init__(self, settings: ScoreSettings, models: ServingModels) -> None:
        self._models = models
        self._bands = BandRule(settings)
        self._alerts = AlertRule(settings)
        self._change = settings.publish_change
        self._value_days = settings.value_horizon_days
        self._save_rate = settings.save_rate
        self._offer_cost = settings.offer_cost

    def updates(
        self, requests: Sequence[ScoringRequest], features: Float32Array
    ) -> tuple[list[ScoreUpdates], dict[str, Any]]:
        """Score customers of several partitions together: for few customers the cost is one per call.

        Parameters
        ----------
        requests
            At least one.
        features
            Shape (n, `ebb.contracts.features.WIDTH`), in the order of `requests`.

        Returns
        -------
        list of ScoreUpdates
            One for each request.
        dict
            All scores to publish, as columns of table `scores`; empty if there is none.
        """
        inputs = design(features)
        hashes = _joined(requests, lambda one: one.state.table["id_hash"][one.rows])
        churn, purchase = (Assignment.of(self._models, target, hashes) for target in TARGETS)
        scored = self._scored(requests, churn.apply(lambda model, who: model.score(inputs[who])).astype(np.float32))
        chosen = np.flatnonzero(self._worth_publishing(requests, scored))
        picked = scored.select(chosen)
        features, inputs, churn = features[chosen], inputs[chosen], churn.rows(chosen)
        cuts = np.searchsorted(picked.request, np.arange(len(requests) + 1)).tolist()
        spans = [slice(start, stop) for start, stop in pairwise(cuts)]
        if not len(chosen):
            return [ScoreUpdates(one.rows[:0], [], []) for one in requests], {}
        columns = self._columns(requests, spans, picked, features)
        buying = purchase.rows(chosen).apply(lambda model, who: model.score(inputs[who]))
        columns["purchase"] = np.round(buying, 6).tolist()
        columns["band"] = [NAMES[level] for level in picked.band.tolist()]
        columns["reasons"] = churn.apply(lambda model, who: _reasons(model, features[who], inputs[who])).tolist()
        scored_at = utc(time.time())
        bodies = _bodies(columns, churn, scored_at, picked.now)
        updates = [ScoreUpdates(picked.rows[span], columns["customer_id"][span], bodies[span]) for span in spans]
        which = churn.taken.astype(np.intp)
        columns["model"] = pa.array(np.array([model.name for model in churn.models])[which])
        columns["model_version"] = np.array([model.version for model in churn.models], np.uint32)[which]
        columns["as_of"] = _times(picked.now)
        columns["scored_at"] = _times(np.full(len(chosen), int(scored_at.timestamp() * 1000)))
        for index in np.flatnonzero(picked.band != picked.old).tolist():
            request = int(picked.request[index])
            old, new, now = int(picked.old[index]), int(picked.band[index]), int(picked.now[index])
            row = int(picked.rows[index])
            if self._alerts.raises(requests[request].history, row, old=old, new=new, now=now):
                updates[request].alerts.append(alert_message(orjson.loads(bodies[index]), old, now // DAY_MS))
        for one, span in zip(requests, spans, strict=True):
            for name, values in (("published", picked.churn), ("trend", picked.trend), ("band", picked.band)):
                one.history.table[name][picked.rows[span]] = values[span]
        return updates, columns

    def _scored(self, requests: Sequence[ScoringRequest], churn: Float32Array) -> _Scored:
        """Join the new probabilities with what was published before."""
        start = 0
        for one in requests:
            one.history.table.grow(len(one.state))
            one.history.table["churn"][one.rows] = churn[start : start + len(one.rows)]
            start += len(one.rows)
        counts = [len(one.rows) for one in requests]
        old = _joined(requests, lambda one: one.history.table["band"][one.rows])
        return _Scored(
            request=np.repeat(np.arange(len(requests)), counts),
            rows=_joined(requests, lambda one: one.rows),
            now=np.repeat([one.now for one in requests], counts),
            churn=churn,
            published=_joined(requests, lambda one: one.history.table["published"][one.rows]),
            old=old,
            band=self._bands.levels(churn, old),
            trend=churn - _joined(requests, lambda one: one.history.week_ago(one.rows, one.now)),
        )

    def _worth_publishing(self, requests: Sequence[ScoringRequest], scored: _Scored) -> Flags:
        force: Flags = np.array([one.force for one in requests])[scored.request]
        if force.all():
            return force
        trend = _joined(requests, lambda one: one.history.table["trend"][one.rows])
        # A published trend that no longer holds is as wrong as a score; NaN (none yet) compares as unmoved.
        turned = np.abs(scored.trend - trend) >= TREND_STEPS * self._change
        moved = np.isnan(scored.published) | (np.abs(scored.churn - scored.published) >= self._change)
        worth: Flags = force | moved | (scored.band != scored.old) | turned
        return worth

    def _columns(
        self,
        requests: Sequence[ScoringRequest],
        spans: list[slice],
        picked: _Scored,
        features: Float32Array,
    ) -> dict[str, Any]:
        """Return what is published about each customer, by name, as plain numbers rounded for reading."""
        risk = np.round(picked.churn.astype(np.float64), 6)
        tenure = np.maximum(features[:, INDEX["tenure_days"]].astype(np.float64), LEAST_TENURE_DAYS)
        value = np.maximum(features[:, INDEX["spend_total"]] / tenure * self._value_days, 0.0)
        ids: list[str] = []
        countries: list[str | None] = []
        channels: list[str | None] = []
        for one, span in zip(requests, spans, strict=True):
            rows, state = picked.rows[span], one.state
            ids += state.ids.take(rows)
            countries += state.countries.of(state.table["country"][rows])
            channels += state.channels.of(state.table["channel"][rows])
        return {
            "customer_id": ids,
            "churn": risk.tolist(),
            "previous": _numbers(picked.published),
            "trend_7d": _numbers(picked.trend),
            "value_at_risk": np.round(risk * value, 2).tolist(),
            "expected_gain": np.round(risk * self._save_rate * value - self._offer_cost, 2).tolist(),
            "country": countries,
            "channel": channels,
        }


def _joined(requests: Sequence[ScoringRequest], part: Callable[[ScoringRequest], AnyArray]) -> AnyArray:
    return part(requests[0]) if len(requests) == 1 else np.concatenate([part(one) for one in requests])


def _numbers(values: Float32Array) -> list[float | None]:
    """Return plain numbers, None in place of NaN."""
    return [None if isnan(value) else value for value in np.round(values.astype(np.float64), 6).tolist()]


def _reasons(model: Scorer, features: Float32Array, inputs: Float32Array) -> AnyArray:
    return np.array([orjson.dumps(why).decode() for why in explain(model, features, inputs=inputs)], dtype=object)


def _bodies(columns: dict[str, list[Any]], models: Assignment, scored_at: datetime, now: Int64Array) -> list[bytes]:
    """Encode scores as messages, one for each index of the columns; what many share is encoded once."""
    names = tuple(columns)
    last = names.index("reasons")
    references = [{"name": model.name, "version": model.version} for model in models.models]
    endings = {
        (at, which): b"," + orjson.dumps({"model": model, "as_of": utc(at / 1000), "scored_at": scored_at})[1:]
        for at in np.unique(now).tolist()
        for which, model in enumerate(references)
    }
    bodies = []
    for at, which, *values in zip(now.tolist(), models.taken.tolist(), *columns.values(), strict=True):
        message = dict(zip(names, values, strict=True))
        message["reasons"] = orjson.Fragment(values[last])
        bodies.append(orjson.dumps(message)[:-1] + endings[at, which])
    return bodies


def _times(milliseconds: Int64Array) -> pa.Array:
    return pa.array(milliseconds, pa.timestamp("ms", tz="UTC"))
