"""A process may be killed at any moment of a renewal: no refresh token is ever lost (SPEC §23.3)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import psycopg
import pytest

from tests.support.authorization_server import AuthorizationServer, RegisteredClient
from tests.support.dovecot_oauth import OAuthDovecot
from tests.support.imap_server import User
from tests.support.killing import Killer
from tests.support.mirrors import backends, live_uids, value
from tests.support.oauth_accounts import add_account, consented, stored_tokens
from tests.support.patience import wait_until
from tests.support.programs import Mailsync
from tests.support.proxy import Proxy

Database = psycopg.Connection[Any]


@pytest.mark.long
def test_kill_9_at_every_statement_of_a_renewal(
    mailsync: Mailsync,
    oauth_dovecot: OAuthDovecot,
    authorization_server: AuthorizationServer,
    oauth_client: RegisteredClient,
    oauth_user: User,
    database: Database,
    postgres_proxy: tuple[Proxy, str],
) -> None:
    proxy, url = postgres_proxy
    account = add_account(
        mailsync,
        oauth_dovecot,
        oauth_user.name,
        consented(authorization_server, oauth_client, oauth_user.name),
    )
    # every sign-in renews
    authorization_server.terms.announced = 0.001
    renewals, killed_after_renewal = authorization_server.journal.renewals, 0

    for number in count(1):
        for delivered in (False, True):
            before = len(renewals())
            killer = Killer(proxy, number, delivered=delivered)
            killed = mailsync.start("sync", oauth_user.name, DATABASE_URL=url)
            killer.watch(killed.kill9)
            killed.wait()
            proxy.on_piece = lambda link: None
            wait_until(lambda: not backends(database, "mailsync-sync"), "the end of the killed statement")
            killed_after_renewal += killer.killed and len(renewals()) > before

            synced = mailsync("sync", oauth_user.name)

            assert synced.returncode == 0, (number, delivered, synced)
            assert live_uids(database, account) == [1, 2, 3]
        if not killer.killed:
            break

    # the statement that saves the tokens, lost and delivered, and those after it
    assert killed_after_renewal >= 4
    (family,) = authorization_server.store.families
    assert not family.revoked
    assert not family.reused
    assert stored_tokens(mailsync, account).refresh_token == family.current
    assert not [request for request in authorization_server.journal.requests() if request.error]
    assert value(database, "select sync_state from account_status") == "healthy"


def test_kill_9_between_renewal_and_use(
    mailsync: Mailsync,
    oauth_dovecot: OAuthDovecot,
    authorization_server: AuthorizationServer,
    oauth_client: RegisteredClient,
    oauth_user: User,
    database: Database,
    proxy_to: Callable[[tuple[str, int]], Proxy],
) -> None:
    # this server revokes all tokens when an old one comes again, so only the stored one is worth anything
    authorization_server.store.strict = True
    authorization_server.terms.announced = 0.001
    proxy = proxy_to((oauth_dovecot.host, oauth_dovecot.port))
    account = add_account(
        mailsync, proxy, oauth_user.name, consented(authorization_server, oauth_client, oauth_user.name)
    )
    renewals = authorization_server.journal.renewals

    for round_number in range(1, 4):
        killer = Killer(proxy, 1, delivered=False, begins=lambda n=round_number: len(renewals()) == 2 * n - 1)
        killed = mailsync.start("sync", oauth_user.name)
        killer.watch(killed.kill9)
        assert killed.wait() == -9
        assert len(renewals()) == 2 * round_number - 1
        proxy.on_piece = lambda link: None
        (family,) = authorization_server.store.families
        assert stored_tokens(mailsync, account).refresh_token == family.current

        synced = mailsync("sync", oauth_user.name)
        assert synced.returncode == 0, synced

    assert live_uids(database, account) == [1, 2, 3]
    assert not authorization_server.store.families[0].revoked
