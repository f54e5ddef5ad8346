"""The supervisor against real processes: gates, restarts, and an end that leaves nothing."""

import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from ebb.errors import SetupError
from ebb_cli.local.parts import ManagedProcess
from ebb_cli.local.supervisor import Supervisor

Launch = Callable[..., Supervisor]


class Said:
    """What the supervisor said, in order."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, line: str) -> None:
        self.lines.append(line)

    def __contains__(self, pattern: str) -> bool:
        return any(re.search(pattern, line) for line in self.lines)


@pytest.fixture
def said() -> Said:
    return Said()


@pytest.fixture
def launch(tmp_path: Path, said: Said) -> Iterator[Launch]:
    """Make supervisors whose parts are stopped at the end of the test."""
    made: list[Supervisor] = []

    def make(*parts: ManagedProcess) -> Supervisor:
        made.append(Supervisor(parts, logs=tmp_path / "logs", report=said))
        return made[-1]

    yield make
    for supervisor in made:
        supervisor.stop()


def python(name: str, code: str, **more: object) -> ManagedProcess:
    """Return a part that runs a little program."""
    command = (sys.executable, "-c", textwrap.dedent(code))
    return ManagedProcess(name, command, dict(os.environ), **more)  # type: ignore[arg-type]


def sleeper(name: str, **more: object) -> ManagedProcess:
    """Return a part that stays until it is told to stop."""
    return python(name, "import time\nwhile True: time.sleep(1)", **more)


def alive(pid: int | None) -> bool:
    """Tell whether a process runs (a zombie does not)."""
    try:
        return pid is not None and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def eventually(truth: Callable[[], bool], *, within: float = 60) -> bool:
    """Wait until something holds; tell whether it came to hold."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if truth():
            return True
        time.sleep(0.05)
    return truth()


def keep_polling(supervisor: Supervisor, times: int) -> None:
    for _ in range(times):
        supervisor.poll()
        time.sleep(0.05)


def poll_until(supervisor: Supervisor, truth: Callable[[], bool]) -> bool:
    """Keep the supervisor polling until something holds."""

    def step() -> bool:
        supervisor.poll()
        return truth()

    return eventually(step)


