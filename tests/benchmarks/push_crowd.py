"""A worker process whose accounts are all users of one crowd server, and what it costs."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from mailsync.config import Settings
from mailsync.model import Endpoint
from mailsync.store import accounts, db
from tests.benchmarks.bench import Bench, environment
from tests.support import run_directory
from tests.support.certificates import Authority
from tests.support.crowd_server import CrowdServer
from tests.support.habits import Habits
from tests.support.imap_server import User
from tests.support.programs import Running

CALIBRATION = 10
"""Accounts whose sessions are open when the memory of the others begins to be counted."""

_LONGEST = 600.0
_LOOK_EVERY = 0.2
_TICKS = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cost:
    """What one worker used: seconds, CPU seconds, transactions of Postgres, and IMAP commands."""

    seconds: float
    cpu: float
    transactions: int
    commands: int


class PushedWorker:
    """A worker, its accounts, and their server; ``memory`` is the resident memory of each session, in KB."""

    def __init__(self, bench: Bench, settings: Settings, server: CrowdServer, ca_file: Path | None) -> None:
        self.settings, self.server = settings, server
        self.users: list[User] = []
        self.memory = 0.0
        self._bench = bench
        self._dbname = str(conninfo_to_dict(settings.database_url or "")["dbname"])
        self._variables = {
            **environment(settings.database_url),
            "SYNC_MAX_ACCOUNTS": "100000",
            "IMAP_SESSION_CAP": "10000",
            run_directory.VARIABLE: str(run_directory.current()),
        }
        if ca_file:
            self._variables["IMAP_CA_FILE"] = str(ca_file)
        self._process: Running | None = None

    # -- accounts ----------------------------------------------------------------------------------------

    def begin(
        self, count: int, folders: Sequence[str | Sequence[str]], *, parked: bool, **variables: str
    ) -> None:
        """Add accounts, sync them by a new worker, and wait until all of them are parked, if they can be."""
        few = min(CALIBRATION, count)
        self._add(few, folders)
        command = [str(Path(sys.executable).with_name("mailsync")), "worker"]
        self._process = Running(command, {**self._variables, **variables}, run_directory.current())
        self._process.wait_for("Ready")
        self._settled(parked)
        before = self._resident()
        if count > few:
            self._add(count - few, folders)
            self._settled(parked)
            self.memory = (self._resident() - before) / (count - few) / 1024

    def _add(self, count: int, folders: Sequence[str | Sequence[str]]) -> None:
        users = self.server.add_users(count, folders)
        with db.connect(self.settings, "bench") as conn:
            for user in users:
                endpoint = Endpoint(self.server.host, self.server.port, self.server.security, user.name)
                settings = self.settings.model_copy(update={"sync_max_accounts": 100_000})
                accounts.create(conn, accounts.NewAccount(user.name, endpoint), user.password, settings)
        self.users += users

    def _settled(self, parked: bool) -> None:
        # the turn after a first sync verifies it
        self.wait_until(
            "select not exists (select from folders where tracked and status <> 'active') and not exists ("
            " select from accounts a where currently_syncing or last_sync_started_at <"
            " (select max(initial_done_at) from folders f where f.account_id = a.id))"
        )
        if parked:
            self.wait_until_parked()

    # -- waiting -----------------------------------------------------------------------------------------

    def wait_until_parked(self) -> float:
        """Wait until each account has a parked session; returns the seconds."""
        return self._wait(lambda: self.server.figures().parked >= len(self.users), "all sessions")

    def wait_until(self, query: str) -> float:
        """Wait until the query returns true; returns the seconds."""
        with db.connect(self.settings, "bench-watch") as conn:
            return self._wait(lambda: bool((conn.execute(query.encode()).fetchone() or [False])[0]), query)

    def _wait(self, is_met: Callable[[], bool], what: str) -> float:
        began = time.monotonic()
        while not is_met():
            if self._process is None or self._process.returncode is not None:
                raise RuntimeError(f"the worker ended:\n{self._process and self._process.output}")
            if time.monotonic() - began > _LONGEST:
                raise RuntimeError(f"waited in vain for {what}")
            time.sleep(_LOOK_EVERY)
        return time.monotonic() - began

    # -- figures -----------------------------------------------------------------------------------------

    @contextmanager
    def measured(self) -> Iterator[Callable[[], Cost]]:
        """Count from here on; the callable returns the cost so far."""
        self.server.forget()
        began, cpu, transactions = time.monotonic(), self._cpu(), self._transactions()

        def cost() -> Cost:
            return Cost(
                time.monotonic() - began,
                self._cpu() - cpu,
                self._transactions() - transactions,
                self.server.figures().commands.total(),
            )

        yield cost

    def _transactions(self) -> int:
        # counted from another database; a session reports its own within a second
        time.sleep(1.1)
        with psycopg.connect(self._bench.postgres.url("postgres"), autocommit=True) as conn:
            row = conn.execute(
                "select xact_commit + xact_rollback from pg_stat_database where datname = %s", [self._dbname]
            ).fetchone()
        assert row
        return int(row[0])

    def _cpu(self) -> float:
        fields = self._proc("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * _TICKS

    def _resident(self) -> int:
        return int(self._proc("statm").split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def _proc(self, name: str) -> str:
        assert self._process is not None
        return Path(f"/proc/{self._process.pid}/{name}").read_text()

    def close(self) -> None:
        """Stop the worker regularly."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process.close()


@contextmanager
def pushed_worker(bench: Bench, habits: Habits, *, tls: bool = True) -> Iterator[PushedWorker]:
    """A worker without accounts, on a database of its own, and a server of these habits."""
    # a directory has the certificates of one authority
    directory = Path(tempfile.mkdtemp(prefix="authority-", dir=run_directory.current()))
    authority = Authority(directory) if tls else None
    server = CrowdServer(habits, authority.good() if authority else None)
    try:
        with bench.settings() as settings:
            worker = PushedWorker(bench, settings, server, authority.ca_file if authority else None)
            try:
                yield worker
            finally:
                worker.close()
    finally:
        server.stop()
