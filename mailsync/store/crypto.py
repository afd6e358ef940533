"""Sealing of passwords: AES-256-GCM, bound to the account and to where the password is sent (SPEC §4).

The associated data holds account id, host, port, security and user name: a ciphertext moved to another row,
or a row pointed at another host, does not open.
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
    """A fingerprint of `key` that tells nothing of it: 16 hex digits."""
    return hashlib.sha256(b"mailsync:key:" + key).hexdigest()[:16]


def seal(keys: Sequence[bytes], account_id: int, endpoint: Endpoint, password: str) -> tuple[str, bytes]:
    """Encrypt `password` under the first key; returns its key_id and nonce + ciphertext."""
    nonce = os.urandom(_NONCE)
    sealed = AESGCM(keys[0]).encrypt(nonce, password.encode(), _bound_to(account_id, endpoint))
    return key_id(keys[0]), nonce + sealed


def unseal(
    keys: Sequence[bytes], account_id: int, endpoint: Endpoint, sealed_with: str, ciphertext: bytes
) -> str:
    """Decrypt with whichever of `keys` sealed it; raises KeyMismatch."""
    if not ciphertext:
        raise KeyMismatch("no password is stored; run `mailsync set-password`")
    for key in keys:
        if key_id(key) != sealed_with:
            continue
        try:
            bound = _bound_to(account_id, endpoint)
            return AESGCM(key).decrypt(ciphertext[:_NONCE], ciphertext[_NONCE:], bound).decode()
        except (InvalidTag, ValueError) as error:
            # ValueError: it is too short to hold a nonce, or opens to what is no text
            raise KeyMismatch(
                "the stored password does not open: host, port, security or user name were changed"
                " without it; run `mailsync set-password`"
            ) from error
    raise KeyMismatch(
        f"the password was sealed with key {sealed_with}, which IMAP_ENCRYPTION_KEY does not hold"
    )


def _bound_to(account_id: int, endpoint: Endpoint) -> bytes:
    parts = (account_id, endpoint.host, endpoint.port, endpoint.security, endpoint.username)
    # lengths keep the parts apart, whatever they hold
    return b"mailsync:v1" + b"".join(b"|%d:%s" % (len(p), p) for p in (str(part).encode() for part in parts))
