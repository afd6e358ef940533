"""The worker may be killed, or lose Postgres, at any moment: no message is lost or stored twice."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.support import mail
from tests.support.dovecot import Dovecot
from tests.support.mirrors import add_account, backends, live_uids, value
from tests.support.patience import Stopwatch, pause, stays
from tests.support.programs import Mailsync, Running
from tests.support.run_directory import wait_until
from tests.support.scripted import ScriptedServer
from tests.support.session import Request

Database = psycopg.Connection[Any]
StartWorker = Callable[..., Running]

KILLS = 50
MESSAGES = 4_000


@pytest.mark.long
def test_kill_9_at_fifty_moments_of_a_first_sync_loses_nothing_and_doubles_nothing(
    mailsync: Mailsync, dovecot: Dovecot, database: Database, start_worker: StartWorker
) -> None:
    chance = random.Random(7)
    user = dovecot.new_user()
    total = dovecot.seed(user, "INBOX", (mail.message(n) for n in range(MESSAGES)))
    account = add_account(mailsync, dovecot, user)
    reached = watermark(database)
    during = 0

    for _ in range(KILLS):
        worker = start_worker(SYNC_INTERVAL="1s", FETCH_BATCH="5", LOG_LEVEL="WARNING")
        if chance.random() < 0.2:
            # somewhere between the interpreter's start and the first batches
            pause(chance.uniform(0.25, 0.5), "the moments of the kills are random")
        else:
            goal = min(reached, total) - chance.randrange(1, 60)
            worker.wait_for(lambda goal=goal: watermark(database) <= goal or is_complete(database))
            pause(chance.uniform(0, 0.01), "the moments of the kills are random")
        worker.kill9()
        wait_until(lambda: not backends(database, "mailsync-worker"), "the end of what the worker had sent")

        before, reached = reached, watermark(database)
        assert reached <= before
        # rows and cursors are committed together: exactly what the cursors passed over has a row
        newest = value(database, "select coalesce(max(last_uid), 0) from folders")
        assert live_uids(database, account) == list(range(reached, newest + 1))
        during += not is_complete(database)
        if chance.random() < 0.2:
            dovecot.append(user, "INBOX", mail.message(total))
            total += 1

    # on a busy machine the worker may get far between the query and the kill
    assert during >= KILLS // 2, f"only {during} kills fell into the first sync"
    worker = start_worker(SYNC_INTERVAL="1s")
    worker.wait_for(lambda: value(database, "select sync_state from account_status") == "healthy")
    assert live_uids(database, account) == list(range(1, total + 1))
    assert value(database, "select count(*) from messages") == total
    assert value(database, "select live_count from folders where path = 'INBOX'") == total
    assert value(database, "select count(*) from sync_runs where status = 'running'") == 0
    assert value(database, "select count(*) from fetch_attempts") == 0
    verified = mailsync("verify", user.name)
    assert verified.returncode == 0, verified


@pytest.mark.long
def test_a_worker_whose_backend_is_terminated_in_the_middle_of_batches_reconnects_and_loses_nothing(
    mailsync: Mailsync, dovecot: Dovecot, database: Database, start_worker: StartWorker
) -> None:
    user = dovecot.new_user()
    dovecot.seed(user, "INBOX", (mail.message(n) for n in range(3_000)))
    account = add_account(mailsync, dovecot, user)
    # an outage ends with a successful turn, so only the first of these losses is a warning
    worker = start_worker(SYNC_INTERVAL="1s", FETCH_BATCH="10", LOG_LEVEL="DEBUG")

    for n in range(1, 5):
        worker.wait_for(lambda n=n: watermark(database) <= 3_000 - 300 * n)
        assert terminate(database, "mailsync-worker") >= 1
        worker.wait_for(lambda n=n: worker.output.count("Database lost; reconnecting") >= n)

    worker.wait_for(lambda: value(database, "select sync_state from account_status") == "healthy")
    assert live_uids(database, account) == list(range(1, 3_001))
    assert value(database, "select count(*) from messages") == 3_000
    assert worker.returncode is None


def test_a_lock_lost_while_waiting_for_the_server_closes_the_imap_session_within_15_seconds(
    mailsync: Mailsync, scripted: ScriptedServer, database: Database, start_worker: StartWorker
) -> None:
    user = scripted.new_user()
    for n in range(40):
        user.folder("INBOX").add(mail.message(n))
    account = add_account(mailsync, scripted, user)
    answers = iter([Request.default, Request.hang])
    scripted.on("UID FETCH", lambda request: next(answers)(request), times=2)
    worker = start_worker(SYNC_INTERVAL="1s", FETCH_BATCH="10")
    worker.wait_for(lambda: len(scripted.journal.commands("UID FETCH")) == 2)
    assert scripted.open_connections == 1

    terminate(database, "mailsync-worker")
    lost = Stopwatch()

    worker.wait_for(lambda: scripted.open_connections == 0 or len(scripted.journal.sessions()) > 1)
    assert lost.stop() < 15
    worker.wait_for(lambda: value(database, "select sync_state from account_status") == "healthy")
    assert live_uids(database, account) == list(range(1, 41))
    assert not scripted.journal.interleavings()


def test_a_worker_waits_for_a_database_that_goes_away_and_comes_back(
    mailsync: Mailsync,
    dovecot: Dovecot,
    database: Database,
    start_worker: StartWorker,
    postgres_proxy: tuple[Any, str],
) -> None:
    proxy, url = postgres_proxy
    user = dovecot.new_user()
    dovecot.seed(user, "INBOX", (mail.message(n) for n in range(1_000)))
    account = add_account(mailsync, dovecot, user)
    worker = start_worker(SYNC_INTERVAL="1s", FETCH_BATCH="10", DATABASE_URL=url)
    worker.wait_for(lambda: watermark(database) < 900)

    proxy.refusing = True
    proxy.reset()
    worker.wait_for("Database lost; reconnecting")
    stays(lambda: worker.returncode is None, "the worker waits for its database", seconds=1.5)
    proxy.refusing = False

    worker.wait_for(lambda: value(database, "select sync_state from account_status") == "healthy")
    assert live_uids(database, account) == list(range(1, 1_001))


def test_kill_9_in_the_middle_of_a_uidvalidity_reset_leaves_no_old_row_alive(
    mailsync: Mailsync, scripted: ScriptedServer, database: Database, start_worker: StartWorker
) -> None:
    user = scripted.new_user()
    inbox = user.folder("INBOX")
    for n in range(40):
        inbox.add(mail.message(n))
    inbox.expunge(1, 2, 3)
    account = add_account(mailsync, scripted, user)
    synced = mailsync("sync", user.name)
    assert synced.returncode == 0, synced

    inbox.renumber(1_800_000_000)
    with database.transaction():
        database.execute("select from messages for update")  # so that the tombstones have to wait
        worker = start_worker(SYNC_INTERVAL="1s")
        worker.wait_for(lambda: waits_for_rows(mailsync))
        worker.kill9()
        terminate(database, "mailsync-worker")
    wait_until(lambda: not backends(database, "mailsync-worker"), "the end of the worker's backend")
    assert value(database, "select count(*) from messages where deleted_at is null") == 37

    worker = start_worker(SYNC_INTERVAL="1s")
    worker.wait_for(lambda: live_uids(database, account) == list(range(1, 38)))
    assert value(database, "select live_count from folders") == 37


def test_kill_9_while_postgres_commits_is_as_good_as_any_other_moment(
    mailsync: Mailsync, dovecot: Dovecot, database: Database, start_worker: StartWorker
) -> None:
    user = dovecot.new_user()
    dovecot.seed(user, "INBOX", (mail.message(n) for n in range(60)))
    account = add_account(mailsync, dovecot, user)
    # every batch waits between its rows and its cursor
    database.execute(
        "create function slow() returns trigger language plpgsql as"
        " 'begin perform pg_sleep(0.3); return null; end'"
    )
    database.execute(
        "create trigger slow after insert on messages for each statement execute function slow()"
    )
    for _ in range(3):
        worker = start_worker(SYNC_INTERVAL="1s", FETCH_BATCH="10")
        worker.wait_for(
            lambda: value(
                database,
                "select 1 from pg_stat_activity"
                " where wait_event = 'PgSleep' and datname = current_database()",
            )
        )
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        wait_until(lambda: not backends(database, "mailsync-worker"), "the end of the backend")
        newest = value(database, "select coalesce(max(last_uid), 0) from folders")
        assert live_uids(database, account) == list(range(watermark(database), newest + 1))
    database.execute("drop trigger slow on messages")
    start_worker(SYNC_INTERVAL="1s").wait_for(lambda: is_complete(database))
    assert live_uids(database, account) == list(range(1, 61))


def watermark(database: Database) -> int:
    """The lowest UID of INBOX that the first sync has reached; 2³² before it has begun."""
    found = value(database, "select initial_oldest_uid from folders where path = 'INBOX'")
    return 2**32 if found is None else int(found)


def is_complete(database: Database) -> bool:
    return bool(value(database, "select status = 'active' from folders where path = 'INBOX'"))


def terminate(database: Database, application: str) -> int:
    """Terminate the backends of that name; returns how many."""
    return int(
        value(
            database,
            "select count(pg_terminate_backend(pid)) from pg_stat_activity"
            " where application_name = %s and datname = current_database()",
            application,
        )
    )


def waits_for_rows(mailsync: Mailsync) -> bool:
    """Whether a worker waits for another transaction."""
    with psycopg.connect(mailsync.environment["DATABASE_URL"]) as conn:
        query = (
            "select count(*) from pg_stat_activity where application_name = 'mailsync-worker'"
            " and wait_event_type = 'Lock' and datname = current_database()"
        )
        return bool(value(conn, query))
