"""Re-encrypt all passwords and tokens with another key, or none of them (SPEC §4)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from mailsync.errors import KeyMismatch
from mailsync.store import credentials, crypto
from mailsync.store.db import Connection, transaction
from mailsync.store.statements import run


@dataclass(frozen=True, slots=True)
class Rotation:
    """The result of a rotation.

    ``key_id`` is the fingerprint of the key that encrypts from now on. ``in_use`` counts the passwords by the
    key that encrypts them now, and ``unused`` lists the given keys that are no longer needed.
    """

    key_id: str
    resealed: int
    credentials: int
    in_use: dict[str, int]
    unused: list[str]


def rotate(conn: Connection, keys: Sequence[bytes]) -> Rotation:
    """Encrypt every password with the first of `keys`, in one transaction, and verify each by decrypting it.

    Passwords that this key already encrypts are left as they are. A password that is set meanwhile is kept.
    Raises KeyMismatch, and changes nothing, if one of the passwords cannot be decrypted.
    """
    first = crypto.key_id(keys[0])
    with transaction(conn):
        run(conn, "lock_credentials")
        # read after locking, so that a concurrent change of a password or host is finished
        before = credentials.load(conn)
        secrets = {account.id: _decrypted(account, keys, "nothing was changed") for account in before}
        stale = [account for account in before if account.key_id != first]
        sealed = [
            {
                "account_id": account.id,
                "ciphertext": _sealed(keys, account, secrets[account.id]).hex(),
            }
            for account in stale
        ]
        run(conn, "reseal_credentials", key_id=first, sealed=json.dumps(sealed))
        resealed = {account.id for account in stale}
        for account in credentials.load(conn):
            if account.id in resealed and _decrypted(account, keys[:1], "undone") != secrets[account.id]:
                raise KeyMismatch(
                    f"{account.email}: the new ciphertext does not decrypt to the password; undone"
                )
    # includes accounts that were added meanwhile
    in_use = Counter(account.key_id for account in credentials.load(conn))
    unused = [key for key in map(crypto.key_id, keys) if key not in in_use and key != first]
    return Rotation(first, len(stale), len(before), dict(in_use), unused)


def _decrypted(account: credentials.SealedAccount, keys: Sequence[bytes], consequence: str) -> str:
    try:
        return crypto.unseal(
            keys, account.id, account.endpoint, account.key_id, account.ciphertext, account.owner
        )
    except KeyMismatch as error:
        raise KeyMismatch(f"{account.email}: {error}; {consequence}") from error


def _sealed(keys: Sequence[bytes], account: credentials.SealedAccount, secret: str) -> bytes:
    return crypto.seal(keys, account.id, account.endpoint, secret, account.owner)[1]
