"""Champion requests take effect at their offset in the topic, once, whatever the timing or the crashes."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from ebb.contracts.examples import Block, ChampionRequest, is_request
from ebb.contracts.models import ModelSnapshot
from ebb.errors import CorruptError
from ebb.settings import Settings
from online_ml.checkpoint import LearnerCheckpointer
from online_ml.learning.champion_requests import Decision
from online_ml.learning.learner import Learner
from online_ml.registry import held_name, model_config, request_rows, rule_rows, snapshots
from tests.support.checkpoints import compact
from tests.support.examples import World

WORLD = World(partitions=2, days=14, rows=60)
# Few labels for the slow candidates: what requests do is the same for all.
SETTINGS = Settings(partitions=2, horizon_days=3, purchase_horizon_days=2, tree_labels=2)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
Item = Block | ChampionRequest


def champion_request(action: str = "hold", **more: Any) -> ChampionRequest:
    return ChampionRequest.model_validate({"target": "churn", "action": action, "asked_at": NOW, **more})


def with_request(request: ChampionRequest, index: int) -> list[list[Item]]:
    """Return the items of both partitions, the request inserted into the first one's."""
    items: list[list[Item]] = [list(WORLD.partition(number)) for number in range(2)]
    items[0].insert(index, request)
    return items


def plain(days: int = 99) -> list[list[Item]]:
    """Return the items of both partitions up to the closing of a day."""
    end = closes(days) if days < WORLD.days else None
    return [[*list(WORLD.partition(number))[:end]] for number in range(2)]


def feed(learner: Learner, items: list[list[Item]], *, order: list[int] | None = None) -> list[Decision]:
    """Offer everything, by default all of partition 0 first; return what was decided."""
    queues: list[Iterator[tuple[int, Item]]] = [iter(list(enumerate(partition_items))) for partition_items in items]
    for number in order or [0] * len(items[0]) + [1] * len(items[1]):
        for offset, item in queues[number]:
            if isinstance(item, ChampionRequest):
                learner.requests.add(item, offset, learner.progress)
            else:
                learner.add(item, offset)
            break
        while learner.advance() is not None:
            pass
    while learner.advance() is not None:
        pass
    return learner.requests.collect()


def closes(day: int) -> int:
    """Return the place in a partition right behind the closing of its day-th boundary."""
    seen = 0
    for index, block in enumerate(WORLD.partition(0)):
        seen += type(block).__name__ == "Close"
        if seen == day:
            return index + 1
    raise AssertionError(day)


def model(learner: Learner, name: str = "churn.recency") -> ModelSnapshot:
    made = snapshots(learner.targets["churn"], {}, learner.requests, model_config("churn", SETTINGS))
    return next(model for model in made if model.name == name)


def test_a_request_takes_effect_after_the_boundaries_closed_before_it_whatever_partition_comes_first() -> None:
    index = closes(9) + 1  # within the blocks of the tenth boundary
    decided = []
    for order in (None, [1] * 80 + [0] * 80, [0, 1] * 80):
        learner = Learner(SETTINGS)
        [one] = feed(learner, with_request(champion_request(candidate="recency"), index), order=order)
        decided.append((one.boundary, one.former, one.champion, one.version, learner.digest()))
    assert decided[0] == decided[1] == decided[2]
    assert decided[0][:3] == (20_000 + 8, "logistic", "recency")


def test_learning_is_not_changed_by_a_hold() -> None:
    free, held = Learner(SETTINGS), Learner(SETTINGS)
    feed(free, plain())
    feed(held, with_request(champion_request(candidate="count"), closes(9)))
    churn = held.targets["churn"]
    assert churn.champion == free.targets["churn"].champion
    assert held.requests.serving(churn) == "count"
    for mine, theirs in zip(churn.candidates, free.targets["churn"].candidates, strict=True):
        assert mine.payload((1, 0)) == theirs.payload((1, 0))


def test_after_a_crash_anywhere_the_request_is_applied_once() -> None:
    items = with_request(champion_request(candidate="recency"), closes(9) + 1)
    straight = Learner(SETTINGS)
    feed(straight, items)
    learner = Learner(SETTINGS)
    made: list[Decision] = []
    for crash in range(closes(9) - 2, closes(9) + 8):
        # Partition 1 is ahead; partition 0 gets as far as the crash. What was offered for the last one is known.
        made += feed(learner, items, order=[1] * 80 + [0] * crash)
        capture = LearnerCheckpointer(SETTINGS).capture(learner)
        again = LearnerCheckpointer(SETTINGS).rebuild(compact({}, capture))
        assert len(made + feed(again, items)) == 1
        assert again.digest() == straight.digest()


