"""One logged-in conversation with a server: a method per question the engine asks."""

from __future__ import annotations

import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from functools import partial
from types import TracebackType
from typing import TypeVar

from mailsync.errors import ProtocolError
from mailsync.imap.arguments import astring, day
from mailsync.imap.bounds import MOST_RANGES
from mailsync.imap.commands import ask_list, ask_list_status, ask_part, ask_search, ask_status
from mailsync.imap.fetch_flags import FlagChanges, read_states
from mailsync.imap.fetch_messages import LONGEST_SET, Batch, Fetcher
from mailsync.imap.imapclient_adapter import Client
from mailsync.imap.network.timeouts import Timeouts
from mailsync.imap.parsing.message import Detail
from mailsync.imap.parsing.search_response import BIGGEST
from mailsync.imap.selected import Mailbox
from mailsync.imap.token_bucket import TokenBucket
from mailsync.model import ListedFolder, Listing, MailboxStatus, MessageState
from mailsync.uidset import Range, UidSet

log = logging.getLogger(__name__)
T = TypeVar("T")

_ARRIVALS = 10_000
"""Messages that may arrive in a folder after the server said how many it holds."""

_SECTION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)*(?:\.(?:MIME|HEADER|TEXT))?|HEADER|TEXT|)")


class Session:
    """A connection that is logged in; made by :func:`mailsync.imap.open_session`.

    Every method may raise Transient (the connection is then closed), Throttled, ProtocolError, and
    OutOfTokens before it sends anything. What ``on_wait`` raises passes through, after closing.
    """

    def __init__(self, client: Client, capabilities: frozenset[str], enabled: frozenset[str]) -> None:
        self._client = client
        self._wire = wire = client.wire
        self._offered = capabilities
        self._hidden: frozenset[str] = frozenset()
        self._enabled = enabled
        self._mailbox = Mailbox()
        self.opened_at = time.monotonic()
        self.selected: bytes | None = None
        self.opening: bytes | None = None
        """The folder of the last EXAMINE, even if the server refused it; None after UNSELECT."""
        self.listed: object = None
        wire.unasked = self._mailbox.take

    # -- the connection ----------------------------------------------------------------------------

    @property
    def capabilities(self) -> frozenset[str]:
        """What the server offers, in upper case, less what it turned out not to know."""
        return self._offered - self._hidden

    @property
    def has_list_status(self) -> bool:
        """Whether one command gives the status of all folders (RFC 5819)."""
        return "LIST-STATUS" in self.capabilities

    @property
    def has_vanished(self) -> bool:
        """Whether CHANGEDSINCE can tell what was deleted, too: QRESYNC (RFC 7162 §3.2) is enabled."""
        return "QRESYNC" in self._enabled and "QRESYNC" in self.capabilities

    @property
    def commands(self) -> Counter[str]:
        """How many commands were sent, by name without UID."""
        return self._wire.commands

    @property
    def bytes_in(self) -> int:
        """The bytes received, as IMAP, without TLS."""
        return self._wire.reader.bytes_in

    @property
    def closed(self) -> bool:
        """Whether the connection was closed, by :meth:`close` or by an error."""
        return self._wire.closed

    @property
    def exists(self) -> int:
        """The messages in the EXAMINEd mailbox, as of the last response."""
        return self._mailbox.exists

    def resume(
        self,
        bucket: TokenBucket,
        on_wait: Callable[[], None],
        on_begin: Callable[[str], None] = lambda doing: None,
    ) -> None:
        """Arm a kept session for another turn, with callbacks as :func:`mailsync.imap.open_session` has."""
        self._wire.bucket = bucket
        self._wire.timeouts.on_wait = on_wait
        self._wire.timeouts.on_begin = on_begin
        self._wire.timeouts.renew()

    def rest(self) -> None:
        """Keep next to no memory until the next turn; closes if the server has sent much unasked."""
        self._wire.rest()

    def alive(self) -> bool:
        """Whether the peer has neither closed the connection nor said BYE meanwhile; costs no command."""
        return self._wire.alive()

    def check_budget(self) -> None:
        """Raise OutOfTokens if no command may be sent now."""
        self._wire.bucket.check()

    @property
    def commands_left(self) -> int:
        """How many commands may be sent now, what has to stay for others set aside."""
        bucket = self._wire.bucket
        return max(0, int(bucket.tokens - bucket.floor))

    @contextmanager
    def deadline(self, seconds: float) -> Iterator[None]:
        """Bound all waiting inside together; past it the session closes and Transient is raised."""
        with self._patience.deadline(seconds):
            yield

    @property
    def _patience(self) -> Timeouts:
        return self._wire.timeouts

    def close(self) -> None:
        """Close the socket, without LOGOUT."""
        self._wire.shutdown()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- folders -----------------------------------------------------------------------------------

    def list_folders(self) -> list[ListedFolder]:
        """Return the folders, with SPECIAL-USE where offered (RFC 6154); each row is read for itself.

        Raises ProtocolError for an empty list, since every mailbox has an INBOX.
        """

        def ask() -> list[ListedFolder]:
            special = {"SPECIAL-USE", "LIST-EXTENDED"} <= self.capabilities
            return ask_list(self._wire, b"(SPECIAL-USE)" if special else b"")

        return self._unless_a_lie(ask, "SPECIAL-USE")

    def list_status(self) -> Listing:
        """Return the names and the status of all folders by one command (RFC 5819); UNSELECTs first.

        A folder that is listed without a status is unknown, not missing. If the server answers BAD,
        ProtocolError is raised and :attr:`has_list_status` is False from then on.
        """
        self.unselect()
        ask = partial(self._with_items, lambda items: ask_list_status(self._wire, items))
        try:
            return self._unless_a_lie(ask, "OBJECTID", "CONDSTORE")
        except ProtocolError:
            if self._wire.reply.status == "BAD":
                self._hide(frozenset({"LIST-STATUS"}))
            raise

    def status(self, wire_name: bytes) -> MailboxStatus:
        """Return the status of one folder by STATUS; UNSELECTs first if it is the one that is selected.

        Raises FolderError if the server refuses, ProtocolError if it says nothing of the folder.
        """
        if self.selected == wire_name:
            self.unselect()
        ask = partial(self._with_items, lambda items: ask_status(self._wire, wire_name, items))
        return self._unless_a_lie(ask, "OBJECTID", "CONDSTORE")

    def _with_items(self, ask: Callable[[bytes], T]) -> T:
        items = b"MESSAGES UIDNEXT UIDVALIDITY UNSEEN"
        if "CONDSTORE" in self.capabilities:
            items += b" HIGHESTMODSEQ"
        if "OBJECTID" in self.capabilities:
            items += b" MAILBOXID"
        return ask(b"(%s)" % items)

    def examine(self, wire_name: bytes) -> MailboxStatus:
        """Open a folder read-only (RFC 9051 §6.3.3) and return what the server says of it.

        ``unseen`` is always None here. Raises FolderError if the server refuses; then nothing is selected.
        """

        def ask() -> None:
            condstore = "CONDSTORE" in self.capabilities and not self._enabled & {"CONDSTORE", "QRESYNC"}
            self._mailbox.restart()
            self._wire.run("EXAMINE", astring(wire_name), *([b"(CONDSTORE)"] if condstore else []))

        self.selected = None
        self.opening = wire_name
        self._unless_a_lie(ask, *(() if self._enabled else ("CONDSTORE",)))
        self.selected = wire_name
        self._client.opened()
        return self._mailbox.status()

    def unselect(self) -> None:
        """Leave the folder by UNSELECT (RFC 3691), or CLOSE, which after EXAMINE removes nothing either."""
        if self.selected is None:
            return
        self.selected = self.opening = None
        self._client.leave("UNSELECT" in self.capabilities)
        self._mailbox.restart()

    # -- messages ----------------------------------------------------------------------------------

    def search(self, *, uids: UidSet | None = None, since: date | None = None) -> UidSet:
        """Return the UIDs that exist in the EXAMINEd folder, of `uids` if given, since a day if given.

        ``UID SEARCH RETURN (ALL) …`` (RFC 4731) where offered: ``* ESEARCH (TAG "a1") UID ALL 1:99``.
        Raises ProtocolError if the answer is missing though the folder holds messages: that is no proof
        of their absence; also for far more than the folder holds.
        """
        window = b"SINCE " + day(since) if since else b""
        if uids is None:
            return self._believable(self._search(window or b"ALL"))
        found = UidSet()
        for part in uids.to_commands(LONGEST_SET):
            criteria = (b"UID %s " % part.encode("ascii") + window).strip()
            found = found.union(self._search(criteria, (uids.lowest, uids.highest)))
        return self._believable(found.both(uids) if len(uids.ranges) > 1 else found)

    def _believable(self, found: UidSet) -> UidSet:
        if self.exists and len(found) > 2 * self.exists + _ARRIVALS:
            raise ProtocolError(
                f"SEARCH: the answer names {len(found)} messages; the folder has {self.exists}"
            )
        return found

    def _search(self, criteria: bytes, within: Range = (1, BIGGEST)) -> UidSet:
        # no folder has more ranges than messages, and few arrive or go meanwhile
        most = min(MOST_RANGES, 2 * self.exists + _ARRIVALS) if self.exists else MOST_RANGES

        def ask() -> UidSet | None:
            extended = "ESEARCH" in self.capabilities
            return ask_search(self._wire, criteria, extended=extended, within=within, most=most)

        found = self._unless_a_lie(ask, "ESEARCH")
        if found is None and self.exists:
            raise ProtocolError("SEARCH: the answer is missing")
        return found or UidSet()

    def fetch_messages(
        self, batches: Iterable[UidSet], detail: Detail = Detail.FULL, prefetch: bool = True
    ) -> Generator[Batch, None, None]:
        """Yield a :class:`Batch` for each set of UIDs (SPEC §9.4, §9.5).

        With `prefetch` the next set is taken from `batches` and its command sent before a batch is yielded:
        end `batches` to end it. An error in taking or sending it is raised after the batch in hand was
        yielded. A generator that is closed early drains what is in flight, or closes the session.
        """
        return Fetcher(self._wire, detail, lambda: self.capabilities, self._hide).run(batches, prefetch)

    def fetch_flags(
        self, uids: UidSet, *, changed_since: int | None = None, vanished: bool = False
    ) -> FlagChanges:
        """Return flags of `uids`, or only those changed since a MODSEQ (RFC 7162 §3.1.4).

        With `vanished`, which needs QRESYNC, also the UIDs of the set that went since then. Nothing is sent
        before ``states`` is iterated. `changed_since` must be above 0.
        """
        modifier = []
        if changed_since is not None:
            if changed_since <= 0:
                raise ValueError("CHANGEDSINCE 0 is forbidden")
            modifier = [b"(CHANGEDSINCE %d%s)" % (changed_since, b" VANISHED" if vanished else b"")]
        condstore = "CONDSTORE" in self.capabilities
        items = b"(UID FLAGS MODSEQ)" if condstore else b"(UID FLAGS)"
        changes = FlagChanges(iter(()))
        changes.states = self._states(uids, items, modifier, changes)
        return changes

    def fetch_states(self, uids: UidSet) -> Iterator[list[MessageState]]:
        """Yield flags, date and size of `uids`, in lists of at most 5,000."""
        return self._states(uids, b"(UID FLAGS INTERNALDATE RFC822.SIZE)", [], None)

    def _states(
        self, uids: UidSet, items: bytes, modifier: list[bytes], changes: FlagChanges | None
    ) -> Iterator[list[MessageState]]:
        expected = min(len(uids), 2 * self.exists + _ARRIVALS) if self.exists else len(uids)
        try:
            for part in uids.to_commands(LONGEST_SET):
                self._wire.start("UID FETCH", part.encode("ascii"), items, *modifier)
                yield from read_states(self._wire, uids, expected, changes)
        except ProtocolError:
            if modifier and self._wire.reply.status == "BAD":
                self._hide(frozenset({"QRESYNC"} if b"VANISHED" in modifier[0] else {"QRESYNC", "CONDSTORE"}))
            raise
        finally:
            self._wire.drain()

    def fetch_part(self, uid: int, section: str, offset: int, count: int) -> bytes:
        """Return up to `count` bytes of a section from `offset`, by BODY.PEEK[section]<offset.count>.

        Less than `count` is the end of the section. Raises ProtocolError if the server does not answer.
        """
        return ask_part(self._wire, uid, _checked(section), offset, count)[0]

    def fetch_beginning(self, uid: int, section: str, count: int) -> tuple[bytes, MessageState]:
        """As :meth:`fetch_part` from 0, with the message's date and size as far as the server tells them."""
        return ask_part(self._wire, uid, _checked(section), 0, count, identified=True)

    # -- capabilities that are none ----------------------------------------------------------------

    def _unless_a_lie(self, ask: Callable[[], T], *capabilities: str) -> T:
        """Ask; where the server answers BAD, ask again without one after the other of `capabilities`."""
        for capability in capabilities:
            try:
                return ask()
            except ProtocolError:
                if self._wire.reply.status != "BAD" or capability not in self.capabilities:
                    raise
                log.warning(
                    "The server offers %s and does not know it: %s",
                    capability,
                    self._wire.reply.words,
                    extra={"action": "fall_back"},
                )
                self._hide(frozenset({capability}))
        return ask()

    def _hide(self, capabilities: frozenset[str]) -> None:
        self._hidden |= capabilities


def _checked(section: str) -> str:
    if not _SECTION.fullmatch(section):
        raise ValueError("section: expected a part number, HEADER, TEXT or nothing")
    return section
