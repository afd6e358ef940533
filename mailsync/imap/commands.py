"""Single commands and their answers: LIST, NAMESPACE, STATUS, SEARCH, FETCH of one part, UNSELECT.

Each function sends one command over a :class:`Connection`, picks its answer from the untagged responses, and
leaves the other responses to ``on_untagged``. A completion other than OK is raised as the error of
:func:`error_for`.
"""

from __future__ import annotations

import logging
import re

from mailsync.errors import ProtocolError
from mailsync.imap.arguments import astring
from mailsync.imap.bounds import LONGEST_LIST, MOST_FOLDERS
from mailsync.imap.connection import Connection, Response
from mailsync.imap.hints import merged
from mailsync.imap.message_limit import Cut, SearchAnswer, parse_cut
from mailsync.imap.parsing.fetch_response import is_fetch, parse_fetch
from mailsync.imap.parsing.list_response import is_list, parse_list, parse_list_name, parse_status
from mailsync.imap.parsing.message import build_state
from mailsync.imap.parsing.namespace_response import parse_namespaces
from mailsync.imap.parsing.search_response import is_search, parse_search
from mailsync.imap.status_responses import error_for, parse_status_response, quoted
from mailsync.model import ListedFolder, Listing, MailboxStatus, MessageState, Namespaces
from mailsync.uidset import Range, TooManyRanges, UidSet

log = logging.getLogger(__name__)

_MOST_LOGGED = 5
_PART = re.compile(rb"BODY\[[^\[\]]*+\](?:<(\d{1,18})>)?", re.IGNORECASE)


class FolderNames:
    """The names in a list of folders; too many of them close the connection and raise SentTooMuch."""

    def __init__(self, connection: Connection) -> None:
        self.known: set[bytes] = set()
        self._connection = connection
        self._bytes_left = LONGEST_LIST

    def add(self, name: bytes) -> bool:
        """Add a name; returns whether it is new."""
        if name in self.known:
            return False
        if len(self.known) >= MOST_FOLDERS:
            raise self._connection.too_much(f"{MOST_FOLDERS:,} folders")
        self._bytes_left -= len(name)
        if self._bytes_left < 0:
            raise self._connection.too_much(f"{LONGEST_LIST // 2**20} MiB of folders' names")
        self.known.add(name)
        return True


def list_folders(connection: Connection, options: bytes) -> list[ListedFolder]:
    r"""Send ``LIST "" "*" RETURN (SPECIAL-USE)`` (RFC 9051 §6.3.9): ``* LIST (\Sent) "/" "Sent Items"``.

    `options` is the parenthesised list after RETURN, or empty for a plain LIST. A row that names no folder is
    logged and skipped; a second row for a name is ignored. Raises ProtocolError if there is no row at all,
    and SentTooMuch for more folders than :data:`MOST_FOLDERS`.
    """
    folders: dict[bytes, ListedFolder] = {}
    names = FolderNames(connection)
    skipped = 0

    def claim(response: Response) -> bool:
        nonlocal skipped
        if not is_list(response):
            return False
        row = None if connection.reader.oversized else parse_list(response)
        if row is None:
            skipped += 1
            if skipped <= _MOST_LOGGED:
                words = quoted(response[0], connection.mask)
                log.warning("Skipped a malformed LIST row: %s", words, extra={"action": "list"})
        elif names.add(row.wire_name):
            folders[row.wire_name] = row
        return True

    connection.run("LIST", b'""', b'"*"', *([b"RETURN", options] if options else []), claim=claim)
    if skipped > _MOST_LOGGED:
        log.warning("Skipped %d malformed LIST rows in all", skipped, extra={"action": "list"})
    if not folders:
        raise ProtocolError("LIST: the server returned no folders", step="list")
    return list(folders.values())


