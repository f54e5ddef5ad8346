"""The learner's durable state on the compacted topic `ebb.learner`: arrays only, nothing that loading would execute.

A checkpoint is a manifest and the pieces that it names. Pending predictions, the parts of the metric windows and the
training batches of the slow candidates never change once made: each is written once. What learning changes (`core`) is
written whole. A checkpoint is one transaction: it is read whole or not at all, and only the learner that owns the topic
can write one. Pieces, and a manifest that names very many, are cut below a megabyte and verified by their SHA-256.
"""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from ebb.contracts.examples import Snapshot, decode, encode
from ebb.contracts.features import SCHEMA_HASH
from ebb.contracts.models import TARGETS
from ebb.errors import CorruptError, SchemaMismatchError
from ebb.kafka.reader import read_to_end
from ebb.settings import Settings
from online_ml.evaluation.segments import NAMES, LabelContext
from online_ml.evaluation.window import MaturedPredictions
from online_ml.learning.learner import Learner
from online_ml.learning.pending import Pending
from online_ml.learning.sample import TrainingBatch
from online_ml.scoring.inputs import INPUTS
from online_ml.types import SavedState, State

FORMAT = 4
"""Raised when the layout below changes."""
MANIFEST = "manifest"
OWNER = "owner"
"""Key of the record by which a learner takes the topic: who it is and since when, for people to read."""
PIECE_BYTES = 900_000
_CODEC = pa.Codec("zstd", compression_level=1)
REBUILD = "The learner starts again from the first block on the examples topic."


@dataclass(frozen=True)
class LearnerCapture:
    """A checkpoint taken in memory, to be written in one transaction before the next one is taken."""

    records: dict[str, bytes | None]
    """Bodies by key; None deletes what the manifest no longer names."""
    offsets: dict[int, int]
    """By partition, the offset up to which this checkpoint includes the examples."""

    @property
    def size(self) -> int:
        """Bytes of all bodies."""
        return sum(len(body) for body in self.records.values() if body is not None)


