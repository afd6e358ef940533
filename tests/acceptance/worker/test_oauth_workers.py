"""Workers, commands and the API share the tokens of an account: one renewal for all of them (SPEC §23.3)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from tests.support import mail, planted
from tests.support.api import StartApi
from tests.support.authorization_server import AuthorizationServer, RegisteredClient
from tests.support.dovecot_oauth import OAuthDovecot
from tests.support.imap_server import User
from tests.support.mirrors import is_healthy, live_uids, value, wake
from tests.support.oauth_accounts import add_account, consented, stored_tokens
from tests.support.programs import Mailsync, Running
from tests.support.proxy import Proxy
from tests.support.run_directory import wait_until
from tests.support.served_mailboxes import get, waiting_for_locks

Database = psycopg.Connection[Any]
StartWorker = Callable[..., Running]


def test_two_workers_and_the_api_renew_once(
    mailsync: Mailsync,
    oauth_dovecot: OAuthDovecot,
    authorization_server: AuthorizationServer,
    oauth_client: RegisteredClient,
    oauth_user: User,
    database: Database,
    start_worker: StartWorker,
    start_api: StartApi,
) -> None:
    tokens = consented(authorization_server, oauth_client, oauth_user.name)
    account = add_account(mailsync, oauth_dovecot, oauth_user.name, tokens)
    # what the sync leaves has to be renewed, and the next tokens last
    authorization_server.terms.announced = 0.001
    assert mailsync("sync", oauth_user.name).returncode == 0
    authorization_server.terms.announced = None
    authorization_server.journal.clear()
    message_id = value(database, "select min(id) from messages")
    api = start_api(WEB_CONCURRENCY="2", BODY_LOCK_WAIT="60s")
    hold = authorization_server.hold_next()

    with ThreadPoolExecutor(3) as pool:
        bodies = [pool.submit(get, api, message_id + n, "body") for n in range(3)]
        hold.wait()
        workers = [start_worker(SYNC_INTERVAL="1s") for _ in range(2)]
        command = mailsync.start("sync", oauth_user.name)
        wake(database)
        # two bodies or one process of the API that serves them in turn, and others
        wait_until(lambda: waiting_for_locks(database) >= 2, "others who wait for the account")
        assert len(authorization_server.journal.requests("token")) == 1
        hold.release()
        answers = [body.result() for body in bodies]

    assert [answer.status for answer in answers] == [200, 200, 200], answers
    assert not planted.found_in(str([answer.json() for answer in answers]))
    assert command.wait() == 0, command.output
    turns = "select consecutive_successes from accounts"
    before = value(database, turns)
    for worker in workers:
        worker.wait_for(lambda: value(database, turns) > before)
    assert len(authorization_server.journal.requests("token")) == 1
    (family,) = authorization_server.store.families
    assert stored_tokens(mailsync, account).refresh_token == family.current


@pytest.mark.long
def test_a_worker_over_ten_ends_of_its_token(
    mailsync: Mailsync,
    oauth_dovecot: OAuthDovecot,
    authorization_server: AuthorizationServer,
    oauth_client: RegisteredClient,
    oauth_user: User,
    database: Database,
    start_worker: StartWorker,
    proxy_to: Callable[[tuple[str, int]], Proxy],
) -> None:
    # reuse of a refresh token would end all
    authorization_server.store.strict = True
    authorization_server.terms.seconds = 1.0
    proxy = proxy_to((oauth_dovecot.host, oauth_dovecot.port))
    account = add_account(
        mailsync, proxy, oauth_user.name, consented(authorization_server, oauth_client, oauth_user.name)
    )
    worker = start_worker(SYNC_INTERVAL="1s")
    worker.wait_for(lambda: is_healthy(database, account))
    for number in range(10):
        newest = [*authorization_server.store.access.values()][-1]
        wait_until(lambda newest=newest: not newest.active, "the end of the token")
        # the server ends the session with its token, as Exchange does
        proxy.close_connections()
        oauth_dovecot.append(oauth_user, "INBOX", mail.message(number))
        wake(database)
        worker.wait_for(lambda n=number: len(live_uids(database, account)) == 4 + n)
    worker.wait_for(lambda: is_healthy(database, account))
    assert len(authorization_server.journal.renewals()) >= 10
    assert not [request for request in authorization_server.journal.requests() if request.error]
    states = "select data->>'new' from sync_events where type = 'account.state_changed'"
    assert {state for (state,) in database.execute(states)} <= {"healthy", "initial_sync"}
    assert value(database, "select count(*) from sync_runs where error_code is not null") == 0


def test_a_revoked_account_says_what_to_run_and_other_accounts_go_on(
    mailsync: Mailsync,
    oauth_dovecot: OAuthDovecot,
    authorization_server: AuthorizationServer,
    oauth_client: RegisteredClient,
    oauth_user: User,
    database: Database,
    start_worker: StartWorker,
) -> None:
    other = oauth_dovecot.new_user()
    authorization_server.terms.announced = 0.001
    account, good = (
        add_account(
            mailsync, oauth_dovecot, login.name, consented(authorization_server, oauth_client, login.name)
        )
        for login in (oauth_user, other)
    )
    worker = start_worker(SYNC_INTERVAL="1s")
    worker.wait_for(lambda: is_healthy(database, account) and is_healthy(database, good))
    worker.terminate()
    assert worker.wait() == 0
    authorization_server.revoke(oauth_user.name)
    before = len(authorization_server.journal.requests("token"))

    worker = start_worker(SYNC_INTERVAL="1s")
    state = (
        "select sync_state, sync_state_reason, sync_state_message from account_status where account_id = %s"
    )
    worker.wait_for(lambda: database.execute(state, [account]).fetchone()[:2] == ("broken", "auth_failed"))
    row = database.execute(state, [account]).fetchone()
    assert row
    assert row[2].endswith(f"run `mailsync reauthorize {oauth_user.name}`")
    turns = "select consecutive_successes from accounts where id = %s"
    for _ in range(2):
        successes = value(database, turns, good)
        wake(database)
        worker.wait_for(lambda n=successes: value(database, turns, good) > n)
    refused = [r for r in authorization_server.journal.requests("token")[before:] if r.error]
    assert len(refused) == 1
    command = mailsync("sync", oauth_user.name)
    assert command.returncode == 4
    assert f"mailsync reauthorize {oauth_user.name}" in command.stderr