def test_a_hold_is_released_to_the_champion_that_the_rule_has_chosen_meanwhile() -> None:
    items = with_request(champion_request(candidate="count"), closes(9))
    items[0].insert(closes(11) + 1, champion_request("release"))
    learner = Learner(SETTINGS)
    held, released = feed(learner, items)
    assert (held.champion, released.former, released.champion) == ("count", "count", "logistic")
    assert learner.requests.held == {}


def test_a_frozen_version_is_published_under_its_own_name_as_the_only_champion() -> None:
    early = Learner(SETTINGS)
    feed(early, plain(8))
    old = model(early)
    learner = Learner(SETTINGS)
    [decision] = feed(learner, with_request(champion_request(snapshot=old), closes(12)))
    assert (decision.champion, decision.version, decision.refusal) == ("held", old.version, "")
    made = snapshots(learner.targets["churn"], {}, learner.requests, {})
    assert [(model.name, model.version) for model in made if model.role == "champion"] == [("churn.held", old.version)]
    frozen = ModelSnapshot.decode(made[-1].encode())
    assert frozen.payload == old.payload
    assert frozen.candidate == "recency"
    assert model(learner).version > old.version
    restored = LearnerCheckpointer(SETTINGS).capture(learner)
    again = LearnerCheckpointer(SETTINGS).rebuild(compact({}, restored))
    assert again.requests.held == learner.requests.held
    assert held_name("churn") == "churn.held"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"candidate": "prior"}, "prior cannot serve churn; logistic"),
        ({"candidate": "nobody"}, "nobody cannot serve churn"),
        ({"snapshot": "purchase"}, "no model of churn"),
        ({"snapshot": "tampered"}, "fails its checksum"),
        ({"snapshot": "alien"}, "schema"),
    ],
)
def test_a_candidate_that_cannot_serve_is_refused_and_changes_nothing(fields: dict[str, str], message: str) -> None:
    learner = Learner(SETTINGS)
    feed(learner, plain(10))
    good = model(learner)
    bad = {
        "purchase": good.model_copy(update={"target": "purchase"}).sealed(),
        "tampered": good.model_copy(update={"version": 999}),
        "alien": good.model_copy(update={"schema_hash": "0" * 16}).sealed(),
    }
    values: dict[str, Any] = {key: bad[value] if key == "snapshot" else value for key, value in fields.items()}
    learner.requests.add(champion_request(**values), 10_000, learner.progress)
    learner.advance()
    [decision] = learner.requests.collect()
    assert message in decision.refusal
    assert learner.requests.held == {}
    [row] = request_rows([decision])
    assert (row["outcome"], row["champion"], row["why"]) == ("refused", "logistic", decision.refusal)


def test_a_hold_before_anything_is_learned_is_refused() -> None:
    learner = Learner(SETTINGS)
    learner.requests.add(champion_request(candidate="recency"), 0, learner.progress)
    learner.advance()
    [decision] = learner.requests.collect()
    assert "has learned a label yet" in decision.refusal
    assert request_rows([decision])[0]["decided_day"] == 0


def test_the_rules_promotions_are_recorded_with_their_evidence_and_yield_to_a_hold() -> None:
    learner = Learner(SETTINGS)
    changes = []
    for number in range(2):
        for offset, block in enumerate(WORLD.partition(number)):
            learner.add(block, offset)
    while (step := learner.advance()) is not None:
        changes += rule_rows(step, learner)
    first = next(row for row in changes if row["target"] == "churn")
    assert (first["former"], first["champion"], first["outcome"]) == ("", "logistic", "done")
    assert "labels have matured" in first["why"]


def test_a_request_is_distinguished_from_a_block_and_decoded() -> None:
    request = champion_request(candidate="recency", why="a broken input")
    assert is_request(request.encode())
    assert ChampionRequest.decode(request.encode()) == request
    from ebb.contracts.examples import Close, encode  # noqa: PLC0415

    assert not is_request(encode(Close(0, 1, chunks=0, labels=0)))
    with pytest.raises(CorruptError, match="not a request"):
        ChampionRequest.decode(b'{"request_id": 1}')


