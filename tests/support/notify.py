"""NOTIFY (RFC 5465) of the servers of the tests: what a client asked for, and what it was last told."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from tests.support.imap_arguments import Refused
from tests.support.imap_text import Token, string
from tests.support.mailboxes import Change, Folder

if TYPE_CHECKING:
    from tests.support.conversation import Conversation
    from tests.support.request import HonestRequest as Request

Group: TypeAlias = "tuple[Callable[[bytes], bool], set[bytes]]"

_EVENTS = {
    "new": b"MESSAGENEW",
    "expunged": b"MESSAGEEXPUNGE",
    "flags": b"FLAGCHANGE",
    "renumbered": b"MESSAGENEW",
    "created": b"MAILBOXNAME",
    "deleted": b"MAILBOXNAME",
    "renamed": b"MAILBOXNAME",
}
_KNOWN = {
    *_EVENTS.values(),
    b"SUBSCRIPTIONCHANGE",
    b"ANNOTATIONCHANGE",
    b"MAILBOXMETADATACHANGE",
    b"SERVERMETADATACHANGE",
}
_SELECTED = (b"SELECTED", b"SELECTED-DELAYED")


class Watch:
    """What one client is told of. :meth:`report` is called when the server may speak."""

    def __init__(self, connection: Conversation, groups: list[Group], follows_selected: bool) -> None:
        self.follows_selected = follows_selected
        self._connection = connection
        self._groups = groups
        self._said: dict[int, dict[bytes, int]] = {}
        self._changed: dict[int, Folder] = {}
        self._lines: list[bytes] = []

    def statuses(self) -> bytes:
        """Return the STATUS of every folder of interest, as the answer to ``NOTIFY SET STATUS``."""
        assert self._connection.account
        lines = []
        for folder in self._connection.account.folders.values():
            if self._wants(folder.name, None) and rb"\Noselect" not in folder.attributes:
                self._remember(folder)
                lines.append(_status(folder, self._said[id(folder)]))
        return b"".join(lines)

    def note(self, change: Change) -> None:
        """Note a change; one of the selected folder is passed over, unless the server reports those too."""
        folder = change.folder
        if not self._wants(folder.name, _EVENTS[change.kind]):
            return
        if change.kind == "created":
            self._lines.append(self._list_line(folder.name))
        elif change.kind == "deleted":
            self._changed.pop(id(folder), None)
            self._lines.append(self._list_line(folder.name, rb"\NonExistent"))
        elif change.kind == "renamed":
            self._said.pop(id(folder), None)
            old = b' ("OLDNAME" (%s))' % string(change.old_name)
            self._lines.append(self._list_line(folder.name, extended=old))
        elif self._is_overlooked(folder):
            self._remember(folder)
        else:
            self._changed[id(folder)] = folder

    def report(self) -> bytes:
        """Return what was noted since the last report: LIST lines, and of each folder the changed items."""
        lines, self._lines = self._lines, []
        changed, self._changed = list(self._changed.values()), {}
        for folder in changed:
            before = self._said.get(id(folder), {})
            self._remember(folder)
            if self._is_overlooked(folder):
                continue
            now = self._said[id(folder)]
            names = {name for name, value in now.items() if before.get(name) != value}
            names |= {b"UIDNEXT"} if b"MESSAGES" in names else set()
            items = {name: value for name, value in now.items() if name in names}
            # without CONDSTORE, a change of another flag than \Seen shows in no item
            lines.append(_status(folder, items or {b"UIDVALIDITY": folder.uidvalidity}))
        return b"".join(lines)

    def _is_overlooked(self, folder: Folder) -> bool:
        habits = self._connection.habits
        return folder is self._connection.selected and not habits.notify_reports_selected

    def _wants(self, name: bytes, event: bytes | None) -> bool:
        return any(covers(name) and (event is None or event in events) for covers, events in self._groups)

    def _remember(self, folder: Folder) -> None:
        items = {
            b"MESSAGES": len(folder.mails),
            b"UIDNEXT": folder.uidnext,
            b"UIDVALIDITY": folder.uidvalidity,
            b"UNSEEN": folder.unseen,
        }
        if self._connection.offers(b"CONDSTORE"):
            items[b"HIGHESTMODSEQ"] = folder.modseq
        self._said[id(folder)] = items

    def _list_line(self, name: bytes, attributes: bytes = b"", extended: bytes = b"") -> bytes:
        delimiter = string(self._connection.habits.delimiter)
        return b"* LIST (%s) %s %s%s\r\n" % (attributes, delimiter, string(name), extended)


def _status(folder: Folder, items: dict[bytes, int]) -> bytes:
    pairs = b" ".join(b"%s %d" % item for item in items.items())
    return b"* STATUS %s (%s)\r\n" % (string(folder.name), pairs)


def notify(request: Request) -> bytes:
    """NOTIFY NONE, and NOTIFY SET [STATUS] with event groups."""
    connection = request.connection
    if not connection.offers(b"NOTIFY"):
        raise Refused("BAD NOTIFY is not offered")
    connection.is_default = False
    arguments = [word.upper() if isinstance(word, bytes) else word for word in request.arguments]
    if arguments == [b"NONE"]:
        connection.watch = None
        return b""
    wants_status = arguments[1:2] == [b"STATUS"]
    groups = arguments[2 if wants_status else 1 :]
    if arguments[:1] != [b"SET"] or not groups:
        raise Refused("BAD expected NONE, or SET and event groups")
    parsed = [_group(group) for group in groups]
    follows_selected = any(isinstance(group, list) and _word(group[0]) in _SELECTED for group in groups)
    connection.watch = Watch(connection, [group for group in parsed if group], follows_selected)
    assert connection.account
    data = connection.watch.statuses()
    return data if wants_status else b""


def _group(group: Token) -> Group | None:
    if not isinstance(group, list) or len(group) < 2 or not isinstance(group[-1], list):
        raise Refused("BAD an event group needs events in parentheses")
    events = {_word(event) for event in group[-1] if isinstance(event, bytes)}
    if unknown := events - _KNOWN:
        raise Refused(f"NO [BADEVENT ({b' '.join(sorted(unknown)).decode()})] unknown event")
    kind = _word(group[0])
    if kind in _SELECTED:
        return None
    if kind in (b"PERSONAL", b"SUBSCRIBED"):
        return lambda name: True, events
    if kind == b"INBOXES":
        return lambda name: name.upper() == b"INBOX", events
    if kind in (b"MAILBOXES", b"SUBTREE") and len(group) == 3:
        named = group[1] if isinstance(group[1], list) else [group[1]]
        names = tuple(name for name in named if isinstance(name, bytes))
        if kind == b"MAILBOXES":
            return lambda name: name in names, events
        return lambda name: any(name == top or name.startswith(top + b"/") for top in names), events
    raise Refused("BAD unknown mailbox specifier")


def _word(token: Token) -> bytes:
    return token.upper() if isinstance(token, bytes) else b""
