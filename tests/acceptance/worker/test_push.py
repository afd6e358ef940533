"""Told at once: changes become rows long before the next tick."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg

from tests.support import mail
from tests.support.dovecot import Dovecot
from tests.support.mirrors import add_account, is_healthy, live_uids, value
from tests.support.programs import Mailsync, Running

Database = psycopg.Connection[Any]
StartWorker = Callable[..., Running]


def test_new_mail_is_a_row_long_before_the_next_tick(
    mailsync: Mailsync, dovecot: Dovecot, database: Database, start_worker: StartWorker
) -> None:
    user = dovecot.new_user()
    dovecot.seed(user, "INBOX", [mail.message(1)])
    account = add_account(mailsync, dovecot, user)
    worker = start_worker(SYNC_INTERVAL="1h", PUSHED_SYNC_INTERVAL="1h")
    worker.wait_for(lambda: is_healthy(database, account))
    worker.wait_for(lambda: value(database, "select push from account_status") == "notify")

    for uid in (2, 3, 4):
        dovecot.seed(user, "INBOX", [mail.message(uid)])
        worker.wait_for(lambda uid=uid: uid in live_uids(database, account))
