"""IMAP sessions that are kept between turns: one for each account and worker (SPEC §9.2)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from mailsync.auth.tokens import Renewing, SignIn, Tokens
from mailsync.config import Settings
from mailsync.errors import AuthenticationFailed
from mailsync.imap import FlightLimit, Session, TokenBucket, open_session
from mailsync.model import Account
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

    def __init__(
        self,
        settings: Settings,
        *,
        disabled_capabilities: frozenset[str] = frozenset(),
        on_removed: Callable[[int], None] = lambda account_id: None,
        on_surplus: Callable[[int], None] = lambda account_id: None,
    ) -> None:
        """`on_removed` is called before a kept session is used again or closed.

        `on_surplus` is called when one was closed to make room for another.
        Capabilities in `disabled_capabilities` are treated as not offered; for tests.
        """
        self._on_removed = on_removed
        self._on_surplus = on_surplus
        self._settings = settings
        self._tokens = Tokens(settings)
        self._disabled_capabilities = disabled_capabilities
        self._kept: dict[int, _Kept] = {}
        self._flights: dict[int, FlightLimit] = {}
        self._lock = threading.Lock()

    def has(self, account_id: int) -> bool:
        """Whether a session of the account is kept."""
        return account_id in self._kept

    def open(
        self,
        loaded: LoadedTurn,
        bucket: TokenBucket,
        renewing: Renewing,
        on_begin: Callable[[str], None] = lambda command: None,
    ) -> Session:
        """Return the account's kept session if it is still good, else open one.

        Raises what ``open_session`` does, and what :meth:`Tokens.sign_in` does.
        """
        with self._lock:
            kept = self._kept.pop(loaded.account.id, None)
        if kept is not None:
            self._on_removed(loaded.account.id)
            if self._is_good(kept, loaded):
                kept.session.resume(bucket, renewing.on_wait, on_begin)
                return kept.session
            kept.session.close()
        account, sign_in = loaded.account, self._tokens.sign_in(loaded.account, loaded.sealed, renewing)
        try:
            return self._open(account, sign_in, bucket, renewing, on_begin)
        except AuthenticationFailed:
            another = self._tokens.after_rejection(account, sign_in, renewing)
            if another is None:
                raise
            return self._open(account, another, bucket, renewing, on_begin)

    def _open(
        self,
        account: Account,
        sign_in: SignIn,
        bucket: TokenBucket,
        renewing: Renewing,
        on_begin: Callable[[str], None],
    ) -> Session:
        session = open_session(
            account.endpoint,
            sign_in.credential,
            self._settings,
            bucket=bucket,
            on_wait=renewing.on_wait,
            on_begin=on_begin,
            disabled_capabilities=self._disabled_capabilities,
            flights=self._flights.setdefault(account.id, FlightLimit()),
        )
        session.token_ends_at = sign_in.ends_at
        return session

    def drop(self, account_id: int) -> None:
        """Close the account's kept session, if it has one."""
        with self._lock:
            kept = self._kept.pop(account_id, None)
        if kept is not None:
            self._on_removed(account_id)
            kept.session.close()

    def drop_closed(self, account_id: int) -> None:
        """Forget the account's kept session if its connection is closed."""
        kept = self._kept.get(account_id)
        if kept is not None and kept.session.closed:
            self.drop(account_id)

    def drop_old(self) -> None:
        """Close the sessions that are too old to be used again, as those of paused accounts become."""
        now = time.monotonic()
        with self._lock:
            old = [i for i, kept in self._kept.items() if _is_old(kept, now)]
        for account_id in old:
            self.drop(account_id)

    def keep(self, loaded: LoadedTurn, session: Session) -> None:
        """Keep an idle session; above ``IMAP_SESSION_CAP`` close the least recently used one."""
        session.release_memory()
        if session.closed:
            return
        with self._lock:
            self._kept[loaded.account.id] = _Kept(session, _opened_for(loaded))
            surplus = list(self._kept)[: max(0, len(self._kept) - self._settings.imap_session_cap)]
        for account_id in surplus:
            self.drop(account_id)
            self._on_surplus(account_id)

    def close(self) -> None:
        """Close all sessions."""
        for account_id in list(self._kept):
            self.drop(account_id)

    def _is_good(self, kept: _Kept, loaded: LoadedTurn) -> bool:
        return (
            kept.opened_for == _opened_for(loaded)
            and not _is_old(kept, time.monotonic())
            and kept.session.is_alive()
        )


def _is_old(kept: _Kept, now: float) -> bool:
    # a session that listens proves itself, and the server ends it when it wants to
    return now - kept.session.opened_at >= _MAX_AGE and kept.session.push.listening is None


def _opened_for(loaded: LoadedTurn) -> object:
    # a changed host, user or credential ends the session that was opened with the old one; a renewal does not
    sealed = loaded.sealed
    return loaded.account.endpoint, sealed.oauth_provider, sealed.oauth_client_id, sealed.authorized_at