def test_a_split_gives_its_challenger_a_share_until_it_is_ended_and_survives_a_restart() -> None:
    items = with_request(champion_request("split", candidate="count", share=0.25, why="a trial"), closes(9))
    learner = Learner(SETTINGS)
    [decision] = feed(learner, items)
    assert (decision.former, decision.champion) == ("logistic", "logistic")
    assert request_rows([decision])[0]["why"] == "count for 25% of customers: a trial"
    made = snapshots(learner.targets["churn"], {}, learner.requests, {})
    assert [(model.candidate, model.role, model.share) for model in made if model.share] == [
        ("count", "challenger", 0.25)
    ]
    assert made[-1].role == "champion"
    capture = LearnerCheckpointer(SETTINGS).capture(learner)
    again = LearnerCheckpointer(SETTINGS).rebuild(compact({}, capture))
    assert again.digest() == learner.digest()
    assert again.requests.splits == learner.requests.splits
    again.requests.add(champion_request("unsplit"), 10_000, again.progress)
    again.advance()
    assert not any(snapshot.share for snapshot in snapshots(again.targets["churn"], {}, again.requests, {}))


def test_a_split_changes_no_model_and_ends_in_a_promotion_of_its_challenger() -> None:
    items = with_request(champion_request("split", candidate="count", share=0.25), closes(9))
    items[0].insert(closes(11) + 1, champion_request(candidate="count"))
    free, split = Learner(SETTINGS), Learner(SETTINGS)
    feed(free, plain())
    feed(split, items)
    made = snapshots(split.targets["churn"], {}, split.requests, {})
    assert [(model.candidate, model.share) for model in made if model.role == "champion"] == [("count", 0.0)]
    assert not any(model.share for model in made)
    for mine, theirs in zip(split.targets["churn"].candidates, free.targets["churn"].candidates, strict=True):
        assert mine.payload((1, 0)) == theirs.payload((1, 0))


@pytest.mark.parametrize(
    ("candidate", "message"), [("logistic", "logistic serves all customers"), ("prior", "prior cannot serve")]
)
def test_a_split_whose_challenger_is_the_champion_or_cannot_serve_is_refused(candidate: str, message: str) -> None:
    learner = Learner(SETTINGS)
    [decision] = feed(learner, with_request(champion_request("split", candidate=candidate, share=0.25), closes(9)))
    assert message in decision.refusal
    assert learner.requests.splits == {}


@pytest.mark.parametrize(
    "wrong",
    [{}, {"candidate": "a"}, {"candidate": "a", "share": 0.0}, {"candidate": "a", "share": 1.0}, {"share": 0.5}],
)
def test_a_split_names_its_challenger_and_a_share(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        champion_request("split", **wrong)
    with pytest.raises(ValidationError, match="and nothing else"):
        champion_request(candidate="a", share=0.5)


@pytest.mark.parametrize("wrong", [{}, {"candidate": "a", "action": "release"}])
def test_a_hold_names_one_thing_and_a_release_none(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="a hold names"):
        ChampionRequest.model_validate({"target": "churn", "action": "hold", "asked_at": NOW, **wrong})


def test_a_snapshot_without_configuration_keeps_the_checksum_it_always_had() -> None:
    old = ModelSnapshot(
        name="churn.x", target="churn", candidate="x", version=1, role="challenger", schema_hash="h",
        trained_until=1, examples=1, metrics={}, payload={},
    ).sealed()  # fmt: skip
    assert old.checksum == "2af47f83c006d12b625cb29c9912a4993f695fc6c12ade7dddbd66cb14ea37e4"
    assert old.model_copy(update={"config": {"seed": 7}}).sealed().checksum != old.checksum


@pytest.mark.parametrize("more", [{"action": "hold"}, {"action": "split", "share": 0.5}])
def test_a_tree_cannot_be_made_to_serve(more: dict[str, Any]) -> None:
    learner = Learner(SETTINGS)
    [decision] = feed(learner, with_request(champion_request(candidate="forest", **more), closes(9)))
    assert "forest cannot serve churn; logistic, nimble, adam, recency, count can" in decision.refusal
    made = model(learner, "churn.forest")
    assert (made.role, made.share) == ("challenger", 0.0)
    assert 0 < made.examples < learner.targets["churn"].examples
    refused = Learner(SETTINGS)
    [decision] = feed(refused, with_request(champion_request(snapshot=made), closes(9)))
    assert "has no form in which it could score" in decision.refusal
