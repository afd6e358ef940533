"""IMAP sessions that are kept between turns: one an account and worker, idle without the lock (SPEC §9.2)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from mailsync.config import Settings
from mailsync.imap import Session, TokenBucket, open_session
from mailsync.store.turns import LoadedTurn

_MAX_AGE = 25 * 60.0


@dataclass(slots=True)
class _Kept:
    session: Session
    opened_for: object


class Sessions:
    """The kept sessions of one process, the least recently used first; several threads may share them.

    A session is used only under its account's lock, so that no two threads ever ask for the same one.
    """

    def __init__(self, settings: Settings, *, hidden: frozenset[str] = frozenset()) -> None:
        """`hidden` masks capabilities of every server, so that tests can take extensions away."""
        self._settings = settings
        self._hidden = hidden
        self._kept: dict[int, _Kept] = {}
        self._changing = threading.Lock()

    def has(self, account_id: int) -> bool:
        """Whether a session of the account is kept."""
        return account_id in self._kept

    def open(
        self,
        loaded: LoadedTurn,
        bucket: TokenBucket,
        on_wait: Callable[[], None],
        on_begin: Callable[[str], None] = lambda doing: None,
    ) -> Session:
        """The account's kept session if it is still good, else a new one; raises as ``open_session`` does."""
        with self._changing:
            kept = self._kept.pop(loaded.account.id, None)
        if kept is not None:
            if self._is_good(kept, loaded):
                kept.session.resume(bucket, on_wait, on_begin)
                return kept.session
            kept.session.close()
        password = loaded.password(self._settings.encryption_keys())
        return open_session(
            loaded.account.endpoint,
            password,
            self._settings,
            bucket=bucket,
            on_wait=on_wait,
            on_begin=on_begin,
            hidden=self._hidden,
        )

    def drop(self, account_id: int) -> None:
        """Close the account's kept session, if it has one."""
        with self._changing:
            kept = self._kept.pop(account_id, None)
        if kept is not None:
            kept.session.close()

    def drop_old(self) -> None:
        """Close those that are too old to be used again: their accounts are paused, removed or held back."""
        now = time.monotonic()
        with self._changing:
            old = [each for each, kept in self._kept.items() if now - kept.session.opened_at >= _MAX_AGE]
            dropped = [self._kept.pop(account_id) for account_id in old]
        for each in dropped:
            each.session.close()

    def keep(self, loaded: LoadedTurn, session: Session) -> None:
        """Keep an idle session for the next turn; above ``IMAP_SESSION_CAP`` the oldest is closed."""
        session.rest()
        if session.closed:
            return
        surplus = []
        with self._changing:
            self._kept[loaded.account.id] = _Kept(session, _opened_for(loaded))
            while len(self._kept) > self._settings.imap_session_cap:
                surplus.append(self._kept.pop(next(iter(self._kept))))
        for each in surplus:
            each.session.close()

    def close(self) -> None:
        """Close all of them."""
        while self._kept:
            self._kept.popitem()[1].session.close()

    def _is_good(self, kept: _Kept, loaded: LoadedTurn) -> bool:
        return (
            kept.opened_for == _opened_for(loaded)
            and time.monotonic() - kept.session.opened_at < _MAX_AGE
            and kept.session.alive()
        )


def _opened_for(loaded: LoadedTurn) -> object:
    # a changed host, user or password ends the session that was opened with the old one
    return loaded.account.endpoint, loaded.sealed
