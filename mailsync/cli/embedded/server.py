"""Start and stop the embedded Postgres: one server with one data directory."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from mailsync.cli.embedded import processes
from mailsync.cli.embedded.private_directory import private_directory
from mailsync.cli.embedded.user import (
    FORMER_NAME,
    HOME,
    ServerUser,
    hand_over,
    passable_directory,
    reachable_programs,
)
from mailsync.config import Settings
from mailsync.config.env_file import user_name
from mailsync.errors import ConfigError, DatabaseUnavailable
from mailsync.store import db

_START_WITHIN = 60.0
_CHECK_INTERVAL = 0.05
_STOP = ((signal.SIGINT, 60.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0))
_WITHIN = "/proc/self/cwd"
_MARK = "mailsync.directory"
"""A setting in the server's command line that shows in the list of processes which data it serves."""


class Server:
    """A Postgres with its data in ``directory/postgres``; ``runtime`` holds its socket and access rules.

    No two servers share a directory. The caller ensures that only one process at a time starts or stops it.
    """

    def __init__(self, directory: Path, runtime: Path, package: Path, user: ServerUser) -> None:
        self.directory, self.runtime, self.package, self.user = directory, runtime, package, user
        self.data = directory / "postgres"
        self._log = directory / "postgres.log"
        self.socket = runtime / "socket" if user.is_other else runtime
        self.url = f"postgresql://postgres@/postgres?host={quote(str(self.socket))}"
        self._process: subprocess.Popen[bytes] | None = None
        self._has_runtime = self._is_usable = False

    def start(self, *, is_shared: bool) -> None:
        """Start the server unless it runs already; `is_shared` says whether other processes use it.

        Raises ConfigError for data that this user may not use, and DatabaseUnavailable if it does not start.
        """
        try:
            self._make_runtime()
            self._has_runtime = True
            self._check_data(is_shared=is_shared)
            self._is_usable = True
            until = time.monotonic() + _START_WITHIN
            while not self._answers():
                if self._process is None and not self._postmaster():
                    self._launch()
                elif self._process is not None and self._process.poll() is not None:
                    raise _failed(self._log.read_text(errors="replace"))
                elif time.monotonic() > until:
                    raise _failed(f"it is not ready after {_START_WITHIN:g} s, see {self._log}")
                time.sleep(_CHECK_INTERVAL)
        except (OSError, subprocess.SubprocessError) as error:
            raise _failed(str(error)) from error

    def stop(self) -> None:
        """Stop the server if it runs, and remove its runtime files; leave data alone that start refused."""
        if self._is_usable:
            self._end()
        # Keep a runtime directory beside the data. Elsewhere they would pile up, one for each data directory.
        if self._has_runtime and self.runtime.parent != self.directory:
            shutil.rmtree(self.runtime, ignore_errors=True)

    # -- before the start ------------------------------------------------------------------------------

    def _make_runtime(self) -> None:
        if self.user.is_other:
            for path in (HOME, self.runtime):
                passable_directory(path, self.user)
            self.socket.mkdir(mode=0o700, exist_ok=True)
            os.chown(self.socket, self.user.uid, self.user.gid, follow_symlinks=False)
        else:
            private_directory(self.runtime, otherwise="remove it, or set TMPDIR to a directory of your own")

    def _check_data(self, *, is_shared: bool) -> None:
        """Check that the data is the user's and of this release, and that no other server uses it."""
        try:
            owner = self.data.lstat().st_uid
        except FileNotFoundError:
            return
        former = _former_owner() if self.user.is_other else None
        if owner != self.user.uid and (former is None or owner not in (former, 0)):
            raise ConfigError(
                f"{self.data}: not used, because it belongs to {user_name(owner)}; remove it,"
                " or run this in another directory"
            )
        running = self._postmaster()
        if running and not self._is_ours():
            if is_shared:
                raise ConfigError(
                    f"{self.data}: another Postgres already uses this directory (process {running}), started"
                    " by an earlier release or with another TMPDIR; stop the `mailsync dev` that started it"
                )
            self._end()
        if owner != self.user.uid and former is not None:
            hand_over(self.data, former, self.user)
        self._refuse_other_release()

    def _refuse_other_release(self) -> None:
        try:
            version = (self.data / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            raise ConfigError(
                f"{self.data}: is incomplete, perhaps because its creation was interrupted;"
                " remove it, and run this again"
            ) from None
        output = subprocess.run(
            [self.package / "postgres", "--version"], capture_output=True, text=True, check=True
        ).stdout
        ours = re.search(r"\d+", output)
        if ours and version != ours[0]:
            raise ConfigError(
                f"{self.data}: was made by Postgres {version}, and the embedded one is {ours[0]};"
                " move it away, or set DATABASE_URL"
            )

    def _write_rules(self) -> None:
        """Let only the user of this process connect, as any role."""
        name = pwd.getpwuid(os.geteuid()).pw_name
        for path, rule in (
            (self.runtime / "pg_hba.conf", "local all all peer map=owner\n"),
            (self.runtime / "pg_ident.conf", f'owner "{name}" all\n'),
        ):
            path.unlink(missing_ok=True)
            path.touch(mode=0o600)
            path.write_text(rule)
            if self.user.is_other:
                os.chown(path, 0, self.user.gid)
                path.chmod(0o640)

    def _make_data(self, programs: Path) -> None:
        """Create the data under another name and rename it, so that ``postgres`` is always complete."""
        new = self.directory / "postgres.new"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        if self.user.is_other:
            os.chown(new, self.user.uid, self.user.gid)
        command = [str(programs / "initdb"), "--username=postgres", "--auth-local=peer", "--auth-host=reject",
                   "--encoding=UTF8", "--no-instructions", "-D", self._seen(new)]  # fmt: skip
        done = subprocess.run(
            command, cwd=new, env=_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, check=False, **self.user.popen,
        )  # fmt: skip
        if done.returncode:
            raise _failed(done.stdout.decode(errors="replace"))
        new.rename(self.data)

    # -- the process -----------------------------------------------------------------------------------

    def _launch(self) -> None:
        programs = reachable_programs(self.package, self.user, self.runtime)
        self._write_rules()
        if not self.data.exists():
            self._make_data(programs)
        self._remove_stale_locks()
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": self.socket,
            "unix_socket_permissions": "0700",
            "hba_file": self.runtime / "pg_hba.conf",
            "ident_file": self.runtime / "pg_ident.conf",
            _MARK: self.directory,
        }
        command = [str(programs / "postgres"), "-D", self._seen(self.data)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        self._log.unlink(missing_ok=True)
        self._log.touch(mode=0o600)
        with self._log.open("wb") as log:
            # In its own session, so that Ctrl-C reaches only us, and we stop the server in order.
            self._process = subprocess.Popen(
                command, cwd=self.data, env=_environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, **self.user.popen,
            )  # fmt: skip

    def _seen(self, data: Path) -> str:
        """The path of `data` for the server's user, who may only reach it as the current directory."""
        return _WITHIN if self.user.is_other else str(data)

    def _answers(self) -> bool:
        try:
            db.connect(Settings(database_url=self.url), "dev").close()
        except DatabaseUnavailable:
            return False
        return True

    def _end(self) -> None:
        """End the server that runs on the data: in order, or else by force."""
        pid = self._postmaster()
        if pid is None and self._process is not None and self._process.poll() is None:
            pid = self._process.pid
        if pid is not None:
            _end(pid)
        if self._process is not None:
            self._process.wait()

    def _postmaster(self) -> int | None:
        """The process id of the server that runs on the data, even if another process started it."""
        pid = self._noted_process()
        if pid is None:
            return None
        text = processes.command_line(pid)
        # Earlier releases set no mark, and name the data directory.
        is_here = f"{_MARK}={self.directory} " in text or (
            f" {self.data} " in text and f" {_MARK}=" not in text
        )
        return pid if is_here and processes.owner(pid) == self.data.stat().st_uid else None

    def _remove_stale_locks(self) -> None:
        """Remove the lock files of a killed server whose process id now belongs to another process.

        Postgres does that itself only if the process belongs to another user, and not for a zombie. A server
        that may run on this data is left alone.
        """
        pid = self._noted_process()
        text = processes.command_line(pid) if pid else ""
        if pid and not self._postmaster() and (f" {_MARK}=" in text or "postgres" not in text):
            (self.data / "postmaster.pid").unlink(missing_ok=True)
        if not (self.data / "postmaster.pid").exists():
            # Earlier releases had the socket in the data directory.
            for parent in (self.socket, self.data):
                for socket in parent.glob(".s.PGSQL.*"):
                    socket.unlink(missing_ok=True)

    def _noted_process(self) -> int | None:
        lines = self._lock_file()
        return int(lines[0]) if lines and lines[0].isdecimal() and int(lines[0]) > 1 else None

    def _is_ours(self) -> bool:
        """Whether the running server has the socket that we connect to."""
        return self._lock_file()[4:5] == [str(self.socket)]

    def _lock_file(self) -> list[str]:
        try:
            return (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []


def _end(pid: int) -> None:
    for number, seconds in _STOP:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        until = time.monotonic() + seconds
        while processes.lives(pid):
            if time.monotonic() > until:
                break
            time.sleep(_CHECK_INTERVAL)
        else:
            return


def _former_owner() -> int | None:
    try:
        return pwd.getpwnam(FORMER_NAME).pw_uid
    except KeyError:
        return None


def _environment() -> dict[str, str]:
    """The environment of the server's programs, without secrets."""
    return {name: os.environ[name] for name in ("PATH", "LC_ALL", "TZ") if name in os.environ}


def _failed(output: str) -> DatabaseUnavailable:
    """The error, with the last line of a program's output that reports one as its reason."""
    lines = [line for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"\b(FATAL|PANIC|error|ERROR):", line)] or lines
    reason = " ".join(errors[-1].split())[:200] if errors else "it ended without a message"
    return DatabaseUnavailable(f"the embedded Postgres does not start: {reason}")
