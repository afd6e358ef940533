"""One IMAP session for each account: with two workers and a command, waiters, and holders that died."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from tests.support import mail
from tests.support.dovecot import Dovecot
from tests.support.mirrors import add_account, is_healthy, live_uids, value
from tests.support.patience import Stopwatch, pause, stays
from tests.support.programs import Mailsync, Running
from tests.support.run_directory import PATIENCE, wait_until
from tests.support.scripted import ScriptedServer
from tests.support.session import Request

Database = psycopg.Connection[Any]
StartWorker = Callable[..., Running]


@pytest.mark.long
def test_two_workers_and_a_command_never_hold_two_conversations_with_one_account(
    mailsync: Mailsync, scripted: ScriptedServer, database: Database, start_worker: StartWorker
) -> None:
    chance = random.Random(11)
    user = scripted.new_user()
    inbox = user.folder("INBOX")
    for n in range(600):
        inbox.add(mail.message(n))
    user.create("Sent").add(mail.message(0))
    scripted.latency = 0.005
    account = add_account(mailsync, scripted, user)
    env = {"SYNC_INTERVAL": "1s", "FETCH_BATCH": "5", "BACKFILL_TURN_MAX": "1s"}
    workers = [start_worker(**env) for _ in range(2)]
    workers[0].wait_for(lambda: live_uids(database, account))

    commands = [mailsync.start("sync", user.name, **env) for _ in range(2)]
    until = time.monotonic() + 8

    def speakers() -> int:
        return len({span.connection for span in scripted.journal.speaking()})

    def all_had_a_turn() -> bool:
        return speakers() >= 4 and all(command.returncode is not None for command in commands)

    while time.monotonic() < until or not all_had_a_turn():
        inbox.add(mail.message(len(inbox.mails)))
        pause(chance.uniform(0.05, 0.4), "mail comes at any moment")
        assert time.monotonic() < until + PATIENCE, f"only {speakers()} got a turn"

    assert [command.returncode for command in commands] == [0, 0], [c.output for c in commands]
    workers[0].wait_for(lambda: live_uids(database, account) == list(range(1, len(inbox.mails) + 1)))
    workers[0].wait_for(lambda: is_healthy(database, account))
    assert value(database, "select count(*) from messages") == len(inbox.mails) + 1
    assert not scripted.journal.interleavings()
    assert scripted.journal.counts().keys().isdisjoint({"SELECT", "STORE", "EXPUNGE", "APPEND", "LOGOUT"})


def test_a_holder_yields_to_a_waiter_at_its_next_batch_and_is_silent_while_it_waits(
    mailsync: Mailsync, scripted: ScriptedServer, database: Database, start_worker: StartWorker
) -> None:
    user = scripted.new_user()
    for n in range(4_000):
        user.folder("INBOX").add(mail.message(n))
    scripted.on("UID FETCH", _slowly(0.05))
    account = add_account(mailsync, scripted, user)
    worker = start_worker(SYNC_INTERVAL="1h", FETCH_BATCH="5", BACKFILL_TURN_MAX="300s")
    worker.wait_for(lambda: live_uids(database, account))

    asked = Stopwatch()
    with holding(mailsync, account, "somebody"):
        assert asked.stop() < 20
        commands, rows = len(scripted.journal.commands()), live_uids(database, account)
        stays(
            lambda: (len(scripted.journal.commands()), live_uids(database, account)) == (commands, rows),
            "silent and idle while somebody else holds the lock",
        )
        assert len(rows) < 4_000, "a turn of up to 300 s was cut short, not waited for"
    scripted.off("UID FETCH")
    worker.wait_for(lambda: len(live_uids(database, account)) > len(rows))


@pytest.mark.long
def test_a_stale_lock_is_recovered_from_a_silent_mailsync_when_it_is_stale_and_from_nobody_else(
    mailsync: Mailsync,
    dovecot: Dovecot,
    scripted: ScriptedServer,
    database: Database,
    start_worker: StartWorker,
) -> None:
    """Takes a little more than 30 s, the smallest LOCK_STALE_AFTER."""
    stopped_user = scripted.new_user()
    for n in range(20):
        stopped_user.folder("INBOX").add(mail.message(n))
    scripted.on("UID FETCH", Request.hang, times=1)
    stopped = add_account(mailsync, scripted, stopped_user)
    first = start_worker(SYNC_INTERVAL="1s")
    first.wait_for(lambda: scripted.journal.commands("UID FETCH"))
    first.send_signal(signal.SIGSTOP)
    silent_since = time.monotonic()

    foreign, silent, busy = (_account_with_a_message(mailsync, dovecot) for _ in range(3))
    with (
        holding(mailsync, foreign, "somebody else's program") as theirs,
        holding(mailsync, silent, "mailsync-worker"),
        holding(mailsync, busy, "mailsync-worker") as alive,
    ):
        database.execute("update accounts set heartbeat_at = now() - interval '1 day'")
        database.execute("update accounts set heartbeat_at = now() where id = %s", [stopped])
        second = start_worker(SYNC_INTERVAL="1s", LOCK_STALE_AFTER="30s")

        def beats() -> bool:
            """This holder keeps writing heartbeats."""
            beat = "update mailsync.accounts set heartbeat_at = clock_timestamp() where id = %s"
            return alive.execute(beat, [busy]).rowcount == 1

        while time.monotonic() - silent_since < 26:
            beats()
            assert not [each for each in (stopped, foreign, silent) if live_uids(database, each)]
            pause(1, "the lock is not stale before its time")
        second.wait_for(lambda: beats() and live_uids(database, stopped) == list(range(1, 21)))
        second.wait_for(lambda: beats() and live_uids(database, silent) == [1])
        assert second.output.count("Ended a stale lock holder") == 2
        assert value(theirs, "select 'still there'") and value(alive, "select 'still there'")
        assert not live_uids(database, foreign) and not live_uids(database, busy)

        # the stopped process notices that its lock is gone, closes its session and writes nothing stale
        first.send_signal(signal.SIGCONT)
        first.wait_for("Database lost; reconnecting")
        wait_until(
            lambda: scripted.journal.sessions()[0].end < time.monotonic() - 0.5, "the end of its session"
        )
    second.wait_for(lambda: live_uids(database, foreign) == [1] and live_uids(database, busy) == [1])
    assert live_uids(database, stopped) == list(range(1, 21))


@contextmanager
def holding(mailsync: Mailsync, account: int, application: str) -> Iterator[Database]:
    """Hold an account's lock on a connection with this name; queues for the lock."""
    url = mailsync.environment["DATABASE_URL"]
    conn = psycopg.connect(url, autocommit=True, application_name=application)
    try:
        conn.execute("select pg_advisory_lock(mailsync.account_lock_class(), %s)", [account])
        yield conn
    finally:
        conn.close()


