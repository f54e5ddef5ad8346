"""The learner ended between any two blocks, or midway through making its work durable, and taken up again."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from clickhouse.client import connect
from clickhouse.store import Store
from ebb.contracts.examples import ChampionRequest, encode
from ebb.contracts.models import ModelSnapshot
from ebb.errors import UnavailableError
from ebb.kafka.producer import Publisher
from ebb.kafka.reader import read_to_end
from ebb.metrics import TREE_LABELS
from ebb.settings import Settings
from online_ml import session as session_module
from online_ml.learning.learner import Learner
from online_ml.session import LearnerSession
from tests.support.examples import World

WORLD = World(partitions=2, days=11, rows=70)
Records = list[list[bytes]]


class Failing(Publisher):
    """A publisher that dies after some records, as its process would."""

    left = 10**9

    def send(  # type: ignore[no-untyped-def]
        self, topic, *, key, value, partition=None, headers=None
    ) -> None:
        """Send, or die."""
        self.left -= 1
        if self.left < 0:
            raise UnavailableError("The process ended here.")  # noqa: EM101
        super().send(topic, key=key, value=value, partition=partition, headers=headers)


@pytest.fixture
def place(space: Settings) -> Settings:
    return space.model_copy(
        update={
            "partitions": WORLD.partitions,
            "horizon_days": WORLD.churn_horizon,
            "purchase_horizon_days": WORLD.purchase_horizon,
            "tree_labels": 15,  # of 140: the trees learn and speak for a sample
        }
    )


@pytest.fixture
def store(place: Settings) -> Iterator[Store]:
    made = Store(place)
    yield made
    made.close()


def records() -> Records:
    """Return the topic's bodies by partition; a request for the count baseline lies among the first's."""
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
    session = LearnerSession(settings, store=Store(settings), publisher=Publisher(settings))
    take_all(session, topic)
    return session.learner


def test_ended_between_any_two_blocks_it_becomes_the_same_learner_bit_for_bit(place: Settings, store: Store) -> None:
    topic = records()
    straight = uninterrupted(place, topic)
    rng = random.Random(5)  # noqa: S311
    publisher = Failing(place)
    session = LearnerSession(place, store=store, publisher=publisher)
    ends = 0
    while any(session.position(number) + 1 < len(bodies) for number, bodies in enumerate(topic)):
        number = rng.choice([n for n in range(2) if session.position(n) + 1 < len(topic[n])])
        offset = session.position(number) + 1
        session.take(number, offset, topic[number][offset])
        while session.advance() is not None:
            pass
        fate = rng.random()
        if fate < 0.4 and session.pending:
            publisher.left = rng.choice([rng.randrange(24), 10**9, 10**9])
            try:
                session.make_durable()
            except UnavailableError:
                fate = 1.0
            publisher.left = 10**9
            publisher.flush()
        if fate > 0.9:
            ends += 1
            session = LearnerSession(place, store=store, publisher=publisher)
    session.make_durable()
    assert ends > 15

    assert session.learner.digest() == straight.digest()
    assert LearnerSession(place, store=store, publisher=publisher).learner.digest() == straight.digest()
    client = connect(place)
    labels = client.query("SELECT count(), uniqExact(target, candidate, snapshot_day, customer_id) FROM v_outcomes")
    told, distinct = labels.result_rows[0]
    changes = client.query("SELECT target, cause, champion, outcome FROM v_promotions ORDER BY ALL").result_rows
    client.close()
    assert told == distinct > 5_000
    assert ("churn", "request to hold", "count", "done") in changes
    assert len(changes) == 3  # and the first champion of each target
    assert published(place)["churn.count"].role == "champion"


def test_what_the_trees_leave_out_is_counted_and_said_once_in_so_many_boundaries(
    place: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[tuple[str, int]] = []

    class Listening:
        def info(self, event: str, **more: Any) -> None:
            if "trees" in event:
                said.append((more["target"], more["left_out"]))

        def warning(self, event: str, **more: Any) -> None: ...

    monkeypatch.setattr(session_module, "log", Listening())
    monkeypatch.setattr(session_module, "LEFT_OUT_EVERY", 5)
    places = [(target, result) for target in ("churn", "purchase") for result in ("learned", "left_out")]
    before = {place_: TREE_LABELS.labels(*place_)._value.get() for place_ in places}
    session = LearnerSession(place, store=store, publisher=Publisher(place))
    take_all(session, records())
    rows = WORLD.partitions * WORLD.rows
    counted = {one: TREE_LABELS.labels(*one)._value.get() - before[one] for one in places}
    for target, horizon in (("churn", WORLD.churn_horizon), ("purchase", WORLD.purchase_horizon)):
        boundaries = WORLD.days - horizon
        assert counted[target, "learned"] == boundaries * place.tree_labels
        assert counted[target, "left_out"] == boundaries * (rows - place.tree_labels)
        assert [left for name, left in said if name == target] == [rows - 15, 6 * (rows - 15)]


def published(settings: Settings) -> dict[str, ModelSnapshot]:
    """Return the latest models on the topic."""
    found: dict[str, ModelSnapshot] = {}
    for message in read_to_end(settings, settings.topics.models, [0]):
        name = (message.key() or b"").decode()
        if (body := message.value()) is None:
            found.pop(name, None)
        else:
            found[name] = ModelSnapshot.decode(body)
    return found


def test_a_frozen_version_serves_until_it_is_released_and_is_then_gone_from_the_topic(
    place: Settings, store: Store
) -> None:
    topic, publisher = records(), Publisher(place)
    session = LearnerSession(place, store=store, publisher=publisher)
    take_all(session, topic)
    session.make_durable()
    old = published(place)["churn.recency"]
    now = datetime(2026, 1, 2, tzinfo=UTC)
    frozen = ChampionRequest(target="churn", action="hold", snapshot=old, asked_at=now)
    end = len(topic[0])
    assert session.take(0, end, frozen.encode())
    assert session.advance() is None
    assert session.pending
    session.make_durable()
    held = published(place)
    assert [name for name, model in held.items() if model.target == "churn" and model.role == "champion"] == [
        "churn.held"
    ]
    assert held["churn.held"].payload == old.payload

    again = LearnerSession(place, store=store, publisher=publisher)
    assert not again.take(0, end, frozen.encode())  # it lies behind the last closing, so it is read again
    assert again.take(0, end + 1, ChampionRequest(target="churn", action="release", asked_at=now).encode())
    again.advance()
    again.make_durable()
    released = published(place)
    assert "churn.held" not in released
    assert [one.name for one in released.values() if one.target == "churn" and one.role == "champion"] == [
        "churn.logistic"
    ]
    [version] = store.query("model_version", model="churn.recency", version=old.version)
    assert version["checksum"] == old.checksum


def test_a_request_outside_its_partition_is_refused_and_noted(place: Settings, store: Store) -> None:
    session = LearnerSession(place, store=store, publisher=Publisher(place))
    now = datetime(2026, 1, 2, tzinfo=UTC)
    assert not session.take(1, 0, ChampionRequest(target="churn", action="release", asked_at=now).encode())
    assert not session.take(0, 0, b'{"request_id": "x"}')
    session.make_durable()
    found = store.query("dead_letters_by_reason")
    assert [(row["reason"], row["records"]) for row in found] == [("corrupt", 2)]
