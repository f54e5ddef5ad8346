"""Ports: used as requested or refused with a remedy; any free one where none was requested."""

import os
import socket
from collections.abc import Iterator

import pytest

from ebb.errors import SetupError
from ebb.settings import Settings
from ebb_cli.local.ports import answers, choose, free_port, holder, is_free


@pytest.fixture
def busy() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_free_port_can_be_listened_on() -> None:
    port = free_port()
    assert is_free(port)
    assert not answers(port)
    with socket.create_server(("127.0.0.1", port)):
        assert not is_free(port)
        assert answers(port)


def test_a_port_held_on_all_interfaces_is_not_free_on_loopback() -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:  # noqa: S104 - that is the case at hand
        assert not is_free(server.getsockname()[1])


def test_connections_of_an_earlier_run_do_not_occupy_a_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = server.accept()
        accepted.close()  # The side that closes first stays in TIME_WAIT.
        client.close()
    assert is_free(port)


def test_a_requested_port_is_used() -> None:
    port = free_port()
    assert choose(Settings(api_port=port), "api_port") == port


def test_a_requested_port_that_is_occupied_is_refused_naming_port_holder_and_remedy(busy: int) -> None:
    with pytest.raises(SetupError) as refused:
        choose(Settings(api_port=busy), "api_port")
    assert f"Port {busy}" in refused.value.what
    assert str(os.getpid()) in refused.value.what
    assert "EBB_API_PORT" in refused.value.what
    assert f"ss -ltnp 'sport = :{busy}'" in refused.value.hint
    assert "unset" in refused.value.hint


def test_a_port_set_in_the_environment_counts_as_requested(busy: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EBB_KAFKA_PORT", str(busy))
    with pytest.raises(SetupError, match="EBB_KAFKA_PORT"):
        choose(Settings(), "kafka_port")


def test_a_default_port_that_is_occupied_is_replaced_by_a_free_one(busy: int) -> None:
    # `model_construct` leaves the field unset, as a default does, while its value is one that is surely occupied.
    settings = Settings.model_construct(_fields_set=set(), api_port=busy)
    chosen = choose(settings, "api_port")
    assert chosen != busy
    assert is_free(chosen)


def test_a_default_port_assigned_to_another_part_is_not_assigned_twice() -> None:
    port = free_port()
    settings = Settings.model_construct(_fields_set=set(), clickhouse_port=port)
    assert choose(settings, "clickhouse_port", taken=[port]) != port


def test_a_free_port_has_no_holder() -> None:
    assert holder(free_port()) == "another process"
