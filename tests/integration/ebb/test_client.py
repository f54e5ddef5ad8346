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
from tests.support.serving import Api, fresh, serving
from tests.support.teller import make_alert, make_score

CUTS = 50


@pytest.fixture(scope="module")
def api(stack: Settings) -> Iterator[Api]:
    with serving(fresh(stack, heartbeat_seconds=0.5)) as running:
        yield running


@pytest.fixture(scope="module")
def twin(api: Api) -> Iterator[Api]:
    """Another replica."""
    with serving(api.settings.model_copy(update={"api_port": free_port()})) as running:
        yield running


class Collector:
    """The messages that a client received, collected by a task of its own."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.alerts: list[str] = []
        self.scores: list[float] = []
        self.gaps: list[Gap] = []
        self.task = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        async for received in self.stream:
            if isinstance(received, Alert):
                self.alerts.append(received.alert_id)
            elif isinstance(received, Score):
                self.scores.append(received.churn)
            else:
                self.gaps.append(received)

    async def stop(self) -> None:
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task


async def wait_until(what: str, holds: Callable[[], object], seconds: float = 120) -> None:
    """Wait in the event loop until a callable is true."""
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.02)


async def receive_over_disconnects(api: Api, ports: list[int], customer: str, *, restart: bool) -> Collector:
    """Write alerts while a client's connection is cut again and again; return what it received."""
    for number in range(5):
        api.teller.alert(make_alert(customer, alert_id=f"{customer}-before-{number}"))
    api.teller.flush()
    wait_for("the first alerts", lambda: customer in api.get("/v1/alerts", customer_id=customer).text)
    expected: list[str] = []
    async with Cutter(ports, CUTS) as cutter:
        collector = Collector(Stream(cutter.url, topics=["alerts"], customers=[customer]))
        await wait_until("the subscription", lambda: collector.stream.position is not None)
        restarting: asyncio.Task[None] | None = None

        async def write(count: int) -> None:
            for _ in range(count):
                expected.append(f"{customer}-{len(expected)}")
                api.teller.alert(make_alert(customer, alert_id=expected[-1]))
                await asyncio.sleep(0.02)
            # After a long disconnect only the newest alerts can be sent, and a restart may take long.
            await wait_until("what was missed", lambda: len(expected) - len(collector.alerts) < ALERTS_HELD // 2)

        while cutter.cuts < CUTS:
            await write(10)
            assert len(expected) < 20_000, f"only {cutter.cuts} cuts"
            if restart and restarting is None and cutter.cuts > CUTS // 2:
                restarting = asyncio.create_task(asyncio.to_thread(_restart, api))
        if restarting is not None:
            await restarting
        await write(20)
        api.teller.flush()
        await wait_until("the last alert", lambda: collector.alerts and collector.alerts[-1] == expected[-1])
        await asyncio.sleep(1.2)  # a heartbeat more, after which alerts are looked up once again
        await collector.stop()
    assert collector.stream.cuts >= CUTS // 2
    assert collector.alerts == expected
    return collector


def _restart(api: Api) -> None:
    api.supervisor.take_down("api")
    api.supervisor.bring_up("api")


async def test_each_alert_is_delivered_once_and_in_order_over_fifty_disconnects_and_a_restart(api: Api) -> None:
    collector = await receive_over_disconnects(api, [api.settings.api_port], "cl-1", restart=True)
    assert collector.gaps == [], "all alerts of the restart could be fetched"


async def test_each_alert_is_delivered_once_though_each_connection_reaches_another_replica(api: Api, twin: Api) -> None:
    collector = await receive_over_disconnects(
        api, [api.settings.api_port, twin.settings.api_port], "cl-2", restart=False
    )
    assert collector.gaps == []


async def test_scores_that_pass_the_filter_are_delivered_and_a_gap_where_some_may_be_missing(
    api: Api, twin: Api
) -> None:
    async with Cutter([api.settings.api_port, twin.settings.api_port], 1) as cutter:
        collector = Collector(Stream(cutter.url, topics=["scores"], customers=["cl-3"], minimum=0.4))
        await wait_until("the subscription", lambda: collector.stream.position is not None)
        for number in range(200):
            api.teller.score(make_score("cl-3", 0.9 if number % 2 else 0.1))
        api.teller.flush()
        await wait_until("the cut", lambda: collector.gaps)

        def received_again() -> bool:
            # Repeatedly: a machine that stalls for longer than the heartbeats causes another gap.
            api.teller.score(make_score("cl-3", 0.5))
            return 0.5 in collector.scores

        await wait_until("the last score", received_again)
        await collector.stop()
    assert set(collector.gaps) == {Gap(scores=True, alerts=False)}
    assert set(collector.scores) == {0.9, 0.5}


async def test_connection_to_a_silent_peer_is_closed_and_replaced(api: Api) -> None:
    """A host that vanished sends nothing more: only missing heartbeats reveal it."""
    async with Cutter([api.settings.api_port], 1, silently=True) as cutter:
        collector = Collector(Stream(cutter.url, topics=["scores"], customers=["cl-4"]))
        await wait_until("the subscription", lambda: collector.stream.position is not None)
        rising = (number / 10_000 for number in range(10_000))

        def cut() -> bool:
            # Until enough have arrived: a client that lost its connection gets only the latest score.
            api.teller.score(make_score("cl-4", next(rising)))
            return cutter.cuts == 1

        await wait_until("the cut", cut)
        api.teller.score(make_score("cl-4", 1.0))
        api.teller.flush()
        await wait_until("the last score", lambda: collector.scores and collector.scores[-1] == 1.0)
        await collector.stop()
    assert collector.scores == sorted(collector.scores)
    assert cutter.cuts == 1
    # More if the machine itself stalls for longer than the heartbeats.
    assert collector.stream.cuts >= 1
    assert collector.gaps == []


async def test_refused_client_reports_why_and_does_not_reconnect(stack: Settings) -> None:
    with serving(fresh(stack, api_keys="right", allowed_origins="https://shop.example")) as guarded:
        for key in (None, "wrong"):
            with pytest.raises(KeyRefusedError, match="refuses the key") as refused:
                await anext(aiter(Stream(guarded.url, api_key=key, topics=["scores"])))
            assert refused.value.code == CloseCode.NO_KEY
            with pytest.raises(KeyRefusedError):
                await anext(aiter(Stream(guarded.url, api_key=key, topics=["alerts"])))
        seen = asyncio.Event()
        stream = Stream(guarded.url, api_key="right", topics=["scores"], say=lambda _: seen.set())
        collector = Collector(stream)
        await asyncio.wait_for(seen.wait(), 60)
        await collector.stop()
        too_many = [str(number) * 100 for number in range(999)]
        with pytest.raises(StreamRefusedError, match="1009") as refused_size:
            await anext(aiter(Stream(guarded.url, api_key="right", topics=["scores"], customers=too_many)))
        assert refused_size.value.code == 1009


async def test_client_that_reaches_no_server_fails_after_its_patience() -> None:
    with pytest.raises(UnavailableError, match="does not answer"):
        await anext(aiter(Stream(f"http://127.0.0.1:{free_port()}", start_seconds=0.2)))


def test_example_of_the_docs_runs(api: Api, tmp_path: Path) -> None:
    text = (ROOT / "docs" / "serving.md").read_text("utf-8")
    example = text.partition("```python\n")[2].partition("```")[0]
    script = tmp_path / "example.py"
    script.write_text(example.replace("http://127.0.0.1:8000", api.url))
    with subprocess.Popen([sys.executable, "-u", str(script)], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        output = ""
        for number in range(200):
            # Repeatedly: nothing reports when the example has subscribed.
            api.teller.alert(make_alert("cl-8", alert_id=f"example-{number}"))
            api.teller.flush()
            readable, _, _ = select.select([running.stdout], [], [], 0.5)
            if readable:
                output = running.stdout.readline()
                break
        running.terminate()
    # Or the next test would receive it.
    wait_for("the last one", lambda: api.get(f"/v1/alerts/example-{number}").status_code == 200)
    assert output.startswith("cl-8 is critical now: ")


def test_watch_prints_alerts_of_the_requested_bands_and_exits_after_the_given_count(api: Api) -> None:
    command = [str(Path(sys.executable).with_name("ebb")), "watch", "--band=critical", "--count=2"]
    with subprocess.Popen(command, env=environment(api.settings), stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        assert "Watching" in watching.stdout.readline()
        for number, churn in enumerate((0.9, 0.7, 0.85)):
            api.teller.alert(make_alert(f"cl-{5 + number}", churn))
        api.teller.flush()
        try:
            assert watching.wait(60) == 0
        finally:
            watching.kill()
        output = watching.stdout.read()
    assert "cl-5" in output
    assert "cl-6" not in output
    assert "cl-7" in output


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
