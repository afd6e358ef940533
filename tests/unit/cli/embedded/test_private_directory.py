"""Directories that no other user can enter; those of other users are not used."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from mailsync.cli.embedded.private_directory import private_directory
from mailsync.errors import ConfigError


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_directory_is_closed_to_other_users(tmp_path: Path) -> None:
    made = private_directory(tmp_path / "new", otherwise="remove it")
    assert made == tmp_path / "new"
    assert mode(made) == 0o700


def test_a_directory_that_others_could_enter_is_closed(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old").chmod(0o777)
    assert mode(private_directory(tmp_path / "old", otherwise="remove it")) == 0o700


def test_a_directory_of_another_user_is_refused_and_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "theirs"
    path.mkdir()
    path.chmod(0o777)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(ConfigError, match=rf"^{path}: not used, because it belongs to .*, or remove it$"):
        private_directory(path, otherwise="remove it")
    assert mode(path) == 0o777


def test_a_directory_below_one_that_is_gone_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be created \(No such file or directory\); run this in"):
        private_directory(tmp_path / "gone" / "new", otherwise="remove it")


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch(mode=0o644)
    with pytest.raises(ConfigError, match="file: not used, because it is a link or not a directory"):
        private_directory(tmp_path / "file", otherwise="remove it")
    assert mode(tmp_path / "file") == 0o644


def test_a_link_is_followed_unless_the_user_is_root(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir(mode=0o755)
    (tmp_path / "link").symlink_to("target")
    if os.geteuid() == 0:
        with pytest.raises(ConfigError, match="link: not used, because it is a link or not a directory"):
            private_directory(tmp_path / "link", otherwise="remove it")
        assert mode(tmp_path / "target") == 0o755
    else:
        assert private_directory(tmp_path / "link", otherwise="remove it") == tmp_path / "target"
        assert mode(tmp_path / "target") == 0o700
