"""Consents that the API waits for: rows of ``oauth_authorizations`` (SPEC §23.5).

A row has the hash of its ``state``, so that nobody who reads the table can finish a consent. The PKCE
verifier is sealed, and bound to the state.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cryptography.exceptions import InvalidTag

from mailsync.credentials import TokenOwner
from mailsync.errors import KeyMismatch
from mailsync.store import crypto, records
from mailsync.store.db import Connection
from mailsync.store.statements import run

TOO_LATE = "the browser came back after the authorization had expired; begin again"


@dataclass(frozen=True, slots=True)
class NewAuthorization:
    """A consent to ask for: ``account_id`` is the account to authorize again, None for a new account."""

    owner: TokenOwner
    email: str | None
    account_id: int | None
    return_url: str | None
    state: str = field(repr=False)
    verifier: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Begun:
    """The authorization as stored."""

    id: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Claimed:
    """An authorization whose browser has come back; ``is_late`` if it had expired before."""

    id: str
    provider: str
    oauth_client_id: str
    email: str | None
    account_id: int | None
    return_url: str | None
    key_id: str
    verifier: bytes = field(repr=False)
    is_late: bool

    @property
    def owner(self) -> TokenOwner:
        """The client that asked for the consent."""
        return TokenOwner(self.provider, self.oauth_client_id)

    def open_verifier(self, keys: Sequence[bytes], state: str) -> str:
        """Decrypt the PKCE verifier. Raises KeyMismatch if there is none, or one of another state."""
        try:
            return crypto.unseal_text(keys, _bound_to(state), self.key_id, self.verifier)
        except (InvalidTag, ValueError, LookupError) as error:
            raise KeyMismatch(
                "the PKCE verifier of the authorization cannot be decrypted; begin again"
            ) from error


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an authorization ended; ``error_code`` is None if the account has its tokens."""

    account_id: int | None = None
    email: str | None = None
    error_code: str | None = None
    error_message: str | None = None


@dataclass(frozen=True, slots=True)
class AuthorizationRecord:
    """An authorization as of now.

    ``status`` is ``pending``, ``exchanging``, ``succeeded``, ``failed`` or ``expired``.
    """

    id: str
    provider: str
    email: str | None
    account_id: int | None
    status: str
    error_code: str | None
    error_message: str | None
    created_at: datetime
    expires_at: datetime
    finished_at: datetime | None


def begin(conn: Connection, new: NewAuthorization, keys: Sequence[bytes], *, seconds: float) -> Begun:
    """Store an authorization that expires after `seconds`."""
    key_id, verifier = crypto.seal_text(keys, _bound_to(new.state), new.verifier)
    row = records.first_row(
        Begun,
        run(
            conn,
            "insert_authorization",
            id=secrets.token_hex(16),
            provider=new.owner.provider,
            client_id=new.owner.client_id,
            email=new.email,
            account_id=new.account_id,
            return_url=new.return_url,
            state_hash=_hash(new.state),
            key_id=key_id,
            verifier=verifier,
            seconds=seconds,
        ),
    )
    assert row is not None
    return row


def is_pending(conn: Connection, state: str) -> bool:
    """Whether an authorization waits for this state, or did until it expired."""
    row = run(conn, "is_authorization_pending", state_hash=_hash(state)).fetchone()
    return bool(row and row[0])


def claim(conn: Connection, state: str) -> Claimed | None:
    """Use up a state; None if no authorization waits for it.

    Committed at once: the state is used up whatever happens afterwards.
    """
    cursor = run(conn, "claim_authorization", state_hash=_hash(state), too_late=TOO_LATE)
    return records.first_row(Claimed, cursor)


def finish(conn: Connection, authorization_id: str, outcome: Outcome) -> None:
    """Record how an authorization that was claimed ended, and forget its verifier."""
    run(
        conn,
        "finish_authorization",
        id=authorization_id,
        status="failed" if outcome.error_code else "succeeded",
        error_code=outcome.error_code,
        error_message=outcome.error_message,
        account_id=outcome.account_id,
        email=outcome.email,
    )


def load(conn: Connection, authorization_id: str) -> AuthorizationRecord | None:
    """The authorization as of now; None if there is none, or no longer."""
    return records.first_row(AuthorizationRecord, run(conn, "select_authorization", id=authorization_id))


def purge(conn: Connection, limit: int) -> int:
    """Delete at most `limit` authorizations that are older than a week; returns how many."""
    return run(conn, "purge_authorizations", limit=limit).rowcount


def _hash(state: str) -> bytes:
    return hashlib.sha256(state.encode()).digest()


def _bound_to(state: str) -> bytes:
    return b"mailsync:pkce:v1|" + _hash(state)