def test_a_part_starts_only_when_those_it_waits_for_are_ready(launch: Launch, said: Said, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    base = python(
        "base",
        f"""
        import pathlib, time
        time.sleep(0.5)
        pathlib.Path({str(gate)!r}).touch()
        time.sleep(60)
        """,
        ready=gate.exists,
    )
    upper = python(
        "upper", f"import pathlib, time\nassert pathlib.Path({str(gate)!r}).exists()\ntime.sleep(60)", after=("base",)
    )
    supervisor = launch(upper, base)
    supervisor.start()
    assert [line.split()[0] for line in said.lines] == ["base", "upper"]
    assert supervisor.ready("base")
    assert supervisor.ready("upper")


def test_stop_leaves_no_process_and_stops_dependents_first(launch: Launch, tmp_path: Path) -> None:
    order = tmp_path / "order"
    code = """
        import signal, sys, time
        def leave(*_):
            with open({order!r}, "a") as file: file.write("{name} ")
            sys.exit()
        signal.signal(signal.SIGTERM, leave)
        open({order!r} + "{name}", "w").close()
        while True: time.sleep(1)
    """
    parts = [
        python(
            name,
            code.format(order=str(order), name=name),
            after=after,
            ready=Path(f"{order}{name}").exists,
        )
        for name, after in (("kafka", ()), ("worker", ("kafka",)), ("simulator", ("worker",)))
    ]
    supervisor = launch(*parts)
    supervisor.start()
    pids = [supervisor.pid(part.name) for part in parts]
    assert all(alive(pid) for pid in pids)
    supervisor.stop()
    assert not any(alive(pid) for pid in pids)
    assert order.read_text().split() == ["simulator", "worker", "kafka"]


def test_a_part_that_ignores_sigterm_is_killed_with_its_children_after_its_grace(
    launch: Launch, said: Said, tmp_path: Path
) -> None:
    child = tmp_path / "child"
    deaf = python(
        "deaf",
        f"""
        import pathlib, signal, subprocess, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        made = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        pathlib.Path({str(child)!r}).write_text(str(made.pid))
        time.sleep(600)
        """,
        ready=lambda: child.exists() and child.read_text() != "",
        grace=0.3,
    )
    supervisor = launch(deaf)
    supervisor.start()
    grandchild = int(child.read_text())
    assert alive(grandchild)
    supervisor.stop()
    assert eventually(lambda: not alive(grandchild))
    assert r"deaf did not stop within 0 s and was killed" in said


def test_a_crashed_part_is_restarted_and_that_is_said_with_its_last_lines(
    launch: Launch, said: Said, tmp_path: Path
) -> None:
    log = tmp_path / "logs" / "talker.log"
    part = python(
        "talker",
        "import time\nprint('about to work', flush=True)\ntime.sleep(600)",
        ready=lambda: "about to work" in log.read_text(),
    )
    supervisor = launch(part)
    supervisor.start()
    first = supervisor.pid("talker")
    assert first
    os.kill(first, signal.SIGKILL)
    assert poll_until(supervisor, lambda: supervisor.pid("talker") not in (None, first) and supervisor.ready("talker"))
    assert r"talker ended \(killed by SIGKILL\) after \d+ s; it is started again in 0\.5 s" in said
    assert r"talker\.log" in said
    assert "about to work" in said
    assert r"talker is back" in said


def test_a_part_that_gives_no_sign_of_life_is_killed_and_started_again(
    launch: Launch, said: Said, tmp_path: Path
) -> None:
    lives = tmp_path / "lives"
    lives.touch()
    supervisor = launch(sleeper("hanging", alive=lives.exists, hang_seconds=1.0))
    supervisor.start()
    first = supervisor.pid("hanging")
    keep_polling(supervisor, 40)
    assert supervisor.pid("hanging") == first
    lives.unlink()
    assert poll_until(supervisor, lambda: supervisor.pid("hanging") not in (None, first))
    assert not alive(first)
    assert r"hanging runs but has given no sign of life for 1 s; it is killed" in said
    lives.touch()
    assert poll_until(supervisor, lambda: r"hanging is back" in said)


def test_a_part_that_becomes_ready_slowly_is_not_taken_for_one_that_hangs(
    launch: Launch, said: Said, tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    part = python("slow", f"import pathlib, time\ntime.sleep(2)\npathlib.Path({str(ready)!r}).touch()\ntime.sleep(600)",
                  ready=ready.exists, alive=ready.exists, hang_seconds=0.3)  # fmt: skip
    supervisor = launch(part)
    supervisor.start()
    first = supervisor.pid("slow")
    keep_polling(supervisor, 20)
    assert supervisor.pid("slow") == first
    assert r"no sign of life" not in said


def test_a_question_that_is_not_answered_holds_up_no_other_part(launch: Launch, said: Said, tmp_path: Path) -> None:
    asked = threading.Event()

    def hang() -> bool:
        asked.set()
        time.sleep(600)
        return True

    supervisor = launch(sleeper("mute", alive=hang), sleeper("other"))
    supervisor.start()
    assert poll_until(supervisor, asked.is_set)
    other = supervisor.pid("other")
    assert other
    os.kill(other, signal.SIGKILL)
    assert poll_until(supervisor, lambda: supervisor.pid("other") not in (None, other))


def test_restarts_come_later_and_later(launch: Launch, said: Said) -> None:
    supervisor = launch(python("brief", "import time; time.sleep(0.2)"))
    supervisor.start()
    waits = r"started again in ([\d.]+) s"
    assert poll_until(supervisor, lambda: sum("started again" in line for line in said.lines) >= 3)
    found = [match[1] for line in said.lines if (match := re.search(waits, line))]
    assert found[:3] == ["0.5", "1.0", "2.0"]


def test_a_part_that_will_not_start_names_its_log_and_its_last_words(launch: Launch, tmp_path: Path) -> None:
    supervisor = launch(python("broken", "raise SystemExit('no such broker')", ready=lambda: False))
    with pytest.raises(SetupError) as refused:
        supervisor.start()
    assert refused.value.what == "broken does not start: exit code 1, 3 times."
    assert str(tmp_path / "logs" / "broken.log") in refused.value.hint
    assert "no such broker" in refused.value.hint


def test_a_part_that_is_never_ready_is_not_waited_for_forever(launch: Launch) -> None:
    supervisor = launch(sleeper("mute", ready=lambda: False, patience=0.4))
    with pytest.raises(SetupError, match=r"mute runs but is not ready after 0 s\. Read .*mute\.log"):
        supervisor.start()


def test_parts_already_started_are_stopped_when_another_will_not_start(tmp_path: Path, said: Said) -> None:
    fine = sleeper("fine")
    broken = python("broken", "raise SystemExit(3)", ready=lambda: False, after=("fine",))
    supervisor = Supervisor([fine, broken], logs=tmp_path, report=said)
    seen: list[int | None] = []
    with pytest.raises(SetupError), supervisor:
        pass
    seen.append(supervisor.pid("fine"))
    assert seen == [None]
    assert not [process for process in psutil.Process().children() if "while True" in " ".join(process.cmdline())]


def test_waiting_ends_when_the_process_is_asked_to_stop(tmp_path: Path, said: Said) -> None:
    began = time.monotonic()
    with Supervisor(
        [sleeper("mute", ready=lambda: False)],
        logs=tmp_path,
        report=said,
        stopping=lambda: time.monotonic() - began > 0.3,
    ) as supervisor:
        assert not supervisor.ready("mute")
    assert time.monotonic() - began < 60


def test_a_part_taken_down_stays_down_until_it_is_brought_up(launch: Launch) -> None:
    supervisor = launch(sleeper("part"))
    supervisor.start()
    first = supervisor.pid("part")
    supervisor.take_down("part", hard=True)
    assert not alive(first)
    keep_polling(supervisor, 20)
    assert supervisor.pid("part") is None
    supervisor.bring_up("part")
    assert supervisor.ready("part")
    assert supervisor.pid("part") != first


def test_a_part_that_waits_for_an_unknown_one_is_refused(tmp_path: Path, said: Said) -> None:
    with pytest.raises(ValueError, match="nobody"):
        Supervisor([sleeper("part", after=("nobody",))], logs=tmp_path, report=said)


def test_parts_die_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    code = f"""
        import os, pathlib, sys, time
        from ebb_cli.local.parts import ManagedProcess
        from ebb_cli.local.supervisor import Supervisor
        deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
        parts = [
            ManagedProcess("polite", (sys.executable, "-c", "import time; time.sleep(600)"), dict(os.environ)),
            ManagedProcess("deaf", (sys.executable, "-c", deaf), dict(os.environ)),
        ]
        supervisor = Supervisor(parts, logs=pathlib.Path({str(tmp_path)!r}), report=lambda _: None)
        supervisor.start()
        time.sleep(0.5)
        fresh = pathlib.Path({str(pids)!r} + ".tmp")
        fresh.write_text(" ".join(str(supervisor.pid(part.name)) for part in parts))
        fresh.rename({str(pids)!r})
        time.sleep(600)
    """
    host = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)])
    assert eventually(pids.exists)
    parts = [int(pid) for pid in pids.read_text().split()]
    assert all(alive(pid) for pid in parts)
    host.kill()
    host.wait()
    assert eventually(lambda: not any(alive(pid) for pid in parts))


def test_a_long_log_is_set_aside_at_the_start(launch: Launch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ebb_cli.local.process.LOG_LIMIT", 10)
    log = tmp_path / "logs" / "part.log"
    log.parent.mkdir()
    log.write_text("more than ten bytes\n")
    supervisor = launch(sleeper("part"))
    supervisor.start()
    assert log.with_suffix(".log.1").read_text() == "more than ten bytes\n"
    assert log.read_text() == ""
