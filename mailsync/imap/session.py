"""One logged-in session with a server: a method for each question that the engine asks."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from datetime import date

from mailsync.errors import ProtocolError
from mailsync.imap import commands, flights
from mailsync.imap.arguments import LiteralArgument, astring, checked_section
from mailsync.imap.bounds import most_messages
from mailsync.imap.connection import Connection, Response
from mailsync.imap.fetch_flags import FlagChanges, scan
from mailsync.imap.fetch_messages import Batch, Fetcher
from mailsync.imap.flights import StatusAnswer
from mailsync.imap.logged_in import LoggedIn
from mailsync.imap.parsing.message import Detail
from mailsync.imap.push import Push
from mailsync.imap.searches import Searches
from mailsync.imap.selected import SelectedMailbox
from mailsync.model import Listing, MailboxStatus, MessageState
from mailsync.uidset import UidSet


class Session(LoggedIn):
    """A connection that is logged in; :func:`mailsync.imap.open_session` makes it.

    Every method may raise Transient (the connection is then closed), Throttled or ProtocolError, and
    OutOfTokens before it sends anything. An exception of ``on_wait`` closes the connection and propagates.
    """

    def __init__(self, connection: Connection, capabilities: frozenset[str], enabled: frozenset[str]) -> None:
        """`capabilities` are those to use, `enabled` those that ENABLE has turned on; in upper case."""
        super().__init__(connection, capabilities, enabled)
        self._mailbox = SelectedMailbox()
        self._searches = Searches(connection, self._capabilities, self._mailbox)
        self.selected: bytes | None = None
        self.last_examined: bytes | None = None
        """The folder of the last EXAMINE, even if the server refused it; None after UNSELECT."""
        self.last_listing: object = None
        self.push = Push(connection, self._capabilities)
        connection.on_untagged = self._handle_untagged

    def _handle_untagged(self, response: Response) -> None:
        self._mailbox.handle_response(response)
        self.push.note(response)

    @property
    def exists(self) -> int:
        """The number of messages in the selected folder, as of the last response."""
        return self._mailbox.exists

    # -- folders -----------------------------------------------------------------------------------

    def list_status(self) -> Listing:
        """Return the names and the status of all folders by one command (RFC 5819); UNSELECTs first.

        A folder that is listed without a status is unknown, not missing. If the server answers BAD,
        ProtocolError is raised and :attr:`has_list_status` is False from then on.
        """
        try:
            return self._capabilities.without_broken_extension(self._list_status, "OBJECTID", "CONDSTORE")
        except ProtocolError:
            if self._connection.completion.status == "BAD":
                self._capabilities.disable("LIST-STATUS")
            raise

    def _list_status(self) -> Listing:
        if self.flights.most > 1 and self._leave_in_flight() is not None:
            listing = commands.list_status(self._connection, self._status_items(), leaves=True)
            if listing is not None:
                return listing
            commands.leave_folder(self._connection, has_unselect=True)
        self.unselect()
        listing = commands.list_status(self._connection, self._status_items(), leaves=False)
        assert listing is not None, "nothing was left"
        return listing

    def status(self, wire_name: bytes) -> MailboxStatus:
        """Return the status of one folder by STATUS; UNSELECTs first if that folder is selected.

        Raises FolderError if the server refuses, ProtocolError if the answer is missing.
        """
        if self.selected == wire_name:
            self.unselect()
        return self._capabilities.without_broken_extension(
            lambda: commands.folder_status(self._connection, wire_name, self._status_items()),
            "OBJECTID",
            "CONDSTORE",
        )

    def statuses(self, names: Sequence[bytes]) -> list[tuple[bytes, StatusAnswer]]:
        """Return the status of the first of `names`, asked for in one flight of STATUS; at least one.

        A mailbox that the server refuses has the error in place of its status. DONE and UNSELECT go ahead in
        the same flight. If the connection ends because of the flight, :attr:`was_lost_in_flight` is True, and
        ``flights`` says that the server is asked one by one from then on.
        """
        return flights.statuses(
            self._connection,
            self.flights,
            names,
            self._status_items,
            self._status_alone,
            self._leave_in_flight,
        )

    def _status_alone(self, wire_name: bytes) -> MailboxStatus:
        self.unselect()
        return self.status(wire_name)

    def _leave_in_flight(self) -> bytes | None:
        """Note that UNSELECT is sent next; without it, leave the folder now. Returns the folder to leave."""
        if "UNSELECT" not in self._capabilities:
            self.unselect()
        wire_name = self.selected
        if wire_name is not None:
            self._leave(None)
            self._mailbox.reset()
        return wire_name

    def _status_items(self) -> bytes:
        items = b"MESSAGES UIDNEXT UIDVALIDITY UNSEEN"
        if "CONDSTORE" in self._capabilities:
            items += b" HIGHESTMODSEQ"
        if "OBJECTID" in self._capabilities:
            items += b" MAILBOXID"
        return b"(%s)" % items

    def examine(self, wire_name: bytes) -> MailboxStatus:
        """Open a folder read-only (RFC 9051 §6.3.3) and return its status, in which ``unseen`` is None.

        Raises FolderError if the server refuses; then no folder is selected.
        """

        def send() -> None:
            self._connection.drain()
            is_condstore = "CONDSTORE" in self._capabilities and not self._enabled & {"CONDSTORE", "QRESYNC"}
            self._mailbox.reset()
            options = [b"(CONDSTORE)"] if is_condstore else []
            completion = self._connection.run("EXAMINE", astring(wire_name), *options)
            self._mailbox.handle_code(completion)

        self._leave(wire_name)
        self._capabilities.without_broken_extension(send, *(() if self._enabled else ("CONDSTORE",)))
        self.selected = wire_name
        self.push.enter(wire_name)
        return self._mailbox.status()

    def unselect(self) -> None:
        """Leave the selected folder, if any, by UNSELECT or CLOSE; removes no message."""
        if self.selected is None:
            return
        self._leave(None)
        commands.leave_folder(self._connection, has_unselect="UNSELECT" in self._capabilities)
        self.push.enter(None)
        self._mailbox.reset()

    def _leave(self, wire_name: bytes | None) -> None:
        """Note that no mailbox is selected, and that the one with this name is to be."""
        self.selected, self.last_examined = None, wire_name
        self.push.leave(wire_name)

    # -- push --------------------------------------------------------------------------------------

    def notify(self) -> dict[bytes, MailboxStatus] | None:
        """Ask for reports of all changes (RFC 5465), with nothing selected; returns every mailbox's status.

        None if the server refuses; it is then not asked again. Hints from before are forgotten.
        """
        self.unselect()
        return self.push.notify()

    def look_back(self) -> MailboxStatus:
        """EXAMINE the selected mailbox again and leave it, in one flight; returns its status.

        This shows what changed while it was selected, which NOTIFY does not report. Raises FolderError if it
        cannot be opened any more.
        """
        assert self.selected is not None, "nothing is selected"
        wire_name = self.selected
        self._leave(None)
        status = self.push.look_back(self._mailbox, wire_name)
        self._mailbox.reset()
        return status

    @property
    def can_look_back(self) -> bool:
        """Whether the selected mailbox is the only one that was selected since NOTIFY."""
        return (
            self.selected is not None
            and self.push.examined == {self.selected}
            and "UNSELECT" in self._capabilities
            and not isinstance(astring(self.selected), LiteralArgument)
        )

    def idle(self, wire_name: bytes) -> MailboxStatus:
        """EXAMINE a mailbox and ask for reports of its changes; returns its status, without ``unseen``.

        Raises FolderError if the mailbox cannot be opened. A server that refuses IDLE says so later. Hints
        from before are forgotten.
        """
        self._leave(wire_name)
        status = self.push.idle(self._mailbox, wire_name)
        self.selected = wire_name
        self.push.enter(wire_name)
        return status

    # -- messages ----------------------------------------------------------------------------------

    def search(self, *, uids: UidSet | None = None, since: date | None = None) -> UidSet:
        """Return the UIDs in the selected folder, limited to `uids` and to messages `since` a day if given.

        ``UID SEARCH RETURN (ALL) …`` (RFC 4731) where offered: ``* ESEARCH (TAG "a1") UID ALL 1:99``. A
        server that processes only some messages a command (RFC 9738), or cuts its answers, is asked for the
        rest by ranges of UIDs. Raises ProtocolError if the answer is missing although the folder holds
        messages, or if it names far more messages than the folder holds. Raises OutOfTokens if the commands
        do not suffice; the same search then continues where it stopped.
        """
        if uids is None:
            return self._searches.all(self.selected, since)
        return self._searches.among(self.selected, uids, since)

    def search_newest(self, highest: int, since: date | None = None) -> tuple[UidSet, int]:
        """Return the newest UIDs up to `highest`, and the UID from which on they are complete.

        That UID is 1 unless the server says that it stopped above (RFC 9738). Raises as :meth:`search`.
        """
        return self._searches.newest(self.selected, highest, since)

    def answered(self, uids: UidSet) -> UidSet:
        """Return those of `uids` that FETCH answers, as a second opinion on SEARCH."""
        return self._searches.answered(uids)

    def fetch_messages(
        self, batches: Iterable[UidSet], detail: Detail = Detail.FULL, prefetch: bool = True
    ) -> Generator[Batch, None, None]:
        """Yield a :class:`Batch` for each set of UIDs (SPEC §9.4, §9.5).

        With `prefetch`, the next set is taken from `batches` and its command sent before a batch is yielded;
        an error in doing so is raised after that batch. A generator that is closed early drains what is in
        flight, or closes the session.
        """
        return self.fetcher(detail).run(batches, prefetch)

    def fetcher(self, detail: Detail = Detail.FULL) -> Fetcher:
        """Return a :class:`Fetcher`, which sends commands and receives their batches in separate calls."""
        return Fetcher(self._connection, detail, self._capabilities)

    def fetch_flags(
        self, uids: UidSet, *, changed_since: int | None = None, vanished: bool = False
    ) -> FlagChanges:
        """Return flags of `uids`, or only those changed since a MODSEQ above 0 (RFC 7162 §3.1.4).

        With `vanished`, which needs QRESYNC, also return which of `uids` have vanished since then. Nothing is
        sent before ``states`` is iterated.
        """
        modifier = []
        if changed_since is not None:
            if changed_since <= 0:
                raise ValueError("CHANGEDSINCE 0 is forbidden")
            modifier = [b"(CHANGEDSINCE %d%s)" % (changed_since, b" VANISHED" if vanished else b"")]
        items = b"(UID FLAGS MODSEQ)" if "CONDSTORE" in self._capabilities else b"(UID FLAGS)"
        changes = FlagChanges(iter(()))
        changes.states = self._scan(uids, items, modifier, changes)
        return changes

    def fetch_states(self, uids: UidSet) -> Iterator[list[MessageState]]:
        """Yield flags, date and size of `uids`, in lists of at most 5,000."""
        return self._scan(uids, b"(UID FLAGS INTERNALDATE RFC822.SIZE)")

    def _scan(
        self, uids: UidSet, items: bytes, modifier: Iterable[bytes] = (), changes: FlagChanges | None = None
    ) -> Iterator[list[MessageState]]:
        expected = min(len(uids), most_messages(self.exists))
        return scan(self._connection, self._capabilities, uids, items, modifier, expected, changes)

    def fetch_part(self, uid: int, section: str, offset: int, count: int) -> bytes:
        """Return up to `count` bytes of a section from `offset`, by BODY.PEEK[section]<offset.count>.

        Fewer than `count` bytes mean the end of the section. Raises ProtocolError if the answer is missing.
        """
        return commands.fetch_part(self._connection, uid, checked_section(section), offset, count)[0]

    def fetch_beginning(self, uid: int, section: str, count: int) -> tuple[bytes, MessageState]:
        """As :meth:`fetch_part` from 0, with the message's date and size where the server gives them."""
        return commands.fetch_part(self._connection, uid, checked_section(section), 0, count, with_state=True)
