"""Publish models: every version on `ebb.models` and in ClickHouse, with its metrics and how it was made.

Also the rows of `promotions`: every change of the model that serves, by the rule or by request, and why.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import orjson
import pyarrow as pa
from pydantic import ValidationError

from clickhouse.store import Store
from ebb import __version__
from ebb.contracts.examples import ChampionRequest
from ebb.contracts.features import SCHEMA_HASH
from ebb.contracts.models import FROZEN, SERVED, ModelSnapshot, Target
from ebb.kafka.reader import read_to_end
from ebb.metrics import CHAMPION, MODEL_HELD, MODEL_VERSION
from ebb.settings import Settings
from online_ml.candidates import SAMPLED
from online_ml.evaluation.segments import ARM
from online_ml.evaluation.validation import SegmentMeasures
from online_ml.learning.champion import evidence
from online_ml.learning.champion_requests import Decision, Requests
from online_ml.learning.learner import Learner, Step
from online_ml.learning.target import TargetLearner
from online_ml.reporting import ByCandidate, table

BY_ARM = ("base_rate", "base_rate_low", "base_rate_high", "roc_auc", "roc_auc_low", "roc_auc_high", "ece")
"""Metrics of an arm that are published beside its model's own."""


def snapshots(
    learner: TargetLearner, rolling: ByCandidate, requests: Requests, config: Mapping[str, Any]
) -> list[ModelSnapshot]:
    """Return the present models of a target, sealed, challengers first.

    A reader that follows the topic thus meets the former champion's new role before the new champion, and the end of
    one split before the beginning of the next.

    Parameters
    ----------
    rolling
        Measures by name of candidate, as `Validator.rolling` returns them.
    requests
        What is held by request.
    config
        How the models of the target are made, as `model_config` returns it.
    """
    serving = requests.serving(learner)
    split = requests.splits.get(learner.target)
    shares = {split.candidate: split.share} if split is not None and split.candidate != serving else {}
    made = [
        ModelSnapshot(
            name=f"{learner.target}.{candidate.name}",
            target=learner.target,
            candidate=candidate.name,
            version=learner.version,
            role="champion" if candidate.name == serving else "challenger",
            schema_hash=SCHEMA_HASH,
            trained_until=learner.trained_until,
            examples=learner.learned_by(candidate),
            metrics=dict(rolling.get(candidate.name, {})),
            payload=candidate.payload(calibration),
            config=dict(config),
            share=shares.get(candidate.name, 0.0),
        ).sealed()
        for candidate, calibration in zip(learner.candidates, learner.calibrations, strict=True)
    ]
    hold = requests.held.get(learner.target)
    if hold is not None and hold.snapshot is not None:
        frozen = {"name": held_name(learner.target), "role": "champion"}
        made.append(hold.snapshot.model_copy(update=frozen).sealed())
    return sorted(made, key=lambda snapshot: (snapshot.role == "champion", snapshot.share))


def with_arms(rolling: ByCandidate, found: Iterable[SegmentMeasures]) -> ByCandidate:
    """Return measures with those of what each candidate really served while customers were split, as `arm_…`."""
    arms = {
        one.name: {f"arm_{metric}": one.measures[metric] for metric in BY_ARM if metric in one.measures}
        | {"arm_labels": one.labels}
        for one in found
        if one.kind == ARM and one.candidate == SERVED
    }
    return {name: {**measures, **arms.get(name, {})} for name, measures in rolling.items()}


def held_name(target: Target) -> str:
    """Return the name under which a frozen version of a target is published."""
    return f"{target}.{FROZEN}"


def absent_names(learner: TargetLearner) -> list[str]:
    """Return the names under which a learner with trees may have published, if this one has none."""
    return [f"{learner.target}.{name}" for name in SAMPLED if name not in learner.names]


