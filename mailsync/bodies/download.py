"""Download one section of a message, in ranges, under the account's lock.

The bytes go to a sink on this side, a file, so that a slow reader never holds the lock. Between two ranges a
process that waits for the lock gets it, and if the command budget is used up, this waits without the lock.
The download then continues at its offset, since the bytes behind a UID never change (RFC 9051 §2.3.1.1).
"""

from __future__ import annotations

import time
from collections.abc import Callable

from mailsync.bodies.refusals import another_mailbox, paused_or_removed, precheck_for_reader
from mailsync.engine.runner import take_turn
from mailsync.engine.turn import Turn
from mailsync.engine.turn_kind import TurnEnvironment, TurnKind
from mailsync.errors import (
    Busy,
    FolderError,
    Gone,
    MailsyncError,
    NotFound,
    OutOfTokens,
    ProtocolError,
    Stopped,
    TimedOut,
    Transient,
    TurnOver,
    UidValidityMoved,
)
from mailsync.imap import Session
from mailsync.mail import transfer_encoding
from mailsync.model import FolderState
from mailsync.store import messages
from mailsync.store.bodies import MessageLocation
from mailsync.uidset import UidSet

RANGE = 1024 * 1024
"""Bytes asked for by one command."""

_LEAST_COMMANDS = 3.0
"""EXAMINE, FETCH, UNSELECT."""
_NAP = 0.1


