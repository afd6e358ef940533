"""SEARCH and FETCH of the scripted server, as an honest server answers them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from tests.support.imap_arguments import Refused, require, selected_folder, words
from tests.support.imap_text import as_set, in_set, string
from tests.support.mailboxes import Mail, body_item

if TYPE_CHECKING:
    from tests.support.conversation import Conversation
    from tests.support.request import HonestRequest as Request


def search(request: Request) -> bytes:
    """SEARCH and UID SEARCH: ALL, UID, SINCE, BEFORE, SEEN, UNSEEN; RETURN (…) is ESEARCH (RFC 4731)."""
    folder = selected_folder(request)
    view = request.connection.view
    arguments = list(request.arguments)
    returned: list[bytes] | None = None
    if arguments[:1] == [b"RETURN"]:
        require(request.connection, b"ESEARCH")
        returned = [word.upper() for word in words(arguments[1])] or [b"ALL"]
        arguments = arguments[2:]
    if arguments[:1] == [b"CHARSET"]:
        arguments = arguments[2:]
    mails = [mail for uid in view if (mail := folder.mails.get(uid))]
    keys = iter(words(arguments))
    for word in keys:
        mails = _criterion(word.upper(), keys, mails, view)
    by_uid = request.name.startswith("UID")
    sequence_numbers = {uid: number for number, uid in enumerate(view, 1)}
    numbers = [mail.uid if by_uid else sequence_numbers[mail.uid] for mail in mails]
    if returned is None:
        return b"* SEARCH" + b"".join(b" %d" % number for number in numbers) + b"\r\n"
    data = {b"COUNT": b"COUNT %d" % len(numbers)}
    if numbers:
        data |= {
            b"ALL": b"ALL " + as_set(numbers),
            b"MIN": b"MIN %d" % numbers[0],
            b"MAX": b"MAX %d" % numbers[-1],
        }
    results = b"".join(b" " + data[name] for name in returned if name in data)
    return b"* ESEARCH (TAG %s)%s%s\r\n" % (string(request.tag), b" UID" if by_uid else b"", results)


def _criterion(word: bytes, keys: Iterator[bytes], mails: list[Mail], view: list[int]) -> list[Mail]:
    if word == b"ALL":
        return mails
    if word == b"UID":
        ranges = in_set(next(keys), max(view, default=0))
        return [mail for mail in mails if _within(mail.uid, ranges)]
    if word in (b"SINCE", b"BEFORE"):
        day = datetime.strptime(next(keys).decode(), "%d-%b-%Y").date()
        return [mail for mail in mails if (_day(mail) >= day) == (word == b"SINCE")]
    if word in (b"SEEN", b"UNSEEN"):
        return [mail for mail in mails if (rb"\Seen" in mail.flags) == (word == b"SEEN")]
    raise Refused(f"BAD unknown search key {word.decode()}")


def _day(mail: Mail) -> object:
    return datetime.strptime(mail.date.split()[0].decode(), "%d-%b-%Y").date()


def fetch(request: Request) -> bytes:
    """UID FETCH, with CHANGEDSINCE and VANISHED (RFC 7162)."""
    folder = selected_folder(request)
    connection = request.connection
    view = connection.view
    arguments = request.arguments
    if len(arguments) < 2 or not isinstance(arguments[0], bytes):
        raise Refused("BAD arguments")
    ranges = in_set(arguments[0], max(view, default=0))
    items = [item.upper() for item in words(arguments[1])]
    since, lines = 0, []
    if len(arguments) > 2:
        modifiers = [word.upper() for word in words(arguments[2])]
        require(connection, b"CONDSTORE")
        since = int(modifiers[modifiers.index(b"CHANGEDSINCE") + 1])
        items = [*items, *([] if b"MODSEQ" in items else [b"MODSEQ"])]
        if b"VANISHED" in modifiers:
            gone = {uid for seq, uid in folder.vanished if seq > since and _within(uid, ranges)}
            if gone:
                lines.append(b"* VANISHED (EARLIER) %s\r\n" % as_set(sorted(gone)))
    if b"UID" not in items:
        items.insert(0, b"UID")
    for number, uid in enumerate(view, 1):
        mail = folder.mails.get(uid)
        if mail and mail.modseq > since and _within(uid, ranges):
            values = b" ".join(_item(connection, item, mail) for item in items)
            lines.append(b"* %d FETCH (%s)\r\n" % (number, values))
    return b"".join(lines)


def _within(uid: int, ranges: list[tuple[int, int]]) -> bool:
    return any(first <= uid <= last for first, last in ranges)


def _item(connection: Conversation, item: bytes, mail: Mail) -> bytes:
    if item in _ITEMS:
        extension, value = _ITEMS[item]
        if extension:
            require(connection, extension)
        return b"%s %s" % (item, value(mail))
    section = body_item(item, mail)
    if section is None:
        raise Refused(f"BAD unknown FETCH item {item.decode(errors='replace')}")
    return section


_ITEMS: dict[bytes, tuple[bytes, Callable[[Mail], bytes]]] = {
    b"UID": (b"", lambda mail: b"%d" % mail.uid),
    b"FLAGS": (b"", lambda mail: b"(%s)" % b" ".join(mail.flags)),
    b"INTERNALDATE": (b"", lambda mail: b'"%s"' % mail.date),
    b"RFC822.SIZE": (b"", lambda mail: b"%d" % len(mail.raw)),
    b"BODYSTRUCTURE": (b"", lambda mail: mail.bodystructure),
    b"MODSEQ": (b"CONDSTORE", lambda mail: b"(%d)" % mail.modseq),
    b"EMAILID": (b"OBJECTID", lambda mail: b"(%s)" % mail.identity),
    b"THREADID": (b"OBJECTID", lambda mail: b"(%s)" % mail.thread if mail.thread else b"NIL"),
    b"X-GM-MSGID": (b"X-GM-EXT-1", lambda mail: b"%d" % int(mail.identity[1:16], 16)),
    b"X-GM-THRID": (b"X-GM-EXT-1", lambda mail: b"%d" % int(mail.identity[1:16], 16)),
    b"X-GM-LABELS": (b"X-GM-EXT-1", lambda mail: b"(%s)" % b" ".join(map(string, mail.labels))),
}
