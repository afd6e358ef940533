"""The messages of SASL mechanisms, and the words in which a server refuses a token (SPEC §23.1).

PLAIN is RFC 4616, OAUTHBEARER RFC 7628. XOAUTH2 is Google's earlier form of the latter.
"""

from __future__ import annotations

import json
import re
from binascii import Error, a2b_base64
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from mailsync.errors import (
    AuthenticationFailed,
    InvalidInput,
    MailsyncError,
    NotConnected,
    ProtocolError,
    Throttled,
    Transient,
)
from mailsync.imap.status_responses import StatusResponse, error_for, quoted
from mailsync.network.resolve import bare_host

if TYPE_CHECKING:
    from mailsync.credentials import BearerToken
    from mailsync.model import Endpoint

TOKEN_MECHANISMS = {"OAUTHBEARER": b"AQ==", "XOAUTH2": b""}
"""The mechanisms for tokens, the preferred first, and the line that answers a refusal (RFC 7628 §3.2.3)."""

MOST_CHALLENGES = 200
LONGEST_CHALLENGE = 64 * 1024
"""Bytes of all challenges of one AUTHENTICATE that are kept."""
LONGEST_VALUE = 200
"""Characters of a status or scope that are shown."""

_VISIBLE = re.compile(r"[\x21-\x7e]+")
_STATUS = re.compile(rb'"status"\s*+:\s*+"?([^"\\,{}\[\]]{1,1000}+)')
_SCOPE = re.compile(rb'"scope"\s*+:\s*+"?([^"\\,{}\[\]]{1,1000}+)')
_OUTAGE = re.compile(r"5\d\d|server_error|temporarily_unavailable")
_WORDS = {
    "400": "status 400: the access token or the user name is not accepted",
    "401": "status 401: the access token is invalid, expired or revoked",
    "invalid_request": "invalid_request: the access token or the user name is not accepted",
    "invalid_token": "invalid_token: the access token is invalid, expired or revoked",
}


def check_token(endpoint: Endpoint, token: BearerToken) -> None:
    """Raise InvalidInput if user name or token cannot be part of the mechanisms' messages."""
    if not _VISIBLE.fullmatch(token.text):
        raise InvalidInput("access token: expected visible ASCII characters", step="connect")
    if "\x01" in endpoint.username:
        raise InvalidInput("user name: must not contain \\x01", field="username", step="connect")


def plain_response(username: str, password: str) -> bytes:
    """Return the message of PLAIN (RFC 4616 §2), without an identity to act as."""
    return b"\0%s\0%s" % (username.encode(), password.encode())


def token_response(mechanism: str, endpoint: Endpoint, token: str) -> bytes:
    """Return the message of OAUTHBEARER (RFC 7628 §3.1) or XOAUTH2."""
    user, bearer = endpoint.username.encode(), token.encode("ascii")
    if mechanism == "XOAUTH2":
        return b"user=%s\x01auth=Bearer %s\x01\x01" % (user, bearer)
    name = user.replace(b"=", b"=3D").replace(b",", b"=2C")
    host = bare_host(endpoint.host).encode()
    return b"n,a=%s,\x01host=%s\x01port=%d\x01auth=Bearer %s\x01\x01" % (name, host, endpoint.port, bearer)


class Challenges:
    """Answers the challenges of one AUTHENTICATE that come after those its responses were for.

    ``parts`` are the challenges, each in one piece; bytes above LONGEST_CHALLENGE are left out.
    """

    def __init__(self, answer: bytes, initial_response: bytes | None = None) -> None:
        """`answer` is the line to send to each; `initial_response` is one that went with the command."""
        self.parts: list[bytes] = []
        self._answer = answer
        self._unread = initial_response
        self._left = LONGEST_CHALLENGE

    def reply(self, line: bytes, send: Callable[[bytes], None]) -> bool:
        """Answer `line` if it is a challenge; returns whether it is a challenge or the rest of one.

        Raises ProtocolError if there is no end of challenges.
        """
        if not line.startswith(b"+"):
            # the rest of a challenge that the server has folded
            if self.parts:
                self._keep(line)
            return bool(self.parts)
        challenge, initial = line[1:].strip(), self._unread
        self._unread = None
        if initial is not None and not challenge:
            # the server announces SASL-IR, but has not read the response that came with the command
            send(initial)
            return True
        if len(self.parts) >= MOST_CHALLENGES:
            raise ProtocolError(f"AUTHENTICATE: the server sends more than {MOST_CHALLENGES} challenges")
        self.parts.append(b"")
        self._keep(challenge)
        send(self._answer)
        return True

    def _keep(self, text: bytes) -> None:
        kept = text.strip()[: self._left]
        self._left -= len(kept)
        self.parts[-1] += kept


class Refusal(NamedTuple):
    """The refusal of a token (RFC 7628 §3.2.2); ``scope`` is the scope that it needs, or ''."""

    status: str
    scope: str


def read_refusal(challenges: Sequence[bytes]) -> Refusal | None:
    """Read the JSON of a refusal, sent in one challenge or several; None if it names no status.

    What is not quite JSON, such as a text whose end is missing, is searched for its fields.
    """
    joined = b"".join(challenges)
    texts = [_decoded(joined), b"".join(map(_decoded, challenges)), joined]
    for text in texts:
        try:
            values = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(values, dict) and isinstance(values.get("status"), str | int):
            scope = values.get("scope")
            return Refusal(str(values["status"]), scope if isinstance(scope, str) else "")
    for text in texts:
        if match := _STATUS.search(text):
            scope_match = _SCOPE.search(text)
            scope = scope_match[1] if scope_match else b""
            return Refusal(match[1].decode("utf-8", "replace"), scope.decode("utf-8", "replace"))
    return None


def _decoded(text: bytes) -> bytes:
    whole = text.rstrip(b"=")
    try:
        # the end of a text that was cut is left out
        return a2b_base64(whole[: len(whole) - (len(whole) % 4 == 1)] + b"==")
    except Error:
        return b""


def token_error(completion: StatusResponse, refusal: Refusal | None) -> MailsyncError:
    """Return the error for a completion other than OK to AUTHENTICATE with a token.

    The status of the refusal decides; without one, or with an unknown one, the completion does.
    """
    error = error_for(completion, "AUTHENTICATE", step="login")
    if refusal is None or isinstance(error, NotConnected):
        return error
    status = refusal.status.strip().lower()
    shown, scope = (_shown(text, completion) for text in (status, refusal.scope))
    words = _WORDS.get(status, f"status {shown}")
    if status == "insufficient_scope":
        words = f"{status}: the access token lacks the scope{f' {scope}' if scope else ''}"
    message, wait = f"{error} ({words})", error.retry_after
    if status in _WORDS or status == "insufficient_scope":
        return AuthenticationFailed(message, retry_after=wait, step="login")
    if status == "429":
        return Throttled(message, retry_after=wait, step="login")
    if _OUTAGE.fullmatch(status):
        return Transient(message, step="login")
    error.args = (message,)
    return error


def _shown(text: str, completion: StatusResponse) -> str:
    return quoted(text.encode("utf-8", "replace"), completion.mask)[:LONGEST_VALUE]
