"""The layout of the code: small folders that say what they are for, small modules, and one meaning a name.

Which folder may import which is checked by import-linter (`make check`, pyproject.toml).
"""

import ast
from collections import defaultdict
from pathlib import Path
from statistics import median

import pytest

from tests.support.project import ROOT

ROOMS = ("ebb", "clickhouse", "producers", "online_ml", "stream_processors", "serving", "ebb_cli")
MOST_MODULES = 14
"""In a folder: as many names as a reader takes in at once."""
MOST_LINES = 500
MOST_MEDIAN_LINES = 150

FOLDERS = sorted({path.parent for room in ROOMS for path in (ROOT / room).rglob("*.py")})
MODULES = [path for folder in FOLDERS for path in sorted(folder.glob("*.py")) if path.name != "__init__.py"]


def _docstring(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("folder", FOLDERS, ids=_name)
def test_folder_holds_few_modules_and_its_init_says_in_a_sentence_what_it_is_for(folder: Path) -> None:
    modules = [path.name for path in MODULES if path.parent == folder]
    assert len(modules) <= MOST_MODULES, modules
    first = _docstring(folder / "__init__.py").partition("\n\n")[0]
    assert first.endswith("."), f"{_name(folder)}/__init__.py does not say what the folder is for"
    assert len(first) <= 160


def test_rooms_have_one_level_of_folders() -> None:
    assert [_name(folder) for folder in FOLDERS if len(folder.relative_to(ROOT).parts) > 2] == []


def test_modules_are_small_and_say_what_they_are_for() -> None:
    lines = {_name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}
    assert median(lines.values()) <= MOST_MEDIAN_LINES
    assert [_name(path) for path in MODULES if not _docstring(path)] == []


def test_no_public_class_name_stands_for_two_things() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in MODULES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(_name(path))
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_every_room_is_documented_and_packaged() -> None:
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    for room in ROOMS:
        assert f"`{room}/`" in contributing
        assert f"COPY {room} {room}" in dockerfile
