"""What the benchmarks share: a run of their own servers, a mailbox, a clock, a table."""

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

from mailsync.config import Settings
from mailsync.demo_mail import varied_message
from mailsync.model import Endpoint
from mailsync.store import accounts, db, schema
from tests.servers import postgres, run_directory
from tests.servers.dovecot import Dovecot, User

KEY = "5b" * 32


@dataclass
class Bench:
    """The servers of one run."""

    dovecot: Dovecot
    postgres: postgres.PostgresServer

    def mailbox(self, count: int, folder: str = "INBOX") -> User:
        """A new user whose folder holds `count` varied messages, never read: the server's cache is cold."""
        user = self.dovecot.new_user()
        rng = random.Random(count)
        self.dovecot.seed(user, folder, (varied_message(n, rng) for n in range(count)))
        return user

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
            )
            with db.connect(settings, "bench") as conn:
                schema.migrate(conn, settings)
            yield settings

    def add_account(self, settings: Settings, user: User) -> str:
        """Store the user's account; returns its address."""
        endpoint = Endpoint(self.dovecot.host, self.dovecot.port, "plaintext", user.name)
        with db.connect(settings, "bench") as conn:
            accounts.create(conn, accounts.NewAccount(user.name, endpoint), user.password, settings)
        return user.name


@contextmanager
def servers() -> Iterator[Bench]:
    """Dovecot and the embedded Postgres, of this run alone; ended with it."""
    run = run_directory.create()
    try:
        server = postgres.server()
        with psycopg.connect(server.url("postgres"), autocommit=True) as conn:
            # tests leave it off; here a commit shall cost what it costs
            conn.execute("alter system set fsync = on")
            conn.execute("alter system set full_page_writes = on")
            conn.execute("select pg_reload_conf()")
        yield Bench(Dovecot(), server)
    finally:
        run_directory.remove(run)


def environment(settings: Settings) -> dict[str, str]:
    """The variables with which a child process sees the same settings."""
    return {
        **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
        "DATABASE_URL": str(settings.database_url),
        "IMAP_ENCRYPTION_KEY": KEY,
        "IMAP_ALLOW_PRIVATE_HOSTS": "true",
        "IMAP_ALLOW_PLAINTEXT": "true",
        "IMAP_MAX_COMMANDS_PER_MINUTE": "1000000",
    }


def run_mailsync(settings: Settings, *args: str) -> tuple[float, float]:
    """Run the command line; returns its seconds and its peak memory in MB."""
    began = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, "-m", "mailsync", *args],
        env=environment(settings),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    _, said = child.communicate()
    seconds = time.perf_counter() - began
    if child.returncode:
        raise RuntimeError(f"mailsync {args[0]} failed: {said.decode()}")
    return seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def timed(work: Callable[[], object]) -> float:
    """The seconds that `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table in reStructuredText, ready for docs/performance.rst."""
    widths = [max(len(row[at]) for row in (heads, *rows)) for at in range(len(heads))]
    rule = "  ".join("=" * width for width in widths)

    def line(row: Sequence[str]) -> str:
        return "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()

    print(f"\n{title}\n\n{rule}\n{line(heads)}\n{rule}", *map(line, rows), rule, sep="\n", flush=True)
