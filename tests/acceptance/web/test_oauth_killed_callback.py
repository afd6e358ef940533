"""The API may be killed at any moment of a callback: the account keeps tokens that work (SPEC §23.5)."""

from __future__ import annotations

import contextlib
import http.client
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest

from tests.support import mail
from tests.support.api import Api, StartApi
from tests.support.authorization_server import AuthorizationServer
from tests.support.dovecot_oauth import OAuthDovecot
from tests.support.killing import Killer
from tests.support.mirrors import live_uids
from tests.support.oauth_accounts import add_account, consented, stored_tokens
from tests.support.oauth_browser import Browser
from tests.support.programs import Mailsync
from tests.support.proxy import Proxy
from tests.support.run_directory import wait_until

Database = psycopg.Connection[Any]
CALLBACK = "http://127.0.0.1:1/oauth/callback"


def worker_of(api: Api) -> psutil.Process:
    """Return gunicorn's only worker, which is started again when it is killed."""

    def workers() -> list[psutil.Process]:
        return [p for p in psutil.Process(api.process.pid).children() if p.status() != psutil.STATUS_ZOMBIE]

    wait_until(lambda: len(workers()) == 1, "gunicorn's worker")
    return workers()[0]


def kill(process: psutil.Process) -> None:
    process.kill()
    process.wait(60)


@pytest.mark.long
def test_kill_9_at_every_statement_of_a_callback(
    mailsync: Mailsync,
    oauth_dovecot: OAuthDovecot,
    authorization_server: AuthorizationServer,
    database: Database,
    postgres_proxy: tuple[Proxy, str],
    start_api: StartApi,
) -> None:
    proxy, url = postgres_proxy
    user = oauth_dovecot.new_user()
    oauth_dovecot.seed(user, "INBOX", (mail.message(n) for n in range(3)))
    client = authorization_server.add_client()
    mailsync.environment.update(client.environment())
    account = add_account(
        mailsync, oauth_dovecot, user.name, consented(authorization_server, client, user.name)
    )
    assert mailsync("sync", user.name).returncode == 0
    api = start_api(DATABASE_URL=url, WEB_CONCURRENCY="1", OAUTH_CALLBACK_URL=CALLBACK)
    wanted = {"provider": "own", "account_id": account}
    ends = set()

    for number in count(1):
        for delivered in (False, True):
            begun = api.call("POST", "/v1/oauth/authorizations", wanted).json()
            back = urlsplit(Browser().consent(begun["authorize_url"], user.name))
            address = back._replace(netloc=f"127.0.0.1:{api.port}").geturl()
            worker = worker_of(api)
            killer = Killer(proxy, number, delivered=delivered)
            killer.watch(lambda worker=worker: kill(worker))
            with contextlib.suppress(ConnectionError, http.client.HTTPException):
                assert Browser().request(address).status == 200
            proxy.on_piece = lambda link: None
            if killer.killed:
                wait_until(lambda gone=worker: worker_of(api) != gone, "another worker")

            shown = api.call("GET", f"/v1/oauth/authorizations/{begun['id']}").json()
            ends.add((shown["status"], killer.killed))
            refresh_token = stored_tokens(mailsync, account).refresh_token
            current = {family.current for family in authorization_server.store.families}
            assert refresh_token in current
            synced = mailsync("sync", user.name)
            assert synced.returncode == 0, synced
            # a state that was claimed is used up; before that, the person may reload the page
            again = Browser().request(address).status
            assert again == (200 if shown["status"] == "pending" else 400)
        if not killer.killed:
            break

    assert {("pending", True), ("exchanging", True), ("succeeded", True), ("succeeded", False)} == ends
    assert live_uids(database, account) == [1, 2, 3]
    assert not any(family.reused for family in authorization_server.store.families)
