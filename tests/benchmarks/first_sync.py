"""The first sync of a mailbox, beside the server alone, the database alone, and plain IMAPClient."""

from __future__ import annotations

from collections.abc import Callable

from mailsync.config import Settings
from mailsync.imap import TokenBucket, open_session
from mailsync.imap.parsing.message import Detail, items
from mailsync.model import Endpoint, Message
from mailsync.store import accounts, db, folders, messages
from mailsync.uidset import UidSet
from tests.benchmarks import plain
from tests.benchmarks.bare import logged_in
from tests.benchmarks.bench import Bench, run_mailsync, table, timed
from tests.support.dovecot import User

BATCH = 500
PLAIN_AT_MOST = 10_000
DATABASE_AT_MOST = 20_000


def run(bench: Bench, count: int, then: Callable[[Settings, User], None]) -> None:
    """Print the table for a mailbox of `count` messages. Each competitor reads a cold mailbox of its own.

    `then` goes on with the mirror that came of it, and its user.
    """
    server = count / timed_bare_server(bench, count)
    stored = min(count, DATABASE_AT_MOST)
    database = stored / timed_bare_database(bench, stored)
    few = min(count, PLAIN_AT_MOST)
    obvious = few / timed_plain(bench, few)
    with bench.settings() as settings:
        user = bench.mailbox(count)
        seconds, peak = run_mailsync(settings, "sync", bench.add_account(settings, user))
        _print(count, count / seconds, peak, server, database, obvious)
        then(settings, user)


def _print(count: int, ours: float, peak: float, server: float, database: float, obvious: float) -> None:
    rows = [
        ("mailsync sync, whole command", f"{ours:,.0f}", "1.00", f"{peak:.0f} MB"),
        ("(a) server alone: the same FETCH, nothing parsed", f"{server:,.0f}", f"{ours / server:.2f}", ""),
        (
            "(b) Postgres alone: COPY + upsert of the same rows",
            f"{database:,.0f}",
            f"{ours / database:.2f}",
            "",
        ),
        ("(c) IMAPClient.fetch + executemany, by 50", f"{obvious:,.0f}", f"{ours / obvious:.1f}", ""),
    ]
    table(
        f"First sync of {count:,} messages (cold server cache)",
        ("what", "messages/s", "mailsync ÷ it", "peak memory"),
        rows,
    )


def timed_bare_server(bench: Bench, count: int) -> float:
    """Seconds for the server to answer mailsync's commands to a loop that looks only for the tag."""
    user = bench.mailbox(count)
    with logged_in(bench.dovecot, user) as bare:
        bare.command("EXAMINE INBOX (CONDSTORE)")
        asked = items(Detail.FULL, frozenset({"CONDSTORE"})).decode()

        def fetch() -> None:
            for first in range(1, count + 1, BATCH):
                bare.command(f"UID FETCH {first}:{first + BATCH - 1} {asked}")

        return timed(fetch)


def timed_bare_database(bench: Bench, count: int) -> float:
    """Seconds for Postgres to store the rows of a parsed mailbox, batch by batch, each committed."""
    user = bench.mailbox(count)
    with bench.settings() as settings, db.connect(settings, "bench") as conn:
        email = bench.add_account(settings, user)
        account_id = accounts.find(conn, email)
        batches = _parsed(bench, settings, user, count)
        conn.execute(
            "insert into folders (account_id, wire_name, path, uidvalidity) values (%s, 'INBOX', 'INBOX', 1)",
            [account_id],
        )
        folder = folders.load(conn, account_id)[0]

        def store() -> None:
            for batch in batches:
                with db.transaction(conn):
                    messages.store_batch(conn, folder, batch, announce=False)

        return timed(store)


def _parsed(bench: Bench, settings: Settings, user: User, count: int) -> list[list[Message]]:
    endpoint = Endpoint(bench.dovecot.host, bench.dovecot.port, "plaintext", user.name)
    bucket = TokenBucket(1e6, 1_000_000, 0)
    with open_session(endpoint, user.password, settings, bucket=bucket, on_wait=lambda: None) as session:
        session.examine(b"INBOX")
        sets = [UidSet([(first, first + BATCH - 1)]) for first in range(1, count + 1, BATCH)]
        return [batch.messages for batch in session.fetch_messages(sets)]


def timed_plain(bench: Bench, count: int) -> float:
    """Seconds of the obvious program, which stores the same rows; see :mod:`tests.benchmarks.plain`."""
    user = bench.mailbox(count)
    with bench.settings() as settings, db.connect(settings, "bench") as conn:
        account_id = accounts.find(conn, bench.add_account(settings, user))
        conn.execute(
            "insert into folders (account_id, wire_name, path, uidvalidity) values (%s, 'INBOX', 'INBOX', 1)",
            [account_id],
        )
        folder = folders.load(conn, account_id)[0]
        conn.autocommit = False
        return timed(lambda: plain.sync(bench.dovecot.host, bench.dovecot.port, user, conn, folder))
