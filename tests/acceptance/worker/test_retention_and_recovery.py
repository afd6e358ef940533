"""Retention between passes, and recovery from killed processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg

from tests.support import mail
from tests.support.imap_text import in_set
from tests.support.mirrors import add_account, is_healthy, live_uids, value
from tests.support.patience import Stopwatch
from tests.support.programs import ENCRYPTION_KEY, Mailsync, Running
from tests.support.run_directory import wait_until
from tests.support.scripted import ScriptedServer

Database = psycopg.Connection[Any]
StartWorker = Callable[..., Running]

_TOMBSTONES = "select count(*) from messages where deleted_at is not null"


def much_to_delete(database: Database, account: int, count: int) -> None:
    """Old tombstones with one attachment each, when retention is due."""
    database.execute(
        "with made as ("
        " insert into messages"
        " (account_id, folder_id, uidvalidity, uid, internal_date, deleted_at, deleted_reason)"
        " select %(account)s, (select min(id) from folders where account_id = %(account)s), 9, n, now(),"
        " now() - interval '40 days', 'expunged' from generate_series(1, %(count)s) n returning id)"
        " insert into attachments (account_id, message_pk, part, content_type)"
        " select %(account)s, id, '2', 'text/plain' from made",
        {"account": account, "count": count},
    )
    # a server with slow disks
    database.execute(
        "create function wait() returns trigger language plpgsql as"
        " 'begin perform pg_sleep(0.3); return null; end'"
    )
    database.execute("create trigger slow before delete on messages execute function wait()")
    database.execute("update upkeep set next_at = now()")


def test_mail_arrives_in_time_during_retention_which_survives_a_killed_worker(
    mailsync: Mailsync, scripted: ScriptedServer, database: Database, start_worker: StartWorker
) -> None:
    user = scripted.new_user()
    user.folder("INBOX").add(mail.message(0))
    account = add_account(mailsync, scripted, user)
    worker = start_worker(SYNC_INTERVAL="1s")
    worker.wait_for(lambda: is_healthy(database, account))
    worker.kill9()
    much_to_delete(database, account, 40_000)

    worker = start_worker(SYNC_INTERVAL="1s")
    worker.wait_for(lambda: value(database, _TOMBSTONES) < 38_000)
    user.folder("INBOX").add(mail.message(1))
    arrived = Stopwatch()
    worker.wait_for(lambda: len(live_uids(database, account)) == 2)
    assert arrived.stop() < 20
    worker.kill9()
    left = value(database, _TOMBSTONES)
    assert 0 < left < 38_000, "the mail arrived before retention ended"
    assert value(database, "select next_at <= now() from upkeep")

    worker = start_worker(SYNC_INTERVAL="1s")
    # the killed worker's last statement may still complete, so rows alone do not prove that this one works
    worker.wait_for("Ready")
    worker.wait_for(lambda: value(database, _TOMBSTONES) < left)
    worker.terminate()
    stopping = Stopwatch()
    assert worker.wait() == 0
    assert stopping.stop() < 10
    assert value(database, "select next_at <= now() from upkeep"), "it was stopped midway, so it is still due"
    database.execute("drop trigger slow on messages")
    assert mailsync("worker", "--once").returncode == 0
    assert value(database, _TOMBSTONES) == value(database, "select count(*) from attachments") == 0
    assert value(database, "select next_at > now() from upkeep")
    purged = 'select value from metric_counters where labels = \'{"op": "purged"}\''
    assert 0 < value(database, purged) <= 40_000


def test_the_worker_finishes_a_removal_that_a_killed_command_left(
    mailsync: Mailsync, scripted: ScriptedServer, database: Database, start_worker: StartWorker
) -> None:
    user, other = scripted.new_user(), scripted.new_user()
    user.folder("INBOX").add(mail.message(0))
    account, kept = add_account(mailsync, scripted, user), add_account(mailsync, scripted, other)
    worker = start_worker(SYNC_INTERVAL="1s")
    worker.wait_for(lambda: is_healthy(database, account) and is_healthy(database, kept))
    database.execute("update accounts set deleting_at = now() where id = %s", [account])
    database.execute("notify mailsync_wake")
    wait_until(lambda: value(database, "select count(*) from accounts") == 1, "the account to be gone")
    assert value(database, "select count(*) from messages") == 0
    last = "select type from sync_events where account_id = %s"
    assert value(database, last, account) == "account.deleted"


def test_the_next_worker_closes_a_run_left_by_a_killed_one(
    mailsync: Mailsync, scripted: ScriptedServer, database: Database, start_worker: StartWorker
) -> None:
    user = scripted.new_user()
    for n in range(30):
        user.folder("INBOX").add(mail.message(n))

    # once the newest messages arrive, it is in the middle of a run until it is killed
    scripted.on("UID FETCH", lambda r: r.default() if min(in_set(r.arguments[0], 30))[0] > 10 else r.hang())
    account = add_account(mailsync, scripted, user)
    worker = start_worker(FETCH_BATCH="5")
    worker.wait_for(lambda: len(live_uids(database, account)) >= 10)
    worker.kill9()
    assert value(database, "select count(*) from sync_runs where status = 'running'") == 1
    dead = value(database, "select id from sync_runs where status = 'running'")
    scripted.off("UID FETCH")

    worker = start_worker()
    worker.wait_for(lambda: len(live_uids(database, account)) == 30)
    row = database.execute(
        "select status, error_code, finished_at >= started_at from sync_runs where id = %s", [dead]
    ).fetchone()
    assert row == ("failed", "abandoned", True)


def test_a_worker_with_both_keys_continues_during_key_rotation(
    mailsync: Mailsync, scripted: ScriptedServer, database: Database, start_worker: StartWorker
) -> None:
    user = scripted.new_user()
    user.folder("INBOX").add(mail.message(0))
    account = add_account(mailsync, scripted, user)
    both = {"IMAP_ENCRYPTION_KEY": f"{bytes(range(32)).hex()},{ENCRYPTION_KEY}"}
    worker = start_worker(SYNC_INTERVAL="1s", **both)
    worker.wait_for(lambda: is_healthy(database, account))
    assert mailsync("rotate-key", env=both).returncode == 0
    user.folder("INBOX").add(mail.message(1))
    worker.wait_for(lambda: len(live_uids(database, account)) == 2)
    assert is_healthy(database, account)
    assert not [record for record in worker.records() if record["level"] != "INFO"]
