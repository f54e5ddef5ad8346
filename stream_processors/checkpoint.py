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
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from ebb.errors import CorruptError, SchemaMismatchError
from ebb.kafka.fenced_writer import FencedWriter
from ebb.kafka.reader import read_to_end
from ebb.settings import PlaceSettings, Settings
from stream_processors.scoring.history import ScoreHistory
from stream_processors.state.customer_ids import Ids
from stream_processors.state.customers import Names
from stream_processors.state.engine import Engine
from stream_processors.state.table import LAYOUT_HASH, SHARD_ROWS, Table
from stream_processors.types import AnyArray

MANIFEST = "manifest"
WINDOW_PIECE = 16_384
"""Hashes of the duplicate window kept in one piece."""
_CODEC = pa.Codec("zstd", compression_level=1)
_LENGTH = struct.Struct("<I")


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
            body = _pack_rows(state.table, history.table, state.ids, start, stop)
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
            "layout": LAYOUT_HASH,
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
            "remembered": history.remembered,
        }
        return PartitionCapture(self.partition, pieces, manifest, stale)

    def resume(self, manifest: dict[str, Any], *, resized: bool) -> None:
        """Resume from a checkpoint that was read; a resized duplicate window is written whole next time."""
        self.offset = manifest["offset"]
        self._window_seen = 0 if resized else manifest["window"]["seen"]
        self._snapshots = set(manifest["snapshots"])


def own(settings: PlaceSettings, partition: int) -> FencedWriter:
    """Become the only writer of a partition's checkpoints; the former writer is fenced.

    Raises
    ------
    UnavailableError
        If the broker does not answer.
    """
    topic = settings.topics.state
    return FencedWriter(settings, f"{topic}-{partition}", topic=topic, partition=partition)


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
    return _LENGTH.pack(len(body)) + bytes(_CODEC.compress(body, asbytes=True))


def new(settings: Settings, partition: int) -> tuple[Engine, ScoreHistory, PartitionCheckpointer]:
    """Return what a partition without a checkpoint begins with."""
    return Engine(partition, settings), ScoreHistory(), PartitionCheckpointer(partition)


def restore(settings: Settings, partition: int) -> tuple[Engine, ScoreHistory, PartitionCheckpointer]:
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
    return rebuild(settings, partition, latest)


def rebuild(
    settings: Settings, partition: int, latest: Mapping[str, bytes]
) -> tuple[Engine, ScoreHistory, PartitionCheckpointer]:
    """Rebuild a partition from the latest record of each key.

    Raises
    ------
    SchemaMismatchError
        If the checkpoint was written by code with another layout of state.
    CorruptError
        If a piece that the manifest names is missing or cannot be read.
    """
    engine, history, checkpointer = new(settings, partition)
    if MANIFEST not in latest:
        return engine, history, checkpointer
    manifest = orjson.loads(latest[MANIFEST])
    if manifest["layout"] != LAYOUT_HASH:
        what = (
            f"The checkpoint of partition {partition} has state layout {manifest['layout']}; this code {LAYOUT_HASH}."
        )
        raise SchemaMismatchError(what, "Its state is rebuilt from the activity topic.")

    def piece(key: str) -> bytes:
        if key not in latest:
            what = f"The checkpoint of partition {partition} lacks {key}, which is not on {settings.topics.state}."
            raise CorruptError(what, "Its state is rebuilt from the activity topic.")
        packed = latest[key]
        (size,) = _LENGTH.unpack_from(packed)
        body: bytes = _CODEC.decompress(packed[_LENGTH.size :], decompressed_size=size, asbytes=True)
        return body

    state = engine.state
    state.countries, state.channels = Names(manifest["countries"]), Names(manifest["channels"])
    state.closed, state.opened = manifest["closed"], manifest["opened"]
    state.table.grow(manifest["rows"])
    history.table.grow(manifest["rows"])
    for start in range(0, manifest["rows"], SHARD_ROWS):
        state.restore(_unpack_rows(piece(f"shard/{start // SHARD_ROWS}"), state.table, history.table, start))
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
    history.remembered = manifest["remembered"]
    checkpointer.resume(manifest, resized=window["size"] != engine.window.size)
    return engine, history, checkpointer


def _pack_rows(state: Table, history: Table, ids: Ids, start: int, stop: int) -> bytes:
    """Pack rows of both tables: the length of a head, the head as JSON, the columns' bytes one after another.

    The head names the ids, and the types of the columns that may have been widened since other shards were written.
    """
    columns = [part for table in (state, history) for part in table.slices(start, stop)]
    types = {column.name: array.dtype.str for column, array in columns if column.widest}
    head = orjson.dumps({"ids": ids.take(np.arange(start, stop)), "types": types})
    return b"".join([_LENGTH.pack(len(head)), head, *(array.data for _, array in columns)])


def _unpack_rows(body: bytes, state: Table, history: Table, start: int) -> list[str]:
    (size,) = _LENGTH.unpack_from(body)
    at = _LENGTH.size + size
    head = orjson.loads(body[_LENGTH.size : at])
    ids: list[str] = head["ids"]
    stop = start + len(ids)
    for name, dtype in head["types"].items():
        state.widen(name, np.dtype(dtype))
    for table in (state, history):
        for column, array in table.slices(start, stop):
            stored = np.dtype(head["types"].get(column.name, column.dtype))
            flat: AnyArray = np.frombuffer(body, stored, count=array.size, offset=at)
            array[...] = flat.reshape(array.shape)
            at += flat.nbytes
    return ids


def _window_pieces(before: int, after: int, size: int) -> list[int]:
    """Pieces of the ring that were written to between two counts of events remembered."""
    if after == before or not size:
        return []
    places = np.arange(max(before, after - size), after) % size
    found: list[int] = np.unique(places // WINDOW_PIECE).tolist()
    return found
