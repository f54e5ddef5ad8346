"""Checkpoints: a partition's state as records on the compacted state topic, always as of one offset.

A checkpoint is a manifest and its pieces (shards of rows, of the duplicate window, pending snapshots), of which those
that changed are written. One write is one transaction: it is read whole or not at all, and a
worker that lost the partition without knowing it can write no more (it is fenced). Offsets of the activity topic are
committed only after that, never before.
"""

import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa

from ebb.errors import CorruptError, SchemaMismatchError
from ebb.kafka.fenced_writer import FencedWriter
from ebb.kafka.reader import read_to_end
from ebb.log import get_logger
from ebb.settings import Settings
from stream_processors.scoring.history import ScoreHistory
from stream_processors.shard import LENGTH, pack_rows, unpack_rows
from stream_processors.state.customers import Names
from stream_processors.state.engine import Engine
from stream_processors.state.table import SHARD_ROWS

log = get_logger(__name__)

MANIFEST = "manifest"
NAMED, UNNAMED = "named", "9054f50e366a82d7"
"""Layout of checkpoints whose shards name their columns, and of the last ones that did not."""
HINT = (
    "Start the version that wrote it, or set EBB_BEGIN_ANEW=true once: the state is then rebuilt from what the "
    "activity topic still holds, and customers silent for longer are new when they return."
)
WINDOW_PIECE = 16_384
"""Hashes of the duplicate window kept in one piece."""
_CODEC = pa.Codec("zstd", compression_level=1)


class ActivityTopic(NamedTuple):
    """The activity topic as the broker has it."""

    id: str | None
    """What tells it from another topic of the same name."""
    ends: Mapping[int, int]
    """By partition: offset that the next record will get."""


@dataclass
class PartitionCapture:
    """A checkpoint taken in memory: copies, so that processing goes on while it is written."""

    partition: int
    pieces: dict[str, bytes]
    """Record key → uncompressed body."""
    manifest: dict[str, Any]
    stale: list[str] = field(default_factory=list)
    """Keys of pieces that no longer exist."""


class PartitionCheckpointer:
    """Takes and writes the checkpoints of one partition.

    Parameters
    ----------
    partition
        Number of the partition, the same on the activity and the state topic.
    """

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.offset = -1
        """Offset of the last capture."""
        self.topic_id: str | None = None
        """Identity of the activity topic whose offsets these are."""
        self._window_seen = 0
        self._snapshots: set[int] = set()

    def capture(self, engine: Engine, history: ScoreHistory) -> PartitionCapture | None:
        """Copy what changed since the last capture; None if no record was processed since.

        Must be called between batches. A capture must be written before the next one is taken.
        """
        if engine.offset == self.offset:
            return None
        state = engine.state
        history.table.grow(len(state))
        pieces: dict[str, bytes] = {}
        for shard in sorted(engine.dirty):
            start, stop = shard * SHARD_ROWS, min((shard + 1) * SHARD_ROWS, len(state))
            body = pack_rows(state.table, history.table, state.ids, start, stop)
            pieces[f"shard/{shard}"] = body
        engine.dirty.clear()
        for piece in _window_pieces(self._window_seen, engine.window.seen, engine.window.size):
            part = engine.window.ring[piece * WINDOW_PIECE : (piece + 1) * WINDOW_PIECE]
            pieces[f"window/{piece}"] = part.tobytes()
        pending = engine.labeller.pending
        for boundary in pending.keys() & (engine.labeller.changed | (pending.keys() - self._snapshots)):
            pieces[f"snapshot/{boundary}"] = pending[boundary].astype(np.int32).tobytes()
        engine.labeller.changed.clear()
        stale = [f"snapshot/{boundary}" for boundary in self._snapshots - pending.keys()]
        self._snapshots = set(pending)
        self._window_seen = engine.window.seen
        self.offset = engine.offset
        manifest = {
            "layout": NAMED,
            "minor_units": engine.minor_units,
            "topic_id": self.topic_id,
            "offset": engine.offset,
            "newest": engine.newest,
            "moved_at": engine.moved_at,
            "event_at": engine.event_at,
            "closed": state.closed,
            "opened": state.opened,
            "rows": len(state),
            "countries": state.countries.names,
            "channels": state.channels.names,
            "window": {"size": engine.window.size, "seen": engine.window.seen, "begun": engine.window.begun},
            "snapshots": sorted(pending),
            "labels": engine.labeller.definitions,
            "labelled_from": engine.labeller.labelled_from,
            "remembered": history.remembered,
        }
        return PartitionCapture(self.partition, pieces, manifest, stale)

    def resume(self, manifest: dict[str, Any], *, resized: bool) -> None:
        """Resume from a checkpoint that was read; a resized duplicate window is written whole next time."""
        self.offset = manifest["offset"]
        self._window_seen = 0 if resized else manifest["window"]["seen"]
        self._snapshots = set(manifest["snapshots"])


