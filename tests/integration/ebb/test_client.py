"""The Python client against a running API: cut, restarted, silent, refused."""

import asyncio
import contextlib
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ebb.client import Gap, Stream
from ebb.contracts.scores import Alert, Score
from ebb.contracts.stream import ALERTS_HELD, CloseCode
from ebb.errors import KeyRefusedError, StreamRefusedError, UnavailableError
from ebb.settings import Settings
from ebb_cli.local.parts import environment
from ebb_cli.local.ports import free_port
from tests.support.cutter import Cutter
from tests.support.flow import wait_for
from tests.support.project import ROOT
from tests.support.sender import make_alert, make_score
from tests.support.serving import Api, fresh, serving

CUTS = 50

KEY = "the-right-key-of-all"


@pytest.fixture(scope="module")
def api(stack: Settings) -> Iterator[Api]:
    with serving(fresh(stack, heartbeat_seconds=0.5)) as running:
        yield running


@pytest.fixture(scope="module")
def twin(api: Api) -> Iterator[Api]:
    """Another replica."""
    with serving(api.settings.model_copy(update={"api_port": free_port()})) as running:
        yield running


class Told:
    """What a client was told, gathered by a task of its own."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.alerts: list[str] = []
        self.scores: list[float] = []
        self.gaps: list[Gap] = []
        self.task = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        async for told in self.stream:
            if isinstance(told, Alert):
                self.alerts.append(told.alert_id)
            elif isinstance(told, Score):
                self.scores.append(told.churn)
            else:
                self.gaps.append(told)

    async def stop(self) -> None:
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task


async def until(what: str, holds: Callable[[], object], seconds: float = 120) -> None:
    """Wait in the event loop until a callable is true."""
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.02)


@pytest.fixture
def soon_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that was cut connects again after a fifth of a second at most: enough to miss alerts each time."""
    monkeypatch.setattr("ebb.client.LONGEST_WAIT", 0.2)


