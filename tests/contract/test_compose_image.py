"""The image that compose builds: everything it copies exists, nothing else is included, and it does not run as root."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.support.project import ROOT


@pytest.fixture(scope="module")
def dockerfile() -> str:
    return (ROOT / "Dockerfile").read_text(encoding="utf-8")


def _copied(dockerfile: str) -> list[str]:
    sources: list[str] = []
    for line in re.findall(r"^COPY (?!--from)(.+)$", dockerfile, re.MULTILINE):
        sources += line.split()[:-1]
    return sources


def _sent_to_the_build(path: str) -> bool:
    sent = True
    for rule in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = rule.strip().removeprefix("!")
        if not pattern or pattern.startswith("#"):
            continue
        if fnmatch(path, pattern) or path.startswith(f"{pattern}/"):
            sent = rule.startswith("!")
    return sent


def test_compose_image_copies_only_what_exists_and_is_sent_to_the_build(dockerfile: str) -> None:
    for source in _copied(dockerfile):
        assert (ROOT / source).exists(), source
        assert _sent_to_the_build(source), source


def test_compose_image_holds_every_package_of_the_project(dockerfile: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    rooms = {package.partition(".")[0] for package in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    assert rooms <= set(_copied(dockerfile))


@pytest.mark.parametrize("secret", [".env", "ebb.env", ".git", ".ebb", ".venv", "tests"])
def test_compose_image_never_sees_secrets_data_or_history(secret: str) -> None:
    assert not _sent_to_the_build(secret)


def test_compose_image_uses_pinned_bases_and_hashed_requirements(dockerfile: str) -> None:
    bases = re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)
    assert len(bases) == 2
    assert all(re.fullmatch(r"python:3\.11\.\d+-slim-\w+", base) for base in bases)
    assert "--require-hashes" in dockerfile
    locked = (ROOT / "requirements" / "runtime.txt").read_text(encoding="utf-8").splitlines()
    pinned = [number for number, line in enumerate(locked) if re.match(r"[A-Za-z0-9]", line)]
    assert len(pinned) > 20
    for number in pinned:
        assert re.match(r"\S+==\S+ .*\\$", locked[number]), locked[number]
        assert re.match(r" +--hash=sha256:[0-9a-f]{64}", locked[number + 1]), locked[number]


def test_compose_image_runs_as_an_unprivileged_user_and_checks_its_health(dockerfile: str) -> None:
    final = dockerfile.rpartition("\nFROM ")[2]
    assert re.search(r"^USER ebb$", final, re.MULTILINE)
    assert "useradd --uid 10001" in final
    assert "HEALTHCHECK" in final


def test_compose_image_installs_every_module_query_page_and_list_of_the_rooms(dockerfile: str, tmp_path: Path) -> None:
    """Built as in the image: an editable install, as in development, would find files that the package lacks."""
    source = tmp_path / "source"
    unwanted = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in _copied(dockerfile):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=unwanted)
        else:
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    built = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--no-deps",
            "--no-build-isolation",
            "--no-index",
            "-w",
            tmp_path,
            source,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    rooms = [name for name in _copied(dockerfile) if (ROOT / name).is_dir()]
    expected = {
        path.relative_to(source).as_posix() for room in rooms for path in (source / room).rglob("*") if path.is_file()
    }
    assert not expected - packed, "pyproject.toml does not pack these"
