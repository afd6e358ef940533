"""Consents that the API has asked for: from the address that a browser opens to the callback (SPEC §23.5)."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography.exceptions import InvalidTag

from mailsync.errors import KeyMismatch
from mailsync.store import crypto, records
from mailsync.store.db import Connection
from mailsync.store.statements import run

LIFETIME = 600.0
"""Seconds that a person has to consent."""


@dataclass(frozen=True, slots=True)
class ClaimedAuthorization:
    """An authorization whose callback is being handled; ``account_id`` is the account to authorize again."""

    id: str
    provider: str
    client_id: str
    email: str | None
    account_id: int | None
    return_url: str | None
    key_id: str
    verifier: bytes


@dataclass(frozen=True, slots=True)
class AuthorizationStatus:
    """How an authorization goes: ``status`` is ``pending``, ``succeeded`` or ``failed``.

    ``account_id`` is the account that has the tokens, or is to be authorized again.
    """

    id: str
    provider: str
    email: str | None
    account_id: int | None
    created_at: datetime
    expires_at: datetime
    finished_at: datetime | None
    status: str
    error_code: str | None
    error_message: str | None


def create(
    conn: Connection,
    *,
    provider: str,
    client_id: str,
    email: str | None,
    account_id: int | None,
    return_url: str | None,
    state: str,
    verifier: str,
    keys: Sequence[bytes],
) -> tuple[str, datetime]:
    """Store an authorization with its verifier sealed; returns its id and when it expires."""
    authorization_id = uuid.uuid4().hex
    key_id, sealed = crypto.seal_text(keys, _bound_to(authorization_id), verifier)
    row = run(
        conn,
        "insert_authorization",
        id=authorization_id,
        provider=provider,
        client_id=client_id,
        email=email,
        account_id=account_id,
        return_url=return_url,
        state_hash=_hash(state),
        key_id=key_id,
        verifier=sealed,
        seconds=LIFETIME,
    ).fetchone()
    assert row is not None
    return authorization_id, row[0]


def claim(conn: Connection, state: str) -> ClaimedAuthorization | None:
    """Use up a state; None if it is unknown, used or expired."""
    return records.first_row(ClaimedAuthorization, run(conn, "claim_authorization", state_hash=_hash(state)))


def verifier_of(claimed: ClaimedAuthorization, keys: Sequence[bytes]) -> str:
    """Return the PKCE verifier. Raises KeyMismatch."""
    try:
        return crypto.unseal_text(keys, _bound_to(claimed.id), claimed.key_id, claimed.verifier)
    except (InvalidTag, ValueError, LookupError):
        raise KeyMismatch(
            "IMAP_ENCRYPTION_KEY does not open this authorization; create another one"
        ) from None


def succeed(conn: Connection, authorization_id: str, account_id: int) -> None:
    """Record which account has the tokens."""
    _finish(conn, authorization_id, "succeeded", account_id=account_id)


def fail(conn: Connection, authorization_id: str, code: str, message: str) -> None:
    """Record why the authorization failed, for people."""
    _finish(conn, authorization_id, "failed", error_code=code, error_message=message)


def find(conn: Connection, authorization_id: str) -> AuthorizationStatus | None:
    """Return how an authorization goes; None if there is none, or it is older than a week."""
    return records.first_row(AuthorizationStatus, run(conn, "find_authorization", id=authorization_id))


def _finish(
    conn: Connection,
    authorization_id: str,
    status: str,
    *,
    account_id: int | None = None,
    error_code: str | None = None,
    error_message: str | None = None,
) -> None:
    run(
        conn,
        "finish_authorization",
        id=authorization_id,
        status=status,
        account_id=account_id,
        error_code=error_code,
        error_message=error_message,
    )


def _hash(state: str) -> bytes:
    return hashlib.sha256(b"mailsync:state:" + state.encode("utf-8", "surrogatepass")).digest()


def _bound_to(authorization_id: str) -> bytes:
    return b"mailsync:verifier:v1|" + authorization_id.encode()
