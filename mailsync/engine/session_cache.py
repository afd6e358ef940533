"""IMAP sessions that are kept between turns: one for each account and worker (SPEC §9.2)."""

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


class SessionCache:
    """The kept sessions of one process; several threads may share it.

    A session is used only under its account's lock, so two threads never ask for the same one.
    """

    def __init__(self, settings: Settings, *, disabled_capabilities: frozenset[str] = frozenset()) -> None:
        """Capabilities in `disabled_capabilities` are treated as not offered; for tests."""
        self._settings = settings
        self._disabled_capabilities = disabled_capabilities
        self._kept: dict[int, _Kept] = {}
        self._lock = threading.Lock()

    def has(self, account_id: int) -> bool:
        """Whether a session of the account is kept."""
        return account_id in self._kept

    def open(
        self,
        loaded: LoadedTurn,
        bucket: TokenBucket,
        on_wait: Callable[[], None],
        on_begin: Callable[[str], None] = lambda command: None,
    ) -> Session:
        """Return the account's kept session if it is still good, else open one, as ``open_session`` does."""
        with self._lock:
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
            disabled_capabilities=self._disabled_capabilities,
        )

    def drop(self, account_id: int) -> None:
        """Close the account's kept session, if it has one."""
        with self._lock:
            kept = self._kept.pop(account_id, None)
        if kept is not None:
            kept.session.close()

    def drop_old(self) -> None:
        """Close the sessions that are too old to be used again, as those of paused accounts become."""
        now = time.monotonic()
        with self._lock:
            old = [i for i, kept in self._kept.items() if now - kept.session.opened_at >= _MAX_AGE]
            dropped = [self._kept.pop(account_id) for account_id in old]
        for kept in dropped:
            kept.session.close()

    def keep(self, loaded: LoadedTurn, session: Session) -> None:
        """Keep an idle session; above ``IMAP_SESSION_CAP`` close the least recently used one."""
        session.release_memory()
        if session.closed:
            return
        surplus = []
        with self._lock:
            self._kept[loaded.account.id] = _Kept(session, _opened_for(loaded))
            while len(self._kept) > self._settings.imap_session_cap:
                surplus.append(self._kept.pop(next(iter(self._kept))))
        for kept in surplus:
            kept.session.close()

    def close(self) -> None:
        """Close all sessions."""
        while self._kept:
            self._kept.popitem()[1].session.close()

    def _is_good(self, kept: _Kept, loaded: LoadedTurn) -> bool:
        return (
            kept.opened_for == _opened_for(loaded)
            and time.monotonic() - kept.session.opened_at < _MAX_AGE
            and kept.session.is_alive()
        )


def _opened_for(loaded: LoadedTurn) -> object:
    # a changed host, user or password ends the session that was opened with the old one
    return loaded.account.endpoint, loaded.sealed
