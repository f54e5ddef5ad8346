"""A checkpoint is complete or refused, and nothing in it can be executed."""

import io
import pickle

import numpy as np
import orjson
import pytest

from ebb.errors import CorruptError, SchemaMismatchError
from ebb.settings import Settings
from online_ml import checkpoint
from online_ml.checkpoint import MANIFEST, OWNER, PIECE_BYTES, LearnerCheckpointer, pack, unpack
from online_ml.learning import sample
from online_ml.learning.learner import Learner
from tests.support.checkpoints import compact
from tests.support.examples import FIRST_DAY, World

WORLD = World(partitions=1, days=8, rows=30)
SETTINGS = Settings(partitions=1, horizon_days=3, purchase_horizon_days=2, tree_labels=40)


def learner(days: int = 8, settings: Settings = SETTINGS) -> Learner:
    made = Learner(settings)
    for offset, block in enumerate(WORLD.partition(0)):
        if block.boundary < FIRST_DAY + days:
            made.add(block, offset)
    while made.advance():
        pass
    return made


@pytest.fixture(scope="module")
def stored() -> dict[str, bytes]:
    """The topic after one checkpoint; a test that damages it takes a copy."""
    topic: dict[str, bytes] = {}
    compact(topic, LearnerCheckpointer(SETTINGS).capture(learner()))
    return topic


def test_a_checkpoint_read_back_is_the_same_learner() -> None:
    topic: dict[str, bytes] = {}
    made = learner()
    compact(topic, LearnerCheckpointer(SETTINGS).capture(made))
    restored = LearnerCheckpointer(SETTINGS).rebuild(topic)
    assert restored.digest() == made.digest()
    assert restored.progress.offsets == made.progress.offsets
    assert restored.boundary == made.boundary
    assert restored.targets["churn"].champion == made.targets["churn"].champion


def test_without_a_manifest_learning_begins_from_scratch() -> None:
    assert LearnerCheckpointer(SETTINGS).rebuild({"core/0/0": b"left over"}).boundary is None


def test_immutable_pieces_are_written_once_and_removed_when_obsolete() -> None:
    checkpointer = LearnerCheckpointer(SETTINGS)
    first = checkpointer.capture(learner(6)).records
    second = checkpointer.capture(learner(8)).records
    written, stale = ({key for key in second if (second[key] is None) == gone} for gone in (False, True))
    assert {key.split("/")[0] for key in written & first.keys()} == {"core", MANIFEST}
    assert any(key.startswith(f"pending/{FIRST_DAY + 3}/") for key in stale)
    assert not any(key.startswith(f"pending/{FIRST_DAY + 5}/") for key in stale)


def test_pieces_of_a_checkpoint_that_was_refused_are_removed_by_the_next_one(stored: dict[str, bytes]) -> None:
    topic = {**stored, OWNER: b"somebody", "core/0/0": b"of a former layout"}
    changed = SETTINGS.model_copy(update={"seed": 8})
    checkpointer = LearnerCheckpointer(changed)
    with pytest.raises(SchemaMismatchError):
        checkpointer.rebuild(topic)
    compact(topic, checkpointer.capture(Learner(changed)))
    assert topic.keys() == {OWNER, MANIFEST, "core/0"}


def test_a_manifest_that_names_very_many_pieces_is_cut_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "PIECE_BYTES", 500)
    topic: dict[str, bytes] = {}
    checkpointer, made = LearnerCheckpointer(SETTINGS), learner(6)
    compact(topic, checkpointer.capture(made))
    parts = {key for key in topic if key.startswith(f"{MANIFEST}/")}
    assert len(parts) > 3
    assert LearnerCheckpointer(SETTINGS).rebuild(topic).digest() == made.digest()
    again = LearnerCheckpointer(SETTINGS)
    again.rebuild(topic)
    monkeypatch.setattr(checkpoint, "PIECE_BYTES", 10**6)
    compact(topic, again.capture(made))
    assert not topic.keys() & parts
    assert LearnerCheckpointer(SETTINGS).rebuild(topic).digest() == made.digest()


def test_versions_count_on_after_a_restart_from_those_published_before() -> None:
    made = learner(6)
    made.targets["churn"].begun_at = 117
    version = made.targets["churn"].version
    restored = LearnerCheckpointer(SETTINGS).rebuild(compact({}, LearnerCheckpointer(SETTINGS).capture(made)))
    assert restored.targets["churn"].version == version == 117 + made.targets["churn"].boundaries
    assert restored.digest() == made.digest() == learner(6).digest(), "numbers are no part of what was learned"


@pytest.mark.parametrize("piece", ["core", "pending", "window", "lesson"])
def test_a_missing_or_damaged_piece_is_refused(piece: str, stored: dict[str, bytes]) -> None:
    topic = dict(stored)
    key = next(key for key in topic if key.startswith(piece))
    body = topic[key]
    topic[key] = body[:-1] + bytes([body[-1] ^ 1])
    with pytest.raises(CorruptError, match="checksum"):
        LearnerCheckpointer(SETTINGS).rebuild(topic)
    del topic[key]
    with pytest.raises(CorruptError, match="not on"):
        LearnerCheckpointer(SETTINGS).rebuild(topic)


