"""Commands that are asked and answered at once: LIST, STATUS, SEARCH, and FETCH of one part.

Each function sends one command over a :class:`Wire`, picks its answer from the untagged responses, and leaves
the others to the mailbox. A completion other than OK is raised as :func:`error_for` classes it.
"""

from __future__ import annotations

import logging
import re

from mailsync.errors import ProtocolError
from mailsync.imap.arguments import astring
from mailsync.imap.bounds import LONGEST_LIST, MOST_FOLDERS, MOST_RANGES
from mailsync.imap.connection import Wire
from mailsync.imap.parsing.fetch_response import is_fetch, parse_fetch
from mailsync.imap.parsing.list_response import is_list, listed_name, parse_list, parse_status
from mailsync.imap.parsing.message import build_state
from mailsync.imap.parsing.search_response import BIGGEST, is_search, parse_search
from mailsync.imap.status_responses import quoted
from mailsync.model import ListedFolder, Listing, MailboxStatus, MessageState
from mailsync.uidset import Range, TooManyRanges, UidSet

log = logging.getLogger(__name__)

_MOST_SAID = 5
_PART = re.compile(rb"BODY\[[^\[\]]*+\](?:<(\d{1,18})>)?", re.IGNORECASE)


class _Names:
    """The names in a list of folders; too many of them close the connection and raise SentTooMuch."""

    def __init__(self, wire: Wire) -> None:
        self.known: set[bytes] = set()
        self._wire = wire
        self._left = LONGEST_LIST

    def note(self, name: bytes) -> bool:
        """Add a name; returns whether it is new."""
        if name in self.known:
            return False
        if len(self.known) >= MOST_FOLDERS:
            raise self._wire.too_much(f"{MOST_FOLDERS:,} folders")
        self._left -= len(name)
        if self._left < 0:
            raise self._wire.too_much(f"{LONGEST_LIST // 2**20} MiB of folders' names")
        self.known.add(name)
        return True


def ask_list(wire: Wire, options: bytes) -> list[ListedFolder]:
    r"""Ask ``LIST "" "*" RETURN (SPECIAL-USE)``: ``* LIST (\Sent) "/" "Sent Items"``.

    `options` is the parenthesis after RETURN, or nothing. A row that names no folder is dropped with a log
    line, a second one for the same name silently. Raises ProtocolError if there is no row at all, and
    SentTooMuch for more folders than :data:`MOST_FOLDERS`.
    """
    found: dict[bytes, ListedFolder] = {}
    names = _Names(wire)
    dropped = 0

    def claim(parts: list[bytes]) -> bool:
        nonlocal dropped
        if not is_list(parts):
            return False
        row = None if wire.reader.oversized else parse_list(parts)
        if row is None:
            dropped += 1
            if dropped <= _MOST_SAID:
                words = quoted(parts[0], wire.mask)
                log.warning("A LIST row is dropped: %s", words, extra={"action": "list"})
        elif names.note(row.wire_name):
            found[row.wire_name] = row
        return True

    wire.run("LIST", b'""', b'"*"', *([b"RETURN", options] if options else []), claim=claim)
    if dropped > _MOST_SAID:
        log.warning("%d LIST rows are dropped in all", dropped, extra={"action": "list"})
    if not found:
        raise ProtocolError("LIST: the server lists no folder at all", step="list")
    return list(found.values())


def ask_list_status(wire: Wire, items: bytes) -> Listing:
    """Ask ``LIST "" "*" RETURN (STATUS (…))`` (RFC 5819); one STATUS row follows each LIST row.

    The status of what was not listed before is dropped. Raises SentTooMuch as :func:`ask_list` does.
    """
    names = _Names(wire)
    statuses: dict[bytes, MailboxStatus] = {}

    def claim(parts: list[bytes]) -> bool:
        if is_list(parts):
            name = None if wire.reader.oversized else listed_name(parts)
            if name:
                names.note(name)
            return True
        row = None if wire.reader.oversized else parse_status(parts)
        if row is not None and row[0] in names.known:
            statuses[row[0]] = row[1]
        return row is not None

    wire.run("LIST", b'""', b'"*"', b"RETURN", b"(STATUS %s)" % items, claim=claim)
    return Listing(frozenset(names.known), statuses)


