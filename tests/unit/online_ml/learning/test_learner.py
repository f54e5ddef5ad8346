"""The learner is a fold: what it becomes follows from the blocks alone, however they come."""

import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ebb.contracts.examples import WITHDRAWN, Block, Close, Labels, Snapshot, customers_digest
from ebb.contracts.features import INDEX
from ebb.contracts.models import TARGETS
from ebb.settings import Settings
from online_ml.candidates import candidates
from online_ml.checkpoint import LearnerCheckpointer
from online_ml.evaluation.metrics import measure, roc_auc
from online_ml.learning import sample
from online_ml.learning.calibration import IDENTITY, Calibration
from online_ml.learning.learner import Learner, Step
from online_ml.scoring.inputs import design
from online_ml.scoring.scorer import sigmoid
from tests.support.checkpoints import compact
from tests.support.examples import FIRST_DAY, World
from tests.support.folding import fold
from tests.support.project import ROOT

TREE_LABELS = 5
"""So few that boundaries have more: the slow candidates learn a sample in these worlds too."""


@pytest.fixture(autouse=True, scope="module")
def brief_generations() -> Iterator[None]:
    """Let the slow candidates be relieved within the few labels of these worlds."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sample, "GENERATION", 12)
        yield


def configured(world: World) -> Settings:
    return Settings(
        partitions=world.partitions,
        horizon_days=world.churn_horizon,
        purchase_horizon_days=world.purchase_horizon,
        tree_labels=TREE_LABELS,
    )


def run(learner: Learner, blocks: Iterator[tuple[int, Block]]) -> list[Step]:
    steps = []
    for offset, block in blocks:
        learner.add(block, offset)
        while (step := learner.advance()) is not None:
            steps.append(step)
    return steps


def interleaved(world: World, seed: int = 0) -> Iterator[tuple[int, Block]]:
    """Yield all partitions' blocks with their offsets, each partition in order, the partitions mixed at random."""
    rng = random.Random(seed)  # noqa: S311
    queues = [list(enumerate(world.partition(number))) for number in range(world.partitions)]
    while any(queues):
        queue = rng.choice([queue for queue in queues if queue])
        for _ in range(rng.randint(1, 9)):
            if queue:
                yield queue.pop(0)


def learned(world: World, seed: int = 0) -> tuple[Learner, list[Step]]:
    learner = Learner(configured(world))
    return learner, run(learner, interleaved(world, seed))


def restarted(
    learner: Learner, settings: Settings, topic: dict[str, bytes], checkpointer: LearnerCheckpointer
) -> Learner:
    """Write a checkpoint as records of a compacted topic, and return what another process makes of them."""
    return LearnerCheckpointer(settings).rebuild(compact(topic, checkpointer.capture(learner)))


WORLDS = st.builds(
    World,
    partitions=st.integers(1, 3),
    days=st.integers(1, 9),
    rows=st.integers(2, 30),
    churn_horizon=st.integers(1, 4),
    purchase_horizon=st.integers(1, 4),
    seed=st.integers(0, 99),
)
THOROUGH = hypothesis_settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])


