"""Read files of settings (``.env``), unless another user of this machine can have written them."""

from __future__ import annotations

import errno
import os
import pwd
import shlex
import stat
from pathlib import Path

from mailsync.errors import ConfigError


def read_env_file(path: Path) -> dict[str, str]:
    """The variables in the file's lines ``NAME=value``; a missing file has none.

    The file, and a symbolic link to it, must belong to the user of this process or to root, and no other user
    may be able to write the file: a user who can write it chooses the database that gets the mail. The mode
    of the directory does not matter, because a file that another user creates there belongs to that user.
    Raises ConfigError with one line, without the file's content.
    """
    from dotenv.parser import parse_stream  # imported here because many deployments have no such file

    try:
        with open(_open_trusted(path), encoding="utf-8-sig") as stream:
            bindings = list(parse_stream(stream))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"{path}: cannot be read: {reason}") from None
    for binding in bindings:
        if binding.error:
            raise ConfigError(f"{path}, line {binding.original.line}: not accepted; give NAME=value")
    return {binding.key: binding.value for binding in bindings if binding.key and binding.value is not None}


def user_name(uid: int) -> str:
    """The name of a user of this machine, or ``user 1234`` if there is no name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _open_trusted(path: Path) -> int:
    """Open the file and check the descriptor, because the path may lead to another file a moment later."""
    status = path.lstat()
    is_link = stat.S_ISLNK(status.st_mode)
    if is_link:
        _refuse_owner(path, status.st_uid, "chown -h")
    # O_NONBLOCK: opening another user's pipe would block until that user writes to it
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if is_link else os.O_NOFOLLOW)
    descriptor = os.open(path, flags)
    try:
        _refuse_foreign(path, os.fstat(descriptor))
        os.set_blocking(descriptor, True)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _refuse_foreign(path: Path, status: os.stat_result) -> None:
    """Raise ConfigError if another user owns or can write the file, with the command that changes that."""
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    _refuse_owner(path, status.st_uid, "chown")
    # a device such as /dev/null may be writable by all, because nothing written to it can be read
    if not stat.S_ISCHR(status.st_mode) and status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigError(
            f"{path}: not read, because other users can write it (mode {stat.S_IMODE(status.st_mode):04o});"
            f" if you trust what is in it: chmod go-w {shlex.quote(str(path))}"
        )


def _refuse_owner(path: Path, uid: int, command: str) -> None:
    if uid not in (os.geteuid(), 0):
        owner = user_name(uid)
        # the number, if the user has no name
        user = user_name(os.geteuid()).rpartition(" ")[2]
        raise ConfigError(
            f"{path}: not read, because it belongs to {owner}; run this as {owner},"
            f" or if you trust what is in it: {command} {user} {shlex.quote(str(path))}"
        )