def ask_status(wire: Wire, wire_name: bytes, items: bytes) -> MailboxStatus:
    """Ask ``STATUS "Sent Items" (MESSAGES …)``; raises ProtocolError if the answer is missing.

    Some servers spell the name otherwise in their answer, so the last row counts if none has the name.
    """
    found: list[MailboxStatus] = []
    last: list[MailboxStatus] = []

    def claim(parts: list[bytes]) -> bool:
        row = None if wire.reader.oversized else parse_status(parts)
        if row is not None:
            last[:] = [row[1]]
            if row[0] == wire_name:
                found[:] = last
        return row is not None

    wire.run("STATUS", astring(wire_name), items, claim=claim)
    if not last:
        raise ProtocolError("STATUS: the answer is missing")
    return (found or last)[0]


def ask_search(
    wire: Wire, criteria: bytes, *, extended: bool, within: Range = (1, BIGGEST), most: int = MOST_RANGES
) -> UidSet | None:
    """Ask ``UID SEARCH RETURN (ALL) …`` (RFC 4731), or plain UID SEARCH; None if the answer is missing.

    The answer may come in several lines. Raises ProtocolError for one that is too long or none, and
    SentTooMuch for more than `most` ranges. UIDs that are not `within` the range that was asked for are left
    out.
    """
    found: list[UidSet] = []
    left = most

    def claim(parts: list[bytes]) -> bool:
        nonlocal left
        if wire.reader.oversized and is_search(parts):
            raise ProtocolError(f"SEARCH: the answer holds {wire.reader.oversized}")
        try:
            uids = parse_search(parts, left, within)
        except TooManyRanges as error:
            raise wire.too_much(f"{most:,} ranges of messages") from error
        except ValueError as error:
            raise ProtocolError("SEARCH: the answer cannot be understood") from error
        if uids is not None:
            left -= len(uids.ranges)
            if uids or not found:
                found.append(uids)
        return uids is not None

    wire.run("UID SEARCH", *([b"RETURN", b"(ALL)"] if extended else []), criteria, claim=claim)
    if not found:
        return None
    return found[0] if len(found) == 1 else UidSet(each for uids in found for each in uids.ranges)


def ask_part(
    wire: Wire, uid: int, section: str, offset: int, count: int, *, identified: bool = False
) -> tuple[bytes, MessageState]:
    """Ask ``UID FETCH 7 (UID BODY.PEEK[1.2]<0.65536>)``: ``* 3 FETCH (UID 7 BODY[1.2]<0> {9}…)``.

    With `identified` the message's date and size are asked for too. Raises ProtocolError if the answer is
    missing or not the bytes of a part from `offset` on.
    """
    found: list[tuple[bytes, MessageState]] = []

    def claim(parts: list[bytes]) -> bool:
        if not is_fetch(parts):
            return False
        fields = parse_fetch(parts)
        if fields.get(b"UID") != b"%d" % uid or b"BODY[]" not in fields:
            return False
        value = fields[b"BODY[]"]
        if wire.reader.oversized or isinstance(value, list):
            raise ProtocolError("FETCH: the part is not what was asked for")
        if not found:
            found.append((_from(parts[0], value or b"", offset, count), build_state(uid, fields)))
        return True

    more = "INTERNALDATE RFC822.SIZE " if identified else ""
    item = f"(UID {more}BODY.PEEK[{section}]<{offset}.{count}>)".encode("ascii")
    wire.run("UID FETCH", b"%d" % uid, item, claim=claim)
    if not found:
        raise ProtocolError("FETCH: the message was not answered")
    return found[0]


def _from(told: bytes, data: bytes, offset: int, count: int) -> bytes:
    """The bytes of the range; `told` says where they begin (RFC 9051 §7.5.2), if the server does."""
    part = _PART.search(told)
    origin = part[1] if part else None
    if origin is None:
        # a server that knows no ranges answers with all there is, whatever is asked for
        return data[offset : offset + count] if len(data) > count else data
    if int(origin) != offset:
        raise ProtocolError(f"FETCH: asked for bytes from {offset} on, answered from {int(origin)} on")
    return data[:count]
