"""One selector over all that a worker waits for: Postgres, the stop signal, and the parked sessions."""

from __future__ import annotations

import contextlib
import logging
import random
import selectors
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from mailsync.engine import push
from mailsync.engine.push import History, ParkedSession
from mailsync.imap import Session
from mailsync.store import db

log = logging.getLogger(__name__)

_DATABASE = "database"
_SIGNAL = "signal"
_RENEWALS_EVERY = 1.0
_NO_HISTORY = History()


@dataclass(slots=True)
class _Entry:
    session: Session
    fd: int
    state: ParkedSession
    parked_at: float


class Listening:
    """Listens to the parked sessions of one worker; the rules are those of :mod:`mailsync.engine.push`.

    A session is listened to from :meth:`park` until :meth:`forget`, which the session cache calls before the
    session is used or closed. Nothing is ever sent here. Accounts whose sessions ended by themselves wait in
    ``ended``, with the seconds until another is to be opened; None leaves that to the next tick.
    """

    def __init__(self, renew_after: float, chance: Callable[[], float] = random.random) -> None:
        """`renew_after` is ``PUSH_RENEW``; `chance` gives numbers in 0 … 1."""
        self.ended: list[tuple[int, float | None]] = []
        self._renew_after = renew_after
        self._chance = chance
        self._selector = selectors.DefaultSelector()
        self._entries: dict[int, _Entry] = {}
        self._hinted: set[int] = set()
        self._histories: dict[int, History] = {}
        self._database: int | None = None
        self._renewals_at = 0.0
        self._signals, self._signals_in = socket.socketpair()

    # -- what is listened to -------------------------------------------------------------------------

    def install(self) -> None:
        """Wake up on signals from now on; for the main thread only."""
        for end in (self._signals, self._signals_in):
            end.setblocking(False)
        self._selector.register(self._signals, selectors.EVENT_READ, _SIGNAL)
        signal.set_wakeup_fd(self._signals_in.fileno(), warn_on_full_buffer=False)

    def remove(self) -> None:
        """Undo :meth:`install`, and listen to nothing any more."""
        signal.set_wakeup_fd(-1)
        self._selector.close()
        self._signals.close()
        self._signals_in.close()

    def may_park(self, account_id: int) -> bool:
        """Whether a session of the account may be parked: its last ones did not all end early."""
        return time.monotonic() >= self._history(account_id).off_until

    def park(self, account_id: int, session: Session) -> None:
        """Listen to a kept session, beginning with what has arrived already."""
        kind = session.push.listening
        if kind is None:
            return
        state = ParkedSession(
            account_id,
            kind,
            session.opened_at,
            session.push.heard_at,
            woken_at=self._history(account_id).woken_at,
        )
        # an end that was not written down yet is that of an earlier session
        self.ended = [end for end in self.ended if end[0] != account_id]
        entry = self._entries[account_id] = _Entry(session, session.push.fileno(), state, time.monotonic())
        self._selector.register(entry.fd, selectors.EVENT_READ, account_id)
        self._listen(account_id)

    def forget(self, account_id: int) -> None:
        """Stop listening to the account's session, if it is parked."""
        entry = self._entries.pop(account_id, None)
        self._hinted.discard(account_id)
        if entry is not None:
            self._selector.unregister(entry.fd)

    def lost(self, account_id: int, reopens_in: float | None = None) -> None:
        """Note that the account's session was closed by this process, while Postgres says that it listens."""
        self.ended.append((account_id, reopens_in))

    @property
    def accounts(self) -> list[int]:
        """The accounts with a parked session."""
        return list(self._entries)

    # -- waiting -------------------------------------------------------------------------------------

    def wait(self, seconds: float, conn: db.Connection | None = None) -> None:
        """Wait up to `seconds` for a parked session, a signal or, if given, the connection `conn`."""
        self._watch(conn)
        for key, _ in self._selector.select(max(0.0, seconds)):
            if key.data == _SIGNAL:
                with contextlib.suppress(BlockingIOError):
                    self._signals.recv(4096)
            elif key.data != _DATABASE:
                self._listen(key.data)

    def _watch(self, conn: db.Connection | None) -> None:
        # a connection that has something to say already would end each wait at once
        socket_now = conn.pgconn.socket if conn is not None else None
        if socket_now != self._database:
            if self._database is not None:
                with contextlib.suppress(KeyError):
                    self._selector.unregister(self._database)
            if socket_now is not None:
                self._selector.register(socket_now, selectors.EVENT_READ, _DATABASE)
            self._database = socket_now

    def _listen(self, account_id: int) -> None:
        entry = self._entries.get(account_id)
        if entry is None:
            return
        is_listening = entry.session.push.listen()
        now = time.monotonic()
        entry.state = replace(entry.state, heard_at=entry.session.push.heard_at)
        if entry.session.push.hints and entry.state.hinted_at is None:
            entry.state = replace(entry.state, hinted_at=now)
            self._hinted.add(account_id)
        if entry.session.closed:
            self._end(entry, now)
        elif not is_listening and not entry.session.push.hints:
            if entry.session.push.can_idle:
                # the server ended IDLE and kept the session, which the next turn uses; it counts how long
                # this IDLE lived, or a server that ends each at once gets a turn every few seconds
                entry.state = replace(entry.state, opened_at=entry.parked_at)
                self._end(entry, now)
            else:
                # the server refuses IDLE; the session is kept for the next tick
                self.forget(account_id)
                self.ended.append((account_id, None))

    def _end(self, entry: _Entry, now: float) -> None:
        account_id = entry.state.account_id
        end = push.ending(self._history(account_id), entry.state, now, self._chance())
        self._histories[account_id] = end.history
        self.forget(account_id)
        self.ended.append((account_id, end.reopens_in))
        if end.turns_off:
            log.warning(
                "The server ends each session soon after it was left open; for an hour, ticks alone sync the"
                " account",
                extra={"action": "push", "account_id": account_id},
            )

    # -- what is due ---------------------------------------------------------------------------------

    def seconds_until_wake(self) -> float:
        """Seconds until an account is to be woken: 0 if one is, infinity without hints."""
        accounts, seconds = self._wakes()
        return 0.0 if accounts else seconds

    def is_wanted(self) -> bool:
        """Whether an account is to be woken, with what has arrived by now."""
        self.wait(0.0)
        return self.seconds_until_wake() <= 0

    def next_wake(self) -> tuple[int, str] | None:
        """Return the account to wake now, whose hints came first, and by which means; None for none.

        Its next wake is at least two seconds later.
        """
        accounts, _ = self._wakes()
        if not accounts:
            return None
        entry, now = self._entries[accounts[0]], time.monotonic()
        entry.state = replace(entry.state, woken_at=now)
        self._histories[accounts[0]] = replace(self._history(accounts[0]), woken_at=now)
        return accounts[0], entry.state.kind

    def _wakes(self) -> push.Wakes:
        if not self._hinted:
            return push.Wakes([], float("inf"))
        return push.wakes((self._entries[account].state for account in self._hinted), time.monotonic())

    def renewals(self) -> list[int]:
        """Return the accounts whose sessions have to be proven; looks once a second."""
        now = time.monotonic()
        if now < self._renewals_at:
            return []
        self._renewals_at = now + _RENEWALS_EVERY
        return push.renewals((entry.state for entry in self._entries.values()), now, self._renew_after)

    def calm(self, account_id: int) -> None:
        """Do not wake the account for the hints so far: a tick will follow them."""
        if entry := self._entries.get(account_id):
            entry.state = replace(entry.state, hinted_at=None)
            self._hinted.discard(account_id)

    def _history(self, account_id: int) -> History:
        return self._histories.get(account_id, _NO_HISTORY)