async def cut_often(api: Api, ports: list[int], customer: str, *, restart: bool) -> Told:
    """Write alerts while a client's connection is cut again and again; return what it was told of them."""
    for number in range(5):
        api.sender.alert(make_alert(customer, alert_id=f"{customer}-before-{number}"))
    api.sender.flush()
    wait_for("the first alerts", lambda: customer in api.get("/v1/alerts", customer_id=customer).text)
    expected: list[str] = []
    async with Cutter(ports, CUTS) as cutter:
        told = Told(Stream(cutter.url, topics=["alerts"], customers=[customer]))
        await until("the subscription", lambda: told.stream.position is not None)
        restarting: asyncio.Task[None] | None = None

        async def write(count: int) -> None:
            for _ in range(count):
                expected.append(f"{customer}-{len(expected)}")
                api.sender.alert(make_alert(customer, alert_id=expected[-1]))
                await asyncio.sleep(0.02)
            # Who stays away for long can be told of the newest alone, and a restart may take long.
            await until("what was missed", lambda: len(expected) - len(told.alerts) < ALERTS_HELD // 2)

        while cutter.cuts < CUTS:
            await write(10)
            assert len(expected) < 20_000, f"only {cutter.cuts} cuts"
            if restart and restarting is None and cutter.cuts > CUTS // 2:
                restarting = asyncio.create_task(asyncio.to_thread(_restart, api))
        if restarting is not None:
            await restarting
        await write(20)
        api.sender.flush()
        await until("the last alert", lambda: told.alerts and told.alerts[-1] == expected[-1])
        await asyncio.sleep(1.2)  # a heartbeat more, after which alerts are looked up once again
        await told.stop()
    assert told.stream.cuts >= CUTS // 2
    assert told.alerts == expected
    return told


def _restart(api: Api) -> None:
    api.supervisor.take_down("api")
    api.supervisor.bring_up("api")


@pytest.mark.usefixtures("soon_back")
async def test_each_alert_is_told_once_and_in_order_over_fifty_cuts_and_a_restart(api: Api) -> None:
    told = await cut_often(api, [api.settings.api_port], "cl-1", restart=True)
    assert told.gaps == [], "all alerts of the restart could be fetched"


@pytest.mark.usefixtures("soon_back")
async def test_each_alert_is_told_once_though_each_connection_meets_another_replica(api: Api, twin: Api) -> None:
    told = await cut_often(api, [api.settings.api_port, twin.settings.api_port], "cl-2", restart=False)
    assert told.gaps == []


async def test_scores_that_pass_the_filter_are_told_and_a_gap_where_some_may_be_missing(api: Api, twin: Api) -> None:
    async with Cutter([api.settings.api_port, twin.settings.api_port], 1) as cutter:
        told = Told(Stream(cutter.url, topics=["scores"], customers=["cl-3"], minimum=0.4))
        await until("the subscription", lambda: told.stream.position is not None)
        for number in range(200):
            api.sender.score(make_score("cl-3", 0.9 if number % 2 else 0.1))
        api.sender.flush()
        await until("the cut", lambda: told.gaps)

        def told_again() -> bool:
            # Again and again: where the machine stands still for longer than the heartbeats, there is another gap.
            api.sender.score(make_score("cl-3", 0.5))
            return 0.5 in told.scores

        await until("the last score", told_again)
        await told.stop()
    assert set(told.gaps) == {Gap(scores=True, alerts=False)}
    assert set(told.scores) == {0.9, 0.5}


async def test_silent_peer_is_left_and_another_connection_made(api: Api) -> None:
    """A host that vanished sends nothing more: only the heartbeats that do not come tell."""
    async with Cutter([api.settings.api_port], 1, silently=True) as cutter:
        told = Told(Stream(cutter.url, topics=["scores"], customers=["cl-4"]))
        await until("the subscription", lambda: told.stream.position is not None)
        rising = (number / 10_000 for number in range(10_000))

        def cut() -> bool:
            # Until enough has passed: a client that lost its connection is told of the latest score alone.
            api.sender.score(make_score("cl-4", next(rising)))
            return cutter.cuts == 1

        await until("the cut", cut)
        api.sender.score(make_score("cl-4", 1.0))
        api.sender.flush()
        await until("the last score", lambda: told.scores and told.scores[-1] == 1.0)
        await told.stop()
    assert told.scores == sorted(told.scores)
    assert cutter.cuts == 1
    # More where the machine itself stands still for longer than the heartbeats.
    assert told.stream.cuts >= 1
    assert told.gaps == []


async def test_client_that_is_refused_says_why_and_does_not_come_back(stack: Settings) -> None:
    with serving(fresh(stack, api_keys=KEY, allowed_origins="https://shop.example")) as guarded:
        for key in (None, "wrong"):
            with pytest.raises(KeyRefusedError, match="refuses the key") as refused:
                await anext(aiter(Stream(guarded.url, api_key=key, topics=["scores"])))
            assert refused.value.code == CloseCode.NO_KEY
            with pytest.raises(KeyRefusedError):
                await anext(aiter(Stream(guarded.url, api_key=key, topics=["alerts"])))
        seen = asyncio.Event()
        stream = Stream(guarded.url, api_key=KEY, topics=["scores"], report=lambda _: seen.set())
        told = Told(stream)
        await asyncio.wait_for(seen.wait(), 60)
        await told.stop()
        too_many = [str(number) * 100 for number in range(999)]
        with pytest.raises(StreamRefusedError, match="1009") as refused_size:
            await anext(aiter(Stream(guarded.url, api_key=KEY, topics=["scores"], customers=too_many)))
        assert refused_size.value.code == 1009


async def test_client_that_reaches_nobody_says_so_after_its_patience() -> None:
    with pytest.raises(UnavailableError, match="does not answer"):
        await anext(aiter(Stream(f"http://127.0.0.1:{free_port()}", start_seconds=0.2)))


def test_example_of_the_docs_runs(api: Api, tmp_path: Path) -> None:
    text = (ROOT / "docs" / "serving.md").read_text("utf-8")
    example = text.partition("```python\n")[2].partition("```")[0]
    script = tmp_path / "example.py"
    script.write_text(example.replace("http://127.0.0.1:8000", api.url))
    with subprocess.Popen([sys.executable, "-u", str(script)], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        said = ""
        for number in range(200):
            # Again and again: nothing says when the example has subscribed.
            api.sender.alert(make_alert("cl-8", alert_id=f"example-{number}"))
            api.sender.flush()
            readable, _, _ = select.select([running.stdout], [], [], 0.5)
            if readable:
                said = running.stdout.readline()
                break
        running.terminate()
    # Or the next test would be told of it.
    wait_for("the last one", lambda: api.get(f"/v1/alerts/example-{number}").status_code == 200)
    assert said.startswith("cl-8 is critical now: ")


def test_watch_prints_alerts_of_the_bands_asked_for_and_leaves_after_so_many(api: Api) -> None:
    command = [str(Path(sys.executable).with_name("ebb")), "watch", "--band=critical", "--count=2"]
    with subprocess.Popen(command, env=environment(api.settings), stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        assert "Watching" in watching.stdout.readline()
        for number, churn in enumerate((0.9, 0.7, 0.85)):
            api.sender.alert(make_alert(f"cl-{5 + number}", churn))
        api.sender.flush()
        try:
            assert watching.wait(60) == 0
        finally:
            watching.kill()
        said = watching.stdout.read()
    assert "cl-5" in said
    assert "cl-6" not in said
    assert "cl-7" in said


def test_watch_ends_quietly_on_an_interrupt(api: Api) -> None:
    command = [str(Path(sys.executable).with_name("ebb")), "watch"]
    with subprocess.Popen(
        command, env=environment(api.settings), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as watching:
        assert watching.stdout is not None
        assert watching.stderr is not None
        assert "Watching" in watching.stdout.readline()
        watching.send_signal(signal.SIGINT)
        try:
            assert watching.wait(60) == 0
        finally:
            watching.kill()
        assert watching.stderr.read() == ""
