"""Directories that no other user of this machine can enter."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from mailsync.config.env_file import user_name
from mailsync.errors import ConfigError


def private_directory(path: Path, *, otherwise: str) -> Path:
    """Create the directory if it is missing, and close it to all other users; returns its absolute path.

    Raises ConfigError if it cannot be created or belongs to another user. `otherwise` ends the message with
    another way out.
    """
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        pass
    except OSError as error:
        # FileNotFoundError: the directory above is gone, such as a current directory that was removed.
        raise ConfigError(
            f"{path}: cannot be created ({error.strerror}); run this in another directory"
        ) from None
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
    # Root follows no link, because the owner of the directory above could redirect it at any moment.
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
