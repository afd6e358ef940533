"""Encryption of passwords: AES-256-GCM, bound to the account and its server (SPEC §4).

The associated data contains the account's id, host, port, security and user name. A ciphertext that was
copied to another row, or whose row now has another host, does not decrypt.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mailsync.errors import KeyMismatch
from mailsync.model import Endpoint

_NONCE = 12


def key_id(key: bytes) -> str:
    """The fingerprint of `key`, 16 hex digits, which does not reveal the key."""
    return hashlib.sha256(b"mailsync:key:" + key).hexdigest()[:16]


def seal(keys: Sequence[bytes], account_id: int, endpoint: Endpoint, password: str) -> tuple[str, bytes]:
    """Encrypt `password` with the first key; returns the key's key_id, and nonce + ciphertext."""
    nonce = os.urandom(_NONCE)
    sealed = AESGCM(keys[0]).encrypt(nonce, password.encode(), _bound_to(account_id, endpoint))
    return key_id(keys[0]), nonce + sealed


def unseal(
    keys: Sequence[bytes], account_id: int, endpoint: Endpoint, sealed_with: str, ciphertext: bytes
) -> str:
    """Decrypt a password. Raises KeyMismatch if `keys` lacks its key, or the data was changed."""
    if not ciphertext:
        raise KeyMismatch("no password is stored; run `mailsync set-password`")
    for key in keys:
        if key_id(key) != sealed_with:
            continue
        try:
            bound = _bound_to(account_id, endpoint)
            return AESGCM(key).decrypt(ciphertext[:_NONCE], ciphertext[_NONCE:], bound).decode()
        except (InvalidTag, ValueError) as error:
            # ValueError: the ciphertext is too short for a nonce, or the result is not UTF-8
            raise KeyMismatch(
                "the stored password cannot be decrypted, because host, port, security or user name were"
                " changed without it; run `mailsync set-password`"
            ) from error
    raise KeyMismatch(
        f"the password was encrypted with key {sealed_with}, which IMAP_ENCRYPTION_KEY does not contain"
    )


def _bound_to(account_id: int, endpoint: Endpoint) -> bytes:
    parts = (account_id, endpoint.host, endpoint.port, endpoint.security, endpoint.username)
    # with lengths, no two different lists of parts give the same bytes
    return b"mailsync:v1" + b"".join(b"|%d:%s" % (len(p), p) for p in (str(part).encode() for part in parts))
