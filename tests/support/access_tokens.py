"""The access tokens that the scripted server accepts, and its conversation about them (RFC 7628, XOAUTH2)."""

from __future__ import annotations

import json
import re
import secrets
import threading
import time
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support import planted
from tests.support.imap_arguments import Refused, words

if TYPE_CHECKING:
    from tests.support.request import HonestRequest as Request

MECHANISMS = {b"XOAUTH2": b"", b"OAUTHBEARER": b"AQ=="}
"""What the client has to answer to the refusal of a token."""

_MESSAGES = {
    b"XOAUTH2": re.compile(rb"user=([^\x01]+)\x01auth=Bearer ([\x21-\x7e]+)\x01\x01"),
    b"OAUTHBEARER": re.compile(
        rb"n,a=([^,\x01]+),\x01host=[^\x01]+\x01port=\d+\x01auth=Bearer ([\x21-\x7e]+)\x01\x01"
    ),
}


@dataclass(frozen=True)
class _Token:
    users: frozenset[str]
    ends_at: float


class AccessTokens:
    """The valid tokens of a server.

    `clock` is what the server measures their lifetime by. `issuer` is asked once for the user of a token that
    the server does not know; such a token is then valid for an hour.
    """

    def __init__(
        self, clock: Callable[[], float] = time.time, issuer: Callable[[str], str | None] = lambda token: None
    ) -> None:
        self.clock = clock
        self._issuer = issuer
        self._lock = threading.Lock()
        self._tokens: dict[str, _Token] = {}

    def issue(self, *users: str, lifetime: float = 3600.0, length: int = 64) -> str:
        """Return a new token of this length for the mailboxes of these users."""
        token = planted.keep(secrets.token_urlsafe(length)[:length])
        self.add(token, *users, lifetime=lifetime)
        return token

    def add(self, token: str, *users: str, lifetime: float = 3600.0) -> None:
        """Accept a token that an authorization server has issued."""
        with self._lock:
            self._tokens[token] = _Token(frozenset(users), self.clock() + lifetime)

    def revoke(self) -> None:
        """Accept no token that was issued so far; sessions go on."""
        with self._lock:
            self._tokens = {text: _Token(frozenset(), token.ends_at) for text, token in self._tokens.items()}

    def has_ended(self, token: str) -> bool:
        """Whether the token has had its time."""
        with self._lock:
            known = self._tokens.get(token)
        return known is None or known.ends_at <= self.clock()

    def opens(self, token: str, user: str) -> bool:
        """Whether the token is valid for the mailbox of this user."""
        if token not in self._tokens and (owner := self._issuer(token)):
            self.add(token, owner)
        with self._lock:
            known = self._tokens.get(token)
        return known is not None and user in known.users and known.ends_at > self.clock()


def read_token(request: Request, mechanism: bytes) -> tuple[str, str]:
    """Read the message of a mechanism, which came with the command or comes now; returns user and token."""
    has_initial = len(request.arguments) > 1
    line = words(request.arguments, 2)[1] if has_initial else request.connection.ask(b"")
    match = _MESSAGES[mechanism].fullmatch(b64decode(line, validate=True))
    if match is None:
        raise Refused("BAD malformed message")
    user = match[1]
    if mechanism == b"OAUTHBEARER":
        user = user.replace(b"=2C", b",").replace(b"=3D", b"=")
    return user.decode(), match[2].decode()


def explain(request: Request, mechanism: bytes, status: str = "401") -> None:
    """Send the challenge that refuses a token; raises Refused if the client does not answer as it has to."""
    body = {"status": status, "schemes": "bearer", "scope": "https://mail.example.test/"}
    if request.connection.ask(b64encode(json.dumps(body).encode())) != MECHANISMS[mechanism]:
        raise Refused("BAD this is not the answer to a refusal")
