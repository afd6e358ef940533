"""The commands by which a server is asked to speak unasked: NOTIFY (RFC 5465) and IDLE (RFC 2177)."""

from __future__ import annotations

from mailsync.imap.arguments import LiteralArgument, astring
from mailsync.imap.bounds import MOST_FOLDERS
from mailsync.imap.capabilities import Capabilities
from mailsync.imap.commands import FolderNames
from mailsync.imap.connection import Connection, Response
from mailsync.imap.hints import Hints, is_flag_change, merged
from mailsync.imap.parsing.list_response import parse_status
from mailsync.imap.parsing.mailbox_name import decode_name
from mailsync.imap.selected import SelectedMailbox
from mailsync.imap.status_responses import error_for
from mailsync.imap.unasked import arrived
from mailsync.model import MailboxStatus

_IDLE = frozenset({"IDLE", "IMAP4REV2"})
_EVENTS = b"(MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange)"


class Push:
    """The means by which one session is told of changes, and what it was told.

    ``hints`` are those since they were last taken. ``notified`` are the mailboxes whose changes NOTIFY
    reports, None without NOTIFY. ``followed`` are the statuses, by mailbox, that turns have acted upon
    although nobody reported a change. ``is_trusted`` says that a tick has found nothing that NOTIFY did not
    report.
    """

    def __init__(self, connection: Connection, capabilities: Capabilities) -> None:
        self.hints = Hints()
        self.notified: set[bytes] | None = None
        self._watched: frozenset[bytes] = frozenset()
        self._spellings: dict[bytes, bytes] = {}
        self.is_trusted = False
        self.is_suspect = False
        """Whether a tick has found a change that NOTIFY did not report, and it has reported none since."""
        self.followed: dict[bytes, MailboxStatus] = {}
        self.odd_names: set[bytes] = set()
        """The mailboxes that only one of NOTIFY and the mirror knew, when they were compared last."""
        self.examined: set[bytes] = set()
        """The mailboxes selected since NOTIFY: Dovecot never reports what it notices in a selected one."""
        self.flags_of: set[bytes] = set()
        """The mailboxes whose flags changed since they were last scanned, where no MODSEQ shows that."""
        self._connection = connection
        self._capabilities = capabilities
        self._follows_mailbox = False
        self._inside: bytes | None = None

    @property
    def watched(self) -> frozenset[bytes]:
        """The wire names of the mailboxes whose reports become hints."""
        return self._watched

    @watched.setter
    def watched(self, names: frozenset[bytes]) -> None:
        if names == self._watched:
            return
        # Dovecot 2.3 reports "Entwürfe" in UTF-8, although LIST says "Entw&APw-rfe"
        self._spellings = {decode_name(name).encode(): name for name in names} | {
            name: name for name in names
        }
        self._watched = names
        if self.notified is not None:
            self.notified |= {self._spellings.get(name, name) for name in self.notified}

    @property
    def can_notify(self) -> bool:
        """Whether the server reports changes of all mailboxes (RFC 5465)."""
        return "NOTIFY" in self._capabilities and not self.hints.has_overflowed

    @property
    def can_idle(self) -> bool:
        """Whether the server reports changes of the selected mailbox (RFC 2177).

        Not once it has refused IDLE, and not after NOTIFY, by which it was asked to leave the selected
        mailbox out (RFC 5465 §6.1).
        """
        is_offered = bool(_IDLE & self._capabilities.usable)
        return is_offered and self.notified is None and not self._connection.idling.is_refused

    @property
    def listening(self) -> str | None:
        """The means by which the server reports changes now: ``notify``, ``idle`` or None."""
        if self._connection.closed:
            return None
        if self._connection.idling.is_running:
            return "idle"
        return "notify" if self.notified is not None and not self.hints.has_overflowed else None

    @property
    def heard_at(self) -> float:
        """The monotonic time of the last byte from the server."""
        return self._connection.reader.heard_at

    def fileno(self) -> int:
        """Return the socket's file descriptor, which is readable when something has arrived."""
        return self._connection.sock.fileno()

    def note(self, response: Response) -> None:
        """Note what an untagged response, which no command asked for, says about changes."""
        # what comes between DONE and the end of IDLE counts, although the turn has begun
        idles = self._follows_mailbox or self._connection.in_flight.has("IDLE")
        if response[0][:9].upper() == b"* STATUS ":
            self.is_suspect = False
        created = self.hints.note(response, self._spellings, idles=idles)
        if created is not None and self.notified is not None and len(self.notified) < MOST_FOLDERS:
            self.notified.add(self._spellings.get(created, created))
        if self._inside is not None and is_flag_change(response):
            self.flags_of.add(self._inside)

    def enter(self, wire_name: bytes | None) -> None:
        """Note that the server has selected the mailbox of this name, or none."""
        self._inside = None if "CONDSTORE" in self._capabilities else wire_name

    def leave(self, wire_name: bytes | None) -> None:
        """Note that another mailbox, or none, is being selected."""
        if wire_name is not None and self.notified is not None:
            self.examined.add(wire_name)

    def listen(self) -> bool:
        """Note the hints that have arrived, without waiting; returns whether the session listens on."""
        for response in arrived(self._connection):
            self._connection.on_untagged(response)
        return self.listening is not None

    def notify(self) -> dict[bytes, MailboxStatus] | None:
        """Send ``NOTIFY SET STATUS (personal (MessageNew …))``, with nothing selected (RFC 5465 §3).

        Only once a session: Dovecot 2.3 reports one more change after a second time, and then none. Returns
        the status of every mailbox of the user, by wire name; from then on the server reports changes. None
        if the server refuses; it is then not asked again. Raises SentTooMuch for more mailboxes than
        :func:`mailsync.imap.commands.list_folders` takes.
        """
        statuses: dict[bytes, MailboxStatus] = {}
        names = FolderNames(self._connection)

        def claim(response: Response) -> bool:
            row = None if self._connection.reader.oversized else parse_status(response)
            if row is not None:
                # a change that comes before the completion names only the items that changed
                name = self._spellings.get(row[0], row[0])
                names.add(name)
                statuses[name] = merged(statuses.get(name), row[1])
            return row is not None

        args = b"SET", b"STATUS", b"(personal %s)" % _EVENTS
        completion = self._connection.run("NOTIFY", *args, claim=claim, check=False)
        # a mailbox that came or went since then would not be looked for
        self.hints.names_changed = self.hints.take().names_changed
        if completion.status != "OK":
            self._capabilities.disable("NOTIFY")
            return None
        self.notified, self.examined = set(statuses), set()
        return statuses

    def look_back(self, mailbox: SelectedMailbox, wire_name: bytes) -> MailboxStatus:
        """EXAMINE the selected mailbox again and UNSELECT it, in one flight; returns its status.

        This shows what changed while it was selected, which NOTIFY does not report. Raises the error of
        :func:`error_for`, and ValueError for a name that has to be sent as a literal.
        """
        connection, name = self._connection, _in_one_flight(wire_name)
        connection.drain()
        mailbox.reset()
        with connection.one_write():
            connection.pipeline("EXAMINE", name)
            connection.pipeline("UNSELECT")
        status = self._examined(mailbox)
        self._follows_mailbox = True
        for response in connection.responses():
            self.note(response)
        self._follows_mailbox = False
        self.examined.discard(wire_name)
        return status

    def idle(self, mailbox: SelectedMailbox, wire_name: bytes) -> MailboxStatus:
        """Send EXAMINE and IDLE in one flight; returns the status of the mailbox, without ``unseen``.

        The answer to IDLE is not awaited: :meth:`listen` sees it. Raises the error of :func:`error_for` if
        EXAMINE fails, and ValueError for a name that has to be sent as a literal.
        """
        connection, name = self._connection, _in_one_flight(wire_name)
        connection.drain()
        mailbox.reset()
        with connection.one_write():
            connection.pipeline("EXAMINE", name)
            connection.start_idle()
        status = self._examined(mailbox)
        self.hints.take()
        if wire_name in self.flags_of:
            # reported after this turn had begun, or between DONE and its answer
            self.hints.mailbox_changed = self.hints.flags_changed = True
        return status

    def _examined(self, mailbox: SelectedMailbox) -> MailboxStatus:
        """Read the answer to EXAMINE, the first one in flight."""
        connection = self._connection
        for response in connection.responses():
            connection.on_untagged(response)
        examined = connection.completion
        if examined.status != "OK":
            connection.drain()
            raise error_for(examined, "EXAMINE")
        mailbox.handle_code(examined)
        return mailbox.status()


def _in_one_flight(wire_name: bytes) -> bytes:
    name = astring(wire_name)
    if isinstance(name, LiteralArgument):
        raise ValueError("a name that needs a literal cannot be sent in one flight")
    return name
