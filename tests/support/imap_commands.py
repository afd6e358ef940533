"""The commands of the scripted server, as an honest server answers them.

Each function takes the request and returns the untagged responses; the caller adds the tagged one. It raises
:class:`Refused` for NO and BAD. Extensions that are offered work, others are refused with BAD.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from datetime import datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from tests.support.imap_text import Token, as_set, in_set, string
from tests.support.mailboxes import Folder, Mail, body_item

if TYPE_CHECKING:
    from tests.support.conversation import Conversation
    from tests.support.request import HonestRequest as Request


class Refused(Exception):
    """The tagged response without its tag: ``NO [NONEXISTENT] no such mailbox``."""


def capability(request: Request) -> bytes:
    """CAPABILITY."""
    return b"* CAPABILITY %s\r\n" % b" ".join(request.connection.capabilities())


def noop(request: Request) -> bytes:
    """NOOP, and other commands without untagged responses of their own."""
    return b""


def login(request: Request) -> bytes:
    """LOGIN."""
    if request.connection.offers(b"LOGINDISABLED"):
        raise Refused("NO [PRIVACYREQUIRED] LOGIN is disabled")
    user, password = _words(request.arguments, 2)
    return _enter(request, user.decode(), password.decode())


def authenticate(request: Request) -> bytes:
    """AUTHENTICATE PLAIN, with or without an initial response (RFC 4959), and AUTHENTICATE LOGIN."""
    mechanism = _words(request.arguments[:1])[0].upper()
    if mechanism == b"LOGIN":
        ask = request.connection.ask
        user, password = (b64decode(ask(b64encode(name))) for name in (b"User Name", b"Password"))
        return _enter(request, user.decode(), password.decode())
    response = _words(request.arguments, 2)[1] if len(request.arguments) > 1 else request.connection.ask(b"")
    _, user, password = b64decode(response).split(b"\0")
    return _enter(request, user.decode(), password.decode())


def _enter(request: Request, user: str, password: str) -> bytes:
    connection = request.connection
    account = request.find_account(user)
    if account is None or account.password != password:
        connection.record_login(user, accepted=False)
        raise Refused("NO [AUTHENTICATIONFAILED] Authentication failed.")
    if not connection.log_in(account):
        connection.record_login(user, accepted=False)
        raise Refused(connection.habits.limit_refusal.decode())
    connection.record_login(user, accepted=True)
    return capability(request) if connection.habits.announces_capabilities else b""


def identify(request: Request) -> bytes:
    """ID (RFC 2971)."""
    return b'* ID ("name" "scripted")\r\n'


def enable(request: Request) -> bytes:
    """ENABLE (RFC 5161); QRESYNC enables CONDSTORE too."""
    offered = {name.upper() for name in request.connection.capabilities()}
    requested = [word.upper() for word in request.arguments if isinstance(word, bytes)]
    granted = [name for name in requested if name in offered]
    request.connection.enabled.update(granted)
    return b"* ENABLED %s\r\n" % b" ".join(granted)


def namespace(request: Request) -> bytes:
    """NAMESPACE (RFC 2342): one of the user's own, without a prefix."""
    return b'* NAMESPACE (("" %s)) NIL NIL\r\n' % string(request.connection.habits.delimiter)


def list_folders(request: Request) -> bytes:
    """LIST, with selection and return options (RFC 5258), RETURN (STATUS (…)) (RFC 5819)."""
    arguments = list(request.arguments)
    if arguments and isinstance(arguments[0], list):
        arguments.pop(0)
    _, pattern = _words(arguments[:2], 2)
    items: list[bytes] = []
    if len(arguments) == 4 and isinstance(arguments[3], list):
        options = arguments[3]
        for i, option in enumerate(options):
            if option == b"STATUS":
                _require(request.connection, b"LIST-STATUS")
                items = _words(options[i + 1])
    delimiter = string(request.connection.habits.delimiter)
    if not pattern:
        return rb"* LIST (\Noselect) %s " % delimiter + b'""\r\n'
    has_children = request.connection.offers(b"CHILDREN")
    names = list(request.account.folders)
    lines = []
    glob = pattern.decode("latin-1").replace("[", "[[]").replace("?", "[?]").replace("%", "*")
    for folder in list(request.account.folders.values()):
        if not fnmatchcase(folder.name.decode("latin-1"), glob):
            continue
        attributes = list(folder.attributes)
        if has_children:
            inside = folder.name + (request.connection.habits.delimiter or b"/")
            is_parent = any(name.startswith(inside) for name in names)
            attributes.append(rb"\HasChildren" if is_parent else rb"\HasNoChildren")
        lines.append(b"* LIST (%s) %s %s\r\n" % (b" ".join(attributes), delimiter, string(folder.name)))
        if items and rb"\Noselect" not in folder.attributes:
            lines.append(_status_line(request.connection, folder, items))
    return b"".join(lines)


def status(request: Request) -> bytes:
    """STATUS of one folder."""
    folder = _folder(request)
    return _status_line(request.connection, folder, _words(request.arguments[1]))


def _status_line(connection: Conversation, folder: Folder, items: list[bytes]) -> bytes:
    pairs = []
    for item in items:
        name = item.upper()
        if name not in _STATUS:
            raise Refused(f"BAD unknown STATUS item {item.decode()}")
        extension, value = _STATUS[name]
        if extension:
            _require(connection, extension)
        pairs.append(b"%s %s" % (name, value(folder)))
    return b"* STATUS %s (%s)\r\n" % (string(folder.name), b" ".join(pairs))


