"""Shared by the benchmarks: servers of their own, mailboxes, a clock, tables."""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg.conninfo import conninfo_to_dict

from mailsync.config import Settings
from mailsync.model import Endpoint
from mailsync.store import accounts, db, migrations
from tests.support import postgres, run_directory
from tests.support.bulk_messages import varied_message
from tests.support.dovecot import Dovecot, User

KEY = "5b" * 32
MOST_ACCOUNTS = 1000


class TooSlow(Exception):
    """A program did not end within the time limit of its line."""


@dataclass
class Bench:
    """The servers of one run."""

    dovecot: Dovecot
    postgres: postgres.PostgresServer

    def mailbox(self, count: int, folder: str = "INBOX") -> User:
        """Create a user whose folder holds `count` varied messages; the server's cache is cold."""
        user = self.dovecot.new_user()
        rng = random.Random(count)
        self.dovecot.seed(user, folder, (varied_message(n, rng) for n in range(count)))
        return user

    def spread_mailbox(self, count: int, folders: int) -> tuple[User, list[str]]:
        """Create a user with `count` varied messages, spread over folders; returns their names, too."""
        user = self.dovecot.new_user()
        names = ["INBOX", "Sent", *(f"Folder {number}" for number in range(folders - 2))]
        self.dovecot.create(user, *names[1:])
        for place, name in enumerate(names):
            self.fill(user, name, count // folders, first=place * (count // folders))
        return user, names

    def fill(self, user: User, folder: str, count: int, *, first: int = 0, flags: str = "") -> None:
        """Append `count` varied messages with these flags, numbered from `first`."""
        rng = random.Random(first)
        self.dovecot.seed(
            user, folder, ((varied_message(n, rng), flags) for n in range(first, first + count))
        )

    @contextmanager
    def settings(self) -> Iterator[Settings]:
        """Settings of a fresh, migrated database."""
        with self.postgres.new_database(template=None) as url:
            settings = Settings(
                database_url=url,
                imap_encryption_key=KEY,
                imap_allow_private_hosts=True,
                imap_allow_plaintext=True,
                imap_max_commands_per_minute=1_000_000,
                sync_max_accounts=MOST_ACCOUNTS,
            )
            with db.connect(settings, "bench") as conn:
                migrations.migrate(conn, settings)
            yield settings

    def add_account(self, settings: Settings, user: User, email: str | None = None) -> str:
        """Store the user's account, under another address if one is given; returns its address."""
        email = email or user.name
        endpoint = Endpoint(self.dovecot.host, self.dovecot.port, "plaintext", user.name)
        with db.connect(settings, "bench") as conn:
            accounts.create(conn, accounts.NewAccount(email, endpoint), user.password, settings)
        return email

    def execute(self, statement: str, dbname: str = "postgres") -> None:
        """Run one statement as superuser, outside a transaction."""
        with psycopg.connect(self.postgres.url(dbname), autocommit=True) as conn:
            conn.execute(statement.encode())

    def set_autovacuum(self, on: bool) -> None:
        """Turn autovacuum on or off; the server starts with it off."""
        self.execute(f"alter system set autovacuum = {'on' if on else 'off'}")
        self.execute("select pg_reload_conf()")

    def end_backends(self, settings: Settings) -> None:
        """Terminate all connections to the database: a statement may outlive the client that sent it."""
        name = conninfo_to_dict(settings.database_url or "")["dbname"]
        with psycopg.connect(self.postgres.url("postgres"), autocommit=True) as conn:
            conn.execute(
                "select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = %s", [name]
            )


@contextmanager
def servers() -> Iterator[Bench]:
    """Start Dovecot and the embedded Postgres for this run, and end them with it."""
    run = run_directory.create()
    try:
        server = postgres.server()
        with psycopg.connect(server.url("postgres"), autocommit=True) as conn:
            # tests turn this off; here a commit should have its real cost
            conn.execute("alter system set fsync = on")
            conn.execute("alter system set full_page_writes = on")
            conn.execute("select pg_reload_conf()")
        yield Bench(Dovecot(), server)
    finally:
        run_directory.remove(run)


def environment(url: str | None) -> dict[str, str]:
    """The variables that give a child process the benchmarks' settings, with the database at `url`."""
    return {
        **_inherited(),
        "DATABASE_URL": str(url),
        "IMAP_ENCRYPTION_KEY": KEY,
        "IMAP_ALLOW_PRIVATE_HOSTS": "true",
        "IMAP_ALLOW_PLAINTEXT": "true",
        "IMAP_MAX_COMMANDS_PER_MINUTE": "1000000",
        "SYNC_MAX_ACCOUNTS": str(MOST_ACCOUNTS),
    }


def run_mailsync(settings: Settings, *args: str, at_most: float | None = None) -> tuple[float, float]:
    """Run the command line; returns its seconds and the peak memory of all children so far in MB.

    Raises TooSlow after `at_most` seconds.
    """
    seconds = run_program(
        [sys.executable, "-m", "mailsync", *args], environment(settings.database_url), at_most
    )
    return seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def run_program(command: list[str], variables: dict[str, str], at_most: float | None = None) -> float:
    """Run a program to its end; returns its seconds.

    `variables` are added to PATH and the like. Raises TooSlow after `at_most` seconds, and RuntimeError with
    what the program said when it fails.
    """
    began = time.perf_counter()
    child = run_directory.spawn(
        command, env={**_inherited(), **variables}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        _, said = child.communicate(timeout=at_most)
    except subprocess.TimeoutExpired:
        run_directory.end(child.pid)
        child.communicate()
        raise TooSlow from None
    finally:
        run_directory.forget(child.pid)
    seconds = time.perf_counter() - began
    if child.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {said.decode(errors='replace')}")
    return seconds


def _inherited() -> dict[str, str]:
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}


def note(text: str) -> None:
    """Print on stderr what is being measured; stdout has only the tables."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def timed(work: Callable[[], object]) -> float:
    """The seconds that `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table in reStructuredText, ready for docs/explanation/performance.rst."""
    widths = [max(len(row[at]) for row in (heads, *rows)) for at in range(len(heads))]
    rule = "  ".join("=" * width for width in widths)

    def line(row: Sequence[str]) -> str:
        return "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()

    print(f"\n{title}\n\n{rule}\n{line(heads)}\n{rule}", *map(line, rows), rule, sep="\n", flush=True)
