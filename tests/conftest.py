"""Fixtures that all tests share: a real broker and a real ClickHouse engine, started once a test process.

Every test that uses them gets a namespace of its own (`space`), so tests do not meet. `make test` runs several test
processes side by side (pytest-xdist), each with a broker and an engine of its own, so that an outage in one is none in
another.
"""

import os
import secrets
import signal
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import hypothesis
import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from ebb.kafka.admin import create_topics, topic_specs
from ebb.settings import Settings
from ebb_cli.local.parts import ManagedProcess
from ebb_cli.local.ports import free_port
from ebb_cli.local.supervisor import Supervisor
from ebb_cli.local.system import running
from tests.support.project import LIB

# A shell that starts the tests in the background has interrupts ignored, and so would every process that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


# No test asserts a time: the first example of a test may compile or import.
hypothesis.settings.register_profile("ebb", deadline=None)
hypothesis.settings.load_profile("ebb")

RunPart = Callable[[ManagedProcess], Supervisor]


@pytest.fixture(autouse=True, scope="session")
def _no_settings_from_outside() -> Iterator[None]:
    """Keep a developer's own EBB_ variables out of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("EBB_")]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def _running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Settings, Supervisor]]:
    home = tmp_path_factory.mktemp("stack")
    asked = Settings(home=home, lib=LIB, kafka_port=free_port(), clickhouse_port=free_port())
    with running(asked) as (settings, supervisor):
        yield settings, supervisor


@pytest.fixture(scope="session")
def stack(_running: tuple[Settings, Supervisor]) -> Settings:
    """Settings of a running Kafka and ClickHouse, shared by the session."""
    return _running[0]


@pytest.fixture
def stack_supervisor(_running: tuple[Settings, Supervisor]) -> Iterator[Supervisor]:
    """The supervisor of `stack`, for outages: `take_down("clickhouse", hard=True)`, `bring_up("clickhouse")`.

    Whatever a test took down is brought up again after it.
    """
    supervisor = _running[1]
    yield supervisor
    for name in ("kafka", "clickhouse"):
        if not supervisor.ready(name):
            supervisor.bring_up(name)


@pytest.fixture
def spaces(stack: Settings) -> Iterator[Callable[[], Settings]]:
    """Fresh topics and a fresh database with each call, in a namespace of this test alone; four partitions."""
    from clickhouse.client import connect  # noqa: PLC0415 - only tests that use the stack need the room
    from clickhouse.migrations import migrate  # noqa: PLC0415

    made: list[Settings] = []

    def make() -> Settings:
        settings = stack.model_copy(update={"namespace": f"t{secrets.token_hex(4)}", "partitions": 4})
        made.append(settings)
        create_topics(settings)
        migrate(settings)
        return settings

    yield make
    if not made:
        return
    admin = AdminClient({"bootstrap.servers": stack.kafka_bootstrap, "log_level": 0})
    names = [
        spec.topic
        for settings in made
        for spec in topic_specs(settings.topics, settings.partitions, settings.replication)
    ]
    for deleted in admin.delete_topics(names).values():
        try:
            deleted.result(timeout=60)
        except KafkaException as error:
            if error.args[0].name() != "UNKNOWN_TOPIC_OR_PART":
                raise
    client = connect(stack, database="default")
    for settings in made:
        client.command(f"DROP DATABASE IF EXISTS {settings.database}")
    client.close()


@pytest.fixture
def space(spaces: Callable[[], Settings]) -> Settings:
    """A namespace of this test alone, where one is enough."""
    return spaces()


@pytest.fixture
def run_part(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[RunPart]:
    """Start parts for one test; each call returns the supervisor of that part, ready. All stop at the end."""
    supervisors: list[Supervisor] = []
    logs = tmp_path / "logs"

    def run(part: ManagedProcess) -> Supervisor:
        supervisor = Supervisor([part], logs=logs, report=print)
        supervisors.append(supervisor)
        supervisor.start()
        return supervisor

    yield run
    for supervisor in reversed(supervisors):
        supervisor.stop()
    if request.node.stash.get(_FAILED, False):
        for log in sorted(logs.glob("*.log")):
            print(f"--- {log.name}\n{log.read_text(errors='replace')[-4_000:]}")  # noqa: T201 - pytest shows it


FOLDERS = ("scenarios", "integration", "browser", "containers", "contract", "unit")
"""In the order in which they run: long files first, so that no process is left with one while the other has nothing."""
LONG = (
    "test_client.py", "test_learner_app.py", "test_transport.py", "test_worker.py", "test_erasure.py",
    "test_learner.py", "test_honesty.py", "test_recorded_logs.py", "test_engine.py", "test_champion_requests.py",
    "test_observer.py",
)  # fmt: skip
"""Files that take long, the longest first: they come before the others of their folder."""


def _rank(item: pytest.Item) -> tuple[int, int]:
    folder = item.path.relative_to(Path(__file__).parent).parts[0]
    return FOLDERS.index(folder), LONG.index(item.path.name) if item.path.name in LONG else len(LONG)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the folders and put long files first; the others, and the tests of a file, stay as they are."""
    items.sort(key=_rank)


_FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember failures, so that `run_part` shows the logs of the parts that a failed test had started."""
    report = yield
    item.stash[_FAILED] = item.stash.get(_FAILED, False) or report.failed
    return report
