"""Turns that sign in with access tokens, against a real Dovecot and an authorization server (SPEC §23.3)."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest

from mailsync.credentials import TokenSet
from mailsync.engine.turn import Turn
from mailsync.errors import AuthenticationFailed, GrantRejected
from mailsync.store import accounts, credentials
from tests.support import mail, planted
from tests.support.authorization_server import AuthorizationServer, RegisteredClient
from tests.support.dovecot_oauth import OAuthDovecot
from tests.support.imap_server import User
from tests.support.oauth_accounts import TokenLogin, consented
from tests.support.oauth_turns import in_seconds, save, shown_message, sign_in, stored
from tests.support.patience import wait_until
from tests.support.turns import Mirror

# -- renewal -------------------------------------------------------------------------------------------


def test_the_first_turn_asks_for_an_access_token_and_later_ones_use_it(
    oauth_mirror: Mirror, authorization_server: AuthorizationServer
) -> None:
    oauth_mirror.complete()
    assert list(oauth_mirror.rows()) == [1, 2, 3]
    assert isinstance(sign_in(oauth_mirror), Turn)
    assert len(authorization_server.journal.renewals()) == 1
    (family,) = authorization_server.store.families
    assert stored(oauth_mirror).refresh_token == family.current
    columns = "auth_method, oauth_provider, oauth_grant, token_refused_at, token_refusal"
    row = oauth_mirror.conn.execute(f"select {columns} from accounts").fetchone()
    assert row == ("oauth2", "own", "refresh_token", None, None)
    ends = "select extract(epoch from token_expires_at - token_renewed_at)::float from accounts"
    assert 3590 < oauth_mirror.value(ends) <= 3600


def test_a_sync_over_ten_expiries(
    oauth_mirror: Mirror,
    authorization_server: AuthorizationServer,
    oauth_dovecot: OAuthDovecot,
    oauth_user: User,
) -> None:
    authorization_server.terms.seconds = 0.4
    oauth_mirror.complete()
    for number in range(10):
        oauth_dovecot.append(oauth_user, "INBOX", mail.message(number))
        newest = [*authorization_server.store.access.values()][-1]
        wait_until(lambda newest=newest: not newest.active, "the end of the token")
        assert isinstance(sign_in(oauth_mirror), Turn)
        assert len(oauth_mirror.rows()) == 4 + number
    assert len(authorization_server.journal.renewals()) >= 10
    assert not authorization_server.store.families[0].reused
    assert oauth_mirror.state == ("healthy", None)
    assert oauth_mirror.value("select consecutive_failures from accounts") == 0


@pytest.mark.parametrize(
    ("left", "lifetime", "renewed"),
    [
        (330, 3600, False),
        (270, 3600, True),
        # a short life is renewed at its half
        (270, 400, False),
        (190, 400, True),
        (-10, 3600, True),
        # the clock was ahead when it was issued
        (9000, 3600, True),
    ],
)
def test_a_token_is_renewed_five_minutes_before_its_end(
    oauth_mirror: Mirror,
    authorization_server: AuthorizationServer,
    left: float,
    lifetime: float,
    renewed: bool,
) -> None:
    sign_in(oauth_mirror)
    end = in_seconds(oauth_mirror, left)
    save(oauth_mirror, replace(stored(oauth_mirror), expires_at=end, lifetime=lifetime))
    assert isinstance(sign_in(oauth_mirror), Turn)
    assert len(authorization_server.journal.renewals()) == 1 + renewed


@pytest.mark.parametrize("length", [8, 4096, 6000])
def test_tokens_of_any_length(
    oauth_mirror: Mirror, authorization_server: AuthorizationServer, length: int
) -> None:
    authorization_server.terms.token_length = length
    assert isinstance(oauth_mirror.hot(), Turn)
    assert len(stored(oauth_mirror).access_token or "") == length


def test_a_server_that_rotates_nothing_and_one_that_tells_no_end(
    oauth_mirror: Mirror, authorization_server: AuthorizationServer
) -> None:
    authorization_server.terms.rotates = False
    before = stored(oauth_mirror).refresh_token
    authorization_server.change_next(expires_in=None)
    assert isinstance(sign_in(oauth_mirror), Turn)
    assert stored(oauth_mirror).refresh_token == before
    assert stored(oauth_mirror).lifetime == 3600


def test_client_credentials_renew_without_a_refresh_token(
    database_url: str,
    oauth_dovecot: OAuthDovecot,
    authorization_server: AuthorizationServer,
    oauth_client: RegisteredClient,
    oauth_user: User,
) -> None:
    name = oauth_user.name
    login = TokenLogin(name, consented(authorization_server, oauth_client, name, grant="client_credentials"))
    authorization_server.terms.announced = 0.001
    with Mirror(database_url, oauth_dovecot, login, oauth_clients=(oauth_client.client,)) as mirror:
        mirror.complete()
        assert isinstance(sign_in(mirror), Turn)
        assert list(mirror.rows()) == [1, 2, 3]
        assert stored(mirror).refresh_token is None
        assert mirror.value("select oauth_grant from accounts") == "client_credentials"
    assert len(authorization_server.journal.requests("token", "client_credentials")) == 2


# -- the mail server rejects a token -------------------------------------------------------------------


def test_a_token_that_ends_before_its_time_is_renewed_and_tried_once(
    oauth_mirror: Mirror, authorization_server: AuthorizationServer, oauth_user: User
) -> None:
    assert isinstance(oauth_mirror.hot(), Turn)
    authorization_server.expire_access_tokens(oauth_user.name)
    assert isinstance(sign_in(oauth_mirror), Turn)
    assert len(authorization_server.journal.renewals()) == 2
    assert oauth_mirror.value("select consecutive_failures from accounts") == 0


def test_a_token_of_another_user_is_a_rejected_login_and_is_not_renewed_again(
    oauth_mirror: Mirror, authorization_server: AuthorizationServer
) -> None:
    authorization_server.terms.next_user = "someone.else@example.test"
    error = oauth_mirror.hot()
    assert type(error) is AuthenticationFailed
    assert not planted.found_in(str(error))
    assert len(authorization_server.journal.renewals()) == 1
    assert oauth_mirror.state == ("degraded", "auth_failed")
    # the stored token is rejected again, and renewed: this time it is the right one
    assert isinstance(sign_in(oauth_mirror), Turn)
    assert len(authorization_server.journal.renewals()) == 2


# -- the authorization server refuses ------------------------------------------------------------------


def test_revoked_tokens_break_the_account_until_a_person_authorizes_again(
    oauth_mirror: Mirror,
    authorization_server: AuthorizationServer,
    oauth_client: RegisteredClient,
    oauth_user: User,
) -> None:
    oauth_mirror.complete()
    rows = oauth_mirror.conn.execute("select id, uid from messages order by id").fetchall()
    authorization_server.revoke(oauth_user.name)
    error = sign_in(oauth_mirror)
    assert isinstance(error, GrantRejected)
    assert oauth_mirror.state == ("broken", "auth_failed")
    assert shown_message(oauth_mirror).endswith(f"run `mailsync reauthorize {oauth_user.name}`")
    assert oauth_mirror.value("select token_refusal from accounts") in shown_message(oauth_mirror)
    assert oauth_mirror.value("select token_refused_at from accounts")

    (sealed,) = credentials.load(oauth_mirror.conn, oauth_mirror.account_id)
    again = consented(authorization_server, oauth_client, oauth_user.name)
    keys = oauth_mirror.settings.encryption_keys()
    accounts.change_credential(oauth_mirror.conn, oauth_mirror.account_id, sealed.endpoint, again, keys)
    oauth_mirror.complete()
    assert oauth_mirror.state == ("healthy", None)
    assert oauth_mirror.conn.execute("select id, uid from messages order by id").fetchall() == rows
    assert oauth_mirror.value("select token_refusal from accounts") is None


def test_tokens_that_another_process_renewed_are_used_after_invalid_grant(
    oauth_mirror: Mirror,
    authorization_server: AuthorizationServer,
    oauth_client: RegisteredClient,
    oauth_user: User,
) -> None:
    hold = authorization_server.hold_next()
    authorization_server.fail_next("token", 400, error="invalid_grant")
    ended: list[Any] = []
    thread = threading.Thread(target=lambda: ended.append(oauth_mirror.hot()))
    thread.start()
    hold.wait()
    issued = authorization_server.issue(oauth_client, oauth_user.name)
    before, end = stored(oauth_mirror), in_seconds(oauth_mirror, 3600)
    refresh, access = issued.refresh_token, issued.access_token
    save(oauth_mirror, TokenSet(before.owner, before.grant, refresh, access, end, 3600))
    hold.release()
    thread.join()
    assert isinstance(ended[0], Turn)
    assert stored(oauth_mirror).refresh_token == issued.refresh_token
