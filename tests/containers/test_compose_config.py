"""Compose itself reads the file: its own parser and schema, where the program is installed."""

import os
import shutil
import subprocess

import pytest

from tests.support.project import ROOT

SECRETS = {"EBB_API_KEYS": "k" * 32, "EBB_CLICKHOUSE_PASSWORD": "c", "GRAFANA_PASSWORD": "g"}


def _compose(*arguments: str, secrets: dict[str, str]) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in SECRETS}
    return subprocess.run(
        ["docker", "compose", "--env-file", os.devnull, *arguments],
        cwd=ROOT,
        env=environment | secrets,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module", autouse=True)
def _compose_is_installed() -> None:
    if shutil.which("docker") is None or _compose("version", secrets={}).returncode:
        pytest.skip("docker compose (version 2) is not installed")


def test_compose_reads_the_file_and_finds_nothing_wrong() -> None:
    run = _compose("config", "--quiet", secrets=SECRETS)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("secret", SECRETS)
def test_compose_itself_demands_each_secret_with_our_sentence(secret: str) -> None:
    lacking = {name: value for name, value in SECRETS.items() if name != secret}
    run = _compose("config", "--quiet", secrets=lacking)
    assert run.returncode != 0
    assert f"Set {secret} in .env" in run.stderr