def write(capture: PartitionCapture, writer: FencedWriter) -> int:
    """Write a checkpoint; it is durable when this returns. Returns the bytes written.

    Raises
    ------
    FencedError
        If the partition is another worker's now.
    UnavailableError
        If the broker does not accept it; the last checkpoint stays valid.
    """
    records: dict[str, bytes | None] = dict.fromkeys(capture.stale)
    records |= {key: pack(body) for key, body in capture.pieces.items()}
    records[MANIFEST] = orjson.dumps(capture.manifest)
    writer.write(records)
    return sum(len(value) for value in records.values() if value is not None)


def pack(body: bytes) -> bytes:
    """Encode a piece for the topic: its length, then its body compressed."""
    return LENGTH.pack(len(body)) + bytes(_CODEC.compress(body, asbytes=True))


def new(
    settings: Settings, partition: int, topic: ActivityTopic | None = None
) -> tuple[Engine, ScoreHistory, PartitionCheckpointer]:
    """Return what a partition without a checkpoint begins with."""
    checkpointer = PartitionCheckpointer(partition)
    checkpointer.topic_id = topic.id if topic else None
    return Engine(partition, settings), ScoreHistory(), checkpointer


def restore(
    settings: Settings, partition: int, topic: ActivityTopic | None = None
) -> tuple[Engine, ScoreHistory, PartitionCheckpointer]:
    """Read the last checkpoint of a partition; without one, return what a new partition begins with.

    Raises
    ------
    UnavailableError
        If the broker does not answer.
    SchemaMismatchError, CorruptError
        As `rebuild`.
    """
    latest: dict[str, bytes] = {}
    for message in read_to_end(settings, settings.topics.state, [partition]):
        key, value = (message.key() or b"").decode(), message.value()
        if value is None:
            latest.pop(key, None)
        else:
            latest[key] = value
    return rebuild(settings, partition, latest, topic)