def list_namespaces(connection: Connection) -> Namespaces | None:
    """Send ``NAMESPACE`` (RFC 2342): ``* NAMESPACE (("" "/")) (("~" "/")) (("#shared/" "/"))``.

    Returns None for a refusal and for an answer that is missing or malformed, which are logged: folders are
    listed without it.
    """
    answer: Namespaces | None = None

    def claim(response: Response) -> bool:
        nonlocal answer
        namespaces = None if connection.reader.oversized else parse_namespaces(response)
        answer = answer or namespaces
        return namespaces is not None

    completion = connection.run("NAMESPACE", claim=claim, check=False)
    if answer is None:
        log.debug("NAMESPACE: no usable answer: %s", completion.words, extra={"action": "list"})
    return answer


def list_status(connection: Connection, items: bytes, *, leaves: bool) -> Listing | None:
    """Send ``LIST "" "*" RETURN (STATUS (…))`` (RFC 5819); a STATUS row follows each LIST row.

    With `leaves`, UNSELECT goes ahead in the same write, and DONE if the session idles; None if the server
    refuses UNSELECT. The status of a folder that was not listed before is ignored. Raises SentTooMuch as
    :func:`list_folders` does.
    """
    names = FolderNames(connection)
    statuses: dict[bytes, MailboxStatus] = {}

    def claim(response: Response) -> bool:
        if is_list(response):
            name = None if connection.reader.oversized else parse_list_name(response)
            if name:
                names.add(name)
            return True
        row = None if connection.reader.oversized else parse_status(response)
        if row is None or row[0] not in names.known:
            # with NOTIFY, it may be news of a mailbox in another spelling
            return False
        statuses[row[0]] = merged(statuses.get(row[0]), row[1])
        return True

    args = b'""', b'"*"', b"RETURN", b"(STATUS %s)" % items
    if not leaves:
        connection.run("LIST", *args, claim=claim)
        return Listing(frozenset(names.known), statuses)
    with connection.one_write():
        connection.pipeline("UNSELECT")
        connection.pipeline("LIST", *args)
    has_left = True
    while (verb := connection.in_flight.oldest.verb) != "LIST":
        has_left = connection.finish(verb, check=False).status == "OK" or verb != "UNSELECT"
    connection.finish("LIST", claim)
    return None if not has_left else Listing(frozenset(names.known), statuses)


def folder_status(connection: Connection, wire_name: bytes, items: bytes) -> MailboxStatus:
    """Send ``STATUS "Sent Items" (MESSAGES …)`` (RFC 9051 §6.3.11).

    Some servers spell the name differently in their answer: if no row has it, the last row counts. Raises
    ProtocolError if there is no row.
    """
    status: MailboxStatus | None = None
    last: MailboxStatus | None = None

    def claim(response: Response) -> bool:
        nonlocal status, last
        row = None if connection.reader.oversized else parse_status(response)
        if row is not None:
            last = row[1]
            if row[0] == wire_name:
                status = merged(status, last)
        # with NOTIFY, the row of another mailbox may be news of that one
        return row is not None and row[0] == wire_name

    connection.run("STATUS", astring(wire_name), items, claim=claim)
    if last is None:
        raise ProtocolError("STATUS: the answer is missing")
    return status or last


