"""Sealed passwords and tokens: one row of ``account_credentials`` for each account (SPEC §4).

Tokens are sealed as one JSON document, so that a renewal replaces all of them or none.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from mailsync.credentials import TokenOwner, TokenSet
from mailsync.model import Endpoint
from mailsync.store import crypto, records
from mailsync.store.db import Connection
from mailsync.store.statements import run


@dataclass(frozen=True, slots=True)
class SealedCredential:
    """A sealed password, or the sealed tokens of a client; empty if the account has none.

    ``authorized_at`` is when a person entered the password or gave consent.
    """

    key_id: str
    ciphertext: bytes
    oauth_provider: str | None
    oauth_grant: str | None
    oauth_client_id: str | None
    authorized_at: datetime | None

    @property
    def owner(self) -> TokenOwner | None:
        """The client to which the tokens were issued; None for a password."""
        if self.oauth_provider is None:
            return None
        return TokenOwner(self.oauth_provider, self.oauth_client_id or "")

    def open(self, keys: Sequence[bytes], account_id: int, endpoint: Endpoint) -> str | TokenSet:
        """Decrypt the password or the tokens. Raises KeyMismatch."""
        text = crypto.unseal(keys, account_id, endpoint, self.key_id, self.ciphertext, self.owner)
        if self.owner is None:
            return text
        stored = json.loads(text)
        expires_at = stored["expires_at"]
        return TokenSet(
            self.owner,
            self.oauth_grant or "",
            stored["refresh_token"],
            stored["access_token"],
            None if expires_at is None else datetime.fromisoformat(expires_at),
            stored["lifetime"],
            stored["user"],
        )


@dataclass(frozen=True, slots=True)
class SealedAccount(SealedCredential):
    """An account with its sealed credential."""

    id: int
    email: str
    endpoint: Endpoint


def load(conn: Connection, account_id: int | None = None) -> list[SealedAccount]:
    """All accounts, or one of them, with their sealed credentials."""
    return records.all_rows(SealedAccount, run(conn, "select_credentials", account_id=account_id))


def store(
    conn: Connection, account_id: int, endpoint: Endpoint, credential: str | TokenSet, keys: Sequence[bytes]
) -> None:
    """Seal a password, or tokens that a person has consented to, with the first key, and store them."""
    key_id, ciphertext = _sealed(keys, account_id, endpoint, credential)
    tokens = credential if isinstance(credential, TokenSet) else None
    run(
        conn,
        "seal_credential",
        account_id=account_id,
        key_id=key_id,
        ciphertext=ciphertext,
        auth_method="oauth2" if tokens else "password",
        provider=tokens.owner.provider if tokens else None,
        grant=tokens.grant if tokens else None,
        client_id=tokens.owner.client_id if tokens else None,
        expires_at=tokens.expires_at if tokens else None,
    )


def save_renewed(
    conn: Connection, account_id: int, endpoint: Endpoint, tokens: TokenSet, keys: Sequence[bytes]
) -> None:
    """Store the tokens of a renewal. The caller holds the account's lock."""
    key_id, ciphertext = _sealed(keys, account_id, endpoint, tokens)
    run(
        conn,
        "save_renewed_tokens",
        account_id=account_id,
        key_id=key_id,
        ciphertext=ciphertext,
        expires_at=tokens.expires_at,
    )


def note_refusal(conn: Connection, account_id: int, message: str) -> None:
    """Record why a renewal failed, for people."""
    run(conn, "note_token_refusal", account_id=account_id, message=message)


def text_of(credential: str | TokenSet) -> str:
    """The text that is sealed: the password, or the JSON of the tokens."""
    if isinstance(credential, str):
        return credential
    expires_at = credential.expires_at
    return json.dumps(
        {
            "refresh_token": credential.refresh_token,
            "access_token": credential.access_token,
            "expires_at": None if expires_at is None else expires_at.astimezone(UTC).isoformat(),
            "lifetime": credential.lifetime,
            "user": credential.user,
        }
    )


def _sealed(
    keys: Sequence[bytes], account_id: int, endpoint: Endpoint, credential: str | TokenSet
) -> tuple[str, bytes]:
    owner = credential.owner if isinstance(credential, TokenSet) else None
    return crypto.seal(keys, account_id, endpoint, text_of(credential), owner)
