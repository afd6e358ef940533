"""Accounts that sign in with the tokens of an authorization server of the tests."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field

import pytest

from mailsync.config import Settings
from mailsync.credentials import TokenOwner, TokenSet
from mailsync.model import Endpoint
from mailsync.store import accounts, credentials, db
from tests.support import mail
from tests.support.authorization_server import AuthorizationServer, RegisteredClient
from tests.support.dovecot_oauth import OAuthDovecot
from tests.support.imap_server import User
from tests.support.mirrors import Server
from tests.support.programs import ENCRYPTION_KEY, Mailsync


@pytest.fixture
def oauth_client(mailsync: Mailsync, authorization_server: AuthorizationServer) -> RegisteredClient:
    """The client of every program that a test starts."""
    client = authorization_server.add_client()
    mailsync.environment.update(client.environment())
    return client


@pytest.fixture
def oauth_user(oauth_dovecot: OAuthDovecot) -> User:
    """A user with three messages, who can sign in with tokens only."""
    user = oauth_dovecot.new_user()
    oauth_dovecot.seed(user, "INBOX", (mail.message(n) for n in range(3)))
    return user


@dataclass(frozen=True)
class TokenLogin:
    """A user who signs in with tokens, where other tests give a password."""

    name: str
    password: TokenSet = field(repr=False)


def consented(
    server: AuthorizationServer, client: RegisteredClient, user: str, *, grant: str = "refresh_token"
) -> TokenSet:
    """Return tokens as after a consent: with a refresh token only, so that the first sign-in renews."""
    owner = TokenOwner(client.client.name, client.client.client_id)
    if grant == "client_credentials":
        return TokenSet(owner, grant)
    return TokenSet(owner, grant, server.issue(client, user).refresh_token)


def add_account(mailsync: Mailsync, server: Server, user: str, tokens: TokenSet) -> int:
    """Store an account that signs in with tokens; returns its id."""
    settings = settings_of(mailsync)
    with closing(db.connect(settings, "test")) as conn:
        endpoint = Endpoint(server.host, server.port, "plaintext", user)
        return accounts.create(conn, accounts.NewAccount(user, endpoint), tokens, settings)


def stored_tokens(mailsync: Mailsync, account_id: int) -> TokenSet:
    """Return the tokens that are stored for an account."""
    settings = settings_of(mailsync)
    with closing(db.connect(settings, "test")) as conn:
        (sealed,) = credentials.load(conn, account_id)
        tokens = sealed.open(settings.encryption_keys(), account_id, sealed.endpoint)
    assert isinstance(tokens, TokenSet)
    return tokens


def settings_of(mailsync: Mailsync) -> Settings:
    """Return settings with the program's database and key."""
    return Settings(
        database_url=mailsync.environment["DATABASE_URL"] or "", imap_encryption_key=ENCRYPTION_KEY
    )
