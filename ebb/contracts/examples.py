"""Blocks on `ebb.examples`: snapshots of features, the labels that mature for them, and boundary closings.

A worker that crosses day boundary `D` in a partition writes, in this order: the labels that mature at `D` (one block
per target, for the snapshots taken at `D - horizon - delay`), the snapshot taken at `D` (cut into chunks), one closing.
Labels are in the order of the rows of their snapshot, and name what label they are and, by a digest, whose: what does
not fit the snapshot is not learned. All of it follows from the partition's events alone, except `served_*`, so a block
that is written again after a crash carries the same rows; the learner drops what belongs to a closed boundary.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, Self
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from ebb.contracts.features import SCHEMA_HASH, WIDTH
from ebb.contracts.models import TARGETS, ModelSnapshot, Target
from ebb.errors import CorruptError, SchemaMismatchError

SNAPSHOT_ROWS = 4_000
"""Rows of one snapshot chunk: about a megabyte, well below `topics.MAX_MESSAGE_BYTES`."""
WITHDRAWN = 255
"""Label of a customer who was erased before the label matured."""
REQUEST_PARTITION = 0
"""Partition of the examples topic that holds all requests, so that they have one order among themselves."""
_REQUEST_PREFIX = b'{"request'
"""First bytes of an encoded request; an Arrow stream begins otherwise."""
_ARM = "arm_"
"""Prefix of the columns that exist only while customers are split."""


class BlockKind(StrEnum):
    """What a block holds."""

    SNAPSHOT = "snapshot"
    LABELS = "labels"
    CLOSE = "close"
    WITHDRAW = "withdraw"


@dataclass(frozen=True)
class Snapshot:
    """Features of the customers of one partition at one boundary, or a chunk of them."""

    partition: int
    boundary: int
    """Day number `D`; the features know only what occurred before it began (UTC)."""
    chunk: int
    customer_ids: pa.StringArray
    """Texts are Arrow's, a fifth of what as many Python strings take: the learner keeps snapshots for weeks."""
    countries: pa.StringArray
    channels: pa.StringArray
    features: npt.NDArray[np.float32]
    """Shape (rows, `features.WIDTH`)."""
    served_churn: npt.NDArray[np.float32]
    """Shape (rows,): the champion's calibrated probability in use in the worker at the crossing."""
    served_purchase: npt.NDArray[np.float32]
    arms: Mapping[Target, pa.StringArray] = field(default_factory=dict)
    """Candidate that scored each row, of targets whose customers are split between two."""


@dataclass(frozen=True)
class Labels:
    """Labels of one target for the snapshot that one partition took at `snapshot_boundary`."""

    partition: int
    boundary: int
    """Day number at which they matured: `snapshot_boundary` + the target's horizon + `EBB_LABEL_DELAY_DAYS`."""
    target: str
    """`churn` or `purchase`."""
    snapshot_boundary: int
    labels: npt.NDArray[np.uint8]
    """Shape (rows of the snapshot,): 0, 1, or `WITHDRAWN`."""
    definition: str = ""
    """What the label is (`models.label_definition`); empty in blocks from before it was written."""
    customers: str = ""
    """`customers_digest` of the rows that are not withdrawn; empty in blocks from before it was written."""


@dataclass(frozen=True)
class Close:
    """A partition has crossed a boundary: everything for it has been written before this."""

    partition: int
    boundary: int
    chunks: int
    """Number of snapshot chunks written for the boundary."""
    labels: int
    """Number of label blocks written for the boundary."""


@dataclass(frozen=True)
class Withdraw:
    """Rows of earlier snapshots whose customer was erased; identified by their positions, never by the customer."""

    partition: int
    boundary: int
    """The next boundary that the partition closes: from it on, the rows are empty."""
    erasure_id: str
    snapshots: npt.NDArray[np.int32]
    """Shape (rows,): boundaries at which the snapshots were taken."""
    places: npt.NDArray[np.int32]
    """Shape (rows,): the row in each of these snapshots, its chunks counted through."""


