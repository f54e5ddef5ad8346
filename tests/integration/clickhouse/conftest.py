"""Servers, databases and stores for the tests of ClickHouse."""

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clickhouse.client import connect
from clickhouse.migrations import migrate
from clickhouse.store import Store
from ebb.settings import Settings
from tests.support.embedded_clickhouse import Embedded


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Callable[[], Embedded]]:
    """Make servers for one test, each started and with data of its own."""
    made: list[Embedded] = []

    def make() -> Embedded:
        home = tmp_path / f"home{len(made)}"
        home.mkdir()
        server = Embedded(home)
        made.append(server)
        server.start()
        return server

    yield make
    for server in made:
        if server.process is not None and server.process.poll() is None:
            server.kill()


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """One server for the tests that only use it."""
    server = Embedded(tmp_path_factory.mktemp("clickhouse"))
    server.start()
    yield server
    assert server.stop() == 0, server.log.read_text()


@pytest.fixture
def database(embedded: Embedded) -> Iterator[Settings]:
    """Settings of a migrated database of this test alone."""
    settings = embedded.settings.model_copy(update={"namespace": f"t{secrets.token_hex(4)}"})
    migrate(settings)
    yield settings
    client = connect(settings, database="default")
    client.command(f"DROP DATABASE IF EXISTS {settings.database}")
    client.close()


@pytest.fixture
def store(database: Settings) -> Iterator[Store]:
    """A store over `database`."""
    opened = Store(database)
    yield opened
    opened.close()
