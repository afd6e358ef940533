"""Dovecot takes access tokens, by the byte: XOAUTH2 and OAUTHBEARER (RFC 7628)."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Callable

import pytest

from tests.support.authorization_server import AuthorizationServer
from tests.support.dovecot_oauth import OAuthDovecot
from tests.support.patience import PATIENCE

FOLLOWS = {"XOAUTH2": b"", "OAUTHBEARER": b"AQ=="}


def authenticate(server: OAuthDovecot, mechanism: str, user: str, token: str) -> list[bytes]:
    """Log in by raw bytes; returns the lines after the greeting, the challenge decoded."""
    begin = f"n,a={user},\1host=localhost\1port=143\1" if mechanism == "OAUTHBEARER" else f"user={user}\1"
    response = base64.b64encode(f"{begin}auth=Bearer {token}\1\1".encode())
    with socket.create_connection((server.host, server.port), timeout=PATIENCE) as sock:
        file = sock.makefile("rb")
        assert f"AUTH={mechanism}".encode() in file.readline()
        sock.sendall(b"a AUTHENTICATE " + mechanism.encode() + b" " + response + b"\r\n")
        lines = [file.readline()]
        if lines[0].startswith(b"+ "):
            lines[0] = base64.b64decode(lines[0][2:])
            sock.sendall(FOLLOWS[mechanism] + b"\r\n")
            lines.append(file.readline())
        file.close()
    return lines


@pytest.mark.parametrize("mechanism", FOLLOWS)
def test_a_token_logs_its_user_in(
    authorization_server: AuthorizationServer, oauth_dovecot: OAuthDovecot, mechanism: str
) -> None:
    authorization_server.terms.token_length = 4096
    user, other = oauth_dovecot.new_user(), oauth_dovecot.new_user()
    token = authorization_server.issue(authorization_server.add_client(), user.name).access_token
    assert authenticate(oauth_dovecot, mechanism, user.name, token)[0].startswith(b"a OK ")
    for name, bad in [(user.name, "x" * 40), (other.name, token)]:
        challenge, answer = authenticate(oauth_dovecot, mechanism, name, bad)
        status = {"XOAUTH2": "401", "OAUTHBEARER": "invalid_token"}[mechanism]
        assert json.loads(challenge)["status"] == status
        assert answer.startswith(b"a NO [AUTHENTICATIONFAILED]")
    authorization_server.revoke(user.name)
    assert len(authenticate(oauth_dovecot, mechanism, user.name, token)) == 2


def test_passwords_still_work(oauth_dovecot: OAuthDovecot) -> None:
    with oauth_dovecot.imap(oauth_dovecot.new_user(), "INBOX"):
        pass


def test_tokens_of_other_servers_are_refused(
    oauth_dovecot: OAuthDovecot, tls_authorization_server: AuthorizationServer
) -> None:
    user = oauth_dovecot.new_user()
    token = tls_authorization_server.issue(tls_authorization_server.add_client(), user.name).access_token
    assert len(authenticate(oauth_dovecot, "XOAUTH2", user.name, token)) == 2
    oauth_dovecot.trust(tls_authorization_server)
    assert authenticate(oauth_dovecot, "XOAUTH2", user.name, token)[0].startswith(b"a OK ")


def test_it_announces_what_it_was_told_to(
    oauth_dovecot_with: Callable[..., OAuthDovecot],
    authorization_server: AuthorizationServer,
) -> None:
    server = oauth_dovecot_with(mechanisms="xoauth2")
    server.trust(authorization_server)
    user = server.new_user()
    token = authorization_server.issue(authorization_server.add_client(), user.name).access_token
    with socket.create_connection((server.host, server.port), timeout=PATIENCE) as sock:
        greeting = sock.recv(1000)
    assert b"AUTH=XOAUTH2]" in greeting
    assert b"AUTH=PLAIN" not in greeting
    assert authenticate(server, "XOAUTH2", user.name, token)[0].startswith(b"a OK ")
