"""One section of one message, fetched in ranges under the account's lock, in as many turns as that takes.

The bytes go to a sink on this side, a file: whoever reads them later reads without the lock. Between two
ranges a waiter is let in, and commands that run out are waited for without the lock; then it goes on where it
was, since the bytes behind a UID never change (RFC 9051 §2.3.1.1).
"""

from __future__ import annotations

import time
from collections.abc import Callable

from mailsync.engine.runner import TurnEnvironment, TurnKind, take_turn
from mailsync.engine.turn import Turn
from mailsync.errors import (
    AuthenticationFailed,
    Busy,
    FolderError,
    Gone,
    MailsyncError,
    NotFound,
    OutOfTokens,
    Paused,
    PoisonousServer,
    ProtocolError,
    Stopped,
    Throttled,
    TimedOut,
    Transient,
    TurnOver,
    UidValidityMoved,
)
from mailsync.imap import Session
from mailsync.mail import transfer_encoding
from mailsync.model import FolderState
from mailsync.store import accounts, messages
from mailsync.store.bodies import MessageLocation
from mailsync.uidset import UidSet

RANGE = 1024 * 1024
"""Bytes asked for by one command."""

_LEAST_COMMANDS = 3.0
"""EXAMINE, FETCH, UNSELECT."""
_NAP = 0.1


class Download:
    """What is fetched and how far it has come; :func:`run` does it.

    `sink` is given the bytes in order, with the transfer `encoding` undone; None asks the part's own header
    for it. At most `most` bytes are fetched; ``is_cut`` tells that there were more. `size` is how many the
    server has told that there are. ``decoded`` counts what went to the sink, ``offset`` what was fetched, and
    ``mailbox`` is the host and the user whose it is.
    """

    def __init__(
        self,
        location: MessageLocation,
        section: str,
        sink: Callable[[bytes], object],
        *,
        most: int,
        size: int | None,
        encoding: str | None = "",
    ) -> None:
        self.location = location
        self.section = section
        self.mailbox: tuple[str, str] | None = None
        self.offset = 0
        self.decoded = 0
        self.is_cut = False
        self.error: MailsyncError | None = None
        self._sink = sink
        self._most = most
        self._size = size
        self._encoding = encoding
        self._decoder: transfer_encoding.Decoder | None = None
        self._was_short = False

    def steps(self, turn: Turn, seconds: float) -> None:
        """One turn's part of it, bounded by `seconds`; an error that leaves the session good is noted."""
        with turn.session.deadline(seconds):
            try:
                self._fetch(turn)
            except (FolderError, ProtocolError, NotFound, Gone, UidValidityMoved) as error:
                if turn.session.closed:
                    raise
                self.error = error

    def _fetch(self, turn: Turn) -> None:
        location, session, endpoint = self.location, turn.session, turn.account.endpoint
        if self.mailbox not in (None, (endpoint.host, endpoint.username)):
            raise another_mailbox(location.message_id)
        self.mailbox = endpoint.host, endpoint.username
        folder = next((f for f in turn.folders if f.id == location.folder_id), None)
        if folder is None:
            raise NotFound(f"message {location.message_id} has no folder any more")
        self._same(folder.uidvalidity)
        self._same(session.examine(folder.wire_name).uidvalidity)
        if self._decoder is None:
            if self._encoding is None:
                self._encoding = self._ask_encoding(session)
            self._decoder = transfer_encoding.decoder(self._encoding)
        while True:
            # one byte more than is wanted tells that there is more
            count = min(_range(turn), self._most + 1 - self.offset)
            data = self._range(turn, folder, count)
            if not data:
                break
            self.offset += len(data)
            if self.offset > self._most:
                self.is_cut = True
                self.offset -= 1
                self._put(self._decoder.feed(data[:-1]))
                break
            self._put(self._decoder.feed(data))
            # servers tell sizes that are wrong, and some answer with less than was asked for
            self._was_short = len(data) < count
            if self._was_short and self._size is not None and self.offset >= self._size:
                break
            turn.checkpoint()
        self._put(self._decoder.finish())

    def _same(self, uidvalidity: int | None) -> None:
        # 0 and silence are "unknown"
        if uidvalidity and self.location.uidvalidity and uidvalidity != self.location.uidvalidity:
            raise UidValidityMoved(
                f"message {self.location.message_id}: its folder was made anew on the server (UIDVALIDITY);"
                " it takes a new row at the next sync"
            )

    def _put(self, data: bytes) -> None:
        self.decoded += len(data)
        self._sink(data)

    def _range(self, turn: Turn, folder: FolderState, count: int) -> bytes:
        """The next bytes; nothing at the end. Raises Gone if a search agrees that the message is."""
        doubt: FolderError | ProtocolError | None = None
        data = b""
        try:
            data = self._ask(turn.session, count)
        except (FolderError, ProtocolError) as error:
            if turn.session.closed:
                raise
            doubt = error
        if data or (doubt is None and self.offset and (self._size is None or self.offset >= self._size)):
            return data
        self._still_there(turn, folder)
        if doubt is not None and not self._was_short:
            raise doubt
        if not self.section and not self.offset and self._size:
            raise ProtocolError(f"FETCH: the server answers nothing for a message of {self._size} bytes")
        return b""

    def _ask(self, session: Session, count: int) -> bytes:
        location = self.location
        if self.offset or location.internal_date is None or location.size_bytes is None:
            return session.fetch_part(location.uid, self.section, self.offset, count)
        data, told = session.fetch_beginning(location.uid, self.section, count)
        # one of them alone proves nothing: there are servers that are not sure of it
        if all(
            said not in (None, known)
            for said, known in (
                (told.internal_date, location.internal_date),
                (told.size_bytes, location.size_bytes),
            )
        ):
            raise UidValidityMoved(
                f"message {location.message_id}: its UID names another message on the server now, without"
                " another UIDVALIDITY; reset the account with resync"
            )
        return data

    def _still_there(self, turn: Turn, folder: FolderState) -> None:
        """Search for the message; if it is gone, tombstone its row and raise Gone."""
        uid = self.location.uid
        only = UidSet.of([uid])
        if turn.session.search(uids=only):
            return
        if folder.uidvalidity == self.location.uidvalidity:
            turn.ensure_run()
            turn.tally.messages_deleted += messages.tombstone(
                turn.conn, folder, only, "expunged", on_chunk=turn.keep_alive
            )
        raise Gone(f"message {self.location.message_id} is no longer on the server")

    def _ask_encoding(self, session: Session) -> str:
        for section in (f"{self.section}.MIME", "HEADER"):
            try:
                header = session.fetch_part(self.location.uid, section, 0, 64 * 1024)
            except ProtocolError:
                if session.closed:
                    raise
                continue
            if (said := transfer_encoding.named_in(header)) or self.section != "1":
                return said
        return ""


