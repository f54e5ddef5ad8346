"""How commands find the system that runs on a home."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ebb.home_password import home_password
from ebb.settings import Settings
from ebb_cli.local import home

API_KEY = "a-secret-of-twenty"


@pytest.fixture
def running(tmp_path: Path) -> Settings:
    settings = Settings(
        home=tmp_path,
        kafka_bootstrap="127.0.0.1:5",
        api_port=7777,
        partitions=3,
        day_seconds=2,
        api_keys=API_KEY,
    )
    home.write(settings, {"Live page": "http://127.0.0.1:7777"})
    return settings


def test_a_command_joins_the_running_system(running: Settings) -> None:
    joined = home.attach(Settings(home=running.home))
    assert joined.kafka_bootstrap == "127.0.0.1:5"
    assert joined.api_port == 7777
    assert joined.partitions == 3
    assert joined.day_seconds == 2


def test_what_was_given_to_the_command_stays(running: Settings) -> None:
    joined = home.attach(Settings(home=running.home, kafka_bootstrap="broker:9092"))
    assert joined.kafka_bootstrap == "broker:9092"
    assert joined.api_port == 7777


def test_no_key_is_written(running: Settings) -> None:
    assert API_KEY not in home.path(running.home).read_text()


def test_a_command_finds_the_password_of_the_home_which_is_not_in_the_file(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, clickhouse_password=home_password(tmp_path))
    home.write(settings, {})
    assert settings.clickhouse_password not in home.path(tmp_path).read_text()
    assert home.attach(Settings(home=tmp_path)).clickhouse_password == settings.clickhouse_password
    own = Settings(home=tmp_path, clickhouse_password=API_KEY)
    assert home.attach(own).clickhouse_password == API_KEY
    elsewhere = Settings(home=tmp_path, clickhouse_url="http://clickhouse:8123")
    assert home.attach(elsewhere).clickhouse_password == ""


def test_a_password_of_the_users_own_is_not_taken_for_the_homes(tmp_path: Path) -> None:
    home.write(Settings(home=tmp_path, clickhouse_password=API_KEY), {})
    assert API_KEY not in home.path(tmp_path).read_text()
    assert home.attach(Settings(home=tmp_path)).clickhouse_password == ""


def test_nothing_runs_on_an_empty_home(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    assert home.read(tmp_path) is None
    assert home.attach(settings) == settings
    home.remove(tmp_path)


def test_the_file_of_a_killed_system_does_not_count(running: Settings) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    content = json.loads(home.path(running.home).read_text()) | {"pid": dead.pid}
    home.path(running.home).write_text(json.dumps(content))
    assert home.read(running.home) is None


def test_a_half_written_file_does_not_count(running: Settings) -> None:
    home.path(running.home).write_text('{"pid": 1')
    assert home.read(running.home) is None
