"""Told at once: what another client changes becomes rows long before the next tick."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.support import mail
from tests.support.dovecot import Dovecot, offering
from tests.support.imap_server import ImapServer, User, done, quoted
from tests.support.mirrors import add_account, is_healthy, live_uids, mirrored, on_server, value
from tests.support.patience import stays
from tests.support.programs import Mailsync, Running
from tests.support.pymap_server import Pymap

Database = psycopg.Connection[Any]
StartWorker = Callable[..., Running]

HOURLY = {"SYNC_INTERVAL": "1h", "PUSHED_SYNC_INTERVAL": "1h"}


def parked(database: Database) -> object:
    return value(database, "select push from account_status")


def begin(
    mailsync: Mailsync,
    server: ImapServer,
    user: User,
    database: Database,
    start_worker: StartWorker,
    kind: str,
) -> tuple[int, Running]:
    """Start a worker that ticks once an hour, and wait until it listens to the account; returns both."""
    account = add_account(mailsync, server, user)
    worker = start_worker(**HOURLY)
    worker.wait_for(lambda: is_healthy(database, account) and parked(database) == kind)
    return account, worker


def flags(database: Database, account: int, uid: int, path: str) -> list[str]:
    query = (
        "select m.flags from messages m join folders f on f.id = m.folder_id"
        " where m.account_id = %s and m.uid = %s and f.path = %s"
    )
    return sorted(value(database, query, account, uid, path) or [])


def copy(server: ImapServer, user: User, uids: str, folder: str, to: str) -> None:
    with server.imap(user, folder) as client:
        done(client.uid("COPY", uids, quoted(to)))


@pytest.mark.long
def test_every_change_in_every_folder_is_a_row_by_notify(
    mailsync: Mailsync, dovecot: Dovecot, database: Database, start_worker: StartWorker
) -> None:
    user = dovecot.new_user()
    dovecot.create(user, "Archive", "Projects", "Old")
    for folder in ("INBOX", "Archive", "Projects"):
        dovecot.seed(user, folder, [mail.message(1), mail.message(2)])
    account, worker = begin(mailsync, dovecot, user, database, start_worker, "notify")

    for folder in ("INBOX", "Archive", "Projects"):
        dovecot.seed(user, folder, [mail.message(3)])
        worker.wait_for(lambda folder=folder: live_uids(database, account, folder) == [1, 2, 3])
        dovecot.store(user, folder, "2", r"\Flagged \Seen")
        worker.wait_for(lambda folder=folder: flags(database, account, 2, folder) == [r"\Flagged", r"\Seen"])
        dovecot.expunge(user, folder, "1")
        worker.wait_for(lambda folder=folder: live_uids(database, account, folder) == [2, 3])
    copy(dovecot, user, "2:3", "INBOX", "Archive")
    worker.wait_for(lambda: live_uids(database, account, "Archive") == [2, 3, 4, 5])
    dovecot.rename(user, "Projects", "Projects 2")
    dovecot.delete(user, "Old")
    missing = "select missing_since is not null from folders where path = 'Old'"
    worker.wait_for(lambda: value(database, missing))
    # Dovecot 2.3 reports a rename with the next change of names
    worker.wait_for(lambda: live_uids(database, account, "Projects 2") == [2, 3])
    dovecot.create(user, "New")
    dovecot.seed(user, "New", [mail.message(9)])
    worker.wait_for(lambda: live_uids(database, account, "New") == [1])

    paths = {path: path for path in ("INBOX", "Archive", "Projects 2", "New")}
    assert {path: mirrored(database, account)[path] for path in paths} == on_server(dovecot, user, paths)
    runs = (
        "select max(imap_commands) from sync_runs where trigger = 'push' and folders = 1 and messages_new > 0"
    )
    assert value(database, runs) <= 4
    # a run that made way for others is partial, and the last one may not have ended yet
    assert value(database, "select count(*) from sync_runs where status = 'failed'") == 0
    assert "Folder skipped" not in worker.output


def test_every_change_in_the_inbox_is_a_row_by_idle(
    mailsync: Mailsync,
    dovecot_with: Callable[..., Dovecot],
    database: Database,
    start_worker: StartWorker,
) -> None:
    dovecot = dovecot_with(**offering("idle"))
    user = dovecot.new_user()
    dovecot.seed(user, "INBOX", [mail.message(1), mail.message(2)])
    account, worker = begin(mailsync, dovecot, user, database, start_worker, "idle")

    dovecot.seed(user, "INBOX", [mail.message(3)])
    worker.wait_for(lambda: live_uids(database, account) == [1, 2, 3])
    dovecot.store(user, "INBOX", "2", r"\Flagged")
    worker.wait_for(lambda: flags(database, account, 2, "INBOX") == [r"\Flagged"])
    dovecot.expunge(user, "INBOX", "1")
    worker.wait_for(lambda: live_uids(database, account) == [2, 3])
    copy(dovecot, user, "2", "INBOX", "INBOX")
    worker.wait_for(lambda: live_uids(database, account) == [2, 3, 4])
    most = value(database, "select max(imap_commands) from sync_runs where trigger = 'push'")
    assert most <= 4


def test_a_server_without_both_is_asked_by_ticks(
    mailsync: Mailsync,
    dovecot_with: Callable[..., Dovecot],
    database: Database,
    start_worker: StartWorker,
) -> None:
    dovecot = dovecot_with(**offering("none"))
    user = dovecot.new_user()
    dovecot.seed(user, "INBOX", [mail.message(1)])
    account = add_account(mailsync, dovecot, user)
    worker = start_worker(SYNC_INTERVAL="1s", PUSHED_SYNC_INTERVAL="1h")
    worker.wait_for(lambda: is_healthy(database, account))
    dovecot.seed(user, "INBOX", [mail.message(2)])
    worker.wait_for(lambda: live_uids(database, account) == [1, 2])
    assert parked(database) == "none"
    assert value(database, "select tick_seconds is null and parked_by is null from accounts")


def test_push_that_is_off_leaves_everything_to_ticks(
    mailsync: Mailsync, dovecot: Dovecot, database: Database, start_worker: StartWorker
) -> None:
    user = dovecot.new_user()
    dovecot.seed(user, "INBOX", [mail.message(1)])
    account = add_account(mailsync, dovecot, user)
    worker = start_worker(IMAP_PUSH="off", SYNC_INTERVAL="1s", PUSHED_SYNC_INTERVAL="1h")
    worker.wait_for(lambda: is_healthy(database, account))
    dovecot.seed(user, "INBOX", [mail.message(2)])
    worker.wait_for(lambda: live_uids(database, account) == [1, 2])
    stays(lambda: parked(database) == "none", "not parked")


def test_pymap_tells_by_idle(
    mailsync: Mailsync, pymap: Pymap, database: Database, start_worker: StartWorker
) -> None:
    pymap.append(pymap.user, "INBOX", mail.message(1))
    account, worker = begin(mailsync, pymap, pymap.user, database, start_worker, "idle")
    before = len(live_uids(database, account))
    pymap.append(pymap.user, "INBOX", mail.message(2))
    worker.wait_for(lambda: len(live_uids(database, account)) == before + 1)


@pytest.mark.parametrize("kind", ["notify", "idle"])
def test_mail_in_a_burst_arrives_whole(
    mailsync: Mailsync,
    dovecot_with: Callable[..., Dovecot],
    database: Database,
    start_worker: StartWorker,
    kind: str,
) -> None:
    dovecot = dovecot_with(**offering(kind))
    user = dovecot.new_user()
    dovecot.seed(user, "INBOX", [mail.message(1)])
    account, worker = begin(mailsync, dovecot, user, database, start_worker, kind)
    dovecot.seed(user, "INBOX", (mail.message(n) for n in range(2, 1002)), chunk=20)
    worker.wait_for(lambda: len(live_uids(database, account)) == 1001)
    assert value(database, "select count(*) from sync_runs where trigger = 'push'") < 20
