"""Where an erased customer is still named, and until when: what the report of an erasure lists as left."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from pydantic import AwareDatetime, BaseModel, Field

from ebb.contracts.erasures import Erasure, ErasurePart
from ebb.contracts.topics import Topics
from ebb.kafka.retention import TopicRetention
from ebb.settings import Settings

CLICKHOUSE_KEEPS = timedelta(minutes=20)
"""ClickHouse keeps the files of replaced parts for 8 minutes and looks for them every few."""


class Retained(BaseModel):
    """Records that expire by themselves rather than being deleted, or that Ebb cannot reach."""

    where: str
    until: AwareDatetime | None = Field(
        description="By when they are gone, by the configuration of the topics as they are; while a part has not "
        "reported yet, as if it did now. Null: nothing ends it."
    )
    what: str


def topics_left(topics: Topics) -> dict[str, str]:
    """Return the topics on which records of an erased customer stay for a while, and what these are."""
    superseded = "They go with the compaction that follows the next records of the partition."
    return {
        topics.activity: "Events as they came, and the record that erases, under the id.",
        topics.dead_letters: "Events that were refused, as they came.",
        topics.alerts: "Alerts as they were raised.",
        topics.dead_webhooks: "Alerts that a receiver had not taken before the request.",
        topics.scores: f"Former scores, and the empty record that withdraws them, under the id. {superseded}",
        topics.state: f"Former checkpoints of the partition. {superseded}",
        topics.learner: f"Former checkpoints of the learner. {superseded}",
        topics.handling: f"What was done about the customer's alerts. {superseded}",
        topics.erasures: f"The request, with the id until the erasure is done. {superseded}",
        topics.examples: "Features of past snapshots, under the id: learning is a fold over the topic.",
    }


def places_left(
    settings: Settings, erasure: Erasure, retentions: Mapping[str, TopicRetention], *, now: datetime | None = None
) -> list[Retained]:
    """Return where records of a customer are left, of an erasure as it is.

    Parameters
    ----------
    retentions
        Of the topics, by name; of one that is not there nothing is known, and so no end.
    """
    now = now or datetime.now(UTC)
    topics = settings.topics
    reports = erasure.reports
    worker, learner, history = (
        one.at if (one := reports.get(part)) is not None else now
        for part in (ErasurePart.WORKER, ErasurePart.LEARNER, ErasurePart.HISTORY)
    )
    since = {
        topics.dead_webhooks: erasure.request.requested_at,
        topics.learner: max(worker, learner),
        topics.handling: max(worker, history),
        topics.erasures: erasure.request.done_at or now,
    }
    left = [
        Retained(
            where=topic,
            until=retentions[topic].lets_go(since.get(topic, worker)) if topic in retentions else None,
            what=what if topic in retentions else f"{what} Kafka does not say at present how long it keeps them.",
        )
        for topic, what in topics_left(topics).items()
    ]
    left.append(
        Retained(
            where="ClickHouse",
            until=history + CLICKHOUSE_KEEPS,
            what="Files of the parts that were rewritten, and the list of whom to delete. Ebb writes no id into its "
            "logs of queries and mutations; a query in which somebody else wrote one is in the query log of a server "
            "that keeps one. The audit log keeps the digest.",
        )
    )
    names = ", ".join(webhook.name for webhook in settings.webhooks)
    if names:
        what = "Alerts that were delivered before the request cannot be recalled: ask the receivers to erase them."
        left.append(Retained(where=f"webhooks: {names}", until=None, what=what))
    what = (
        "What subscribers of the stream received, CSV files that were downloaded, backups of Kafka and ClickHouse, "
        "other consumers of the topics, logs of proxies that saw the id in an address."
    )
    left.append(Retained(where="outside Ebb", until=None, what=what))
    return left
