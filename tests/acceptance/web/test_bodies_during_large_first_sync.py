"""Bodies over HTTP while a worker does the first sync of a large mailbox."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
import urllib3

from tests.support import mail, run_directory
from tests.support.api import AUTHORIZED, StartApi
from tests.support.dovecot import Dovecot
from tests.support.mirrors import add_account, value
from tests.support.patience import Stopwatch
from tests.support.programs import Mailsync, Running
from tests.support.proxy import Proxy

MESSAGES = 100_000
FETCHES = 50
SECONDS = 3.0

LIVE = "select live_count from folders where path = 'INBOX'"
ANY_TWO = "select id, uid from messages where body_fetched_at is null order by hashint8(id) limit 2"
IN_A_TURN = "select currently_syncing from account_status"


@pytest.mark.long
def test_bodies_are_served_during_a_first_sync_of_100_000_messages_which_continues(
    mailsync: Mailsync,
    dovecot_with: Callable[..., Dovecot],
    proxy_to: Callable[[tuple[str, int]], Proxy],
    database: psycopg.Connection[Any],
    start_api: StartApi,
    start_worker: Callable[..., Running],
) -> None:
    # many messages per file: 100,000 files would take longer to remove than the whole test
    dovecot = dovecot_with(storage="mdbox")
    user = dovecot.new_user()
    dovecot.seed(user, "INBOX", (mail.message(n) for n in range(MESSAGES)), chunk=2000)
    limit = "1000000"
    api = start_api(WEB_CONCURRENCY="2", IMAP_MAX_COMMANDS_PER_MINUTE=limit)
    # with the latency of a remote server, for each command and each piece of an answer
    server = proxy_to((dovecot.host, dovecot.port))
    server.delay = 0.03
    account = add_account(mailsync, server, user)
    worker = start_worker(IMAP_MAX_COMMANDS_PER_MINUTE=limit)
    worker.wait_for(lambda: value(database, LIVE))

    took: list[float] = []
    rows = [value(database, LIVE)]
    with urllib3.PoolManager(retries=urllib3.Retry(10)) as http, ThreadPoolExecutor(2) as clients:

        def ask(message_id: int, uid: int) -> None:
            watch = Stopwatch()
            # the client retries by itself, and that time counts
            url = f"http://127.0.0.1:{api.port}/v1/messages/{message_id}/body"
            answer = http.request("GET", url, headers=AUTHORIZED, timeout=run_directory.PATIENCE)
            took.append(watch.stop())
            assert answer.status == 200, answer.data
            assert json.loads(answer.data)["body_text"] == f"Text of message {uid - 1}.\n"

        for _ in range(FETCHES // 2):
            # in the middle of a turn, when the wait is longest
            worker.wait_for(lambda: value(database, IN_A_TURN) or value(database, LIVE) == MESSAGES)
            wanted = database.execute(ANY_TWO).fetchall()
            for asked in [clients.submit(ask, *row) for row in wanted]:
                asked.result()
            rows.append(value(database, LIVE))
    assert len(took) == FETCHES
    during = 2 * sum(row < MESSAGES for row in rows[1:])
    p95 = sorted(took)[int(FETCHES * 0.95) - 1]
    report = (
        f"p95 {p95:.2f} s, worst {max(took):.2f} s; {during} during the sync; rows {rows[0]} to {rows[-1]}"
    )
    print(report)
    assert p95 < SECONDS, report
    # on a fast machine, the sync may end before the last body
    assert during > FETCHES / 2, report
    assert rows == sorted(rows), report
    assert rows[during // 2] > rows[0] + FETCHES, report
    assert value(database, "select count(*) from message_bodies") == FETCHES
    worker.wait_for(lambda: value(database, LIVE) > min(rows[-1], MESSAGES - 1), 60)
    assert value(database, "select consecutive_failures from accounts where id = %s", account) == 0