Block = Snapshot | Labels | Close | Withdraw


def customers_digest(ids: list[str]) -> str:
    """Return what tells the customers of some rows, in their order, from any others: 16 hexadecimal digits."""
    return hashlib.blake2b(orjson.dumps(ids), digest_size=8).hexdigest()


_SNAPSHOT_FIELDS = [
    ("customer_id", pa.utf8()),
    ("country", pa.utf8()),
    ("channel", pa.utf8()),
    ("features", pa.list_(pa.float32(), WIDTH)),
    ("served_churn", pa.float32()),
    ("served_purchase", pa.float32()),
]
_LABEL_FIELDS = [("label", pa.uint8())]
_WITHDRAW_FIELDS = [("snapshot", pa.int32()), ("place", pa.int32())]
_ARM_FIELDS = [(_ARM + target, pa.utf8()) for target in TARGETS]
_FIELDS = [*_SNAPSHOT_FIELDS, *_LABEL_FIELDS, *_WITHDRAW_FIELDS, *_ARM_FIELDS]


def encode(block: Block) -> bytes:
    """Return a block as an Arrow IPC stream of one record batch, its scalars in the schema's metadata."""
    meta = {"schema_hash": SCHEMA_HASH, "partition": str(block.partition), "boundary": str(block.boundary)}
    arrays: list[pa.Array] = []
    fields: list[tuple[str, pa.DataType]] = []
    match block:
        case Snapshot():
            meta |= {"kind": BlockKind.SNAPSHOT, "chunk": str(block.chunk)}
            fields = [*_SNAPSHOT_FIELDS, *((_ARM + target, pa.utf8()) for target in block.arms)]
            flat = pa.array(np.ascontiguousarray(block.features, dtype=np.float32).reshape(-1))
            arrays = [
                block.customer_ids,
                block.countries,
                block.channels,
                pa.FixedSizeListArray.from_arrays(flat, WIDTH),
                pa.array(block.served_churn, pa.float32()),
                pa.array(block.served_purchase, pa.float32()),
                *block.arms.values(),
            ]
        case Labels():
            meta |= {
                "kind": BlockKind.LABELS,
                "target": block.target,
                "snapshot_boundary": str(block.snapshot_boundary),
                "definition": block.definition,
                "customers": block.customers,
            }
            fields = _LABEL_FIELDS
            arrays = [pa.array(block.labels, pa.uint8())]
        case Close():
            meta |= {"kind": BlockKind.CLOSE, "chunks": str(block.chunks), "labels": str(block.labels)}
        case Withdraw():
            meta |= {"kind": BlockKind.WITHDRAW, "erasure": block.erasure_id}
            fields = _WITHDRAW_FIELDS
            arrays = [pa.array(block.snapshots, pa.int32()), pa.array(block.places, pa.int32())]
    schema = pa.schema(fields, metadata=meta)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        if arrays:
            writer.write_batch(pa.record_batch(arrays, schema=schema))
    return bytes(sink.getvalue())


def decode(body: bytes) -> Block:
    """Read a block.

    Raises
    ------
    CorruptError
        If the bytes are not a block.
    SchemaMismatchError
        If the block was written for another feature schema.
    """
    try:
        reader = pa.ipc.open_stream(body)
        meta = {key.decode(): value.decode() for key, value in (reader.schema.metadata or {}).items()}
        batches = list(reader)
        if meta["schema_hash"] != SCHEMA_HASH:
            what = f"A block was written for feature schema {meta['schema_hash']}; this code has {SCHEMA_HASH}."
            raise SchemaMismatchError(what, "Replay the activity topic into a new namespace to rebuild the examples.")
        return _block(meta, batches[0] if batches else pa.record_batch([], schema=pa.schema([])))
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError, OverflowError) as error:
        what = f"A record of the examples topic is not a block: {error}."
        raise CorruptError(what) from error


