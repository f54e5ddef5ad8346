"""What the machine lacks is reported before anything starts, with the remedy."""

import subprocess
import sys
from pathlib import Path

import pytest

from ebb.errors import SetupError
from ebb_cli.local import preflight as checks
from ebb_cli.local.preflight import GIB, preflight
from tests.support.project import ROOT


def test_this_machine_passes(tmp_path: Path) -> None:
    preflight(tmp_path / "not" / "there" / "yet", memory=1, disk=1)
    assert not (tmp_path / "not").exists()


def test_too_little_memory_is_reported_with_what_there_is_and_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"Only [\d.]+ GiB of memory are free; .* needs 1048576\.0\. Close other"):
        preflight(tmp_path, memory=GIB * 2**20, disk=1)


def test_the_limit_of_a_container_counts_as_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(checks, "_CGROUP_LIMIT", limit)
    limit.write_text("max\n")
    checks.check_memory(GIB // 4)
    limit.write_text(f"{GIB // 8}\n")
    with pytest.raises(SetupError, match=r"Only 0\.1 GiB of memory"):
        checks.check_memory(GIB // 4)


def test_too_little_disk_is_reported_with_the_path(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=rf"Only [\d.]+ GiB of disk are free at {tmp_path}; .* EBB_HOME"):
        preflight(tmp_path / "home", memory=1, disk=GIB * 2**30)


def test_an_old_python_is_reported_with_the_command_to_choose_another() -> None:
    with pytest.raises(
        SetupError, match=r"needs Python 3\.11 or newer; this is Python 3\.9\. .*make PYTHON=python3\.11"
    ):
        checks.check_python((3, 9))


def test_a_missing_package_is_reported_with_the_command_that_installs_it() -> None:
    with pytest.raises(SetupError, match=r"no_such_engine is not installed for .* Run `make install`"):
        checks.check_module("no_such_engine")


def test_an_interpreter_without_the_engine_is_reported(tmp_path: Path) -> None:
    """A bare interpreter sees only what preflight itself imports; chdb is the first thing it misses."""
    for name in ("psutil", "ebb", "ebb_cli"):
        module = sys.modules[name].__file__
        assert module is not None
        (tmp_path / name).symlink_to(Path(module).parent)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from pathlib import Path\n"
        "from ebb_cli.local.preflight import preflight\n"
        "preflight(Path('.'))\n"
    )
    run = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "SetupError: The Python package chdb is not installed" in run.stderr


def test_make_refuses_an_old_python_in_one_sentence(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\n# Answers as a Python does whose sys.version_info is too low.\nexit 1\n")
    old.chmod(0o755)
    root = ROOT
    run = subprocess.run(
        ["make", "-C", str(root), "install", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode != 0
    assert "Ebb needs Python 3.11 or newer" in run.stderr
    assert "make PYTHON=" in run.stderr
    assert not (tmp_path / "venv").exists()
