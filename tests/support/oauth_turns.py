"""Turns of an account that signs in with access tokens."""

from __future__ import annotations

from datetime import datetime

from mailsync.credentials import TokenSet
from mailsync.engine.turn import Turn
from mailsync.errors import MailsyncError
from mailsync.store import credentials
from tests.support import planted
from tests.support.turns import Mirror


def sign_in(mirror: Mirror) -> Turn | MailsyncError | None:
    """Take a turn in a new session, whatever the state of the account."""
    mirror.env.sessions.drop(mirror.account_id)
    mirror.conn.execute("update accounts set backoff_until = null, next_sync_at = now()")
    return mirror.hot()


def stored(mirror: Mirror) -> TokenSet:
    """Return the tokens that are stored."""
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
    """Return a time by the database's clock."""
    moment = mirror.value("select now() + make_interval(secs => %s)", seconds)
    assert isinstance(moment, datetime)
    return moment


def shown_message(mirror: Mirror) -> str:
    """Return the message of the account's state, which must hold no secret."""
    text = mirror.value("select sync_state_message from accounts")
    assert isinstance(text, str)
    assert not planted.found_in(text)
    return text
