"""Errors of readers: why a message cannot be fetched from its server now."""

from __future__ import annotations

from mailsync.engine.turn import Turn
from mailsync.engine.turn_kind import TurnEnvironment
from mailsync.errors import (
    AuthenticationFailed,
    MailsyncError,
    NotFound,
    Paused,
    PoisonousServer,
    Throttled,
    UidValidityMoved,
)
from mailsync.store import accounts
from mailsync.store.bodies import MessageLocation


def another_mailbox(message_id: int) -> UidValidityMoved:
    """Return the error for a message whose account became another mailbox while the message was fetched."""
    return UidValidityMoved(
        f"message {message_id}: its account became another mailbox meanwhile; ask again after the next sync"
    )


def held_back(
    state: str, reason: str | None, message: str | None, backoff: float | None
) -> AuthenticationFailed | PoisonousServer | Throttled | None:
    """Return why a server must not be asked now for a reader; `backoff` is the rest of a backoff in seconds.

    Readers must not cause further logins with a rejected password, nor requests to a server that asked to
    slow down or whose answers end processes.
    """
    if reason == "auth_failed" and (state == "broken" or backoff):
        return AuthenticationFailed(message or "the server rejected the password", retry_after=backoff)
    if reason == "throttled" and backoff:
        return Throttled(message or "the server asks us to slow down", retry_after=backoff)
    if reason == "poisonous_server" and backoff:
        return PoisonousServer(message or "turns ended with their process", retry_after=backoff)
    return None


def precheck_for_reader(turn: Turn) -> MailsyncError | None:
    """Return :func:`held_back` of a turn that has just begun."""
    # another reader may have caused it while this one waited for the lock
    account = turn.account
    left = (account.backoff_until - turn.now()).total_seconds() if account.backoff_until else 0.0
    return held_back(
        account.sync_state, account.sync_state_reason, account.sync_state_message, left if left > 0 else None
    )


def paused_or_removed(env: TurnEnvironment, location: MessageLocation) -> MailsyncError:
    """Return the error for an account that was paused or removed in the meantime."""
    account = accounts.find_removal(env.conn, location.account_id)
    if account is None or account[1] is not None:
        return NotFound(f"message {location.message_id} was removed meanwhile")
    return Paused(f"account {location.email} is paused")