def search(
    connection: Connection, criteria: bytes, is_extended: bool, within: Range, most: int
) -> SearchAnswer | None:
    """Send ``UID SEARCH RETURN (ALL) …`` (RFC 4731) or plain UID SEARCH; None if the answer is missing.

    The answer may come in several lines. UIDs outside of `within`, the range that was asked for, are ignored.
    A refusal because of too many messages (``NO [MESSAGELIMIT 1000]``) is an answer that was cut. Raises
    ProtocolError for a line that is malformed or too long, and SentTooMuch for more than `most` ranges.
    """
    sets: list[UidSet] = []
    left = most
    cut: Cut | None = None

    def claim(response: Response) -> bool:
        nonlocal left, cut
        if connection.reader.oversized and is_search(response):
            raise ProtocolError(f"SEARCH: the answer holds {connection.reader.oversized}")
        try:
            uids = parse_search(response, left, within)
        except TooManyRanges as error:
            raise connection.too_much(f"{most:,} ranges of messages") from error
        except ValueError as error:
            raise ProtocolError("SEARCH: the answer cannot be understood") from error
        if uids is not None:
            left -= len(uids.ranges)
            if uids or not sets:
                sets.append(uids)
            return True
        cut = parse_cut(parse_status_response(response[0][2:])) or cut
        return False

    options = [b"RETURN", b"(ALL)"] if is_extended else []
    completion = connection.run("UID SEARCH", *options, criteria, claim=claim, check=False)
    cut = parse_cut(completion) or cut
    if completion.status != "OK" and (completion.status == "BAD" or cut is None):
        raise error_for(completion, "SEARCH")
    if not sets:
        return SearchAnswer(UidSet(), cut) if cut else None
    uids = sets[0]
    if len(sets) > 1:
        uids = UidSet(uid_range for part in sets for uid_range in part.ranges)
    return SearchAnswer(uids, cut)


def fetch_part(
    connection: Connection, uid: int, section: str, offset: int, count: int, *, with_state: bool = False
) -> tuple[bytes, MessageState]:
    """Send ``UID FETCH 7 (UID BODY.PEEK[1.2]<0.65536>)``: ``* 3 FETCH (UID 7 BODY[1.2]<0> {9}…)``.

    With `with_state`, ask for the message's date and size too. Raises ProtocolError if the answer is missing
    or does not begin at `offset`.
    """
    answers: list[tuple[bytes, MessageState]] = []

    def claim(response: Response) -> bool:
        if not is_fetch(response):
            return False
        fields = parse_fetch(response)
        if fields.get(b"UID") != b"%d" % uid or b"BODY[]" not in fields:
            return False
        value = fields[b"BODY[]"]
        if connection.reader.oversized or isinstance(value, list):
            raise ProtocolError("FETCH: the answer is not the requested part")
        if not answers:
            answers.append(
                (requested_bytes(response[0], value or b"", offset, count), build_state(uid, fields))
            )
        return True

    state_items = "INTERNALDATE RFC822.SIZE " if with_state else ""
    items = f"(UID {state_items}BODY.PEEK[{section}]<{offset}.{count}>)".encode("ascii")
    connection.run("UID FETCH", b"%d" % uid, items, claim=claim)
    if not answers:
        raise ProtocolError("FETCH: the answer is missing")
    return answers[0]


def requested_bytes(line: bytes, data: bytes, offset: int, count: int) -> bytes:
    """Return the bytes that were asked for; `line` may say where `data` begins (RFC 9051 §7.5.2).

    Raises ProtocolError if `data` begins elsewhere.
    """
    part = _PART.search(line)
    origin = part[1] if part else None
    if origin is None:
        # a server that does not support ranges answers with the whole section
        return data[offset : offset + count] if len(data) > count else data
    if int(origin) != offset:
        raise ProtocolError(f"FETCH: asked for bytes from {offset}, got bytes from {int(origin)}")
    return data[:count]


def leave_folder(connection: Connection, *, has_unselect: bool) -> None:
    """Send UNSELECT (RFC 3691), or CLOSE, which removes nothing after EXAMINE.

    pymap refuses CLOSE after EXAMINE. An EXAMINE that fails leaves the folder as well (RFC 9051 §6.3.2).
    """
    command = "UNSELECT" if has_unselect else "CLOSE"
    completion = connection.run(command, check=False)
    if completion.status == "OK" or (completion.status == "NO" and has_unselect):
        return
    nowhere = b'"mailsync/no/such/folder"'
    if completion.status == "BAD" or connection.run("EXAMINE", nowhere, check=False).status != "NO":
        raise error_for(completion, command)
