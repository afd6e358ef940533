"""What a server of the tests knows of one client: its mailbox, its view of it, and what to tell it unasked.

Threads (``session.py``) or a selector (``crowd_process.py``) move the bytes. All of this is used under the
account's lock, once there is an account.
"""

from __future__ import annotations

from functools import cache

from tests.support.habits import Habits
from tests.support.imap_text import as_set
from tests.support.mailboxes import Account, Change, Folder
from tests.support.notify import Watch


@cache
def _names(capabilities: bytes) -> frozenset[bytes]:
    return frozenset(capabilities.upper().split())


class Conversation:
    """One client. ``account`` is logged in, ``selected`` is open, ``watch`` is what NOTIFY asked for.

    ``token`` is the access token that the client has signed in with, if it has.

    ``is_default`` until the first NOTIFY: then nothing is told of the selected mailbox, not even by IDLE or
    NOOP, unless NOTIFY has asked for it, and there is no way back (RFC 5465 §3.1, and Dovecot).

    While ``is_busy``, a command is being answered; what is to be told unasked then waits for its end.
    """

    def __init__(self, habits: Habits) -> None:
        self.habits = habits
        self.account: Account | None = None
        self.token: str | None = None
        self.selected: Folder | None = None
        self.read_only = True
        self.view: list[int] = []
        self.enabled: set[bytes] = set()
        self.watch: Watch | None = None
        self.is_default = True
        self.is_busy = False
        self.is_idling = False
        self._flags_told_at = 0

    def send(self, data: bytes) -> None:
        """Send bytes; raises Disconnected if the client is gone."""
        raise NotImplementedError

    def push(self, data: bytes) -> None:
        """Send untagged lines at once; nothing happens if the client is gone."""
        raise NotImplementedError

    def ask(self, prompt: bytes) -> bytes:
        """Send a continuation request, and return the client's next line without its end."""
        raise NotImplementedError

    def record_login(self, user: str, accepted: bool) -> None:
        """Record that this client tried to log in."""

    def capabilities(self) -> list[bytes]:
        """Return the capabilities that the server offers now."""
        return self.announced().split()

    def announced(self) -> bytes:
        """Return the capabilities that the server offers now, as they are announced."""
        before = self.habits.capabilities_before_login
        return self.habits.capabilities if self.account or before is None else before

    def offers(self, extension: bytes) -> bool:
        """Whether the server offers an extension."""
        return extension in _names(self.announced())

    # -- login and mailbox -------------------------------------------------------------------------------

    def log_in(self, account: Account) -> bool:
        """Begin the session of this user; False if there are as many as the server allows."""
        with account.lock:
            limit = self.habits.connection_limit
            if limit is not None and len(account.watchers) >= limit:
                return False
            self.account = account
            account.watchers.append(self._notice)
            return True

    @property
    def is_over(self) -> bool:
        """Whether the token of the session has ended."""
        tokens = self.habits.tokens
        return self.token is not None and tokens is not None and tokens.has_ended(self.token)

    def log_out(self) -> None:
        """End the session: nothing is told any more."""
        if self.account:
            with self.account.lock:
                if self._notice in self.account.watchers:
                    self.account.watchers.remove(self._notice)

    def select(self, folder: Folder, read_only: bool) -> None:
        """Open a mailbox; the session then has its own view of its messages."""
        self.selected, self.read_only, self.view = folder, read_only, sorted(folder.mails)
        self._flags_told_at = folder.modseq

    def unselect(self) -> None:
        """Close the mailbox."""
        self.selected, self.view = None, []

    def news(self) -> bytes:
        """Update the view of the selected mailbox; return EXPUNGE or VANISHED, and EXISTS."""
        if self.selected is None or not self._follows_selected:
            return b""
        mails = self.selected.mails
        gone = [uid for uid in self.view if uid not in mails]
        lines = []
        if gone and b"QRESYNC" in self.enabled:
            lines.append(b"* VANISHED %s\r\n" % as_set(gone))
        elif gone:
            numbers = [number for number, uid in enumerate(self.view, 1) if uid not in mails]
            lines += [b"* %d EXPUNGE\r\n" % number for number in reversed(numbers)]
        remaining = len(self.view) - len(gone)
        self.view = sorted(mails)
        if len(self.view) > remaining:
            lines.append(b"* %d EXISTS\r\n" % len(self.view))
        return b"".join(lines)

    def news_of_flags(self) -> bytes:
        """Return FETCH responses for the messages whose flags have changed, by sequence number."""
        if self.selected is None or not self._follows_selected or not self.habits.idle_reports_flags:
            return b""
        since, self._flags_told_at = self._flags_told_at, self.selected.modseq
        has_modseq, has_uid = self.enabled & {b"CONDSTORE", b"QRESYNC"}, b"QRESYNC" in self.enabled
        lines = []
        for number, uid in enumerate(self.view, 1):
            mail = self.selected.mails.get(uid)
            if mail is None or mail.modseq <= since or mail.added_at == mail.modseq:
                continue
            items = [b"UID %d" % uid] if has_uid else []
            items += [b"MODSEQ (%d)" % mail.modseq] if has_modseq else []
            items.append(b"FLAGS (%s)" % b" ".join(mail.flags))
            lines.append(b"* %d FETCH (%s)\r\n" % (number, b" ".join(items)))
        return b"".join(lines)

    @property
    def _follows_selected(self) -> bool:
        return self.is_default or (self.watch is not None and self.watch.follows_selected)

    # -- told unasked ------------------------------------------------------------------------------------

    @property
    def is_listening(self) -> bool:
        """Whether the client is parked: it idles, or NOTIFY is set and no command is being answered."""
        return self.is_idling or (self.watch is not None and not self.is_busy and self.selected is None)

    def begin_idle(self) -> None:
        """Answer IDLE: from now on, changes of the selected mailbox are told at once."""
        self.send(b"+ idling\r\n")
        self.is_idling, self.is_busy = True, False
        self.tell()

    def end_idle(self) -> bytes:
        """Stop telling; return what comes before the tagged answer to IDLE."""
        self.is_idling = False
        return self.news() + self.news_of_flags()

    def begin(self) -> None:
        """Note that a command is being answered."""
        self.is_busy = True

    def end(self) -> None:
        """Note that the answer was sent, and tell what had to wait."""
        self.is_busy = False
        self.tell()

    def overflow(self) -> None:
        """End NOTIFY, as by NOTIFY NONE, because there is too much to tell (RFC 5465 §5.8)."""
        self.watch = None
        self.push(b"* OK [NOTIFICATIONOVERFLOW] Too many changes\r\n")

    def tell(self) -> None:
        """Send what has changed, if the client is to be told of it."""
        data = b""
        if self.is_idling or (self.watch and self.watch.follows_selected and self.selected):
            data += self.news() + self.news_of_flags()
        if self.watch:
            data += self.watch.report()
        if data:
            self.push(data)

    def _notice(self, change: Change) -> None:
        if self.watch:
            self.watch.note(change)
        if not self.is_busy:
            self.tell()
