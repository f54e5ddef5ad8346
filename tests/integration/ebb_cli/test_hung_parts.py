"""Parts stopped by SIGSTOP: the supervisor asks for a sign of life, kills what gives none, and starts it again."""

import os
import signal
from collections.abc import Callable
from dataclasses import replace

import pytest

from ebb.settings import Settings
from ebb_cli.local import parts
from ebb_cli.local.parts import ManagedProcess
from ebb_cli.local.ports import free_port
from ebb_cli.local.supervisor import Supervisor
from tests.support.flow import wait_for

RunPart = Callable[[ManagedProcess], Supervisor]
MAKERS: dict[str, Callable[[Settings], ManagedProcess]] = {
    "worker-0": parts.worker,
    "learner": parts.learner,
    "api": parts.api,
}


HANG_SECONDS = 10.0


@pytest.mark.timeout(400)
def test_parts_that_hang_are_killed_and_started_again(
    space: Settings, run_part: RunPart, capsys: pytest.CaptureFixture[str]
) -> None:
    own = space.model_copy(update={"api_port": free_port()})
    supervisors = {name: run_part(replace(make(own), hang_seconds=HANG_SECONDS)) for name, make in MAKERS.items()}
    first = {name: supervisor.pid(name) for name, supervisor in supervisors.items()}
    for pid in first.values():
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)

    def back() -> bool:
        for supervisor in supervisors.values():
            supervisor.poll()
        return all(one.pid(name) not in {None, first[name]} and one.ready(name) for name, one in supervisors.items())

    wait_for("the parts to be started again", back, seconds=240)
    said = capsys.readouterr().out
    for name in MAKERS:
        assert f"{name} runs but has given no sign of life for 10 s; it is killed." in said
        assert f"{name} is back" in said
