"""The learner stopped between any two blocks, or midway through making its work durable, and restored."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from confluent_kafka import Message

from clickhouse.client import connect
from clickhouse.store import Store
from ebb.contracts.examples import ChampionRequest, decode, encode, is_request
from ebb.contracts.models import PUBLISHED, ModelSnapshot, PublishedThrough
from ebb.errors import UnavailableError
from ebb.kafka.fenced_writer import FencedError, FencedRecord, FencedWriter
from ebb.kafka.producer import Publisher
from ebb.kafka.reader import read_to_end
from ebb.metrics import TREE_LABELS
from ebb.settings import Settings
from online_ml import session as session_module
from online_ml.checkpoint import MANIFEST
from online_ml.learning.learner import Learner
from online_ml.session import LearnerSession
from tests.support.examples import World

WORLD = World(partitions=2, days=11, rows=70)
Records = list[list[bytes]]


class Dying(FencedWriter):
    """A writer that dies after some records, as its process would."""

    left = 10**9

    def _produce(self, record: FencedRecord) -> None:
        self.left -= 1
        if self.left < 0:
            raise UnavailableError("The process ended here.")  # noqa: EM101
        super()._produce(record)


def begin(settings: Settings, store: Store) -> tuple[LearnerSession, Dying]:
    """Return the session of a process that has just started, and its writer."""
    writer = Dying(settings, settings.topics.learner, 0)
    return LearnerSession(settings, store=store, writer=writer), writer


@pytest.fixture
def learner_settings(space: Settings) -> Settings:
    return space.model_copy(
        update={
            "partitions": WORLD.partitions,
            "horizon_days": WORLD.churn_horizon,
            "purchase_horizon_days": WORLD.purchase_horizon,
            "tree_labels": 15,  # of 140: the trees learn and predict a sample
        }
    )


@pytest.fixture
def store(learner_settings: Settings) -> Iterator[Store]:
    made = Store(learner_settings)
    yield made
    made.close()


def records() -> Records:
    """Return the topic's bodies by partition; a request for the count baseline is among the first's."""
    made = [[encode(block) for block in WORLD.partition(number)] for number in range(2)]
    request = ChampionRequest(
        target="churn", action="hold", candidate="count", asked_at=datetime(2026, 1, 1, tzinfo=UTC), request_id="one"
    )
    made[0].insert(40, request.encode())
    return made


def take_all(session: LearnerSession, topic: Records) -> None:
    for number, bodies in enumerate(topic):
        for offset in range(session.position(number) + 1, len(bodies)):
            session.take(number, offset, bodies[offset])
    while session.advance() is not None:
        pass


def uninterrupted(settings: Settings, topic: Records) -> Learner:
    learner = Learner(settings)
    for bodies in topic:
        for offset, body in enumerate(bodies):
            if is_request(body):
                learner.requests.add(ChampionRequest.decode(body), offset, learner.progress)
            else:
                learner.add(decode(body), offset)
    while learner.advance() is not None:
        pass
    return learner


def test_a_session_stopped_between_any_two_blocks_restores_the_same_learner_bit_for_bit(
    learner_settings: Settings, store: Store
) -> None:
    topic = records()
    straight = uninterrupted(learner_settings, topic)
    rng = random.Random(5)  # noqa: S311
    session, writer = begin(learner_settings, store)
    ends = 0
    while any(session.position(number) + 1 < len(bodies) for number, bodies in enumerate(topic)):
        number = rng.choice([n for n in range(2) if session.position(n) + 1 < len(topic[n])])
        offset = session.position(number) + 1
        session.take(number, offset, topic[number][offset])
        while session.advance() is not None:
            pass
        fate = rng.random()
        if fate < 0.4 and session.pending:
            writer.left = rng.choice([rng.randrange(24), 10**9, 10**9])
            try:
                session.make_durable()
            except UnavailableError:
                fate = 1.0
            writer.left = 10**9
        if fate > 0.9:
            ends += 1
            session, writer = begin(learner_settings, store)
    session.make_durable()
    assert ends > 15

    assert session.learner.digest() == straight.digest()
    assert begin(learner_settings, store)[0].learner.digest() == straight.digest()
    client = connect(learner_settings)
    labels = client.query("SELECT count(), uniqExact(target, candidate, snapshot_day, customer_id) FROM v_outcomes")
    row_count, distinct = labels.result_rows[0]
    changes = client.query("SELECT target, cause, champion, outcome FROM v_promotions ORDER BY ALL").result_rows
    client.close()
    assert row_count == distinct > 5_000
    assert ("churn", "request to hold", "count", "done") in changes
    assert len(changes) == 3  # and the first champion of each target
    assert published(learner_settings)["churn.count"].role == "champion"


def test_trees_that_are_given_up_leave_the_list_of_models(learner_settings: Settings, store: Store) -> None:
    trees = {f"{target}.{name}" for target in ("churn", "purchase") for name in ("tree", "forest")}
    for tree_labels, expected in ((15, trees), (0, set())):
        session, _ = begin(learner_settings.model_copy(update={"tree_labels": tree_labels}), store)
        take_all(session, records())
        session.make_durable()
        names = published(learner_settings).keys()
        assert trees & names == expected
        assert "churn.logistic" in names


def test_labels_that_the_trees_leave_out_are_counted_and_logged_once_in_a_while(
    learner_settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[tuple[str, int]] = []

    class Listening:
        def info(self, event: str, **more: Any) -> None:
            if "trees" in event:
                logged.append((more["target"], more["left_out"]))

        def warning(self, event: str, **more: Any) -> None: ...

    monkeypatch.setattr(session_module, "log", Listening())
    monkeypatch.setattr(session_module, "LEFT_OUT_EVERY", 5)
    label_sets = [(target, result) for target in ("churn", "purchase") for result in ("learned", "left_out")]
    before = {label_set: TREE_LABELS.labels(*label_set)._value.get() for label_set in label_sets}
    session, _ = begin(learner_settings, store)
    take_all(session, records())
    rows = WORLD.partitions * WORLD.rows
    counted = {label_set: TREE_LABELS.labels(*label_set)._value.get() - before[label_set] for label_set in label_sets}
    for target, horizon in (("churn", WORLD.churn_horizon), ("purchase", WORLD.purchase_horizon)):
        boundaries = WORLD.days - horizon
        assert counted[target, "learned"] == boundaries * learner_settings.tree_labels
        assert counted[target, "left_out"] == boundaries * (rows - learner_settings.tree_labels)
        assert [left for name, left in logged if name == target] == [rows - 15, 6 * (rows - 15)]


def published(settings: Settings) -> dict[str, ModelSnapshot]:
    """Return the latest models on the topic."""
    snapshots: dict[str, ModelSnapshot] = {}
    for message in read_to_end(settings, settings.topics.models, [0]):
        name = (message.key() or b"").decode()
        if name == PUBLISHED:
            continue
        if (body := message.value()) is None:
            snapshots.pop(name, None)
        else:
            snapshots[name] = ModelSnapshot.decode(body)
    return snapshots


def test_a_frozen_version_serves_until_it_is_released_and_is_then_removed_from_the_topic(
    learner_settings: Settings, store: Store
) -> None:
    topic = records()
    session, _ = begin(learner_settings, store)
    take_all(session, topic)
    session.make_durable()
    old = published(learner_settings)["churn.recency"]
    now = datetime(2026, 1, 2, tzinfo=UTC)
    frozen = ChampionRequest(target="churn", action="hold", snapshot=old, asked_at=now)
    end = len(topic[0])
    assert session.take(0, end, frozen.encode())
    assert session.advance() is None
    assert session.pending
    session.make_durable()
    frozen_models = published(learner_settings)
    assert [name for name, model in frozen_models.items() if model.target == "churn" and model.role == "champion"] == [
        "churn.held"
    ]
    assert frozen_models["churn.held"].payload == old.payload

    again, _ = begin(learner_settings, store)
    assert not again.take(0, end, frozen.encode())  # it is after the last closing, so it is read again
    assert again.take(0, end + 1, ChampionRequest(target="churn", action="release", asked_at=now).encode())
    again.advance()
    again.make_durable()
    released = published(learner_settings)
    assert "churn.held" not in released
    assert [model.name for model in released.values() if model.target == "churn" and model.role == "champion"] == [
        "churn.logistic"
    ]
    [version] = store.query("model_version", model="churn.recency", version=old.version)
    assert version["checksum"] == old.checksum


def test_a_request_outside_its_partition_is_refused_and_dead_lettered(learner_settings: Settings, store: Store) -> None:
    session, _ = begin(learner_settings, store)
    now = datetime(2026, 1, 2, tzinfo=UTC)
    assert not session.take(1, 0, ChampionRequest(target="churn", action="release", asked_at=now).encode())
    assert not session.take(0, 0, b'{"request_id": "x"}')
    session.make_durable()
    counted = store.query("dead_letters_by_reason")
    assert [(row["reason"], row["records"]) for row in counted] == [("corrupt", 2)]


def test_a_learner_that_begins_anew_publishes_nothing_before_it_has_caught_up(
    learner_settings: Settings, store: Store
) -> None:
    topic, publisher = records(), Publisher(learner_settings)
    for number, bodies in enumerate(topic):
        for body in bodies:
            publisher.send(learner_settings.topics.examples, key=None, value=body, partition=number)
    publisher.flush()
    session, _ = begin(learner_settings, store)
    half = [bodies[: len(bodies) // 2] for bodies in topic]
    take_all(session, half)
    assert session.learner.targets["churn"].version > 0
    session.make_durable()
    assert published(learner_settings) == {}
    assert not session.pending

    # Restarted on the way, it is still behind.
    session, _ = begin(learner_settings, store)
    take_all(session, [bodies[:-1] for bodies in topic])
    session.make_durable()
    assert published(learner_settings) == {}
    take_all(session, topic)
    session.make_durable()
    assert published(learner_settings)["churn.count"].version == session.learner.targets["churn"].version
    assert not session.pending


def test_a_paced_learner_publishes_each_boundary_and_says_so_behind_the_models(
    learner_settings: Settings, store: Store
) -> None:
    paced = learner_settings.model_copy(update={"paced": True})
    topic = records()
    blocks = sorted(
        (decode(body).boundary, number, offset)
        for number, bodies in enumerate(topic)
        for offset, body in enumerate(bodies)
        if not is_request(body)
    )
    topic = [[body for body in bodies if not is_request(body)] for bodies in topic]
    taken = [0, 0]
    session, _ = begin(paced, store)
    said: list[int] = []
    for place, (boundary, number, _) in enumerate(blocks):
        session.take(number, taken[number], topic[number][taken[number]])
        taken[number] += 1
        if place + 1 < len(blocks) and blocks[place + 1][0] == boundary:
            continue
        step = session.advance()
        assert step is not None
        assert session.advance() is None
        said.append(boundary)
        messages = list(read_to_end(paced, paced.topics.models, [0]))
        assert [one.boundary for one in _said(messages)] == said
        assert messages[-1].key() == PUBLISHED.encode()
        if step.judged:
            learned = {t: session.learner.targets[t] for t in {judged.target for judged in step.judged}}
            now = published(paced)
            # The model of this very boundary, unless it is unfit to serve.
            for target, one in learned.items():
                versions = {now[f"{target}.{name}"].version for name in one.names if f"{target}.{name}" in now}
                assert not versions or max(versions) <= one.version
                if not one.unfit:
                    assert versions == {one.version}
    # Nothing of it is lost by making it durable later, and every version that served is in the registry.
    session.make_durable()
    client = connect(paced)
    kept = client.query("SELECT target, uniqExact(version), max(version) FROM v_models GROUP BY target").result_rows
    client.close()
    assert {target for target, *_ in kept} == {"churn", "purchase"}
    assert all(1 < versions <= newest for _, versions, newest in kept)
    assert session.learner.digest() == uninterrupted(paced, topic).digest()


def _said(messages: list[Message]) -> list[PublishedThrough]:
    return [
        PublishedThrough.decode(message.value() or b"") for message in messages if message.key() == PUBLISHED.encode()
    ]


def test_a_learner_that_begins_again_takes_no_version_twice(learner_settings: Settings, store: Store) -> None:
    topic = records()
    session, writer = begin(learner_settings, store)
    take_all(session, topic)
    session.make_durable()
    before = published(learner_settings)["churn.count"]
    writer.write({MANIFEST: b"damaged"})

    again, writer = begin(learner_settings, store)
    assert again.learner.boundary is None
    take_all(again, topic)
    again.make_durable()
    after = published(learner_settings)["churn.count"]
    assert again.learner.digest() == session.learner.digest()
    assert (after.payload, after.version) == (before.payload, 2 * before.version)
    # The models topic is lost: the registry still knows.
    writer.write(
        {MANIFEST: b"damaged"},
        [FencedRecord(learner_settings.topics.models, 0, name, None) for name in published(learner_settings)],
    )
    third, _ = begin(learner_settings, store)
    assert third.learner.targets["churn"].begun_at == after.version


def test_a_learner_that_another_has_followed_writes_nothing_more(learner_settings: Settings, store: Store) -> None:
    topic = records()
    former, writer = begin(learner_settings, store)
    take_all(former, [bodies[:-3] for bodies in topic])
    former.make_durable()
    at_handover = published(learner_settings)
    take_all(former, topic)
    owner, _ = begin(learner_settings, store)
    with pytest.raises(FencedError, match="Another process owns"):
        former.make_durable()
    with pytest.raises(FencedError):
        LearnerSession(learner_settings, store=store, writer=writer)
    assert published(learner_settings) == at_handover
    client = connect(learner_settings)
    matured = "SELECT toInt32(max(matured_day)) FROM outcomes"
    before = client.query(matured).result_rows[0][0]
    take_all(owner, topic)
    owner.make_durable()
    assert client.query(matured).result_rows[0][0] > before, "the fenced one had written rows"
    client.close()


def test_a_model_that_has_diverged_is_not_published(
    learner_settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The version before stays, of all candidates if it is the champion that diverged, so that the roles agree."""
    topic = records()
    session, _ = begin(learner_settings, store)
    take_all(session, [bodies[:-6] for bodies in topic])
    session.make_durable()
    before = published(learner_settings)
    churn, purchase = (session.learner.targets[target] for target in ("churn", "purchase"))
    assert purchase.champion == "logistic"
    assert session.learner.requests.serving(churn) == "count"  # held by request
    for learned in (churn, purchase):
        logits = learned.full[0].logits
        monkeypatch.setattr(learned.full[0], "logits", lambda inputs, logits=logits: -20 * logits(inputs))
    take_all(session, topic)
    assert churn.unfit == purchase.unfit == {"logistic"}
    session.make_durable()
    after = published(learner_settings)
    assert {name for name in after if after[name].version == before[name].version} == {
        "churn.logistic",
        *(name for name in after if after[name].target == "purchase"),
    }
    assert not session.pending
    again, _ = begin(learner_settings, store)
    assert again.learner.targets["churn"].unfit == {"logistic"}
