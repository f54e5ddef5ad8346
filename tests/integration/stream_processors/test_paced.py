"""Which models score in a paced replay: those that its log has asked for, however many have been published since."""

import asyncio
from collections.abc import Iterator

import pytest

from ebb.contracts.models import PUBLISHED, PublishedThrough
from ebb.errors import UnavailableError
from ebb.kafka.producer import Publisher
from ebb.settings import Settings
from online_ml.candidates import candidates
from stream_processors.scoring import champions
from stream_processors.scoring.champions import ModelFollower
from tests.support.flow import wait_for
from tests.support.sender import make_model

DAY = 20_000


def _publish(space: Settings, version: int, boundary: int) -> None:
    publisher = Publisher(space)
    payload = candidates("churn")[0].payload((1.0, 0.0))
    model = make_model(version=version, trained_until=boundary, payload=payload)
    publisher.send(space.topics.models, key=model.name, value=model.encode(), partition=0)
    body = PublishedThrough(boundary=boundary).encode()
    publisher.send(space.topics.models, key=PUBLISHED, value=body, partition=0)
    publisher.flush()


@pytest.fixture
def paced(space: Settings) -> Settings:
    return space.model_copy(update={"paced": True})


@pytest.fixture
def follower(paced: Settings) -> Iterator[ModelFollower]:
    made = ModelFollower(paced)
    yield made
    made.stop()


def test_a_model_waits_until_the_log_asks_for_it(paced: Settings, follower: ModelFollower) -> None:
    _publish(paced, 1, DAY)
    follower.start()
    # What was there at the start is in use: a worker that was restarted goes on with it.
    assert follower.churn.version == 1
    _publish(paced, 2, DAY + 1)
    wait_for("the second version", lambda: follower._waiting or None)
    assert follower.churn.version == 1
    asyncio.run(follower.wait(0))  # a batch that asks for none
    assert follower.churn.version == 1
    asyncio.run(follower.wait(DAY + 1))
    assert follower.churn.version == 2


def test_the_log_waits_until_what_it_asks_for_has_been_read(
    paced: Settings, follower: ModelFollower, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower.start()

    async def ask() -> int:
        asked = asyncio.ensure_future(follower.wait(DAY))
        await asyncio.sleep(0)
        assert not asked.done()
        await asyncio.to_thread(_publish, paced, 5, DAY)
        await asked
        return follower.churn.version

    assert asyncio.run(ask()) == 5
    monkeypatch.setattr(champions, "PUBLISHED_SECONDS", 0.2)
    with pytest.raises(UnavailableError, match=f"The models of day {DAY + 1} are not on"):
        asyncio.run(follower.wait(DAY + 1))
    assert follower.churn.version == 5


def test_a_live_worker_uses_what_it_reads_and_takes_the_sign_for_no_model(space: Settings) -> None:
    follower = ModelFollower(space)
    try:
        follower.start()
        _publish(space, 3, DAY)
        wait_for("the model", lambda: follower.churn.version == 3)
    finally:
        follower.stop()
