"""Encryption of passwords and tokens: AES-256-GCM, bound to the account and its server (SPEC §4).

The associated data contains the account's id, host, port, security and user name, and for tokens the client
to which they were issued. A ciphertext that was copied to another row, or whose row now has another host,
does not decrypt.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mailsync.credentials import TokenOwner
from mailsync.errors import KeyMismatch
from mailsync.model import Endpoint

_NONCE = 12


def key_id(key: bytes) -> str:
    """The fingerprint of `key`, 16 hex digits, which does not reveal the key."""
    return hashlib.sha256(b"mailsync:key:" + key).hexdigest()[:16]


def seal(
    keys: Sequence[bytes], account_id: int, endpoint: Endpoint, secret: str, owner: TokenOwner | None = None
) -> tuple[str, bytes]:
    """Encrypt a password, or tokens of `owner`, with the first key; return key_id, and nonce + ciphertext."""
    return seal_text(keys, _bound_to(account_id, endpoint, owner), secret)


def unseal(
    keys: Sequence[bytes],
    account_id: int,
    endpoint: Endpoint,
    sealed_with: str,
    ciphertext: bytes,
    owner: TokenOwner | None = None,
) -> str:
    """Decrypt what :func:`seal` made. Raises KeyMismatch if `keys` lacks its key, or the data was changed."""
    secret, command = ("tokens", "reauthorize") if owner else ("password", "set-password")
    if not ciphertext:
        raise KeyMismatch(f"no {secret} is stored; run `mailsync {command}`")
    try:
        return unseal_text(keys, _bound_to(account_id, endpoint, owner), sealed_with, ciphertext)
    except (InvalidTag, ValueError) as error:
        raise KeyMismatch(
            f"the stored {secret} cannot be decrypted, because host, port, security or user name were"
            f" changed without it; run `mailsync {command}`"
        ) from error
    except LookupError:
        raise KeyMismatch(
            f"the {secret} was encrypted with key {sealed_with}, which IMAP_ENCRYPTION_KEY does not contain"
        ) from None


def seal_text(keys: Sequence[bytes], bound_to: bytes, text: str) -> tuple[str, bytes]:
    """Encrypt a text with the first key; returns the key's key_id, and nonce + ciphertext."""
    nonce = os.urandom(_NONCE)
    return key_id(keys[0]), nonce + AESGCM(keys[0]).encrypt(nonce, text.encode(), bound_to)


def unseal_text(keys: Sequence[bytes], bound_to: bytes, sealed_with: str, ciphertext: bytes) -> str:
    """Decrypt a text. Raises LookupError without its key, InvalidTag or ValueError if it was changed."""
    for key in keys:
        if key_id(key) == sealed_with:
            # ValueError: the ciphertext is too short for a nonce, or the result is not UTF-8
            return AESGCM(key).decrypt(ciphertext[:_NONCE], ciphertext[_NONCE:], bound_to).decode()
    raise LookupError(sealed_with)


def _bound_to(account_id: int, endpoint: Endpoint, owner: TokenOwner | None) -> bytes:
    parts: tuple[object, ...] = (
        account_id,
        endpoint.host,
        endpoint.port,
        endpoint.security,
        endpoint.username,
    )
    label = b"mailsync:v1"
    if owner:
        label, parts = b"mailsync:oauth2:v1", (*parts, owner.provider, owner.client_id)
    # with lengths, no two different lists of parts give the same bytes
    return label + b"".join(b"|%d:%s" % (len(p), p) for p in (str(part).encode() for part in parts))
