"""Passwords sealed anew under another key, all of them or none (SPEC §4)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from mailsync.errors import KeyMismatch
from mailsync.store import accounts, crypto
from mailsync.store.db import Connection, transaction
from mailsync.store.statements import run


@dataclass(frozen=True, slots=True)
class Rotation:
    """What a rotation did.

    ``key_id`` is the fingerprint of the key that seals now, ``in_use`` how many passwords each key has
    sealed after it, and ``unused`` the given keys that opened what is there no longer.
    """

    key_id: str
    resealed: int
    credentials: int
    in_use: dict[str, int]
    unused: list[str]


def rotate(conn: Connection, keys: Sequence[bytes]) -> Rotation:
    """Seal every password under the first of `keys`, in one transaction that ends by opening each again.

    Those that it has sealed already stay as they are. Raises KeyMismatch, and changes nothing, for one that
    no key opens. A password that is set meanwhile wins.
    """
    first = crypto.key_id(keys[0])
    with transaction(conn):
        run(conn, "lock_credentials")
        # read only now: a password or a host that was being changed is through
        before = accounts.sealed(conn)
        passwords = {account.id: _opened(account, keys, "nothing was changed") for account in before}
        stale = [account for account in before if account.key_id != first]
        sealed = [
            {
                "account_id": account.id,
                "ciphertext": crypto.seal(keys, account.id, account.endpoint, passwords[account.id])[1].hex(),
            }
            for account in stale
        ]
        run(conn, "reseal_credentials", key_id=first, sealed=json.dumps(sealed))
        resealed = {account.id for account in stale}
        for account in accounts.sealed(conn):
            if account.id in resealed and _opened(account, keys[:1], "undone") != passwords[account.id]:
                raise KeyMismatch(f"{account.email}: the password does not open as it was sealed; undone")
    # of accounts that were added meanwhile too
    in_use = Counter(account.key_id for account in accounts.sealed(conn))
    unused = [key for key in map(crypto.key_id, keys) if key not in in_use and key != first]
    return Rotation(first, len(stale), len(before), dict(in_use), unused)


def _opened(account: accounts.SealedAccount, keys: Sequence[bytes], otherwise: str) -> str:
    try:
        return crypto.unseal(keys, account.id, account.endpoint, account.key_id, account.ciphertext)
    except KeyMismatch as error:
        raise KeyMismatch(f"{account.email}: {error}; {otherwise}") from error