def recomputed(world: World, settings: Settings) -> dict[str, dict[tuple[str, int], list[float]]]:
    """Do by hand, with dictionaries and no cleverness, what the learner does; only the models are the same.

    Returns
    -------
    dict
        By target, by customer and day of the snapshot: what each candidate had said when its label matured.
    """
    models = {target: candidates(target, horizon_days=world.horizon(target)) for target in TARGETS}
    lines = {target: [Calibration(horizon_days=world.horizon(target)) for _ in models[target]] for target in TARGETS}
    learned_until: dict[str, int] = {}
    said: dict[tuple[str, int, int, int], tuple[list[float], list[float]]] = {}
    judged: dict[str, dict[tuple[str, int], list[float]]] = {target: {} for target in TARGETS}
    for day in range(FIRST_DAY, FIRST_DAY + world.days):
        for target in TARGETS:
            taken = day - world.horizon(target)
            if taken < FIRST_DAY:
                continue
            passed = day - learned_until.get(target, day)
            rows = [(number, row) for number in range(world.partitions) for row in range(world.rows)]
            truth = np.array([world.labels(target, number, taken)[row] for number, row in rows])
            matrix = np.concatenate([world.features(number, taken) for number in range(world.partitions)])
            past = []
            for number, row in rows:
                logits, probabilities = said[target, number, taken, row]
                judged[target][f"c{number}-{row}", taken] = probabilities
                past.append(logits)
            order = np.random.default_rng([settings.seed, day]).permutation(len(truth))
            for place, model in enumerate(models[target]):
                line = lines[target][place]
                line.age(passed)
                line.learn(np.array(past, np.float32)[:, place], truth)
                model.age(passed)
                model.learn_matrix(np.ascontiguousarray(design(matrix[order])), truth[order])
            learned_until[target] = day
        for target in TARGETS:
            for number in range(world.partitions):
                inputs = design(world.features(number, day))
                raw = np.array([model.logits(inputs) for model in models[target]])
                if target not in learned_until:  # nothing learned yet, nothing said
                    raw[:] = np.nan
                for row in range(world.rows):
                    mine = raw[:, row]
                    drawn = np.array([line.line for line in lines[target]])
                    said[target, number, day, row] = (
                        mine.tolist(),
                        sigmoid(mine * drawn[:, 0] + drawn[:, 1]).tolist(),
                    )
    return judged


@THOROUGH
@given(WORLDS, st.integers(0, 9))
def test_predictions_judged_equal_a_slow_recomputation_by_hand(world: World, mixing: int) -> None:
    _, steps = learned(world, mixing)
    expected = recomputed(world, configured(world))
    found: dict[str, dict[tuple[str, int], list[float]]] = {target: {} for target in TARGETS}
    for step in steps:
        for one in step.judged:
            thorough = len(
                candidates(one.target)
            )  # the slow ones, whom these worlds ask of a sample, stand behind them
            columns = one.part.probabilities[:thorough].T.tolist()
            for customer, day, said in zip(one.customer_ids, one.snapshot_days.tolist(), columns, strict=True):
                found[one.target][customer, day] = said
    for target in TARGETS:
        assert found[target].keys() == expected[target].keys()
        for key, said in expected[target].items():
            assert found[target][key] == pytest.approx(said, abs=1e-5, nan_ok=True)


RESTARTS = st.lists(st.integers(0, 199), min_size=1, max_size=4).map(frozenset)
"""After which blocks the process restarts, modulo their number; each restart takes as long as learning two days."""


@THOROUGH
@given(WORLDS, st.integers(0, 99), RESTARTS)
@example(World(partitions=2, days=3, rows=6, churn_horizon=2, purchase_horizon=1), 0, frozenset(range(200)))
def test_restarts_and_interleaving_change_nothing(world: World, mixing: int, restarts: frozenset[int]) -> None:
    settings = configured(world)
    straight, _ = learned(world)
    learner, checkpointer = Learner(settings), LearnerCheckpointer(settings)
    topic: dict[str, bytes] = {}
    blocks = list(interleaved(world, mixing))
    after = {number % len(blocks) for number in restarts}
    for place, (offset, block) in enumerate(blocks):
        learner.add(block, offset)
        while learner.advance() is not None:
            pass
        if place in after:
            learner = restarted(learner, settings, topic, checkpointer)
            # A new process reads again from the committed offsets: some records it has, some it lacks.
            for known, earlier in blocks[: place + 1]:
                learner.add(earlier, known)
            while learner.advance() is not None:
                pass
    assert learner.digest() == straight.digest()
    for target in TARGETS:
        inputs = design(world.features(0, FIRST_DAY + world.days))
        for mine, theirs in zip(learner.targets[target].candidates, straight.targets[target].candidates, strict=True):
            assert mine.logits(inputs).tobytes() == theirs.logits(inputs).tobytes(), mine.name