def last_versions(settings: Settings, store: Store) -> dict[Target, int]:
    """Return the last version ever published of each target, for a learner that must begin again to count on from.

    Raises
    ------
    UnavailableError
        If the broker or ClickHouse does not answer.
    """
    found: dict[Target, int] = {row["target"]: row["version"] for row in store.query("last_versions")}
    for message in read_to_end(settings, settings.topics.models, [0]):
        try:
            # Of any schema: a version that this code cannot read is taken all the same.
            one = ModelSnapshot.model_validate_json(message.value() or b"")
        except ValidationError:
            continue
        found[one.target] = max(found.get(one.target, 0), one.version)
    return found


def model_config(target: Target, settings: Settings) -> dict[str, Any]:
    """Return how the models of a target are made: what its label means, and what else the fold depends on."""
    churn = target == "churn"
    return {
        "label": settings.churn_label if churn else "purchase",
        "horizon_days": settings.horizon_days if churn else settings.purchase_horizon_days,
        "lookback_days": settings.lookback_days,
        "snapshot_every_days": settings.snapshot_every_days,
        "snapshot_limit": settings.snapshot_limit,
        "partitions": settings.partitions,
        "seed": settings.seed,
        "ebb": __version__,
        "river": version("river"),
    }


def model_rows(models: list[ModelSnapshot]) -> pa.Table:
    """Return rows of `models` for snapshots that are being published."""
    now = datetime.now(UTC)
    rows = [
        {
            **model.model_dump(include={"name", "target", "candidate", "version", "role", "schema_hash", "examples"}),
            "trained_until": model.trained_until,
            "metrics": orjson.dumps(model.metrics).decode(),
            "checksum": model.checksum,
            "published_at": now,
            "config": orjson.dumps(model.config).decode(),
            "payload": orjson.dumps(model.payload).decode(),
        }
        for model in models
    ]
    return table("models", rows)


def rule_rows(step: Step, learner: Learner) -> list[dict[str, Any]]:
    """Return rows of `promotions` for what the rule decided at a boundary; over a hold it does not serve."""
    rows = []
    for target, former, champion in step.promotions:
        learned = learner.targets[target]
        rows.append(
            _change(
                target,
                day=step.boundary,
                cause="rule",
                former=former,
                champion=champion,
                version=learned.version,
                outcome="overruled" if target in learner.requests.held else "done",
                why=evidence(former, champion, learned.candidates, learned.window),
            )
        )
    return rows


def request_rows(decisions: list[Decision]) -> list[dict[str, Any]]:
    """Return rows of `promotions` for requests, those refused included."""
    rows = []
    for one in decisions:
        hold = one.request.snapshot
        champion = f"{hold.candidate} version {hold.version}, frozen" if hold and not one.refusal else one.champion
        rows.append(
            _change(
                one.request.target,
                day=max(one.boundary, 0),
                cause=f"request to {one.request.action}",
                request_id=one.request.request_id,
                former=one.former,
                champion=champion,
                version=one.version,
                outcome="refused" if one.refusal else "done",
                why=one.refusal or _reason_of(one.request),
            )
        )
    return rows


def _reason_of(request: ChampionRequest) -> str:
    """Return why a request was made, and of a split the candidate and its share."""
    if request.share is None:
        return request.why
    return ": ".join(
        text for text in (f"{request.candidate} for {request.share:.0%} of customers", request.why) if text
    )


def _change(target: Target, *, day: int, **known: Any) -> dict[str, Any]:
    row = {"target": target, "decided_day": day, "request_id": "", "decided_at": datetime.now(UTC), **known}
    return row | {name: row[name] or "" for name in ("former", "champion")}


def show_models(learner: TargetLearner, requests: Requests) -> None:
    """Set the gauges that describe a target's models."""
    serving = requests.serving(learner)
    MODEL_HELD.labels(learner.target).set(learner.target in requests.held)
    for candidate in learner.candidates:
        MODEL_VERSION.labels(learner.target, candidate.name).set(learner.version)
        CHAMPION.labels(learner.target, candidate.name).set(candidate.name == serving)
