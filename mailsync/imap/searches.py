"""The UIDs that exist in the selected folder: SEARCH, whatever part of its answer the server leaves out."""

from __future__ import annotations

from datetime import date

from mailsync.errors import ProtocolError
from mailsync.imap import commands
from mailsync.imap.arguments import search_date
from mailsync.imap.bounds import BIGGEST, LONGEST_SET, MOST_RANGES, most_messages
from mailsync.imap.capabilities import Capabilities
from mailsync.imap.connection import Connection
from mailsync.imap.fetch_flags import scan
from mailsync.imap.message_limit import SearchAnswer, View, complete
from mailsync.imap.selected import SelectedMailbox
from mailsync.uidset import LARGEST_UID, Range, UidSet

_RESERVE = 0.5
"""The share of the commands left that searches by ranges leave to the rest of the turn."""


class Searches:
    """Searches over a connection whose selected folder is `mailbox`."""

    def __init__(self, connection: Connection, capabilities: Capabilities, mailbox: SelectedMailbox) -> None:
        self._connection = connection
        self._capabilities = capabilities
        self._mailbox = mailbox

    def all(self, since: date | None) -> View:
        """Return all messages that the server shows; with `since` only those of that day and later.

        Without `since` they should be as many as EXISTS says. If SEARCH finds fewer, it is sent once more,
        since messages may have come or gone meanwhile, and then for the UIDs that it did not name. At last
        FETCH is asked for these UIDs. Raises ProtocolError if the answer is missing although the folder holds
        messages, or if it names far more messages than the folder holds.
        """
        answer = self._search(_criteria(None, since))
        if since is not None:
            return self._completed(answer, self._everything(), since, exists=None)
        is_usual = self._capabilities.message_limit is None and answer.cut is None
        if is_usual and len(answer.uids) < self._mailbox.exists:
            answer = self._search(_criteria(None, since))
        if answer.cut is None and len(answer.uids) >= self._mailbox.exists:
            return View(self._checked(answer.uids))
        view = self._completed(answer, self._everything(), since, exists=self._mailbox.exists)
        if view.is_finished and len(view.uids) < self._mailbox.exists:
            hidden = UidSet([(1, LARGEST_UID)]).minus(view.uids)
            view = View(view.uids.union(self.answered(hidden)))
        return View(self._checked(view.uids), view.is_finished)

    def among(self, uids: UidSet, since: date | None) -> View:
        """Return those of `uids` that exist, and that are of the day `since` or later if it is given."""
        existing, is_finished = UidSet(), True
        within = (uids.lowest, uids.highest)
        for part in uids.to_commands(LONGEST_SET):
            answer = self._search(_criteria(part, since), within)
            asked = UidSet.parse(part)
            view = self._completed(answer, asked, since, exists=None)
            existing, is_finished = existing.union(view.uids), is_finished and view.is_finished
        existing = existing.both(uids) if len(uids.ranges) > 1 else existing
        return View(self._checked(existing), is_finished)

    def _completed(self, answer: SearchAnswer, asked: UidSet, since: date | None, exists: int | None) -> View:
        def ask(uids: UidSet) -> SearchAnswer:
            (part,) = uids.to_commands(LONGEST_SET)
            return self._search(_criteria(part, since), (uids.lowest, uids.highest))

        limit = self._capabilities.message_limit
        if exists is None and answer.cut is None and (limit is None or len(answer.uids) < limit):
            return View(answer.uids)
        bucket = self._connection.bucket
        reserve = bucket.floor + _RESERVE * (bucket.tokens - bucket.floor)
        return complete(
            ask,
            asked,
            answer,
            exists=exists,
            limit=limit,
            may_ask=lambda: bucket.tokens > reserve + 1,
        )

    def _everything(self) -> UidSet:
        uidnext = self._mailbox.status().uidnext or 0
        return UidSet([(1, uidnext - 1 if 1 < uidnext <= LARGEST_UID else LARGEST_UID)])

    def answered(self, uids: UidSet) -> UidSet:
        """Return those of `uids` that ``UID FETCH 1:9 (UID)`` answers."""
        asked = uids if len(str(uids)) <= LONGEST_SET else UidSet([(uids.lowest, uids.highest)])
        expected = most_messages(self._mailbox.exists)
        found = UidSet()
        try:
            for states in scan(self._connection, self._capabilities, asked, b"(UID)", (), expected, None):
                found = found.union(UidSet.of(state.uid for state in states))
        except ProtocolError:
            # SEARCH may be right, and the server refuse a range in which there is no message
            if self._connection.closed:
                raise
        return found if asked is uids else found.both(uids)

    def _search(self, criteria: bytes, within: Range = (1, BIGGEST)) -> SearchAnswer:
        def send() -> SearchAnswer | None:
            is_extended = "ESEARCH" in self._capabilities
            # a set has no more ranges than UIDs
            most = min(MOST_RANGES, most_messages(self._mailbox.exists))
            return commands.search(self._connection, criteria, is_extended, within, most)

        answer = self._capabilities.without_broken_extension(send, "ESEARCH")
        if answer is None and self._mailbox.exists:
            raise ProtocolError("SEARCH: the answer is missing")
        if answer is not None and answer.cut is not None:
            self._capabilities.note_limit(answer.cut.limit)
        return answer or SearchAnswer(UidSet())

    def _checked(self, uids: UidSet) -> UidSet:
        if len(uids) > most_messages(self._mailbox.exists):
            raise ProtocolError(
                f"SEARCH: the answer names {len(uids)} messages; the folder has {self._mailbox.exists}"
            )
        return uids


def _criteria(part: str | None, since: date | None) -> bytes:
    """Return the search key for a sequence set and a day, either of which may be None."""
    keys = [] if part is None else [b"UID", part.encode("ascii")]
    if since is not None:
        keys += [b"SINCE", search_date(since)]
    return b" ".join(keys) or b"ALL"