def _block(meta: Mapping[str, str], batch: pa.RecordBatch) -> Block:
    """Return the block of a batch, whose memory it shares: a copy would double what the learner keeps."""
    batch.validate(full=True)
    for name, kind in _FIELDS:
        if name in batch.schema.names and batch.schema.field(name).type != kind:
            message = f"column {name} is of type {batch.schema.field(name).type}"
            raise ValueError(message)
    partition, boundary = int(meta["partition"]), int(meta["boundary"])
    match BlockKind(meta["kind"]):
        case BlockKind.SNAPSHOT:
            flat = batch.column("features").flatten().to_numpy(zero_copy_only=False)
            return Snapshot(
                partition=partition,
                boundary=boundary,
                chunk=int(meta["chunk"]),
                customer_ids=batch.column("customer_id"),
                countries=batch.column("country"),
                channels=batch.column("channel"),
                features=flat.reshape(batch.num_rows, WIDTH),
                served_churn=batch.column("served_churn").to_numpy(zero_copy_only=False),
                served_purchase=batch.column("served_purchase").to_numpy(zero_copy_only=False),
                arms={t: batch.column(_ARM + t) for t in TARGETS if _ARM + t in batch.schema.names},
            )
        case BlockKind.LABELS:
            return Labels(
                partition=partition,
                boundary=boundary,
                target=meta["target"],
                snapshot_boundary=int(meta["snapshot_boundary"]),
                labels=batch.column("label").to_numpy(),
                definition=meta.get("definition", ""),
                customers=meta.get("customers", ""),
            )
        case BlockKind.WITHDRAW:
            return Withdraw(
                partition=partition,
                boundary=boundary,
                erasure_id=meta["erasure"],
                snapshots=batch.column("snapshot").to_numpy(),
                places=batch.column("place").to_numpy(),
            )
        case BlockKind.CLOSE:
            return Close(partition=partition, boundary=boundary, chunks=int(meta["chunks"]), labels=int(meta["labels"]))


class ChampionRequest(BaseModel):
    """A request to hold a model as champion whatever the rule decides, to release it, or to split the customers.

    A split lets a challenger score a share of the customers in place of the serving model, until `unsplit`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    request_id: str = Field(default_factory=lambda: uuid4().hex)
    target: Target
    action: Literal["hold", "release", "split", "unsplit"]
    candidate: str | None = None
    """Candidate to hold, or to score a share, while it continues to learn."""
    snapshot: ModelSnapshot | None = None
    """Version to hold, frozen; carried whole, so that the fold needs nothing but the topic."""
    share: float | None = Field(default=None, gt=0, lt=1)
    """Share of the customers whom the challenger of a split scores."""
    why: str = ""
    asked_at: AwareDatetime

    @model_validator(mode="after")
    def _check_action(self) -> Self:
        given = (self.candidate is not None) + (self.snapshot is not None)
        if given != (1 if self.action in {"hold", "split"} else 0):
            message = "a hold names a candidate or carries a snapshot, a split names a candidate, others neither"
            raise ValueError(message)
        if (self.action == "split") != (self.share is not None) or (self.action == "split" and self.snapshot):
            message = "a split, and nothing else, names the share of the customers that its candidate scores"
            raise ValueError(message)
        return self

    def encode(self) -> bytes:
        """Return the record's body."""
        return orjson.dumps(self.model_dump(mode="json"))

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """Read a request.

        Raises
        ------
        CorruptError
            If it is not one.
        """
        try:
            return cls.model_validate(orjson.loads(body))
        except (orjson.JSONDecodeError, ValidationError) as error:
            what = f"A record of the examples topic is not a request: {error}."
            raise CorruptError(what, "Ask again by `ebb models`.") from error


def is_request(body: bytes) -> bool:
    """Return whether a record is a request; a block is an Arrow stream."""
    return body.startswith(_REQUEST_PREFIX)
