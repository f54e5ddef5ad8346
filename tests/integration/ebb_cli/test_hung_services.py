"""Commands against services that hang: each ends after seconds with a message that names which one."""

import subprocess
import sys
from collections.abc import Callable, Sequence

import pytest

from ebb.settings import Settings
from ebb_cli.local import parts
from ebb_cli.local.parts import ManagedProcess, environment
from ebb_cli.local.ports import free_port
from ebb_cli.local.supervisor import Supervisor
from tests.support.stopping import stopped

RunPart = Callable[[ManagedProcess], Supervisor]
ENDS_SECONDS = 55
"""By then each has ended, on a busy machine too; by the patience of the parts it took a minute or two."""


def ebb(settings: Settings, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "from ebb_cli import main; main()", *arguments]
    return subprocess.Popen(
        command, env=environment(settings), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def refusals(settings: Settings, commands: Sequence[Sequence[str]]) -> list[str]:
    """Run commands side by side; return what each says on stderr, after it has failed as commands do."""
    said = []
    for command, process in [(command, ebb(settings, *command)) for command in commands]:
        try:
            _, err = process.communicate(timeout=ENDS_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            pytest.fail(f"ebb {' '.join(command)} waits for a service that hangs")
        assert process.returncode == 1, err
        assert "Traceback" not in err
        said.append(err)
    return said


@pytest.mark.timeout(300)
def test_commands_say_that_kafka_does_not_answer(space: Settings, stack_supervisor: Supervisor) -> None:
    commands = (["keys", "list"], ["keys", "create", "x", "--scope", "read"], ["models", "list"])
    with stopped(stack_supervisor, "kafka"):
        for said in refusals(space, commands):
            assert f"Kafka at {space.kafka_bootstrap}" in said
            assert "EBB_KAFKA_BOOTSTRAP" in said


@pytest.mark.timeout(300)
def test_commands_say_that_clickhouse_does_not_answer(space: Settings, stack_supervisor: Supervisor) -> None:
    with stopped(stack_supervisor, "clickhouse"):
        (said,) = refusals(space, (["models", "history", "churn"],))
    assert f"ClickHouse at {space.clickhouse_url} is not available" in said


@pytest.mark.timeout(400)
def test_watching_says_that_the_api_does_not_answer(space: Settings, run_part: RunPart) -> None:
    settings = space.model_copy(update={"api_port": free_port()})
    supervisor = run_part(parts.api(settings))
    with stopped(supervisor, "api"):
        (said,) = refusals(settings, (["watch"],))
    assert f"http://127.0.0.1:{settings.api_port} does not answer" in said