def run(env: TurnEnvironment, download: Download) -> None:
    """Fetch all of it, within ``INCREMENTAL_TIMEOUT``; the account's state stays as it is.

    Raises Busy when the lock is not had in ``BODY_LOCK_WAIT``, or no commands are left for the account;
    Paused, NotFound, Gone (its row is a tombstone then), UidValidityMoved, TimedOut, Stopped, and what turns
    raise: Transient, Throttled, PoisonousServer, AuthenticationFailed, ProtocolError, FolderError,
    KeyMismatch, LockLost.
    """
    settings = env.settings
    account_id = download.location.account_id
    until = time.monotonic() + settings.incremental_timeout
    again = env.sessions.has(account_id)
    while True:
        left = until - time.monotonic()
        if left <= 0:
            raise TimedOut(f"fetching timed out after {settings.incremental_timeout:g} s")
        kind = TurnKind(
            run=lambda turn, left=left: download.steps(turn, left),  # type: ignore[misc]
            trigger="api",
            max_seconds=left,
            reserved_share=0.0,
            lock_timeout=settings.body_lock_wait,
            updates_health=False,
            reschedules=False,
            min_commands=_LEAST_COMMANDS,
            records_failure=False,
            precheck=_held_back,
            name="body",
        )
        try:
            turn = take_turn(env, account_id, kind)
        except OutOfTokens as error:
            if not download.offset:
                raise Busy(
                    f"account {account_id} may send no more commands now; try again later",
                    retry_after=error.retry_after,
                ) from error
            _pause(env, min(error.retry_after, left))
        except Stopped:
            raise
        except TurnOver:
            continue
        except Busy:
            if not download.offset:
                raise
            # it was let in after us, and is not done yet
            _pause(env, 2 * _NAP)
        except TimedOut:
            raise
        except Transient:
            # a kept session may have died in its sleep
            if not again or download.offset:
                raise
            again = False
        else:
            if turn is None:
                raise _left_alone(env, download.location)
            if download.error is not None:
                raise download.error
            return


def another_mailbox(message_id: int) -> UidValidityMoved:
    """Its account was pointed at another mailbox while it was fetched: its UID may name another message."""
    return UidValidityMoved(
        f"message {message_id}: its account became another mailbox meanwhile; ask again after the next sync"
    )


def held_back(
    state: str, reason: str | None, message: str | None, backoff: float | None
) -> AuthenticationFailed | PoisonousServer | Throttled | None:
    """Why a server may not be asked now on a reader's behalf; `backoff` is for how many seconds, if any.

    A rejected password is not tried more often because somebody reads, nor a server that asks for patience,
    nor one whose answers end processes.
    """
    if reason == "auth_failed" and (state == "broken" or backoff):
        return AuthenticationFailed(message or "the server rejected the password", retry_after=backoff)
    if reason == "throttled" and backoff:
        return Throttled(message or "the server asks us to slow down", retry_after=backoff)
    if reason == "poisonous_server" and backoff:
        return PoisonousServer(message or "turns ended with their process", retry_after=backoff)
    return None


def _held_back(turn: Turn) -> MailsyncError | None:
    # another reader may have met it while this one waited for the lock
    account = turn.account
    left = (account.backoff_until - turn.now()).total_seconds() if account.backoff_until else 0.0
    return held_back(
        account.sync_state, account.sync_state_reason, account.sync_state_message, left if left > 0 else None
    )


def _left_alone(env: TurnEnvironment, location: MessageLocation) -> MailsyncError:
    found = accounts.find_removal(env.conn, location.account_id)
    if found is None or found[1] is not None:
        return NotFound(f"message {location.message_id} was removed meanwhile")
    return Paused(f"account {location.email} is paused")


def _range(turn: Turn) -> int:
    # what is longer than this would not be read as a literal
    return min(RANGE, turn.settings.imap_max_literal_bytes)


def _pause(env: TurnEnvironment, seconds: float) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if env.stop:
            raise Stopped("asked to stop")
        env.on_alive()
        time.sleep(min(_NAP, left))