class LearnerCheckpointer:
    """Takes and reads the checkpoints of the learner.

    Parameters
    ----------
    settings
        Its topics, and what a checkpoint must have been made with to be of use.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._named: dict[str, dict[str, Any]] = {}
        """Piece → its entry in the last manifest."""
        self._on_topic: set[str] = set()
        """Keys of all pieces on the topic, those of a checkpoint that could not be used among them."""

    def capture(self, learner: Learner) -> LearnerCapture:
        """Copy what changed since the last capture."""
        pieces: dict[str, dict[str, Any]] = {}
        records: dict[str, bytes | None] = {}

        def keep(name: str, arrays: State | None) -> None:
            if arrays is None:
                pieces[name] = self._named[name]
                return
            cut, pieces[name] = _cut(name, pack(arrays))
            records.update(cut)

        for chunk in learner.pending:
            name = "pending/{}/{}/{}/{}".format(*chunk.key, chunk.withdrawn)
            keep(name, None if name in self._named else _pending_arrays(chunk))
        core: State = {f"drift.{key}": array for key, array in learner.drift.state().items()}
        for target, learned in learner.targets.items():
            for part in learned.window.parts:
                name = f"window/{target}/{part.boundary}"
                keep(name, None if name in self._named else _window_arrays(part))
            for batch in learned.sample.batches:
                name = f"lesson/{target}/{batch.boundary}"
                keep(name, None if name in self._named else {"inputs": batch.inputs, "labels": batch.labels})
            core |= {f"{target}.{key}": array for key, array in learned.state().items()}
        keep("core", core)
        progress = learner.progress
        manifest = {
            "made_with": made_with(self._settings),
            "boundary": learner.boundary,
            "versions": {target: learned.begun_at for target, learned in learner.targets.items()},
            "taken": sorted(progress.taken.items()),
            "offsets": sorted(progress.offsets.items()),
            "labelled": [(*key, day) for key, day in sorted(learner.pending.labelled.items())],
            "requests": learner.requests.state(),
            "windows": {t: [part.boundary for part in lt.window.parts] for t, lt in learner.targets.items()},
            "lessons": {t: [one.boundary for one in lt.sample.batches] for t, lt in learner.targets.items()},
            "pieces": pieces,
        }
        body, kept = orjson.dumps(manifest), {key for named in pieces.values() for key in named["keys"]}
        if len(body) > PIECE_BYTES:
            cut, named = _cut(MANIFEST, body)
            records.update(cut)
            kept |= cut.keys()
            body = orjson.dumps({"parts": named})
        records |= dict.fromkeys(self._on_topic - kept)
        self._on_topic = kept
        records[MANIFEST] = body
        self._named = pieces
        return LearnerCapture(records, dict(progress.offsets))

    def restore(self) -> Learner:
        """Read the newest checkpoint from the broker; see `rebuild`.

        Raises
        ------
        UnavailableError
            If the broker does not answer.
        """
        latest: dict[str, bytes] = {}
        for message in read_to_end(self._settings, self._settings.topics.learner, [0]):
            key, value = (message.key() or b"").decode(), message.value()
            if value is None:
                latest.pop(key, None)
            else:
                latest[key] = value
        return self.rebuild(latest)

    def rebuild(self, latest: Mapping[str, bytes]) -> Learner:
        """Return the learner that the newest manifest describes; a new one if there is no manifest.

        Parameters
        ----------
        latest
            Newest body by key, deleted keys left out.

        Raises
        ------
        SchemaMismatchError
            If the checkpoint was made with other features, inputs, candidates, labels, partitions or seed.
        CorruptError
            If a piece is missing, damaged or unreadable.
        """
        learner = Learner(self._settings)
        self._on_topic = latest.keys() - {MANIFEST, OWNER}
        if MANIFEST not in latest:
            return learner
        try:
            manifest = orjson.loads(latest[MANIFEST])
            if "parts" in manifest:
                manifest = orjson.loads(self._joined(MANIFEST, manifest["parts"], latest))
            made = manifest["made_with"]
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            what = f"The manifest of the learner's checkpoint cannot be read: {error!r}."
            raise CorruptError(what, REBUILD) from error
        needed = made_with(self._settings)
        # Checkpoints from before labels were named had the horizons only, and those are among the rest.
        made.setdefault("labels", needed["labels"])
        if made != needed:
            differ = sorted(key for key, value in needed.items() if made.get(key) != value)
            what = f"The learner's checkpoint was made with other {', '.join(differ) or 'settings'}."
            raise SchemaMismatchError(what, REBUILD)

        def piece(name: str) -> State:
            return unpack(self._joined(name, manifest["pieces"].get(name), latest))

        core = piece("core")
        for target in TARGETS:
            prefix = f"{target}."
            own = {key.removeprefix(prefix): array for key, array in core.items() if key.startswith(prefix)}
            learner.targets[target].restore(
                own,
                (_window_part(piece(f"window/{target}/{day}"), day) for day in manifest["windows"][target]),
                (_training_batch(piece(f"lesson/{target}/{day}"), day) for day in manifest["lessons"][target]),
            )
        prefix = "drift."
        learner.drift.restore({k.removeprefix(prefix): array for k, array in core.items() if k.startswith(prefix)})
        for name in sorted(manifest["pieces"]):
            if name.startswith("pending/"):
                learner.pending.add(_pending_chunk(piece(name), int(name.split("/")[4])))
        learner.pending.labelled = {(target, number): day for target, number, day in manifest.get("labelled", [])}
        learner.boundary = manifest["boundary"]
        for target, begun_at in manifest.get("versions", {}).items():
            learner.targets[target].begun_at = begun_at
        learner.requests.restore(manifest["requests"])
        progress = learner.progress
        progress.taken = {int(number): day for number, day in manifest["taken"]}
        progress.closed = dict(progress.taken)
        progress.offsets = {int(number): offset for number, offset in manifest["offsets"]}
        self._named = manifest["pieces"]
        return learner

    def _joined(self, name: str, named: Mapping[str, Any] | None, latest: Mapping[str, bytes]) -> bytes:
        """Return a piece from its parts, verified."""
        if named is None or any(key not in latest for key in named["keys"]):
            what = f"The learner's checkpoint names {name}, which is not on {self._settings.topics.learner}."
            raise CorruptError(what, REBUILD)
        body = b"".join(latest[key] for key in named["keys"])
        if hashlib.sha256(body).hexdigest() != named["sha256"]:
            what = f"Piece {name} of the learner's checkpoint fails its checksum."
            raise CorruptError(what, REBUILD)
        return body


def _cut(name: str, body: bytes) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Return the records of a piece by key, and its entry in a manifest."""
    parts = {
        f"{name}/{number}": body[start : start + PIECE_BYTES]
        for number, start in enumerate(range(0, len(body), PIECE_BYTES))
    }
    return parts, {"keys": list(parts), "sha256": hashlib.sha256(body).hexdigest()}


