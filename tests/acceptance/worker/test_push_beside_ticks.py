"""Servers that never stop reporting: other accounts get their ticks all the same."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.support import mail
from tests.support.habits import CAPABILITIES
from tests.support.mirrors import add_account, is_healthy, live_uids, value
from tests.support.programs import Mailsync, Running
from tests.support.scripted import ScriptedServer

Database = psycopg.Connection[Any]


@pytest.mark.long
def test_ticks_are_taken_beside_wakes_without_end(
    mailsync: Mailsync,
    scripted_with: Callable[..., ScriptedServer],
    database: Database,
    start_worker: Callable[..., Running],
) -> None:
    loud = scripted_with(capabilities=CAPABILITIES + b" NOTIFY")
    quiet = scripted_with(capabilities=CAPABILITIES)
    talkers = [loud.new_user(f"loud{number}@scripted.test") for number in range(3)]
    user = quiet.new_user()
    for each in (*talkers, user):
        each.folder("INBOX").add(mail.message(1))
    talker_ids = [add_account(mailsync, loud, talker) for talker in talkers]
    account = add_account(mailsync, quiet, user)
    worker = start_worker(SYNC_INTERVAL="1s", PUSHED_SYNC_INTERVAL="1h")
    for account_id in (*talker_ids, account):
        worker.wait_for(lambda account_id=account_id: is_healthy(database, account_id))
    worker.wait_for(lambda: value(database, "select count(*) from account_status where push = 'notify'") == 3)

    # the wakes of one round take longer than two wakes of an account are apart
    loud.latency = 0.4
    stop = threading.Event()

    def report() -> None:
        number = 0
        while not stop.wait(0.1):
            number += 1
            loud.push(b'* LIST () "/" "New %d"\r\n' % number)

    reporting = threading.Thread(target=report, daemon=True)
    reporting.start()
    try:
        runs = f"select currently_syncing from accounts where id = {talker_ids[0]}"
        worker.wait_for(lambda: value(database, runs))
        user.folder("INBOX").add(mail.message(2))
        worker.wait_for(lambda: live_uids(database, account) == [1, 2])
    finally:
        stop.set()
        reporting.join()
