"""The commands of the scripted server, as an honest server answers them.

Each function takes the request and returns the untagged responses; the caller adds the tagged one. It raises
:class:`Refused` for NO and BAD. Extensions that are offered work, others are refused with BAD.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from tests.support.access_tokens import MECHANISMS, explain, read_token
from tests.support.imap_arguments import Refused, named_folder, require, selected_folder, words
from tests.support.imap_messages import fetch, search
from tests.support.imap_text import string
from tests.support.mailboxes import Account, Folder

if TYPE_CHECKING:
    from tests.support.conversation import Conversation
    from tests.support.request import HonestRequest as Request


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
    user, password = words(request.arguments, 2)
    return _enter(request, user.decode(), password.decode())


def authenticate(request: Request) -> bytes:
    """AUTHENTICATE PLAIN, LOGIN, OAUTHBEARER and XOAUTH2.

    All but LOGIN may come with an initial response (RFC 4959).
    """
    mechanism = words(request.arguments[:1])[0].upper()
    if mechanism in MECHANISMS:
        return _enter_by_token(request, mechanism)
    if mechanism == b"LOGIN":
        ask = request.connection.ask
        user, password = (b64decode(ask(b64encode(name))) for name in (b"User Name", b"Password"))
        return _enter(request, user.decode(), password.decode())
    response = words(request.arguments, 2)[1] if len(request.arguments) > 1 else request.connection.ask(b"")
    _, user, password = b64decode(response).split(b"\0")
    return _enter(request, user.decode(), password.decode())


def _enter(request: Request, user: str, password: str) -> bytes:
    account = request.find_account(user)
    if account is None or account.password != password or not request.connection.habits.accepts_passwords:
        raise _rejection(request, user)
    return _begin_session(request, account)


def _enter_by_token(request: Request, mechanism: bytes) -> bytes:
    connection = request.connection
    tokens = connection.habits.tokens
    if tokens is None or not connection.offers(b"AUTH=" + mechanism):
        raise Refused("NO unsupported mechanism")
    user, token = read_token(request, mechanism)
    account = request.find_account(user)
    if account is None or not tokens.opens(token, user):
        if connection.habits.explains_refusals:
            explain(request, mechanism)
        raise _rejection(request, user)
    data = _begin_session(request, account)
    connection.token = token
    return data


def _rejection(request: Request, user: str) -> Refused:
    request.connection.record_login(user, accepted=False)
    refusal, name = request.connection.habits.login_refusal, request.name.encode()
    return Refused((refusal % name if b"%s" in refusal else refusal).decode())


def _begin_session(request: Request, account: Account) -> bytes:
    connection, user = request.connection, account.name
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
    _, pattern = words(arguments[:2], 2)
    items: list[bytes] = []
    if len(arguments) == 4 and isinstance(arguments[3], list):
        options = arguments[3]
        for i, option in enumerate(options):
            if option == b"STATUS":
                require(request.connection, b"LIST-STATUS")
                items = words(options[i + 1])
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
    folder = named_folder(request)
    return _status_line(request.connection, folder, words(request.arguments[1]))


def _status_line(connection: Conversation, folder: Folder, items: list[bytes]) -> bytes:
    pairs = []
    for item in items:
        name = item.upper()
        if name not in _STATUS:
            raise Refused(f"BAD unknown STATUS item {item.decode()}")
        extension, value = _STATUS[name]
        if extension:
            require(connection, extension)
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
    folder = named_folder(request)
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
    selected_folder(request)
    request.connection.unselect()
    return b""


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