class Download:
    """A section of a message, and how much of it has arrived; :func:`run` fetches it.

    `sink` receives the bytes in order, with the transfer `encoding` decoded; None reads the encoding from the
    part's own header, and uses `otherwise` if that names none. At most `most` bytes are fetched, and
    ``is_cut`` says whether there were more. `size` is the section's size according to the server. ``fits``
    says whether the content was encoded as its encoding says. ``offset`` counts the bytes fetched,
    ``decoded`` those that the sink received. ``mailbox`` is the host and the username that they came from.
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
        otherwise: str = "",
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
        self._otherwise = otherwise
        self._decoder: transfer_encoding.Decoder | None = None
        self._was_short = False
        self._needs_proof = False

    @property
    def fits(self) -> bool:
        """Whether the content was encoded as the transfer encoding says."""
        return self._decoder is None or self._decoder.fits

    def run_turn(self, turn: Turn, seconds: float) -> None:
        """Fetch in one turn for up to `seconds`; ``error`` keeps an error that leaves the session usable."""
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
            raise NotFound(f"the folder of message {location.message_id} was removed")
        self._check_uidvalidity(folder.uidvalidity)
        self._check_uidvalidity(session.examine(folder.wire_name).uidvalidity)
        if self._decoder is None:
            if self._encoding is None:
                self._encoding = self._read_encoding(session) or self._otherwise
            self._decoder = transfer_encoding.decoder(self._encoding)
        # a longer range would not be read as a literal
        most = min(RANGE, turn.settings.imap_max_literal_bytes)
        while True:
            # one byte more than is wanted shows whether there is more
            count = min(most, self._most + 1 - self.offset)
            data = self._next_range(turn, folder, count)
            if not data:
                break
            self.offset += len(data)
            if self.offset > self._most:
                self.is_cut = True
                self.offset -= 1
                self._deliver(self._decoder.feed(data[:-1]))
                break
            self._deliver(self._decoder.feed(data))
            # some servers report wrong sizes, and some answer with less than was asked for
            self._was_short = len(data) < count
            if self._was_short and self._is_at_size():
                break
            turn.checkpoint()
        self._deliver(self._decoder.finish())

    def _is_at_size(self) -> bool:
        return self._size is not None and self.offset >= self._size

    def _check_uidvalidity(self, uidvalidity: int | None) -> None:
        # 0 and None are "unknown"
        if uidvalidity and self.location.uidvalidity and uidvalidity != self.location.uidvalidity:
            raise UidValidityMoved(
                f"message {self.location.message_id}: its folder was recreated on the server (UIDVALIDITY"
                " changed); the next sync stores the message as a new row"
            )

    def _deliver(self, data: bytes) -> None:
        self.decoded += len(data)
        self._sink(data)

    def _next_range(self, turn: Turn, folder: FolderState, count: int) -> bytes:
        """Return the next bytes, none at the end; raises Gone if a search finds no such message."""
        error: FolderError | ProtocolError | None = None
        data = b""
        try:
            data = self._fetch_range(turn.session, count)
        except (FolderError, ProtocolError) as refusal:
            if turn.session.closed:
                raise
            error = refusal
        if data or (error is None and self.offset and (self._size is None or self._is_at_size())):
            return data
        self._check_existence(turn, folder)
        if error is not None and not self._was_short:
            raise error
        if not self.section and not self.offset and self._size:
            raise ProtocolError(f"FETCH: the server answers nothing for a message of {self._size} bytes")
        return b""

    def _fetch_range(self, session: Session, count: int) -> bytes:
        location = self.location
        known = location.internal_date is not None and location.size_bytes is not None
        if self.offset or not (known or self._needs_proof):
            return session.fetch_part(location.uid, self.section, self.offset, count)
        data, state = session.fetch_beginning(location.uid, self.section, count)
        if self._needs_proof and (state.internal_date, state.size_bytes) != (
            location.internal_date,
            location.size_bytes,
        ):
            raise UidValidityMoved(
                f"message {location.message_id}: the server gives messages new UIDs in each session"
                " (UIDNOTSTICKY), and its UID names another one now; ask again after the next sync"
            )
        # One difference alone proves nothing: some servers change their mind about a date or a size.
        if state.internal_date not in (None, location.internal_date) and state.size_bytes not in (
            None,
            location.size_bytes,
        ):
            raise UidValidityMoved(
                f"message {location.message_id}: its UID names another message on the server now, although"
                f" UIDVALIDITY is the same; run `mailsync reset-account {location.email} --resync`"
            )
        return data

    def _check_existence(self, turn: Turn, folder: FolderState) -> None:
        """Search for the message; if it is gone, tombstone its row and raise Gone."""
        uids = UidSet.of([self.location.uid])
        if turn.session.search(uids=uids):
            return
        if folder.uidvalidity == self.location.uidvalidity:
            turn.ensure_run()
            turn.tally.messages_deleted += messages.tombstone(
                turn.conn, folder, uids, "expunged", on_chunk=turn.keep_alive
            )
        raise Gone(f"message {self.location.message_id} is no longer on the server")

    def _read_encoding(self, session: Session) -> str:
        # the only part of a message that is no multipart has the message's header
        sections = (f"{self.section}.MIME", *(["HEADER"] if self.section == "1" else []))
        for section in sections:
            try:
                header = session.fetch_part(self.location.uid, section, 0, 64 * 1024)
            except (FolderError, ProtocolError):
                if session.closed:
                    raise
                continue
            if encoding := transfer_encoding.named_in(header):
                return encoding
        return ""


def run(env: TurnEnvironment, download: Download, *, lock_wait: float | None = None) -> None:
    """Fetch all of the section within ``INCREMENTAL_TIMEOUT``; the account's state stays as it is.

    Raises Busy if the lock is not free within `lock_wait` seconds, by default ``BODY_LOCK_WAIT``, or if the
    account may send no commands now. Raises Paused, NotFound, Gone (the row is then a tombstone),
    UidValidityMoved, TimedOut and Stopped, and the errors of turns: Transient, Throttled, PoisonousServer,
    AuthenticationFailed, ProtocolError, FolderError, KeyMismatch, LockLost.
    """
    settings = env.settings
    account_id = download.location.account_id
    until = time.monotonic() + settings.incremental_timeout
    has_kept_session = env.sessions.has(account_id)
    while True:
        left = until - time.monotonic()
        if left <= 0:
            raise TimedOut(
                f"the download took longer than INCREMENTAL_TIMEOUT ({settings.incremental_timeout:g} s)"
            )
        kind = TurnKind(
            run=lambda turn, left=left: download.run_turn(turn, left),  # type: ignore[misc]
            trigger="api",
            max_seconds=left,
            reserved_share=0.0,
            lock_timeout=settings.body_lock_wait if lock_wait is None else lock_wait,
            updates_health=False,
            reschedules=False,
            min_commands=_LEAST_COMMANDS,
            records_failure=False,
            precheck=precheck_for_reader,
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
            # another process got the lock between two ranges, and still holds it
            _pause(env, 2 * _NAP)
        except TimedOut:
            raise
        except Transient:
            # the kept session may have died while it was idle
            if not has_kept_session or download.offset:
                raise
            has_kept_session = False
        else:
            if turn is None:
                raise paused_or_removed(env, download.location)
            if download.error is not None:
                raise download.error
            return


def _pause(env: TurnEnvironment, seconds: float) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if env.stop:
            raise Stopped("asked to stop")
        env.on_alive()
        time.sleep(min(_NAP, left))
