"""The worker analyzes the tables of a database without autovacuum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg

from tests.support import mail
from tests.support.dovecot import Dovecot
from tests.support.mirrors import add_account, value
from tests.support.programs import Mailsync, Running


def test_a_first_sync_analyzes_the_tables(
    mailsync: Mailsync,
    dovecot: Dovecot,
    database: psycopg.Connection[Any],
    start_worker: Callable[..., Running],
) -> None:
    assert value(database, "show autovacuum") == "off"
    user = dovecot.new_user()
    dovecot.seed(user, "INBOX", [mail.message(n) for n in range(2000)])
    add_account(mailsync, dovecot, user)
    worker = start_worker(SYNC_INTERVAL="1s", LOG_FORMAT="json", LOG_LEVEL="DEBUG")
    analysed = (
        "select count(*) from pg_stat_user_tables where schemaname = 'mailsync' and last_analyze is not null"
        " and relname in ('accounts', 'folders', 'messages')"
    )
    worker.wait_for(lambda: value(database, analysed) == 3)
    assert value(database, "select reltuples from pg_class where oid = 'messages'::regclass") >= 500

    def logged() -> list[dict[str, Any]]:
        return [r for r in worker.records() if r.get("action") == "analyze" and r["table"] == "messages"]

    # the statistics exist before the worker logs it
    worker.wait_for(logged)
    assert len(logged()) == 1
    assert not [record for record in worker.records() if record["level"] in ("WARNING", "ERROR")]
