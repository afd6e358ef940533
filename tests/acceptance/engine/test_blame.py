"""No message is blamed for failures of the database or the network, or for a signal."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.support import mail
from tests.support.mailboxes import Account, Folder
from tests.support.mirrors import add_account, is_healthy, live_uids, value, wake
from tests.support.programs import Mailsync, Running
from tests.support.proxy import Proxy
from tests.support.run_directory import wait_until
from tests.support.scripted import ScriptedServer
from tests.support.session import Request

Database = psycopg.Connection[Any]
StartWorker = Callable[..., Running]
MESSAGES = 40
_BATCH = "5"
_BAD_TURNS = 5
"""Enough failures to halve a batch down to single messages, and to fail at one of them twice or more."""
_ABANDONED = "select count(*) from sync_runs where error_code = 'abandoned'"


@pytest.mark.long
def test_a_full_disk_empties_no_row(
    mailsync: Mailsync, scripted: ScriptedServer, database: Database, start_worker: StartWorker
) -> None:
    user, account = _synced(mailsync, scripted)
    _refuse_rows(database, "53100")
    _add(user.folder("INBOX"))

    worker = start_worker(SYNC_INTERVAL="1s", FETCH_BATCH=_BATCH)
    _wait_through(worker, database, lambda: value(database, _ABANDONED) >= _BAD_TURNS)
    assert live_uids(database, account) == []
    database.execute("drop trigger refuse on messages")
    _wait_through(worker, database, lambda: len(live_uids(database, account)) == MESSAGES)

    worker.wait_for(lambda: is_healthy(database, account))
    _assert_whole(mailsync, database, user)


@pytest.mark.long
def test_backends_that_end_in_the_middle_of_commits_empty_no_row(
    mailsync: Mailsync, scripted: ScriptedServer, database: Database, start_worker: StartWorker
) -> None:
    user, account = _synced(mailsync, scripted)
    database.execute(
        "create function refuse() returns trigger language plpgsql as"
        " 'begin perform pg_terminate_backend(pg_backend_pid()); return null; end'"
    )
    database.execute("create trigger refuse after insert on messages execute function refuse()")
    _add(user.folder("INBOX"))

    worker = start_worker(SYNC_INTERVAL="1s", FETCH_BATCH=_BATCH)
    _wait_through(worker, database, lambda: value(database, _ABANDONED) >= _BAD_TURNS)
    database.execute("drop trigger refuse on messages")
    _wait_through(worker, database, lambda: len(live_uids(database, account)) == MESSAGES)

    worker.wait_for(lambda: is_healthy(database, account))
    _assert_whole(mailsync, database, user)


@pytest.mark.long
def test_signals_in_the_middle_of_a_turn_empty_no_row(
    mailsync: Mailsync, scripted: ScriptedServer, database: Database, start_worker: StartWorker
) -> None:
    user, account = _synced(mailsync, scripted)
    _add(user.folder("INBOX"))
    scripted.on("UID FETCH", Request.hang)

    for kill in (signal.SIGTERM, signal.SIGKILL) * 2:
        asked = len(scripted.journal.commands("UID FETCH"))
        worker = start_worker(SYNC_INTERVAL="1s", FETCH_BATCH=_BATCH)
        worker.wait_for(lambda asked=asked: len(scripted.journal.commands("UID FETCH")) > asked)
        worker.send_signal(kill)
        worker.wait()
        wait_until(lambda: not value(database, "select count(*) from account_locks"), "the lock")
    scripted.off("UID FETCH")
    worker = start_worker(SYNC_INTERVAL="1s")

    worker.wait_for(lambda: is_healthy(database, account) and len(live_uids(database, account)) == MESSAGES)
    _assert_whole(mailsync, database, user)


def test_a_line_that_is_cut_in_the_middle_of_batches_empties_no_row(
    mailsync: Mailsync,
    scripted: ScriptedServer,
    database: Database,
    start_worker: StartWorker,
    proxy_to: Callable[[tuple[str, int] | str], Proxy],
) -> None:
    proxy = proxy_to((scripted.host, scripted.port))
    user, account = _synced(mailsync, scripted, proxy)
    _add(user.folder("INBOX"))
    cuts = 0

    def cut(request: Request) -> bytes:
        nonlocal cuts
        if cuts == 12:
            return request.default()
        cuts += 1
        answer = request.default()
        # at any point of the answer; one in three single messages gets through
        if len(answer) > 1_000 or cuts % 3:
            proxy.cut_after(len(answer) // 2)
        return answer

    scripted.on("UID FETCH", cut)
    worker = start_worker(SYNC_INTERVAL="1s", FETCH_BATCH=_BATCH)
    _wait_through(worker, database, lambda: cuts == 12)
    _wait_through(worker, database, lambda: len(live_uids(database, account)) == MESSAGES)

    worker.wait_for(lambda: is_healthy(database, account))
    _assert_whole(mailsync, database, user)


def _synced(mailsync: Mailsync, scripted: ScriptedServer, server: Proxy | None = None) -> tuple[Account, int]:
    """Add an account whose empty inbox is mirrored, through a proxy if one is given."""
    user = scripted.new_user()
    account = add_account(mailsync, server or scripted, user)
    synced = mailsync("sync", user.name)
    assert synced.returncode == 0, synced
    return user, account


def _add(inbox: Folder) -> None:
    for n in range(1, MESSAGES + 1):
        inbox.add(mail.message(n), date=mail.internal_date(n).encode())


def _refuse_rows(database: Database, state: str) -> None:
    database.execute(
        "create function refuse() returns trigger language plpgsql as"
        f" 'begin raise exception using errcode = ''{state}'', message = ''no''; end'".encode()
    )
    database.execute("create trigger refuse before insert on messages execute function refuse()")


def _wait_through(worker: Running, database: Database, met: Callable[[], bool]) -> None:
    """Wait until the condition is `met`; end each backoff meanwhile."""

    def look() -> bool:
        if met():
            return True
        wake(database)
        return False

    worker.wait_for(look)


def _assert_whole(mailsync: Mailsync, database: Database, user: Account) -> None:
    rows = database.execute(
        "select uid, subject, message_id, from_email is not null, internal_date, parse_errors"
        " from messages where deleted_at is null order by uid"
    ).fetchall()
    assert rows == [
        (n, f"Message {n}", f"{n}@mail.test", True, mail.sent_at(n), []) for n in range(1, MESSAGES + 1)
    ]
    assert value(database, "select count(*) from fetch_attempts") == 0
    verified = mailsync("verify", user.name)
    assert verified.returncode == 0, verified
