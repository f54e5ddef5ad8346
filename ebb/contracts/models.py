"""Model snapshots on `ebb.models`: JSON that loading never executes, with a checksum."""

import hashlib
from collections.abc import Mapping
from datetime import date
from typing import Any, Literal, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ebb.clock import date_of
from ebb.contracts.features import SCHEMA_HASH
from ebb.errors import CorruptError, SchemaMismatchError, SourceError

Target = Literal["churn", "purchase"]
TARGETS: tuple[Target, ...] = ("churn", "purchase")

SERVED = "served"
"""Candidate under which the predictions that were served are followed, whichever model made them; it never learns."""
FROZEN = "held"
"""Candidate under which a frozen version is published; the candidate itself continues to learn under its own name."""
RECENCY, COUNT, PRIOR = "recency", "count", "prior"
MAX_DAY = (date.max - date_of(0)).days
"""The last day that has a date."""
BASELINES = frozenset({RECENCY, COUNT, PRIOR})
"""Candidates that a model must beat to be worth running."""
PUBLISHED = "published"
"""Key of the record, no model, by which the learner of a paced replay says how far it has published."""


def label_definition(rule: str, horizon_days: int) -> str:
    """Return what a label is, as labels and models name it: a rule and the days over which it looks."""
    return f"{rule}/{horizon_days}"


class PublishedThrough(BaseModel):
    """Through which boundary all models are on the topic, before this record: whoever reads it has read them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    boundary: int = Field(ge=0, le=MAX_DAY)
    """Day number: every label that had matured by this boundary is learned, and what came of it is published."""

    def encode(self) -> bytes:
        """Return the record's body."""
        return orjson.dumps(self.model_dump())

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """Read the record of key `PUBLISHED`.

        Raises
        ------
        CorruptError
            If it is something else.
        """
        try:
            return cls.model_validate(orjson.loads(body))
        except (orjson.JSONDecodeError, ValidationError) as error:
            what = f"A record of the models topic does not say what is published: {error}."
            raise CorruptError(what) from error


class ModelSnapshot(BaseModel):
    """One version of one candidate. The record's key is `name`; the topic keeps the latest of each."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """`<target>.<candidate>`, e.g. `churn.logistic`."""
    target: Target
    candidate: str
    version: int = Field(ge=0, lt=2**53)
    """Rises with each boundary learned from, and is never used again for other weights."""
    role: Literal["champion", "challenger"]
    """Workers score with the champion of each target."""
    schema_hash: str
    trained_until: int = Field(ge=0, le=MAX_DAY)
    """Day number: every label that had matured by this boundary has been learned, none after it."""
    examples: int = Field(ge=0, lt=2**53)
    """Labels learned."""
    metrics: dict[str, float]
    """Progressive validation over matured labels (`roc_auc`, `pr_auc`, `log_loss`, `brier`, `ece`, `base_rate`)."""
    payload: dict[str, Any]
    """What the scoring side needs, as plain JSON; its `kind` determines how to read it."""
    config: dict[str, Any] = {}
    """How it was made: definition of the label, seed, versions. Empty in records older than this field."""
    share: float = 0.0
    """Share of the customers whom it scores as a challenger, in the champion's place; 0 if none."""
    checksum: str = ""

    @property
    def definition(self) -> str | None:
        """What its label is, as `label_definition` names it; None in records that are older than `config`."""
        if not {"label", "horizon_days"} <= self.config.keys():
            return None
        return label_definition(self.config["label"], self.config["horizon_days"])

    def sealed(self) -> Self:
        """Return the same snapshot with its checksum."""
        return self.model_copy(update={"checksum": self.digest()})

    def encode(self) -> bytes:
        """Return the record body of a sealed snapshot."""
        return orjson.dumps(self.sealed().model_dump())

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """Read a snapshot and verify it.

        Raises
        ------
        CorruptError
            If it is not a snapshot or its checksum is wrong.
        SchemaMismatchError
            If it was trained on another feature schema.
        """
        try:
            snapshot = cls.model_validate(orjson.loads(body))
            checksum = snapshot.digest()
        except (orjson.JSONDecodeError, orjson.JSONEncodeError, ValidationError) as error:
            what = f"A record of the models topic is not a model snapshot: {error}."
            raise CorruptError(what) from error
        if snapshot.checksum != checksum:
            what = f"Model {snapshot.name} version {snapshot.version} fails its checksum."
            raise CorruptError(what, "The model in use stays; publish the snapshot again.")
        if snapshot.schema_hash != SCHEMA_HASH:
            what = (
                f"Model {snapshot.name} version {snapshot.version} was trained on feature schema "
                f"{snapshot.schema_hash}; this code has {SCHEMA_HASH}."
            )
            raise SchemaMismatchError(what, "The model in use stays.")
        return snapshot

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Rebuild a version from its row of table `models`, and verify it.

        Raises
        ------
        SourceError
            If the row holds no payload (it was published before payloads were kept).
        CorruptError, SchemaMismatchError
            If it is not what was published, or was made for other features.
        """
        if not row["payload"]:
            what = f"Version {row['version']} of {row['name']} was published before payloads were kept."
            raise SourceError(what, "Choose a later version.")
        made = {key: row[key] for key in ("name", "target", "candidate", "version", "role", "schema_hash", "examples")}
        made |= {key: orjson.loads(row[key]) for key in ("metrics", "config", "payload")}
        made |= {"trained_until": (row["trained_until"] - date_of(0)).days, "checksum": row["checksum"]}
        return cls.decode(orjson.dumps(made))

    def digest(self) -> str:
        """Return the checksum of all but the checksum itself."""
        # Records on the topic stay valid: one from before a field existed keeps the checksum it was published with.
        later = {name for name in ("config", "share") if not getattr(self, name)}
        plain = self.model_dump(exclude={"checksum", *later})
        return hashlib.sha256(orjson.dumps(plain, option=orjson.OPT_SORT_KEYS)).hexdigest()