def rebuild(
    settings: Settings, partition: int, latest: Mapping[str, bytes], topic: ActivityTopic | None = None
) -> tuple[Engine, ScoreHistory, PartitionCheckpointer]:
    """Rebuild a partition from the latest record of each key.

    Parameters
    ----------
    topic
        The activity topic as it is, to which the checkpoint must belong; None: not asked.

    Raises
    ------
    SchemaMismatchError
        If this code cannot hold what was stored, if money was counted in other units, or if the checkpoint was made
        from another topic of that name.
    CorruptError
        If a piece that the manifest names is missing or cannot be read.
    """
    engine, history, checkpointer = new(settings, partition, topic)
    if MANIFEST not in latest:
        return engine, history, checkpointer
    manifest = orjson.loads(latest[MANIFEST])
    if manifest["layout"] not in {NAMED, UNNAMED}:
        what = f"The checkpoint of partition {partition} has layout {manifest['layout']}, which this code cannot read."
        raise SchemaMismatchError(what, HINT)
    if manifest.get("minor_units", settings.minor_units) != settings.minor_units:
        what = (
            f"The money in partition {partition} is counted with EBB_MINOR_UNITS={manifest['minor_units']}; "
            f"it says {settings.minor_units} now."
        )
        raise SchemaMismatchError(what, "Set it back, or set EBB_BEGIN_ANEW=true once to count again.")
    _check_topic(partition, manifest, topic)

    def piece(key: str) -> bytes:
        if key not in latest:
            what = f"The checkpoint of partition {partition} lacks {key}, which is not on {settings.topics.state}."
            raise CorruptError(what, HINT)
        packed = latest[key]
        try:
            (size,) = LENGTH.unpack_from(packed)
            body: bytes = _CODEC.decompress(packed[LENGTH.size :], decompressed_size=size, asbytes=True)
        except (struct.error, OSError, pa.ArrowException) as error:
            what = f"The checkpoint of partition {partition} is damaged: {key} cannot be unpacked ({error})."
            raise CorruptError(what, HINT) from error
        return body

    state = engine.state
    state.countries, state.channels = Names(manifest["countries"]), Names(manifest["channels"])
    state.closed, state.opened = manifest["closed"], manifest["opened"]
    state.table.grow(manifest["rows"])
    history.table.grow(manifest["rows"])
    for start in range(0, manifest["rows"], SHARD_ROWS):
        key = f"shard/{start // SHARD_ROWS}"
        try:
            state.restore(unpack_rows(piece(key), state.table, history.table, start))
        except SchemaMismatchError as error:
            what = f"Partition {partition}: {error.what}"
            raise SchemaMismatchError(what, HINT) from error
        except (ValueError, KeyError, struct.error) as error:
            what = f"The checkpoint of partition {partition} is damaged: {key} cannot be read ({error})."
            raise CorruptError(what, HINT) from error
    engine.offset, engine.newest = manifest["offset"], manifest["newest"]
    # Checkpoints from before these were kept: as if the last record had just come.
    engine.moved_at, engine.event_at = (manifest.get(name, time.time()) for name in ("moved_at", "event_at"))
    window = manifest["window"]
    pieces = range(-(-min(window["size"], window["seen"]) // WINDOW_PIECE))
    ring = np.zeros(window["size"], np.uint64)
    for number in pieces:
        part = np.frombuffer(piece(f"window/{number}"), np.uint64)
        ring[number * WINDOW_PIECE : number * WINDOW_PIECE + len(part)] = part
    engine.window.restore(ring, window["seen"], [(day, seen) for day, seen in window["begun"]])
    for boundary in manifest["snapshots"]:
        engine.labeller.pending[boundary] = np.frombuffer(piece(f"snapshot/{boundary}"), np.int32).astype(np.intp)
    _redefine(engine, manifest)
    history.remembered = manifest["remembered"]
    checkpointer.resume(manifest, resized=window["size"] != engine.window.size)
    return engine, history, checkpointer


def _check_topic(partition: int, manifest: dict[str, Any], topic: ActivityTopic | None) -> None:
    """Refuse a checkpoint whose offsets are those of another topic: all records up to them would be skipped."""
    if topic is None:
        return
    known, end = manifest.get("topic_id"), topic.ends.get(partition)
    if (known and topic.id and known != topic.id) or (end is not None and manifest["offset"] >= end):
        what = (
            f"The activity topic was made anew or moved: partition {partition} ends at offset {end}, its checkpoint "
            f"includes offset {manifest['offset']} of topic {known or 'unknown'}; now it is {topic.id or 'unknown'}."
        )
        hint = (
            "Its offsets mean other records. Set EBB_BEGIN_ANEW=true once to begin with the first record of the topic, "
            "or use another EBB_NAMESPACE."
        )
        raise SchemaMismatchError(what, hint)


def _redefine(engine: Engine, manifest: dict[str, Any]) -> None:
    """Label no snapshot that was taken for another label; checkpoints from before labels were named do not tell."""
    labeller, former = engine.labeller, manifest.get("labels", {})
    labeller.labelled_from = dict(manifest.get("labelled_from", {}))
    for target in labeller.redefine(former, engine.state.closed or 0):
        log.warning(
            "the label changed: snapshots taken before stay without one",
            partition=engine.partition,
            target=target,
            was=former[target],
            now=labeller.definitions[target],
            hint="Its models begin again; the first labels of the new kind come when its horizon has passed.",
        )


def _window_pieces(before: int, after: int, size: int) -> list[int]:
    """Pieces of the ring that were written to between two counts of events remembered."""
    if after == before or not size:
        return []
    places = np.arange(max(before, after - size), after) % size
    found: list[int] = np.unique(places // WINDOW_PIECE).tolist()
    return found
