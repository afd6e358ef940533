"""An account that signs in with access tokens."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import mail
from tests.support.authorization_server import AuthorizationServer, RegisteredClient
from tests.support.dovecot_oauth import OAuthDovecot
from tests.support.imap_server import User
from tests.support.oauth_accounts import TokenLogin, consented
from tests.support.turns import Mirror


@pytest.fixture
def oauth_user(oauth_dovecot: OAuthDovecot) -> User:
    """A user with three messages."""
    user = oauth_dovecot.new_user()
    oauth_dovecot.seed(user, "INBOX", (mail.message(n) for n in range(3)))
    return user


@pytest.fixture
def oauth_client(authorization_server: AuthorizationServer, oauth_user: User) -> RegisteredClient:
    return authorization_server.add_client(mailbox=oauth_user.name)


@pytest.fixture
def oauth_mirror(
    database_url: str,
    oauth_dovecot: OAuthDovecot,
    authorization_server: AuthorizationServer,
    oauth_client: RegisteredClient,
    oauth_user: User,
) -> Iterator[Mirror]:
    """The mirror of an account that has a refresh token."""
    login = TokenLogin(oauth_user.name, consented(authorization_server, oauth_client, oauth_user.name))
    with Mirror(database_url, oauth_dovecot, login, oauth_clients=(oauth_client.client,)) as mirror:
        yield mirror
