"""Commands that are asked and answered at once: LIST, STATUS, SEARCH, and FETCH of one part.

Each function sends one command over a :class:`Wire`, picks its answer from the untagged responses, and leaves
the others to the mailbox. A completion other than OK is raised as :func:`error_for` classes it.
"""

from __future__ import annotations

import logging
import re

from mailsync.errors import ProtocolError
from mailsync.imap.arguments import astring
from mailsync.imap.listing import is_list, listed_name, parse_list, parse_status
from mailsync.imap.messages import build_state
from mailsync.imap.replies import quoted
from mailsync.imap.searching import is_search, parse_search
from mailsync.imap.tokenizer import is_fetch, parse_fetch
from mailsync.imap.wire import Wire
from mailsync.model import ListedFolder, Listing, MailboxStatus, MessageState
from mailsync.uids import UidSet

log = logging.getLogger(__name__)

_PART = re.compile(rb"BODY\[[^\[\]]*+\](?:<(\d{1,18})>)?", re.IGNORECASE)


def ask_list(wire: Wire, options: bytes) -> list[ListedFolder]:
    r"""Ask ``LIST "" "*" RETURN (SPECIAL-USE)``: ``* LIST (\Sent) "/" "Sent Items"``.

    `options` is the parenthesis after RETURN, or nothing. A row that names no folder is dropped with a log
    line, a second one for the same name silently. Raises ProtocolError if there is no row at all.
    """
    found: dict[bytes, ListedFolder] = {}

    def claim(parts: list[bytes]) -> bool:
        if not is_list(parts):
            return False
        row = None if wire.reader.oversized else parse_list(parts)
        if row is None:
            log.warning("A LIST row is dropped: %s", quoted(parts[0], wire.mask), extra={"action": "list"})
        else:
            found.setdefault(row.wire_name, row)
        return True

    wire.run("LIST", b'""', b'"*"', *([b"RETURN", options] if options else []), claim=claim)
    if not found:
        raise ProtocolError("LIST: the server lists no folder at all", step="list")
    return list(found.values())


def ask_list_status(wire: Wire, items: bytes) -> Listing:
    """Ask ``LIST "" "*" RETURN (STATUS (…))`` (RFC 5819); one STATUS row follows each LIST row."""
    names: set[bytes] = set()
    statuses: dict[bytes, MailboxStatus] = {}

    def claim(parts: list[bytes]) -> bool:
        if is_list(parts):
            name = None if wire.reader.oversized else listed_name(parts)
            if name:
                names.add(name)
            return True
        row = None if wire.reader.oversized else parse_status(parts)
        if row is not None:
            statuses[row[0]] = row[1]
        return row is not None

    wire.run("LIST", b'""', b'"*"', b"RETURN", b"(STATUS %s)" % items, claim=claim)
    return Listing(frozenset(names), statuses)


def ask_status(wire: Wire, wire_name: bytes, items: bytes) -> MailboxStatus:
    """Ask ``STATUS "Sent Items" (MESSAGES …)``; raises ProtocolError if the answer is missing.

    Some servers spell the name otherwise in their answer, so the last row counts if none has the name.
    """
    found: dict[bytes, MailboxStatus] = {}
    last: list[MailboxStatus] = []

    def claim(parts: list[bytes]) -> bool:
        row = None if wire.reader.oversized else parse_status(parts)
        if row is not None:
            found[row[0]] = row[1]
            last[:] = [row[1]]
        return row is not None

    wire.run("STATUS", astring(wire_name), items, claim=claim)
    if not last:
        raise ProtocolError("STATUS: the answer is missing")
    return found.get(wire_name, last[0])


def ask_search(wire: Wire, criteria: bytes, *, extended: bool) -> UidSet | None:
    """Ask ``UID SEARCH RETURN (ALL) …`` (RFC 4731), or plain UID SEARCH; None if the answer is missing.

    The answer may come in several lines. Raises ProtocolError for one that is too long or none.
    """
    found: list[UidSet] = []

    def claim(parts: list[bytes]) -> bool:
        if wire.reader.oversized and is_search(parts):
            raise ProtocolError(f"SEARCH: the answer holds {wire.reader.oversized}")
        try:
            uids = parse_search(parts)
        except ValueError as error:
            raise ProtocolError("SEARCH: the answer cannot be understood") from error
        if uids is not None:
            found.append(uids)
        return uids is not None

    wire.run("UID SEARCH", *([b"RETURN", b"(ALL)"] if extended else []), criteria, claim=claim)
    if not found:
        return None
    return UidSet(each for uids in found for each in uids.ranges)


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
