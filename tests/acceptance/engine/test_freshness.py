"""New mail arrives in time: during a first sync, beside a huge mailbox, beside a server that stalls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.support import mail
from tests.support.dovecot import Dovecot
from tests.support.imap_server import User
from tests.support.mirrors import add_account, is_healthy, live_uids, value, wake
from tests.support.patience import Stopwatch
from tests.support.programs import Mailsync, Running
from tests.support.scripted import ScriptedServer
from tests.support.session import Request

Database = psycopg.Connection[Any]
StartWorker = Callable[..., Running]


def test_new_mail_is_visible_long_before_the_first_sync_ends(
    mailsync: Mailsync, scripted: ScriptedServer, database: Database, start_worker: StartWorker
) -> None:
    user = scripted.new_user()
    inbox = user.folder("INBOX")
    for n in range(1, 2001):
        inbox.add(mail.message(n))
    scripted.on("UID FETCH", _slowly(0.1))  # with batches of ten the first sync takes twenty seconds or more
    account = add_account(mailsync, scripted, user)
    worker = start_worker(SYNC_INTERVAL="1s", FETCH_BATCH="10")
    worker.wait_for(lambda: live_uids(database, account))

    inbox.add(mail.message(2001))
    arrived = Stopwatch()

    worker.wait_for(lambda: 2001 in live_uids(database, account))
    assert arrived.stop() < 10
    assert value(database, "select status from folders") == "initial"
    assert 1 not in live_uids(database, account)
    scripted.off("UID FETCH")
    worker.wait_for(lambda: is_healthy(database, account))
    assert live_uids(database, account) == list(range(1, 2002))


@pytest.mark.long
def test_huge_first_syncs_delay_the_new_mail_of_others_by_no_more_than_a_tick_and_share_the_time(
    mailsync: Mailsync, dovecot: Dovecot, database: Database, start_worker: StartWorker
) -> None:
    small = dovecot.new_user()
    dovecot.seed(small, "INBOX", [mail.message(0)])
    small_id = add_account(mailsync, dovecot, small)
    worker = start_worker(SYNC_INTERVAL="2s", FETCH_BATCH="20")
    worker.wait_for(lambda: is_healthy(database, small_id))
    # each batch of twenty takes 0.1 s at least: 4,000 messages are twenty seconds of work, twice
    database.execute(
        "create function slow() returns trigger language plpgsql as"
        " 'begin if (select count(*) from added) > 5 then perform pg_sleep(0.1); end if; return null; end'"
    )
    database.execute(
        "create trigger slow after insert on messages referencing new table as added"
        " for each statement execute function slow()"
    )
    huge = [_huge(mailsync, dovecot) for _ in range(2)]
    worker.wait_for(lambda: all(live_uids(database, each) for each in huge))
    before = [len(live_uids(database, each)) for each in huge]

    delays = []
    for n in range(1, 6):
        dovecot.append(small, "INBOX", mail.message(n))
        arrived = Stopwatch()
        worker.wait_for(lambda n=n: n + 1 in live_uids(database, small_id))
        delays.append(arrived.stop())

    # one tick until the account is due, and at most one for the others; a busy machine may take longer once
    assert sorted(delays)[-2] < 4.0, delays
    assert max(delays) < 10.0, delays
    gains = [len(live_uids(database, each)) - had for each, had in zip(huge, before, strict=True)]
    assert value(database, "select count(*) from folders where status = 'initial'") == 2
    assert min(gains) > max(gains) / 4, gains


def test_a_change_between_status_and_examine_is_not_overlooked(
    mailsync: Mailsync, scripted: ScriptedServer, database: Database, start_worker: StartWorker
) -> None:
    user = scripted.new_user()
    inbox = user.folder("INBOX")
    for n in range(3):
        inbox.add(mail.message(n))
    account = add_account(mailsync, scripted, user)
    worker = start_worker(SYNC_INTERVAL="1s")
    worker.wait_for(lambda: is_healthy(database, account))
    flags = "select flags from messages where uid = %s"

    # new mail, when the visit is for a flag
    scripted.on("EXAMINE", _first(lambda: inbox.add(mail.message(3))), times=1)
    inbox.set_flags(1, rb"\Seen")
    worker.wait_for(lambda: live_uids(database, account) == [1, 2, 3, 4])
    assert value(database, flags, 1) == [r"\Seen"]

    # a flag, when the visit is for new mail
    scripted.on("UID FETCH", _after(lambda: inbox.set_flags(2, rb"\Flagged")), times=1)
    inbox.add(mail.message(4))
    worker.wait_for(lambda: value(database, flags, 2) == [r"\Flagged"])

    # new mail, while flags are read
    scripted.on("UID FETCH", _after(lambda: inbox.add(mail.message(5))), times=1)
    inbox.set_flags(3, rb"\Seen")
    worker.wait_for(lambda: live_uids(database, account) == [1, 2, 3, 4, 5, 6])


def test_a_server_that_stalls_delays_nobody_for_longer_than_its_read_timeout(
    mailsync: Mailsync,
    dovecot: Dovecot,
    scripted: ScriptedServer,
    database: Database,
    start_worker: StartWorker,
) -> None:
    stalled, user = scripted.new_user(), dovecot.new_user()
    stalled.folder("INBOX").add(mail.message(1))
    scripted.on("LIST", Request.hang)
    add_account(mailsync, scripted, stalled)
    dovecot.seed(user, "INBOX", [mail.message(1)])
    account = add_account(mailsync, dovecot, user)

    worker = start_worker(SYNC_INTERVAL="1s", IMAP_READ_TIMEOUT="2s")
    worker.wait_for("Ready")
    started = Stopwatch()
    worker.wait_for(lambda: is_healthy(database, account))
    assert started.stop() < 20, "without that timeout it is a minute"

    backoff = "select extract(epoch from backoff_until - now()) from accounts where backoff_until is not null"
    assert 20 < value(database, backoff) < 40
    for n in range(2, 5):
        dovecot.append(user, "INBOX", mail.message(n))
        arrived = Stopwatch()
        worker.wait_for(lambda n=n: n in live_uids(database, account))
        assert arrived.stop() < 10


def test_a_server_that_trickles_holds_a_batch_no_longer_than_its_deadline(
    mailsync: Mailsync, scripted: ScriptedServer, database: Database, start_worker: StartWorker
) -> None:
    user = scripted.new_user()
    user.folder("INBOX").add(mail.message(1))
    scripted.on("UID FETCH", _trickle, times=1)
    account = add_account(mailsync, scripted, user)

    worker = start_worker(SYNC_INTERVAL="1s", BACKFILL_BATCH_TIMEOUT="2s")

    worker.wait_for(lambda: scripted.journal.commands("UID FETCH"))
    asked = Stopwatch()
    worker.wait_for("timed out after 2 s")
    assert asked.stop() < 20, "byte by byte its answer takes minutes"
    wake(database)
    worker.wait_for(lambda: is_healthy(database, account))


def test_an_added_account_and_a_requested_sync_start_at_once_whatever_the_tick(
    mailsync: Mailsync, dovecot: Dovecot, database: Database, start_worker: StartWorker
) -> None:
    worker = start_worker(SYNC_INTERVAL="1h")
    worker.wait_for("Ready")
    user = dovecot.new_user()
    dovecot.seed(user, "INBOX", [mail.message(1)])

    account = add_account(mailsync, dovecot, user)
    added = Stopwatch()
    worker.wait_for(lambda: live_uids(database, account) == [1])
    assert added.stop() < 20
    worker.wait_for(lambda: is_healthy(database, account))

    # as POST …/sync does: make the account due, and wake the worker
    dovecot.append(user, "INBOX", mail.message(2))
    database.execute("update accounts set next_sync_at = now()")
    database.execute("notify mailsync_wake")
    asked = Stopwatch()
    worker.wait_for(lambda: live_uids(database, account) == [1, 2])
    assert asked.stop() < 20


def _huge(mailsync: Mailsync, dovecot: Dovecot) -> int:
    user: User = dovecot.new_user()
    dovecot.seed(user, "INBOX", (mail.message(n) for n in range(4_000)))
    return add_account(mailsync, dovecot, user)


def _slowly(seconds: float) -> Callable[[Request], bytes]:
    def answer(request: Request) -> bytes:
        request.delay(seconds)
        return request.default()

    return answer


def _first(change: Callable[[], object]) -> Callable[[Request], bytes]:
    def answer(request: Request) -> bytes:
        change()
        return request.default()

    return answer


def _after(change: Callable[[], object]) -> Callable[[Request], bytes]:
    def answer(request: Request) -> bytes:
        said = request.default()
        change()
        return said

    return answer


def _trickle(request: Request) -> bytes:
    for byte in request.default():
        request.send(bytes([byte]))
        request.delay(0.2)
    return b""
