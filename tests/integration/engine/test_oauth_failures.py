"""Authorization servers that fail: no failure is a rejected login, and none shows a secret (SPEC §23.3)."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from mailsync.engine.turn import Turn
from mailsync.errors import AuthenticationFailed, ClientRejected, MailsyncError, Throttled, Transient
from mailsync.store import db, key_rotation
from tests.support import planted, run_directory
from tests.support.authorization_server import AuthorizationServer, RegisteredClient
from tests.support.certificates import Authority
from tests.support.dovecot_oauth import OAuthDovecot
from tests.support.imap_server import User
from tests.support.oauth_accounts import TokenLogin, consented
from tests.support.oauth_turns import in_seconds, save, shown_message, sign_in, stored
from tests.support.patience import Stopwatch
from tests.support.stored import KEY
from tests.support.turns import Mirror

HTML = "<html><title>Sign in</title></html>"
PRIVATE = {"Location": "http://10.0.0.1/token?code=hidden"}
REFUSALS: list[tuple[dict[str, Any], str, str]] = [
    ({"status": 503}, "unreachable", "127.0.0.1 answers 503"),
    ({"status": 200, "body": "x" * 100_000}, "unreachable", "127.0.0.1"),
    ({"status": 200, "body": HTML}, "unreachable", "127.0.0.1 answers 200 and no JSON (text/html)"),
    ({"status": 400, "body": HTML}, "unreachable", "127.0.0.1 answers 400 and no JSON (text/html)"),
    ({"status": 200, "body": ["a list"]}, "unreachable", "no JSON"),
    ({"status": 200, "body": {"access_token": 5}}, "unreachable", "without a usable access token"),
    ({"status": 302, "headers": PRIVATE}, "unreachable", "127.0.0.1 redirects to 10.0.0.1"),
    ({"status": 400, "error": "temporarily_unavailable"}, "unreachable", "temporarily_unavailable"),
    ({"status": 401, "error": "invalid_client"}, "oauth_client", "OAUTH_OWN_CLIENT"),
    ({"status": 400, "error": "unauthorized_client"}, "oauth_client", "OAUTH_OWN_CLIENT"),
    ({"status": 400, "error": "invalid_scope"}, "oauth_client", "invalid_scope"),
    ({"status": 400, "error": "something_new"}, "oauth_client", "something_new"),
]


@pytest.mark.parametrize(("fault", "reason", "words"), REFUSALS)
def test_a_failed_renewal_is_no_rejected_login(
    oauth_mirror: Mirror,
    authorization_server: AuthorizationServer,
    caplog: pytest.LogCaptureFixture,
    fault: dict[str, Any],
    reason: str,
    words: str,
) -> None:
    # every sign-in renews
    authorization_server.terms.announced = 0.001
    oauth_mirror.complete()
    authorization_server.fail_next("token", **fault, times=None)
    for _ in range(4):
        error = sign_in(oauth_mirror)
        assert isinstance(error, Transient)
        assert oauth_mirror.state == ("degraded", reason)
    assert words in shown_message(oauth_mirror)
    assert "hidden" not in shown_message(oauth_mirror)
    assert oauth_mirror.value("select token_refusal from accounts") == shown_message(oauth_mirror)
    assert not planted.found_in(caplog.text)

    authorization_server.recover()
    oauth_mirror.complete()
    assert oauth_mirror.state == ("healthy", None)
    assert list(oauth_mirror.rows()) == [1, 2, 3]


@pytest.mark.parametrize("status", [503, 429])
def test_a_token_that_is_valid_for_some_minutes_bridges_an_outage(
    oauth_mirror: Mirror, authorization_server: AuthorizationServer, status: int
) -> None:
    oauth_mirror.complete()
    before = stored(oauth_mirror)
    save(oauth_mirror, replace(before, expires_at=in_seconds(oauth_mirror, 200)))
    authorization_server.fail_next("token", status, times=None)
    for _ in range(2):
        assert isinstance(sign_in(oauth_mirror), Turn)
    assert oauth_mirror.state == ("healthy", None)
    assert len(authorization_server.journal.requests("token")) == 3
    assert f"answers {status}" in oauth_mirror.value("select token_refusal from accounts")
    # the mail server's word counts more than the time
    for access in authorization_server.store.access.values():
        access.revoked = True
    assert isinstance(sign_in(oauth_mirror), Transient | Throttled)
    authorization_server.recover()
    assert isinstance(sign_in(oauth_mirror), Turn)
    assert stored(oauth_mirror).refresh_token != before.refresh_token


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_server_that_asks_to_wait_is_waited_for(
    oauth_mirror: Mirror, authorization_server: AuthorizationServer, form: str
) -> None:
    later = datetime.now(UTC) + timedelta(seconds=900)
    wait = "900" if form == "seconds" else format_datetime(later, usegmt=True)
    authorization_server.fail_next("token", 429, headers={"Retry-After": wait})
    assert isinstance(oauth_mirror.hot(), Throttled)
    assert oauth_mirror.state == ("degraded", "throttled")
    held = "select extract(epoch from backoff_until - last_sync_finished_at)::float from accounts"
    assert 700 < oauth_mirror.value(held) <= 901
    assert isinstance(sign_in(oauth_mirror), Turn)


def test_a_server_that_is_down(
    oauth_mirror: Mirror, oauth_client: RegisteredClient, caplog: pytest.LogCaptureFixture
) -> None:
    nobody = f"http://127.0.0.1:{run_directory.free_port()}/token"
    oauth_mirror.settings._oauth_clients = (replace(oauth_client.client, token_url=nobody),)
    assert isinstance(sign_in(oauth_mirror), Transient)
    assert oauth_mirror.state == ("degraded", "unreachable")
    assert "127.0.0.1" in shown_message(oauth_mirror)
    assert not planted.found_in(caplog.text)


def test_a_certificate_that_is_not_trusted(
    database_url: str,
    oauth_dovecot: OAuthDovecot,
    tls_authorization_server: AuthorizationServer,
    authority: Authority,
    oauth_user: User,
) -> None:
    server = tls_authorization_server
    oauth_dovecot.trust(server)
    client = server.add_client()
    login = TokenLogin(oauth_user.name, consented(server, client, oauth_user.name))
    with Mirror(database_url, oauth_dovecot, login, oauth_clients=(client.client,)) as mirror:
        assert isinstance(sign_in(mirror), Transient)
        assert mirror.state == ("degraded", "tls")
        assert not server.journal.requests()
        mirror.settings.__dict__["imap_ca_file"] = authority.ca_file
        assert isinstance(sign_in(mirror), Turn)


@pytest.mark.long
@pytest.mark.parametrize("how", ["silent", "dripping"])
def test_a_slow_server_is_given_up_after_half_a_minute(
    oauth_mirror: Mirror, authorization_server: AuthorizationServer, how: str
) -> None:
    authorization_server.fail_next("token", 200, {"access_token": "x" * 5000}, **{how: True})
    watch = Stopwatch()
    assert isinstance(sign_in(oauth_mirror), Transient)
    assert watch.clock > 25
    assert watch.stop() < 45
    assert oauth_mirror.state == ("degraded", "unreachable")
    assert isinstance(sign_in(oauth_mirror), Turn)


@pytest.mark.parametrize("changed", ["client id", "no client"])
def test_tokens_of_a_client_that_is_configured_no_longer(
    oauth_mirror: Mirror,
    authorization_server: AuthorizationServer,
    oauth_client: RegisteredClient,
    changed: str,
) -> None:
    other = replace(oauth_client.client, client_id="another")
    oauth_mirror.settings._oauth_clients = (other,) if changed == "client id" else ()
    error = sign_in(oauth_mirror)
    assert isinstance(error, ClientRejected)
    assert oauth_mirror.state == ("degraded", "oauth_client")
    assert "OAUTH_OWN_CLIENT_ID" in shown_message(oauth_mirror)
    assert oauth_client.client.client_id in shown_message(oauth_mirror)
    assert not authorization_server.journal.requests()
    oauth_mirror.settings._oauth_clients = (oauth_client.client,)
    assert isinstance(sign_in(oauth_mirror), Turn)


# -- the database --------------------------------------------------------------------------------------


def test_tokens_that_the_database_does_not_take_are_stored_by_the_next_turn(
    oauth_mirror: Mirror, authorization_server: AuthorizationServer
) -> None:
    oauth_mirror.complete()
    # this server revokes all tokens when an old one comes again
    authorization_server.store.strict = True
    authorization_server.terms.announced = 0.001
    assert isinstance(sign_in_rejected(oauth_mirror, authorization_server), Turn)
    oauth_mirror.conn.execute("set statement_timeout = '300ms'")
    with closing(db.connect(oauth_mirror.settings, "other")) as other, other.transaction():
        other.execute("select from account_credentials for update")
        error = sign_in(oauth_mirror)
    assert isinstance(error, MailsyncError)
    assert not isinstance(error, AuthenticationFailed)
    renewals = len(authorization_server.journal.renewals())
    (family,) = authorization_server.store.families
    assert stored(oauth_mirror).refresh_token != family.current

    assert isinstance(sign_in(oauth_mirror), Turn)
    assert not family.revoked
    assert stored(oauth_mirror).refresh_token == family.current
    assert len(authorization_server.journal.renewals()) >= renewals


def sign_in_rejected(mirror: Mirror, server: AuthorizationServer) -> Turn | MailsyncError | None:
    """Take a turn whose stored token has ended before its time."""
    for access in server.store.access.values():
        access.revoked = True
    return sign_in(mirror)


def test_another_key_seals_the_tokens_and_renewals_use_it(
    oauth_mirror: Mirror, authorization_server: AuthorizationServer
) -> None:
    oauth_mirror.complete()
    before, new_key = stored(oauth_mirror), "ab" * 32
    done = key_rotation.rotate(oauth_mirror.conn, [bytes.fromhex(new_key), bytes.fromhex(KEY)])
    assert done.resealed == 1
    for keys in (f"{new_key},{KEY}", new_key):
        oauth_mirror.settings.__dict__["imap_encryption_key"] = type(
            oauth_mirror.settings.imap_encryption_key
        )(keys)  # type: ignore[misc]
        assert stored(oauth_mirror) == before
        assert isinstance(sign_in_rejected(oauth_mirror, authorization_server), Turn)
        before = stored(oauth_mirror)
    assert len(authorization_server.journal.renewals()) == 3
