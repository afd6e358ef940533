"""The UIDs that exist in the selected folder: SEARCH, and what completes an answer that the server cut."""

from __future__ import annotations

from datetime import date

from mailsync.errors import ProtocolError
from mailsync.imap import commands
from mailsync.imap.arguments import search_date
from mailsync.imap.bounds import BIGGEST, LONGEST_SET, MOST_RANGES, most_messages
from mailsync.imap.capabilities import Capabilities
from mailsync.imap.connection import Connection
from mailsync.imap.fetch_flags import scan
from mailsync.imap.message_limit import Cut, RangeSearch, SearchAnswer
from mailsync.imap.selected import SelectedMailbox
from mailsync.uidset import LARGEST_UID, Range, UidSet

_Key = tuple[bytes | None, int | None, str, date | None]
"""The folder, its UIDVALIDITY, and the criteria of a search."""


class Searches:
    """Searches over a connection whose selected folder is `mailbox`."""

    def __init__(self, connection: Connection, capabilities: Capabilities, mailbox: SelectedMailbox) -> None:
        self._connection = connection
        self._capabilities = capabilities
        self._mailbox = mailbox
        self._unfinished: dict[_Key, RangeSearch] = {}

    def all(self, folder: bytes | None, since: date | None) -> UidSet:
        """Return all messages that the server shows; with `since` only those of that day and later.

        Without `since` they should be as many as EXISTS says. If SEARCH finds fewer, it is sent once more,
        since messages may have come or gone meanwhile, and then for the UIDs that it did not name. At last
        FETCH is asked for these UIDs. With `since` no number shows how many they should be, so the server is
        asked until it finds no more below and above. Raises ProtocolError if the answer is missing although
        the folder holds messages, or if it names far more messages than the folder holds. Raises OutOfTokens
        if the commands do not suffice; the next search of `folder` in this session then continues.
        """
        key = self._key(folder, "ALL", since)
        search = self._unfinished.pop(key, None)
        if search is not None:
            search.ask_above()
        else:
            answer = self._search(_criteria(None, since))
            is_usual = self._capabilities.message_limit is None and answer.cut is None
            if since is None and is_usual and len(answer.uids) < self._mailbox.exists:
                answer = self._search(_criteria(None, since))
            answer = self._doubted(answer, since)
            if answer.cut is None and (since or len(answer.uids) >= self._mailbox.exists):
                limit = self._capabilities.message_limit
                if since is None or limit is None or len(answer.uids) < limit:
                    return self._checked(answer.uids)
            search = RangeSearch(self._everything(), answer, self._capabilities.message_limit)
        uids = self._completed(key, search, exists=None if since else self._mailbox.exists)
        if since is None and len(uids) < self._mailbox.exists:
            uids = uids.union(self.answered(UidSet([(1, LARGEST_UID)]).minus(uids)))
        return self._checked(uids)

    def among(self, folder: bytes | None, uids: UidSet, since: date | None) -> UidSet:
        """Return those of `uids` that exist, and that are of the day `since` or later if it is given.

        Raises as :meth:`all` does.
        """
        existing = UidSet()
        within = (uids.lowest, uids.highest)
        limit = self._capabilities.message_limit
        for part in uids.to_commands(LONGEST_SET):
            key = self._key(folder, part, since)
            search = self._unfinished.pop(key, None)
            if search is None:
                answer = self._doubted(self._search(_criteria(part, since), within), since)
                if answer.cut is None and (limit is None or len(answer.uids) < limit):
                    existing = existing.union(answer.uids)
                    continue
                search = RangeSearch(UidSet.parse(part), answer, limit)
            existing = existing.union(self._completed(key, search, exists=None))
        return self._checked(existing.both(uids) if len(uids.ranges) > 1 else existing)

    def newest(self, folder: bytes | None, highest: int, since: date | None) -> tuple[UidSet, int]:
        """Return the existing UIDs from some UID up to `highest`, and that UID.

        It is 1 unless the server says that it stopped above. Raises as :meth:`all` does.
        """
        asked = UidSet([(1, highest)])
        if self._capabilities.message_limit is not None:
            answer = self._search(_criteria(str(asked), since), (1, highest))
            lowest = answer.cut.lowest if answer.cut else None
            if answer.uids and lowest is not None and 1 < lowest <= answer.uids.lowest:
                return answer.uids, lowest
        return self.among(folder, asked, since), 1

    def _doubted(self, answer: SearchAnswer, since: date | None) -> SearchAnswer:
        """Return the answer to a search by day as one that may be cut, unless the server says so itself."""
        is_whole = len(answer.uids) >= self._mailbox.exists
        if (
            since is None
            or is_whole
            or answer.cut is not None
            or self._capabilities.message_limit is not None
        ):
            return answer
        return SearchAnswer(answer.uids, Cut(is_silent=True)) if answer.uids else answer

    def _completed(self, key: _Key, search: RangeSearch, exists: int | None) -> UidSet:
        since = key[-1]

        def ask(uids: UidSet) -> SearchAnswer:
            (part,) = uids.to_commands(LONGEST_SET)
            # some servers do not answer at all if they find nothing; EXISTS shows whether they found too few
            is_optional = exists is not None or since is not None
            answer = self._search(_criteria(part, since), (uids.lowest, uids.highest), is_optional)
            return self._doubted(answer, since)

        bucket = self._connection.bucket
        if not search.run(
            ask,
            exists=exists,
            limit=self._capabilities.message_limit,
            may_ask=lambda: bucket.tokens >= bucket.floor + 1,
        ):
            # one search is enough, because turns work on one folder after the other
            self._unfinished = {key: search}
            raise bucket.out_of_tokens()
        return search.found

    def _key(self, folder: bytes | None, criteria: str, since: date | None) -> _Key:
        return folder, self._mailbox.status().uidvalidity, criteria, since

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
            # SEARCH may be right: some servers refuse a range that holds no message
            if self._connection.closed:
                raise
        return found if asked is uids else found.both(uids)

    def _search(
        self, criteria: bytes, within: Range = (1, BIGGEST), is_optional: bool = False
    ) -> SearchAnswer:
        def send() -> SearchAnswer | None:
            is_extended = "ESEARCH" in self._capabilities
            # a set has no more ranges than UIDs
            most = min(MOST_RANGES, most_messages(self._mailbox.exists))
            return commands.search(self._connection, criteria, is_extended, within, most)

        answer = self._capabilities.without_broken_extension(send, "ESEARCH")
        if answer is None and self._mailbox.exists and not is_optional:
            raise ProtocolError("SEARCH: the answer is missing")
        if answer is not None and answer.cut is not None:
            self._capabilities.note_limit(answer.cut)
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
