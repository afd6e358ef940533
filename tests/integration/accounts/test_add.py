"""Add an account: checks that need no password, and what a failed login test tells a person to type."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from mailsync.accounts.add import AccountRequest, add_account, check_request
from mailsync.accounts.try_login import try_login
from mailsync.config import Settings
from mailsync.errors import (
    CertificateRejected,
    Conflict,
    ForbiddenHost,
    InvalidInput,
    LimitReached,
    Transient,
)
from mailsync.imap import TokenBucket
from mailsync.model import Endpoint
from mailsync.store import db
from mailsync.store.db import Connection
from tests.support.certificates import Authority
from tests.support.scripted import ScriptedServer
from tests.support.stored import new_account, settings_for

EMAIL = "a@example.com"
REQUEST = AccountRequest(EMAIL, host="8.8.8.8")


@pytest.fixture
def settings(database_url: str) -> Settings:
    return settings_for(database_url, sync_max_accounts=1)


@pytest.fixture
def conn(settings: Settings) -> Iterator[Connection]:
    with db.connect(settings, "cli") as conn:
        yield conn


def test_a_request_is_checked_without_its_password(conn: Connection, settings: Settings) -> None:
    checked = check_request(conn, REQUEST, settings)
    assert checked.endpoint == Endpoint("8.8.8.8", 993, "tls", EMAIL)
    assert (checked.email, checked.provider) == (EMAIL, None)


def test_an_account_is_not_added_without_a_password(conn: Connection, settings: Settings) -> None:
    with pytest.raises(InvalidInput, match="password"):
        add_account(conn, REQUEST, settings)


def test_a_duplicate_is_refused_before_the_password(conn: Connection, settings: Settings) -> None:
    new_account(conn, settings, EMAIL)
    with pytest.raises(Conflict):
        check_request(conn, REQUEST, settings)
    with pytest.raises(LimitReached):
        check_request(conn, AccountRequest("b@example.com", host="8.8.8.8"), settings)


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        (AccountRequest("no address", host="8.8.8.8"), InvalidInput),
        (AccountRequest(EMAIL), InvalidInput),
        (AccountRequest(EMAIL, host="8.8.8.8:993"), InvalidInput),
        (AccountRequest(EMAIL, host="8.8.8.8", port=25), ForbiddenHost),
        (AccountRequest(EMAIL, host="8.8.8.8", security="plaintext"), InvalidInput),
        (AccountRequest(EMAIL, host="127.0.0.1"), ForbiddenHost),
        (AccountRequest(EMAIL, host="localhost"), ForbiddenHost),
        (AccountRequest(EMAIL, host="127.0.0.1", verify=False), ForbiddenHost),
        (AccountRequest(EMAIL, host="imap.nowhere.invalid"), Transient),
        (AccountRequest(EMAIL, host="8.8.8.8", sync_window_days=-1), InvalidInput),
    ],
)
def test_host_and_policy_are_checked_before_the_password(
    conn: Connection, settings: Settings, request_: AccountRequest, kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        check_request(conn, request_, settings)


# -- the login test --------------------------------------------------------------------------------------


LOCAL = Settings(imap_allow_private_hosts=True, imap_allow_plaintext=True)
NewServer = Callable[..., ScriptedServer]


def _rejection(server: ScriptedServer, security: str) -> str:
    endpoint = Endpoint("localhost", server.port, security, EMAIL)
    with pytest.raises(CertificateRejected) as caught:
        try_login(endpoint, "secret", LOCAL, TokenBucket(50, 200, 0), None)
    assert caught.value.step == "tls"
    return str(caught.value)


@pytest.mark.parametrize("kind", ["good", "expired", "wrong_name"])
def test_a_certificate_that_is_not_accepted_is_not_taken_for_plaintext(
    scripted_with: NewServer, authority: Authority, kind: str
) -> None:
    server = scripted_with(security="tls", certificate=getattr(authority, kind)())
    assert "plaintext" not in _rejection(server, "tls")


def test_tls_on_a_plaintext_port_is_answered_with_starttls(scripted: ScriptedServer) -> None:
    hint = f"if port {scripted.port} starts in plaintext, use --security starttls"
    assert hint in _rejection(scripted, "tls")
