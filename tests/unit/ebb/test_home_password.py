"""The password of a home: made once, never empty, for its owner alone."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ebb.errors import SetupError
from ebb.home_password import LEAST_CHARACTERS, home_password


def test_an_old_home_gets_one_and_keeps_it(tmp_path: Path) -> None:
    (tmp_path / "clickhouse").mkdir()
    made = home_password(tmp_path)
    assert len(made) > LEAST_CHARACTERS
    assert home_password(tmp_path) == made
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clickhouse", "password"]


def test_two_homes_have_two_passwords(tmp_path: Path) -> None:
    assert home_password(tmp_path / "a") != home_password(tmp_path / "b")


def test_only_the_owner_can_read_it_and_enter_the_home(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        home_password(tmp_path / "home")
    finally:
        os.umask(before)
    assert (tmp_path / "home").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "home" / "password").stat().st_mode & 0o777 == 0o600


def test_all_who_start_at_once_get_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(home_password, [tmp_path] * 40))) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["password"]


@pytest.mark.parametrize("text", ["", "\n", "to-be-long"])
def test_an_empty_or_short_one_is_refused_and_its_remedy_named(tmp_path: Path, text: str) -> None:
    home_password(tmp_path)
    (tmp_path / "password").write_text(text)
    with pytest.raises(SetupError, match=r"delete .*password") as caught:
        home_password(tmp_path)
    assert not text.strip() or text not in str(caught.value)


def test_one_that_others_can_read_is_refused(tmp_path: Path) -> None:
    made = home_password(tmp_path)
    (tmp_path / "password").chmod(0o644)
    with pytest.raises(SetupError, match="read or changed by other users") as caught:
        home_password(tmp_path)
    assert made not in str(caught.value)


def test_a_link_to_elsewhere_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "other").write_text("x" * 40)
    (tmp_path / "home" / "password").symlink_to(tmp_path / "other")
    with pytest.raises(SetupError, match="cannot be kept"):
        home_password(tmp_path / "home")
