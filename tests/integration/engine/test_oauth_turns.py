"""Turns that sign in with access tokens, against a real Dovecot and an authorization server (SPEC §23.3)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from mailsync.credentials import TokenSet
from mailsync.engine.turn import Turn
from mailsync.errors import AuthenticationFailed, GrantRejected, MailsyncError
from mailsync.store import accounts, credentials
from tests.support import mail, planted
from tests.support.authorization_server import AuthorizationServer, RegisteredClient
from tests.support.dovecot_oauth import OAuthDovecot
from tests.support.imap_server import User
from tests.support.oauth_accounts import TokenLogin, consented
from tests.support.patience import wait_until
from tests.support.turns import Mirror


@pytest.fixture
def user(oauth_dovecot: OAuthDovecot) -> User:
    """A user with three messages."""
    user = oauth_dovecot.new_user()
    oauth_dovecot.seed(user, "INBOX", (mail.message(n) for n in range(3)))
    return user


@pytest.fixture
def client(authorization_server: AuthorizationServer, user: User) -> RegisteredClient:
    return authorization_server.add_client(mailbox=user.name)


@pytest.fixture
def mirror(
    database_url: str,
    oauth_dovecot: OAuthDovecot,
    authorization_server: AuthorizationServer,
    client: RegisteredClient,
    user: User,
) -> Iterator[Mirror]:
    """The mirror of an account that has a refresh token."""
    login = TokenLogin(user.name, consented(authorization_server, client, user.name))
    with Mirror(database_url, oauth_dovecot, login, oauth_clients=(client.client,)) as mirror:
        yield mirror


def sign_in(mirror: Mirror) -> Turn | MailsyncError | None:
    """Take a turn in a new session, whatever the state of the account."""
    mirror.env.sessions.drop(mirror.account_id)
    mirror.conn.execute("update accounts set backoff_until = null, next_sync_at = now()")
    return mirror.hot()


def stored(mirror: Mirror) -> TokenSet:
    (sealed,) = credentials.load(mirror.conn, mirror.account_id)
    tokens = sealed.open(mirror.settings.encryption_keys(), mirror.account_id, sealed.endpoint)
    assert isinstance(tokens, TokenSet)
    return tokens


def save(mirror: Mirror, tokens: TokenSet) -> None:
    """Store tokens as another process does that renewed them."""
    (sealed,) = credentials.load(mirror.conn, mirror.account_id)
    keys = mirror.settings.encryption_keys()
    credentials.save_renewed(mirror.conn, mirror.account_id, sealed.endpoint, tokens, keys)


def in_seconds(mirror: Mirror, seconds: float) -> datetime:
    moment = mirror.value("select now() + make_interval(secs => %s)", seconds)
    assert isinstance(moment, datetime)
    return moment


def message(mirror: Mirror) -> str:
    text = mirror.value("select sync_state_message from accounts")
    assert isinstance(text, str)
    assert not planted.found_in(text)
    return text


# -- renewal -------------------------------------------------------------------------------------------


def test_the_first_turn_asks_for_an_access_token_and_later_ones_use_it(
    mirror: Mirror, authorization_server: AuthorizationServer
) -> None:
    mirror.complete()
    assert list(mirror.rows()) == [1, 2, 3]
    assert isinstance(sign_in(mirror), Turn)
    assert len(authorization_server.journal.renewals()) == 1
    (family,) = authorization_server.store.families
    assert stored(mirror).refresh_token == family.current
    columns = "auth_method, oauth_provider, oauth_grant, token_refused_at, token_refusal"
    row = mirror.conn.execute(f"select {columns} from accounts").fetchone()
    assert row == ("oauth2", "own", "refresh_token", None, None)
    ends = "select extract(epoch from token_expires_at - token_renewed_at)::float from accounts"
    assert 3590 < mirror.value(ends) <= 3600


def test_a_sync_over_ten_expiries(
    mirror: Mirror, authorization_server: AuthorizationServer, oauth_dovecot: OAuthDovecot, user: User
) -> None:
    authorization_server.terms.seconds = 0.4
    mirror.complete()
    for number in range(10):
        oauth_dovecot.append(user, "INBOX", mail.message(number))
        newest = [*authorization_server.store.access.values()][-1]
        wait_until(lambda newest=newest: not newest.active, "the end of the token")
        assert isinstance(sign_in(mirror), Turn)
        assert len(mirror.rows()) == 4 + number
    assert len(authorization_server.journal.renewals()) >= 10
    assert not authorization_server.store.families[0].reused
    assert mirror.state == ("healthy", None)
    assert mirror.value("select consecutive_failures from accounts") == 0


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
    mirror: Mirror, authorization_server: AuthorizationServer, left: float, lifetime: float, renewed: bool
) -> None:
    sign_in(mirror)
    save(mirror, replace(stored(mirror), expires_at=in_seconds(mirror, left), lifetime=lifetime))
    assert isinstance(sign_in(mirror), Turn)
    assert len(authorization_server.journal.renewals()) == 1 + renewed


@pytest.mark.parametrize("length", [8, 4096, 6000])
def test_tokens_of_any_length(mirror: Mirror, authorization_server: AuthorizationServer, length: int) -> None:
    authorization_server.terms.token_length = length
    assert isinstance(mirror.hot(), Turn)
    assert len(stored(mirror).access_token or "") == length


def test_a_server_that_rotates_nothing_and_one_that_tells_no_end(
    mirror: Mirror, authorization_server: AuthorizationServer
) -> None:
    authorization_server.terms.rotates = False
    before = stored(mirror).refresh_token
    authorization_server.change_next(expires_in=None)
    assert isinstance(sign_in(mirror), Turn)
    assert stored(mirror).refresh_token == before
    assert stored(mirror).lifetime == 3600


def test_client_credentials_renew_without_a_refresh_token(
    database_url: str,
    oauth_dovecot: OAuthDovecot,
    authorization_server: AuthorizationServer,
    client: RegisteredClient,
    user: User,
) -> None:
    login = TokenLogin(
        user.name, consented(authorization_server, client, user.name, grant="client_credentials")
    )
    authorization_server.terms.announced = 0.001
    with Mirror(database_url, oauth_dovecot, login, oauth_clients=(client.client,)) as mirror:
        mirror.complete()
        assert isinstance(sign_in(mirror), Turn)
        assert list(mirror.rows()) == [1, 2, 3]
        assert stored(mirror).refresh_token is None
        assert mirror.value("select oauth_grant from accounts") == "client_credentials"
    assert len(authorization_server.journal.requests("token", "client_credentials")) == 2


# -- the mail server rejects a token -------------------------------------------------------------------


def test_a_token_that_ends_before_its_time_is_renewed_and_tried_once(
    mirror: Mirror, authorization_server: AuthorizationServer, user: User
) -> None:
    assert isinstance(mirror.hot(), Turn)
    authorization_server.expire_access_tokens(user.name)
    assert isinstance(sign_in(mirror), Turn)
    assert len(authorization_server.journal.renewals()) == 2
    assert mirror.value("select consecutive_failures from accounts") == 0


def test_a_token_of_another_user_is_a_rejected_login_and_is_not_renewed_again(
    mirror: Mirror, authorization_server: AuthorizationServer
) -> None:
    authorization_server.terms.next_user = "someone.else@example.test"
    error = mirror.hot()
    assert type(error) is AuthenticationFailed
    assert not planted.found_in(str(error))
    assert len(authorization_server.journal.renewals()) == 1
    assert mirror.state == ("degraded", "auth_failed")
    # the stored token is rejected again, and renewed: this time it is the right one
    assert isinstance(sign_in(mirror), Turn)
    assert len(authorization_server.journal.renewals()) == 2


# -- the authorization server refuses ------------------------------------------------------------------


def test_revoked_tokens_break_the_account_until_a_person_authorizes_again(
    mirror: Mirror, authorization_server: AuthorizationServer, client: RegisteredClient, user: User
) -> None:
    mirror.complete()
    rows = mirror.conn.execute("select id, uid from messages order by id").fetchall()
    authorization_server.revoke(user.name)
    error = sign_in(mirror)
    assert isinstance(error, GrantRejected)
    assert mirror.state == ("broken", "auth_failed")
    assert message(mirror).endswith(f"run `mailsync reauthorize {user.name}`")
    assert mirror.value("select token_refusal from accounts") in message(mirror)
    assert mirror.value("select token_refused_at from accounts")

    (sealed,) = credentials.load(mirror.conn, mirror.account_id)
    again = consented(authorization_server, client, user.name)
    keys = mirror.settings.encryption_keys()
    accounts.change_credential(mirror.conn, mirror.account_id, sealed.endpoint, again, keys)
    mirror.complete()
    assert mirror.state == ("healthy", None)
    assert mirror.conn.execute("select id, uid from messages order by id").fetchall() == rows
    assert mirror.value("select token_refusal from accounts") is None


def test_tokens_that_another_process_renewed_are_used_after_invalid_grant(
    mirror: Mirror, authorization_server: AuthorizationServer, client: RegisteredClient, user: User
) -> None:
    hold = authorization_server.hold_next()
    authorization_server.fail_next("token", 400, error="invalid_grant")
    ended: list[Any] = []
    thread = threading.Thread(target=lambda: ended.append(mirror.hot()))
    thread.start()
    hold.wait()
    issued = authorization_server.issue(client, user.name)
    before, end = stored(mirror), in_seconds(mirror, 3600)
    save(mirror, TokenSet(before.owner, before.grant, issued.refresh_token, issued.access_token, end, 3600))
    hold.release()
    thread.join()
    assert isinstance(ended[0], Turn)
    assert stored(mirror).refresh_token == issued.refresh_token


REFUSALS: list[tuple[dict[str, Any], str, str]] = [
    ({"status": 503}, "unreachable", "127.0.0.1 answers 503"),
    ({"status": 500, "body": "<html>" + "x" * 100_000}, "unreachable", "127.0.0.1"),
    ({"status": 200, "body": "<html>Sign in</html>"}, "unreachable", "no JSON (text/html)"),
    ({"status": 200, "body": ["a list"]}, "unreachable", "no JSON"),
    (
        {"status": 302, "headers": {"Location": "http://10.0.0.1/token?x=secret"}},
        "unreachable",
        "redirects to 10.0.0.1",
    ),
    ({"status": 429, "headers": {"Retry-After": "120"}}, "throttled", "429"),
    ({"status": 400, "error": "temporarily_unavailable"}, "unreachable", "temporarily_unavailable"),
    ({"status": 401, "error": "invalid_client"}, "oauth_client", "OAUTH_OWN_CLIENT"),
    ({"status": 400, "error": "unauthorized_client"}, "oauth_client", "OAUTH_OWN_CLIENT"),
    ({"status": 400, "error": "invalid_scope"}, "oauth_client", "invalid_scope"),
]


@pytest.mark.parametrize(("fault", "reason", "words"), REFUSALS)
def test_a_token_endpoint_that_fails_never_counts_as_a_rejected_login(
    mirror: Mirror,
    authorization_server: AuthorizationServer,
    caplog: pytest.LogCaptureFixture,
    fault: dict[str, Any],
    reason: str,
    words: str,
) -> None:
    # every sign-in renews
    authorization_server.terms.announced = 0.001
    mirror.complete()
    authorization_server.fail_next("token", **fault, times=None)
    for _ in range(4):
        error = sign_in(mirror)
        assert isinstance(error, MailsyncError)
        assert not isinstance(error, AuthenticationFailed)
        assert mirror.state == ("degraded", reason)
    assert words in message(mirror)
    assert "secret" not in message(mirror)
    assert mirror.value("select token_refusal from accounts") in message(mirror)
    assert not planted.found_in(caplog.text)

    authorization_server.recover()
    mirror.complete()
    assert mirror.state == ("healthy", None)
    assert list(mirror.rows()) == [1, 2, 3]