def test_slow_candidates_speak_for_a_sample_that_differs_by_boundary_and_learn_no_more_than_they_may() -> None:
    world = World(days=10, rows=60)
    learner, steps = learned(world)
    most = TREE_LABELS * sample.PREDICTED_PER_LABEL
    spoken = []
    for step in steps[2 * world.churn_horizon :]:
        for one in step.judged:
            for name in ("tree", "forest"):
                said = one.part.probabilities[learner.targets[one.target].names.index(name)]
                assert int((~np.isnan(said)).sum()) == most
            spoken.append(tuple(np.flatnonzero(~np.isnan(said)).tolist()))
    assert len(set(spoken)) > len(spoken) / 2
    for target, known in learner.targets.items():
        assert known.sample.learned == (world.days - world.horizon(target)) * TREE_LABELS
        assert known.sample.left_out == known.examples - known.sample.learned
        assert 12 <= sum(len(batch.labels) for batch in known.sample.batches) < 2 * (12 + TREE_LABELS)


def test_without_tree_labels_there_are_no_slow_candidates_and_the_others_are_the_same() -> None:
    world = World(days=6)
    with_trees, _ = learned(world)
    learner = Learner(configured(world).model_copy(update={"tree_labels": 0}))
    run(learner, interleaved(world))
    for target in TARGETS:
        mine, theirs = learner.targets[target], with_trees.targets[target]
        assert [name for name in theirs.names if name not in mine.names] == ["tree", "forest"]
        for one, other in zip(mine.full, theirs.full, strict=True):
            assert one.payload(IDENTITY) == other.payload(IDENTITY)
        assert mine.champion == theirs.champion


