"""The written pages hold together: links lead somewhere, named commands and files exist, decisions have their parts."""

import re
from pathlib import Path

import pytest

from ebb_cli.app import COMMANDS
from tests.support.project import ROOT

PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"])
DECISIONS = sorted((ROOT / "docs" / "adr").glob("*.md"))
_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")


def _anchors(page: Path) -> set[str]:
    """Anchors that a renderer gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", _FENCED.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_docs_links_resolve_to_a_page_and_heading(page: Path) -> None:
    for link in _LINK.findall(_FENCED.sub("", page.read_text(encoding="utf-8"))):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {link}"
        if anchor:
            assert anchor in _anchors(target), f"{page.name} links to {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_docs_name_nothing_of_the_machine_they_were_written_on(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"(?<![\w.])/(work|root|home|tmp)/", text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_docs_name_make_targets_ebb_commands_and_decisions_that_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+)(?:-%)?:", makefile, re.MULTILINE))
    for target in re.findall(r"`make ([a-z]+)", text):
        assert target in targets, f"{page.name} names make {target}"
    for command in re.findall(r"`ebb ([a-z]+)`", text):
        assert command in COMMANDS, f"{page.name} names ebb {command}"
    for number in re.findall(r"docs/adr/(\d{4})", text):
        assert any(path.name.startswith(number) for path in DECISIONS), f"{page.name} names decision {number}"


def test_docs_decisions_are_numbered_in_turn_and_have_all_their_parts() -> None:
    assert [int(path.name[:4]) for path in DECISIONS] == list(range(1, len(DECISIONS) + 1))
    for path in DECISIONS:
        text = path.read_text(encoding="utf-8")
        assert text.startswith(f"# {path.name[:4]} "), path.name
        assert re.search(r"^Status: (accepted|superseded by \d{4})$", text, re.MULTILINE), path.name
        headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
        assert headings == ["Context", "Decision", "Consequences", "Alternatives"], path.name


def test_docs_decisions_that_code_cites_exist() -> None:
    rooms = ("ebb", "ebb_cli", "producers", "stream_processors", "online_ml", "serving", "clickhouse")
    for module in (path for room in rooms for path in (ROOT / room).rglob("*.py")):
        for number in re.findall(r"docs/adr/(\d{4})", module.read_text(encoding="utf-8")):
            assert any(path.name.startswith(number) for path in DECISIONS), f"{module.name} cites {number}"


def test_docs_glossary_gives_each_name_once_in_order() -> None:
    rows = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8").splitlines()
    names = [row.split(" | ")[0].removeprefix("| ") for row in rows if row.startswith("| ")][2:]
    assert len(names) > 30
    keys = [name.lower() for name in names]
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)


def test_docs_contributing_names_every_room_and_folder_of_tests() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for folder in ("ebb", "producers", "stream_processors", "online_ml", "serving", "clickhouse", "grafana"):
        assert f"`{folder}/`" in text
    for folder in ("unit", "contract", "integration", "scenarios", "browser", "containers"):
        assert f"`tests/{folder}`" in text
