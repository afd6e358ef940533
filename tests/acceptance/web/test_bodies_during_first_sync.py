"""Bodies over HTTP while a worker does the first sync of the same mailbox."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg

from mailsync.bodies.fetch import fetch_body
from mailsync.engine.session_cache import SessionCache
from mailsync.engine.turn_kind import TurnEnvironment
from mailsync.errors import Busy
from mailsync.store import db
from tests.support import mail
from tests.support.dovecot import Dovecot
from tests.support.mirrors import add_account, live_uids, value
from tests.support.patience import Stopwatch, pause
from tests.support.programs import ENCRYPTION_KEY, Mailsync, Running
from tests.support.stored import settings_for

MESSAGES = 3000
FETCHES = 8


def test_bodies_are_served_during_a_first_sync_which_continues(
    mailsync: Mailsync,
    dovecot: Dovecot,
    database: psycopg.Connection[Any],
    database_url: str,
    start_worker: Callable[..., Running],
) -> None:
    user = dovecot.new_user()
    dovecot.seed(user, "INBOX", (mail.message(n) for n in range(MESSAGES)))
    account = add_account(mailsync, dovecot, user)
    # slow batches, so that the first sync lasts as long as bodies are requested
    database.execute(
        "create function slow() returns trigger language plpgsql as"
        " 'begin perform pg_sleep(0.1); return null; end'"
    )
    database.execute(
        "create trigger slow after insert on messages for each statement execute function slow()"
    )
    limit = "6000"
    worker = start_worker(FETCH_BATCH="20", IMAP_MAX_COMMANDS_PER_MINUTE=limit)
    worker.wait_for(lambda: live_uids(database, account))
    settings = settings_for(
        database_url,
        imap_encryption_key=ENCRYPTION_KEY,
        imap_allow_private_hosts=True,
        imap_allow_plaintext=True,
        imap_max_commands_per_minute=int(limit),
    )
    took, during = [], 0
    with db.connect(settings, "api") as conn:
        env = TurnEnvironment(conn, settings, "test", SessionCache(settings))
        for _ in range(FETCHES):
            newest = "select id from messages where body_fetched_at is null order by uid limit 1"
            message_id = value(database, newest)
            watch = Stopwatch()
            assert _until_had(env, account, message_id).startswith("Text of message")
            took.append(watch.stop())
            during += len(live_uids(database, account)) < MESSAGES
        env.sessions.close()
    assert during > FETCHES / 2, f"{during} of {FETCHES} fetches fell into the first sync"
    assert sorted(took)[-1] < 20, took
    database.execute("drop trigger slow on messages")
    worker.wait_for(lambda: len(live_uids(database, account)) == MESSAGES)
    assert value(database, "select count(*) from message_bodies") == FETCHES


def _until_had(env: TurnEnvironment, account: int, message_id: int) -> str:
    """Ask like a client that follows Retry-After."""
    while True:
        try:
            return fetch_body(env, account, message_id).text or ""
        except Busy as busy:
            pause(busy.retry_after, "the answer says to retry after this time")