def test_a_manifest_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(CorruptError, match="manifest"):
        LearnerCheckpointer(SETTINGS).rebuild({MANIFEST: b"{"})


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"horizon_days": 5}, "horizons"),
        ({"churn_label": "cancel"}, "labels"),
        ({"partitions": 2}, "partitions"),
        ({"seed": 8}, "seed"),
        ({"tree_labels": 9}, "tree_labels"),
    ],
)
def test_a_checkpoint_of_another_definition_is_refused_naming_the_difference(
    change: dict[str, int | str], named: str, stored: dict[str, bytes]
) -> None:
    topic = dict(stored)
    with pytest.raises(SchemaMismatchError, match=named):
        LearnerCheckpointer(SETTINGS.model_copy(update=change)).rebuild(topic)


def test_a_checkpoint_from_before_labels_were_named_is_read(stored: dict[str, bytes]) -> None:
    topic = dict(stored)
    manifest = orjson.loads(topic[MANIFEST])
    del manifest["made_with"]["labels"]
    topic[MANIFEST] = orjson.dumps(manifest)
    assert (
        LearnerCheckpointer(SETTINGS).rebuild(topic).digest() == LearnerCheckpointer(SETTINGS).rebuild(stored).digest()
    )


def test_a_checkpoint_of_other_features_is_refused(stored: dict[str, bytes]) -> None:
    topic = dict(stored)
    manifest = orjson.loads(topic[MANIFEST])
    manifest["made_with"]["features"] = "0" * 16
    topic[MANIFEST] = orjson.dumps(manifest)
    with pytest.raises(SchemaMismatchError, match="features"):
        LearnerCheckpointer(SETTINGS).rebuild(topic)


def test_a_checkpoint_of_the_former_format_is_refused(stored: dict[str, bytes]) -> None:
    topic = dict(stored)
    manifest = orjson.loads(topic[MANIFEST])
    del manifest["lessons"], manifest["made_with"]["tree_labels"]
    made = manifest["made_with"]
    made |= {"format": 3, "candidates": {target: names[:6] for target, names in made["candidates"].items()}}
    topic[MANIFEST] = orjson.dumps(manifest)
    with pytest.raises(SchemaMismatchError, match="candidates, format, tree_labels"):
        LearnerCheckpointer(SETTINGS).rebuild(topic)


def test_a_boundarys_training_batch_is_written_once_and_removed_when_its_generation_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sample, "GENERATION", 60)
    checkpointer = LearnerCheckpointer(SETTINGS)
    first = {key for key in checkpointer.capture(learner(6)).records if key.startswith("lesson/churn")}
    records = checkpointer.capture(learner(8)).records
    second = {key for key, body in records.items() if body is not None and key.startswith("lesson/churn")}
    assert first == {f"lesson/churn/{FIRST_DAY + day}/0" for day in (3, 4, 5)}
    assert second == {f"lesson/churn/{FIRST_DAY + day}/0" for day in (6, 7)}
    # The first two days made the generation that was relieved when the next two had made another.
    assert {key for key, body in records.items() if body is None and key.startswith("lesson/churn")} == {
        f"lesson/churn/{FIRST_DAY + day}/0" for day in (3, 4)
    }


def test_large_pieces_are_cut_into_records_below_a_megabyte() -> None:
    made = learner()
    noise = np.random.default_rng(0).integers(0, 1 << 60, 400_000)
    made.targets["churn"].tallies[0]._cells = noise
    topic: dict[str, bytes] = {}
    compact(topic, LearnerCheckpointer(SETTINGS).capture(made))
    assert max(len(body) for body in topic.values()) <= PIECE_BYTES
    assert sum(key.startswith("core/") for key in topic) > 2
    restored = LearnerCheckpointer(SETTINGS).rebuild(topic)
    assert np.array_equal(restored.targets["churn"].tallies[0]._cells, noise)


def test_an_archive_that_would_execute_something_is_refused() -> None:
    sink = io.BytesIO()
    np.savez(sink, trap=np.array([object()], dtype=object))
    raw = sink.getvalue()
    body = pack({"a": np.arange(3)})
    assert unpack(body)["a"].tolist() == [0, 1, 2]
    from online_ml.checkpoint import _CODEC  # noqa: PLC0415 - the format's own compression, to build a hostile body

    hostile = len(raw).to_bytes(8, "little") + _CODEC.compress(raw, asbytes=True)
    with pytest.raises(CorruptError, match="cannot be read"):
        unpack(hostile)
    pickled = pickle.dumps({"a": 1})
    with pytest.raises(CorruptError):
        unpack(len(pickled).to_bytes(8, "little") + _CODEC.compress(pickled, asbytes=True))
