"""Directories that no other user of this machine can enter."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from mailsync.config.env_file import user_name
from mailsync.errors import ConfigError


def private_directory(path: Path, *, otherwise: str) -> Path:
    """Make the directory if it is missing, and close it to all other users; returns its absolute path.

    Raises ConfigError if it belongs to another user. `otherwise` is the end of the message: another way out.
    """
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    descriptor = _open(path, otherwise)
    try:
        status = os.fstat(descriptor)
        _refuse_foreign(path, status, otherwise)
        if stat.S_IMODE(status.st_mode) & 0o077:
            os.fchmod(descriptor, 0o700)
    finally:
        os.close(descriptor)
    return path.resolve()


def _open(path: Path, otherwise: str) -> int:
    link = path.lstat()
    _refuse_foreign(path, link, otherwise)
    # root follows no link: the owner of the directory above could point it at a directory of root's at any
    # moment
    may_follow = stat.S_ISLNK(link.st_mode) and os.geteuid() != 0
    try:
        return os.open(
            path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (0 if may_follow else os.O_NOFOLLOW)
        )
    except OSError as error:
        raise ConfigError(
            f"{path}: not used, because it is a link or not a directory ({error.strerror}); {otherwise}"
        ) from None


def _refuse_foreign(path: Path, status: os.stat_result, otherwise: str) -> None:
    if status.st_uid != os.geteuid():
        owner = user_name(status.st_uid)
        raise ConfigError(
            f"{path}: not used, because it belongs to {owner}; run this as {owner}, or {otherwise}"
        )
