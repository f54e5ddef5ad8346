"""Names of the topics, and the largest record that they carry."""

from dataclasses import dataclass

MAX_MESSAGE_BYTES = 8 * 1024 * 1024
"""Largest record on the topics that carry blocks and checkpoints; blocks are cut well below it."""


@dataclass(frozen=True)
class Topics:
    """Topic names under one prefix (`ebb.`, or `ebb.<namespace>.`)."""

    prefix: str = "ebb."

    @property
    def activity(self) -> str:
        """Activity events, keyed by customer."""
        return f"{self.prefix}activity"

    @property
    def dead_letters(self) -> str:
        """Records of `activity` that could not be accepted, bytes unchanged, reason in the headers."""
        return f"{self.prefix}activity.dlq"

    @property
    def scores(self) -> str:
        """Latest score by customer (compacted)."""
        return f"{self.prefix}scores"

    @property
    def alerts(self) -> str:
        """Band changes, keyed by customer."""
        return f"{self.prefix}alerts"

    @property
    def examples(self) -> str:
        """Blocks of snapshots and of their matured labels, in partition and boundary order."""
        return f"{self.prefix}examples"

    @property
    def models(self) -> str:
        """Latest snapshot by model name (compacted); in a paced replay, how far they are published."""
        return f"{self.prefix}models"

    @property
    def state(self) -> str:
        """Checkpoints of the workers' customer state (compacted), partitioned as `activity`."""
        return f"{self.prefix}state"

    @property
    def learner(self) -> str:
        """Checkpoints of the learner (compacted, one partition)."""
        return f"{self.prefix}learner"

    @property
    def erasures(self) -> str:
        """Requests to forget a customer and the parts' reports, keyed by erasure and part (compacted)."""
        return f"{self.prefix}erasures"

    @property
    def keys(self) -> str:
        """API keys by id (compacted, one partition): digests, never the keys themselves."""
        return f"{self.prefix}keys"

    @property
    def handling(self) -> str:
        """What people did about alerts, keyed by alert and act (compacted, one partition, 90 days)."""
        return f"{self.prefix}handling"

    @property
    def dead_webhooks(self) -> str:
        """Alerts that a webhook's receiver did not accept, bytes unchanged, receiver and reason in the headers."""
        return f"{self.prefix}webhooks.dlq"
