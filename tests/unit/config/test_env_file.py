"""Files of settings: those that are read, and messages about those that another user may have written."""

from __future__ import annotations

import fcntl
import os
import termios
import threading
from pathlib import Path

import pytest

from mailsync.config import env_file
from mailsync.config.env_file import read_env_file
from mailsync.errors import ConfigError
from tests.support.run_directory import wait_until


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / ".env"
    path.write_text("FETCH_BATCH=7\n")
    return path


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o400, 0o755])
def test_a_file_that_others_cannot_write_is_read(file: Path, mode: int) -> None:
    file.chmod(mode)
    assert read_env_file(file) == {"FETCH_BATCH": "7"}


@pytest.mark.parametrize("mode", [0o660, 0o620, 0o602, 0o666, 0o777])
def test_a_file_that_others_can_write_is_refused_with_a_command(file: Path, mode: int) -> None:
    file.chmod(mode)
    with pytest.raises(ConfigError) as raised:
        read_env_file(file)
    assert str(raised.value) == (
        f"{file}: not read, because other users can write it (mode {mode:04o});"
        f" if you trust what is in it: chmod go-w {file}"
    )
    os.system(str(raised.value).rpartition(": ")[2])
    assert read_env_file(file) == {"FETCH_BATCH": "7"}


def test_a_file_of_another_user_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:
        os.chown(file, 1, 1)
    else:
        # an ordinary user cannot change a file's owner, so pretend to be another user
        monkeypatch.setattr(env_file.os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(ConfigError, match=rf"{file}: not read, because it belongs to .*: chown \S+ {file}$"):
        read_env_file(file)


def test_a_link_is_judged_by_its_target(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(file)
    assert read_env_file(link) == {"FETCH_BATCH": "7"}
    file.chmod(0o666)
    with pytest.raises(ConfigError, match="other users can write it"):
        read_env_file(link)


def test_a_link_of_another_user_is_refused(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the target may belong to root and still have content that the other user chose: /proc/PID/cmdline of su
    link = tmp_path / "link"
    link.symlink_to(file)
    if os.geteuid() == 0:
        os.lchown(link, 1, 1)
    else:
        monkeypatch.setattr(env_file.os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(
        ConfigError, match=rf"{link}: not read, because it belongs to .*: chown -h \S+ {link}$"
    ):
        read_env_file(link)


def test_a_name_with_blanks_is_quoted_in_the_command(tmp_path: Path) -> None:
    path = tmp_path / "a b.env"
    path.touch()
    path.chmod(0o666)
    with pytest.raises(ConfigError, match=f"chmod go-w '{path}'$"):
        read_env_file(path)


def test_the_null_device_has_no_variables(tmp_path: Path) -> None:
    (tmp_path / ".env").symlink_to("/dev/null")
    assert read_env_file(tmp_path / ".env") == {}


def test_a_pipe_without_a_writer_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".env", 0o600)
    assert read_env_file(tmp_path / ".env") == {}


def test_a_pipe_with_a_writer_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    os.mkfifo(path, 0o600)
    # opened for reading and writing, which does not wait for a reader
    writer = os.open(path, os.O_RDWR)
    os.write(writer, b"FETCH_BATCH=7\n")
    variables: list[dict[str, str]] = []
    reading = threading.Thread(target=lambda: variables.append(read_env_file(path)))
    reading.start()
    wait_until(lambda: fcntl.ioctl(writer, termios.FIONREAD, bytes(4)) == bytes(4), "the reader")
    os.close(writer)
    reading.join()
    assert variables == [{"FETCH_BATCH": "7"}]