def made_with(settings: Settings) -> dict[str, Any]:
    """Return what must be equal for a checkpoint to be resumed: the fold's definition."""
    inputs = hashlib.sha256("\n".join(item.name for item in INPUTS).encode()).hexdigest()[:16]
    fresh = Learner(settings)
    return {
        "format": FORMAT,
        "features": SCHEMA_HASH,
        "inputs": inputs,
        "candidates": {target: learner.names for target, learner in fresh.targets.items()},
        "horizons": [settings.horizon_days, settings.purchase_horizon_days, settings.snapshot_every_days],
        "labels": settings.label_definitions,
        "partitions": settings.partitions,
        "seed": settings.seed,
        "drift_pace": settings.drift_pace,
        "tree_labels": settings.tree_labels,
    }


def pack(arrays: SavedState) -> bytes:
    """Return numeric arrays as bytes: 8 bytes of length, then a compressed NumPy archive."""
    sink = io.BytesIO()
    np.savez(sink, allow_pickle=False, **arrays)
    raw = sink.getvalue()
    return len(raw).to_bytes(8, "little") + bytes(_CODEC.compress(raw, asbytes=True))


def unpack(body: bytes) -> State:
    """Read what `pack` made.

    Raises
    ------
    CorruptError
        If it is something else.
    """
    try:
        raw = _CODEC.decompress(body[8:], decompressed_size=int.from_bytes(body[:8], "little"), asbytes=True)
        with np.load(io.BytesIO(raw), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, pa.ArrowException) as error:
        what = f"A piece of the learner's checkpoint cannot be read: {error}."
        raise CorruptError(what, REBUILD) from error


def _pending_arrays(chunk: Pending) -> State:
    arrays: State = {"block": np.frombuffer(encode(chunk.snapshot), np.uint8)}
    for target in TARGETS:
        arrays[f"{target}.logits"] = chunk.logits[target]
        arrays[f"{target}.probabilities"] = chunk.probabilities[target]
    return arrays


def _pending_chunk(arrays: State, withdrawn: int) -> Pending:
    block = decode(arrays["block"].tobytes())
    if not isinstance(block, Snapshot):
        raise CorruptError("A pending piece of the learner's checkpoint holds no snapshot.", REBUILD)  # noqa: EM101
    return Pending(
        block,
        {target: arrays[f"{target}.logits"] for target in TARGETS},
        {target: arrays[f"{target}.probabilities"] for target in TARGETS},
        withdrawn,
    )


def _window_arrays(part: MaturedPredictions) -> State:
    arrays: State = {"labels": part.labels, "logits": part.logits, "probabilities": part.probabilities}
    if part.context is not None:
        arrays |= {f"about.{name}": array for name, array in part.context.arrays().items()}
    return arrays


def _window_part(arrays: State, boundary: int) -> MaturedPredictions:
    context = LabelContext(*(arrays[f"about.{name}"] for name in NAMES)) if f"about.{NAMES[0]}" in arrays else None
    return MaturedPredictions(boundary, arrays["labels"], arrays["logits"], arrays["probabilities"], context)


def _training_batch(arrays: State, boundary: int) -> TrainingBatch:
    return TrainingBatch(boundary, arrays["inputs"], arrays["labels"])