def test_other_processes_with_other_hashes_learn_the_same_trees_bit_for_bit() -> None:
    learning = [
        subprocess.Popen(
            [sys.executable, "-c", "from tests.support.folding import fold; print(*fold())"],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in ("0", "4242")
    ]
    expected = fold()
    assert len(expected) == 5
    for process in learning:
        output, errors = process.communicate()
        assert process.returncode == 0, errors
        assert output.split() == expected


def test_nothing_after_a_snapshot_changes_what_was_predicted_at_it() -> None:
    world, turn = World(days=12), FIRST_DAY + 7
    _, before = learned(world)

    class Otherwise(World):
        def features(self, partition: int, day: int) -> np.ndarray:
            return super().features(partition, day) * (3 if day > turn else 1)

        def labels(self, target: str, partition: int, day: int) -> np.ndarray:
            found = super().labels(target, partition, day)
            return 1 - found if day + self.horizon(target) > turn else found

    _, after = learned(Otherwise(days=12))
    compared = 0
    for one, other in zip(before, after, strict=True):
        for mine, theirs in zip(one.judged, other.judged, strict=True):
            known = mine.snapshot_days <= turn
            assert np.array_equal(
                mine.part.probabilities[:, known], theirs.part.probabilities[:, known], equal_nan=True
            )
            compared += int(known.sum())
    assert compared > 500


def test_both_classes_mature_together_at_the_horizon_and_never_before() -> None:
    world = World(days=8, rows=50)
    learner = Learner(configured(world))
    for step in run(learner, interleaved(world)):
        for one in step.judged:
            assert (one.snapshot_days == step.boundary - world.horizon(one.target)).all()
            whole = np.concatenate([world.labels(one.target, n, int(one.snapshot_days[0])) for n in range(2)])
            assert one.part.labels.tolist() == whole.tolist()
    churn = learner.targets["churn"]
    assert churn.examples == 2 * 50 * (8 - world.churn_horizon)
    assert learner.labels_pending("churn") == 2 * 50 * world.churn_horizon
    assert learner.labels_pending("purchase") == 2 * 50 * world.purchase_horizon


def test_a_boundary_waits_for_every_partition_and_names_the_one_that_lags() -> None:
    world = World(partitions=3, days=2)
    learner = Learner(configured(world))
    for number in (0, 2):
        for offset, block in enumerate(world.partition(number)):
            learner.add(block, offset)
    assert learner.advance() is None
    assert learner.progress.waiting_for() == [1]
    assert [step.boundary for step in run(learner, enumerate(world.partition(1)))] == [FIRST_DAY, FIRST_DAY + 1]
    assert learner.progress.waiting_for() == []


def test_blocks_written_twice_are_counted_and_learned_once() -> None:
    world = World(partitions=1)
    straight, _ = learned(world)
    learner = Learner(configured(world))
    blocks = list(world.partition(0))
    twice = [*blocks[:4], *blocks[2:9], *blocks[5:20], *blocks[18:]]  # each cut within a boundary: a crashed worker's
    run(learner, enumerate(twice))
    assert learner.progress.duplicates == len(twice) - len(blocks)
    for target in TARGETS:
        assert learner.targets[target].candidates[0].payload(IDENTITY) == straight.targets[target].candidates[
            0
        ].payload(IDENTITY)
        assert learner.targets[target].examples == straight.targets[target].examples


def test_a_withdrawn_customer_is_neither_judged_nor_learned() -> None:
    world = World(partitions=1, days=5, rows=10)

    def erased() -> Iterator[Block]:
        for block in world.partition(0):
            if isinstance(block, Labels):
                labels = block.labels.copy()
                labels[3] = WITHDRAWN
                others = [f"c0-{row}" for row in range(10) if row != 3]
                yield replace(block, labels=labels, customers=customers_digest(others))
            else:
                yield block

    learner = Learner(configured(world))
    steps = run(learner, enumerate(erased()))
    told = {customer for step in steps for one in step.judged for customer in one.customer_ids}
    assert told == {f"c0-{row}" for row in range(10) if row != 3}
    assert learner.targets["churn"].examples == 9 * (5 - world.churn_horizon)


def test_labels_that_do_not_fit_their_snapshot_are_left_out_and_counted() -> None:
    world = World(partitions=1, days=6, rows=10)
    blocks = [
        b for b in world.partition(0) if not (isinstance(b, Snapshot) and (b.boundary, b.chunk) == (FIRST_DAY, 1))
    ]
    learner = Learner(configured(world))
    steps = run(learner, enumerate(blocks))
    refused = sum((step.refused for step in steps), Counter[tuple[str, str]]())
    assert refused == {("churn", "customers"): 1, ("purchase", "customers"): 1}
    assert learner.targets["churn"].examples == 10 * (6 - world.churn_horizon - 1)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"customers": customers_digest([f"c0-{row}" for row in (1, 0, *range(2, 10))])}, "customers"),
        ({"definition": "cancel/3"}, "definition"),
        ({"definition": "silence/30"}, "definition"),
        ({"boundary": FIRST_DAY + 4, "definition": ""}, "definition"),
        ({"customers": "", "definition": ""}, None),
    ],
)
def test_labels_of_others_or_of_another_kind_are_not_learned(change: dict[str, Any], reason: str | None) -> None:
    """As many rows as the snapshot has is no proof: a state that was rebuilt has the same number of other customers."""
    world = World(partitions=1, days=5, rows=10)
    first = FIRST_DAY + world.churn_horizon

    def changed(block: Block) -> Block:
        if not (isinstance(block, Labels) and (block.target, block.boundary) == ("churn", first)):
            return block
        return replace(block, **change)

    blocks = sorted((changed(block) for block in world.partition(0)), key=lambda block: block.boundary)
    learner = Learner(configured(world))
    steps = run(learner, enumerate(blocks))
    refused = sum((step.refused for step in steps), Counter[tuple[str, str]]())
    assert refused == ({} if reason is None else {("churn", reason): 1})
    assert learner.targets["churn"].examples == (10 if reason else 20)
    assert learner.targets["purchase"].examples == 30


def test_days_without_customers_pass() -> None:
    settings = Settings(partitions=1, horizon_days=2, purchase_horizon_days=1)
    learner = Learner(settings)
    steps = run(learner, ((day, Close(0, FIRST_DAY + day, chunks=0, labels=0)) for day in range(4)))
    assert [step.boundary for step in steps] == [FIRST_DAY + day for day in range(4)]
    assert learner.targets["churn"].version == 0


