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


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", MAKERS)
def test_a_part_that_hangs_is_killed_and_started_again(
    name: str, space: Settings, run_part: RunPart, capsys: pytest.CaptureFixture[str]
) -> None:
    part = replace(MAKERS[name](space.model_copy(update={"api_port": free_port()})), hang_seconds=20.0)
    supervisor = run_part(part)
    first = supervisor.pid(name)
    assert first is not None
    os.kill(first, signal.SIGSTOP)

    def back() -> bool:
        supervisor.poll()
        return supervisor.pid(name) not in {None, first} and supervisor.ready(name)

    wait_for("the part to be started again", back, seconds=240)
    said = capsys.readouterr().out
    assert f"{name} runs but has given no sign of life for 20 s; it is killed." in said
    assert f"{name} is back" in said
