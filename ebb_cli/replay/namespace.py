"""The namespace of a replayed log: its settings, topics and database."""

import re
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from pydantic import ValidationError
from tenacity import retry, retry_if_exception, retry_if_result, stop_after_delay, wait_fixed

from clickhouse.client import connect
from clickhouse.migrations import migrate
from ebb.errors import SettingsError, SetupError, UnavailableError
from ebb.kafka.admin import create_topics, topic_specs
from ebb.kafka.config import client_config
from ebb.settings import DEFAULT_KINDS, Settings
from producers.replay.presets import Preset

PARTITIONS = 4
"""Enough to use every part's partitioned path; a log needs no more."""
PACED_CHECKPOINT_SECONDS = 5.0
PARTS = ("worker", "learner")


def namespace_of(file: Path, preset: str | None) -> str:
    """Return the default namespace: the preset's name, or the file's as far as a namespace may spell it."""
    plain = re.sub(r"[^a-z0-9]+", "_", (preset or file.name.partition(".")[0]).lower()).strip("_")
    return plain[:40] or "replay"


def replay_settings(
    base: Settings, preset: Preset, namespace: str, *, paced: bool = False, **given: int | None
) -> Settings:
    """Return the settings under which the parts process a log.

    Event time comes from the log alone: nothing is late (the log is in order), the wall clock advances no idle
    partition, and no event is in the future, since the clock is the wall clock.

    Parameters
    ----------
    paced
        Whether the replay waits for its learner.
    given
        Settings of the command line, which override the preset's; None: not given.

    Raises
    ------
    SettingsError
        If they contradict one another.
    """
    horizon = given.get("horizon_days") or preset.horizon_days
    changes: dict[str, Any] = {
        "namespace": namespace,
        "partitions": PARTITIONS,
        "day_seconds": 86_400.0,
        "clock_origin_wall": 0.0,
        "clock_origin_event": 0.0,
        "allowed_lateness_seconds": 0.0,
        "label_delay_days": 0,
        "idle_after_seconds": 0.0,
        "metrics_port": 0,
        "paced": paced,
        # A checkpoint holds up the log, which waits; of a replay that is interrupted nothing is continued.
        "checkpoint_seconds": max(base.checkpoint_seconds, PACED_CHECKPOINT_SECONDS)
        if paced
        else base.checkpoint_seconds,
        "kinds": DEFAULT_KINDS | dict(preset.kinds),
        "horizon_days": horizon,
        "lookback_days": preset.lookback_days,
        "snapshot_every_days": max(horizon // 10, 1),
    } | {name: value for name, value in given.items() if value is not None}
    try:
        return Settings(**{**base.model_dump(), **changes})
    except ValidationError as error:
        wrong = "; ".join(f"{problem['loc'][0]}: {problem['msg']}" for problem in error.errors())
        what = f"The log cannot be replayed with these settings: {wrong}."
        raise SettingsError(what) from None


def prepare(space: Settings, *, fresh: bool) -> None:
    """Create the namespace's topics and database.

    Parameters
    ----------
    fresh
        Delete the data of an earlier replay in the namespace; without it, such data is an error.

    Raises
    ------
    SetupError
        If the namespace holds something and `fresh` is not set.
    UnavailableError
        If Kafka or ClickHouse does not answer.
    """
    admin = AdminClient(client_config(space, socket_timeout_ms=10_000))
    topics, used = _topics(admin, space), _has_database(space)
    if (topics or used) and not fresh:
        what = f"The namespace {space.namespace!r} holds an earlier replay."
        raise SetupError(what, "Replace it by --fresh, or choose another by --namespace.")
    try:
        if topics:
            for deleted in admin.delete_topics(topics, operation_timeout=30).values():
                deleted.result(timeout=60)
            _wait_until_deleted(admin, space)
        _remove_groups(admin, space)
    except KafkaException as error:
        what = f"The topics of namespace {space.namespace!r} cannot be removed: {error.args[0]}."
        raise SetupError(what, "Stop the parts that still use them, or choose another --namespace.") from error
    if used:
        client = connect(space, database="default")
        client.command(f"DROP DATABASE IF EXISTS `{space.database}` SYNC")
        client.close()
    create_topics(space)
    migrate(space)


def _topics(admin: AdminClient, space: Settings) -> list[str]:
    try:
        # By their full names: those of a namespace called `activity` begin as the live dead-letter topic does.
        own = {spec.topic for spec in topic_specs(space.topics, space.partitions, space.replication)}
        return [name for name in admin.list_topics(timeout=15).topics if name in own]
    except KafkaException as error:
        what = f"Kafka at {space.kafka_bootstrap} does not answer: {error.args[0]}."
        raise UnavailableError(what, "Check that it runs and that EBB_KAFKA_BOOTSTRAP names it.") from error


def _has_members(error: BaseException) -> bool:
    return isinstance(error, KafkaException) and error.args[0].name() == "NON_EMPTY_GROUP"


@retry(retry=retry_if_exception(_has_members), wait=wait_fixed(0.5), stop=stop_after_delay(25), reraise=True)
def _remove_groups(admin: AdminClient, space: Settings) -> None:
    """Remove the groups of an earlier replay; a member that crashed counts until its session ends."""
    groups = {group.group_id for group in admin.list_consumer_groups().result(timeout=30).valid}
    if mine := [space.group(part) for part in PARTS if space.group(part) in groups]:
        for removed in admin.delete_consumer_groups(mine).values():
            removed.result(timeout=30)


@retry(retry=retry_if_result(bool), wait=wait_fixed(0.1), stop=stop_after_delay(30))
def _wait_until_deleted(admin: AdminClient, space: Settings) -> list[str]:
    """Wait until the broker lists no deleted topic: one created before that would be deleted too."""
    return _topics(admin, space)


def _has_database(space: Settings) -> bool:
    client = connect(space, database="default")
    try:
        return bool(client.command(f"EXISTS DATABASE `{space.database}`"))
    finally:
        client.close()