def test_what_the_worker_served_is_judged_beside_the_candidates_where_it_served() -> None:
    _, steps = learned(World(days=6))
    for step in steps:
        for one in step.judged:
            served = one.part.probabilities[-1]
            odd = np.array([int(customer.split("-")[1]) % 2 == 1 for customer in one.customer_ids])
            assert (served[odd] == np.float32(0.25)).all()
            assert np.isnan(served[~odd]).all()


def test_what_can_be_known_is_learned_to_within_a_point_of_the_law_behind_it() -> None:
    world = World(partitions=2, days=30, rows=300)
    learner, steps = learned(world)
    late = [one for step in steps[15:] for one in step.judged if one.target == "churn"]
    labels = np.concatenate([one.part.labels for one in late])
    law = np.concatenate(
        [world.chance("churn", n, int(one.snapshot_days[0])) for one in late for n in range(world.partitions)]
    )
    best = roc_auc(law, labels)
    logistic, nimble, adam, recency, count, prior = (
        roc_auc(np.concatenate([one.part.probabilities[place] for one in late]), labels) for place in range(6)
    )
    assert learner.targets["churn"].names[6:] == ["tree", "forest", "served"]
    assert best is not None
    assert logistic == pytest.approx(best, abs=0.01)
    assert nimble == pytest.approx(best, abs=0.02)
    assert adam == pytest.approx(best, abs=0.02)
    assert recency == pytest.approx(best, abs=0.01)
    assert count == pytest.approx(0.5, abs=0.03)
    assert prior == pytest.approx(0.5, abs=0.03)
    window = learner.targets["churn"].window
    index = learner.targets["churn"].names.index("logistic")
    assert measure(window.probabilities(index), window.labels())["ece"] < 0.03
    assert learner.targets["churn"].champion in {"logistic", "nimble", "adam", "recency"}


def test_where_nothing_can_be_known_nothing_is_found() -> None:
    world = World(partitions=2, days=30, rows=300, shuffled=True)
    learner, _ = learned(world)
    labels = learner.targets["churn"].examples
    # Two-sided 99.9 % interval of the AUC under the null, classes of about equal size: 3.3 * sqrt(1 / (3 n)).
    width = 3.3 * np.sqrt(1 / (3 * labels))
    for name, (measures, _) in learner.targets["churn"].overall().items():
        if name in {"tree", "forest"}:
            spoken = learner.targets["churn"].tallies[learner.targets["churn"].names.index(name)].labels
            assert measures["roc_auc"] == pytest.approx(0.5, abs=3.3 * np.sqrt(1 / (3 * spoken))), name
        elif name not in {"served", "prior"}:
            assert measures["roc_auc"] == pytest.approx(0.5, abs=width), name


def test_recency_is_what_the_test_world_is_made_of() -> None:
    world = World(rows=2_000)
    silence = world.features(0, FIRST_DAY)[:, INDEX["recency_days"]]
    assert np.corrcoef(np.argsort(np.argsort(silence)), world.chance("churn", 0, FIRST_DAY))[0, 1] > 0.9


def test_a_partition_is_too_far_ahead_when_many_rows_wait_for_another() -> None:
    world = World(partitions=2, days=8, rows=10)
    learner = Learner(configured(world))
    blocks = [list(enumerate(world.partition(number))) for number in range(2)]
    held_at: list[int] = []
    for offset, block in blocks[0]:
        learner.add(block, offset)
        assert learner.advance() is None
        if learner.progress.too_far_ahead(55):
            held_at.append(block.boundary)
    assert (
        held_at[0] == FIRST_DAY + 3
    )  # three snapshots, two label blocks and more: 60 rows, and more than two closings
    assert learner.progress.rows_waiting == 8 * 10 + 5 * 10 + 6 * 10
    for offset, block in blocks[1]:
        learner.add(block, offset)
        assert 1 not in learner.progress.too_far_ahead(0), "the slowest partition is always read on"
        while learner.advance() is not None:
            pass
    assert learner.progress.rows_waiting == 0
    assert learner.progress.too_far_ahead(0) == set()