_STATUS: dict[bytes, tuple[bytes, Callable[[Folder], bytes]]] = {
    b"MESSAGES": (b"", lambda folder: b"%d" % len(folder.mails)),
    b"UIDNEXT": (b"", lambda folder: b"%d" % folder.uidnext),
    b"UIDVALIDITY": (b"", lambda folder: b"%d" % folder.uidvalidity),
    b"UNSEEN": (b"", lambda folder: b"%d" % folder.unseen),
    b"RECENT": (b"", lambda folder: b"0"),
    b"HIGHESTMODSEQ": (b"CONDSTORE", lambda folder: b"%d" % folder.modseq),
    b"MAILBOXID": (b"OBJECTID", lambda folder: b"(%s)" % folder.mailbox_id),
}


def examine(request: Request) -> bytes:
    """EXAMINE and SELECT."""
    connection = request.connection
    connection.unselect()
    folder = _folder(request)
    connection.select(folder, read_only=request.name == "EXAMINE")
    lines = [
        rb"* FLAGS (\Answered \Flagged \Deleted \Seen \Draft)",
        b"* %d EXISTS" % len(connection.view),
        b"* 0 RECENT",
        b"* OK [UIDVALIDITY %d] valid" % folder.uidvalidity,
        b"* OK [UIDNEXT %d] next" % folder.uidnext,
    ]
    if connection.offers(b"CONDSTORE"):
        lines.append(b"* OK [HIGHESTMODSEQ %d] highest" % folder.modseq)
    if connection.offers(b"OBJECTID"):
        lines.append(b"* OK [MAILBOXID (%s)] identity" % folder.mailbox_id)
    return b"\r\n".join(lines) + b"\r\n"


def unselect(request: Request) -> bytes:
    """UNSELECT (RFC 3691), and CLOSE after EXAMINE."""
    _selected(request)
    request.connection.unselect()
    return b""


def search(request: Request) -> bytes:
    """SEARCH and UID SEARCH: ALL, UID, SINCE, BEFORE, SEEN, UNSEEN; RETURN (…) is ESEARCH (RFC 4731)."""
    folder = _selected(request)
    view = request.connection.view
    arguments = list(request.arguments)
    returned: list[bytes] | None = None
    if arguments[:1] == [b"RETURN"]:
        _require(request.connection, b"ESEARCH")
        returned = [word.upper() for word in _words(arguments[1])] or [b"ALL"]
        arguments = arguments[2:]
    if arguments[:1] == [b"CHARSET"]:
        arguments = arguments[2:]
    mails = [mail for uid in view if (mail := folder.mails.get(uid))]
    words = iter(_words(arguments))
    for word in words:
        mails = _criterion(word.upper(), words, mails, view)
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


def _criterion(word: bytes, words: Iterator[bytes], mails: list[Mail], view: list[int]) -> list[Mail]:
    if word == b"ALL":
        return mails
    if word == b"UID":
        ranges = in_set(next(words), max(view, default=0))
        return [mail for mail in mails if _within(mail.uid, ranges)]
    if word in (b"SINCE", b"BEFORE"):
        day = datetime.strptime(next(words).decode(), "%d-%b-%Y").date()
        return [mail for mail in mails if (_day(mail) >= day) == (word == b"SINCE")]
    if word in (b"SEEN", b"UNSEEN"):
        return [mail for mail in mails if (rb"\Seen" in mail.flags) == (word == b"SEEN")]
    raise Refused(f"BAD unknown search key {word.decode()}")


def _day(mail: Mail) -> object:
    return datetime.strptime(mail.date.split()[0].decode(), "%d-%b-%Y").date()


def fetch(request: Request) -> bytes:
    """UID FETCH, with CHANGEDSINCE and VANISHED (RFC 7162)."""
    folder = _selected(request)
    connection = request.connection
    view = connection.view
    arguments = request.arguments
    if len(arguments) < 2 or not isinstance(arguments[0], bytes):
        raise Refused("BAD arguments")
    ranges = in_set(arguments[0], max(view, default=0))
    items = [item.upper() for item in _words(arguments[1])]
    since, lines = 0, []
    if len(arguments) > 2:
        modifiers = [word.upper() for word in _words(arguments[2])]
        _require(connection, b"CONDSTORE")
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
            _require(connection, extension)
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


# -- shared ----------------------------------------------------------------------------------------------


def _words(token: Token, count: int | None = None) -> list[bytes]:
    words = [word for word in ([token] if isinstance(token, bytes) else token) if isinstance(word, bytes)]
    if count is not None and len(words) != count:
        raise Refused("BAD arguments")
    return words


def _require(connection: Conversation, extension: bytes) -> None:
    if not connection.offers(extension):
        raise Refused(f"BAD {extension.decode()} is not offered")


def _folder(request: Request) -> Folder:
    try:
        return request.account.folder(_words(request.arguments[:1], 1)[0])
    except KeyError:
        raise Refused("NO [NONEXISTENT] Mailbox does not exist") from None


def _selected(request: Request) -> Folder:
    if request.connection.selected is None:
        raise Refused("BAD no mailbox is selected")
    return request.connection.selected


COMMANDS: dict[str, Callable[[Request], bytes]] = {
    "CAPABILITY": capability,
    "NOOP": noop,
    "LOGIN": login,
    "AUTHENTICATE": authenticate,
    "ID": identify,
    "ENABLE": enable,
    "NAMESPACE": namespace,
    "LIST": list_folders,
    "STATUS": status,
    "EXAMINE": examine,
    "SELECT": examine,
    "UNSELECT": unselect,
    "CLOSE": unselect,
    "SEARCH": search,
    "UID SEARCH": search,
    "UID FETCH": fetch,
}