def _account_with_a_message(mailsync: Mailsync, dovecot: Dovecot) -> int:
    user = dovecot.new_user()
    dovecot.seed(user, "INBOX", [mail.message(1)])
    return add_account(mailsync, dovecot, user)


def _slowly(seconds: float) -> Callable[[Request], bytes]:
    def answer(request: Request) -> bytes:
        request.delay(seconds)
        return request.default()

    return answer


def test_a_worker_does_not_spin_while_somebody_locks_the_row_of_an_account_that_is_due(
    mailsync: Mailsync, scripted: ScriptedServer, database: Database, start_worker: StartWorker
) -> None:
    account = add_account(mailsync, scripted, scripted.new_user())
    worker = start_worker(SYNC_INTERVAL="1s")
    worker.wait_for(lambda: is_healthy(database, account))
    statements = "select xact_commit from pg_stat_database where datname = current_database()"

    with psycopg.connect(mailsync.environment["DATABASE_URL"] or "") as other:
        other.execute("select from mailsync.accounts for update")
        pause(1.5, "it is due by then, and finds the row locked")
        before = value(database, statements)
        pause(2, "the statements of two seconds are counted")
        assert value(database, statements) - before < 300
    worker.wait_for(lambda: is_healthy(database, account))


def test_no_account_waits_while_somebody_locks_the_row_of_another_that_is_being_filled(
    mailsync: Mailsync, scripted: ScriptedServer, database: Database, start_worker: StartWorker
) -> None:
    filling, quiet = scripted.new_user(), scripted.new_user()
    for n in range(60):
        filling.folder("INBOX").add(mail.message(n))
    scripted.on("UID FETCH", _slowly(0.2))
    account, other = add_account(mailsync, scripted, filling), add_account(mailsync, scripted, quiet)
    worker = start_worker(SYNC_INTERVAL="1s", FETCH_BATCH="5")
    worker.wait_for(lambda: live_uids(database, account) and is_healthy(database, other))
    worker.terminate()
    assert worker.wait() == 0

    with psycopg.connect(mailsync.environment["DATABASE_URL"] or "") as person:
        person.execute("update mailsync.accounts set metadata = '{}' where id = %s", [account])
        worker = start_worker(SYNC_INTERVAL="1s", FETCH_BATCH="5")
        worker.wait_for("Ready")
        for n in range(1, 4):
            quiet.folder("INBOX").add(mail.message(n))
            arrived = Stopwatch()
            worker.wait_for(lambda n=n: len(live_uids(database, other)) == n)
            assert arrived.stop() < 9, "less than anybody waits for a locked row"
        assert "Database lost" not in worker.output
    worker.wait_for(lambda: len(live_uids(database, account)) == 60)
