"""The scripted server's mailboxes in memory, and the data that FETCH returns for a message.

Tests may change them while sessions are open. Every change takes the account's lock, and calls the account's
``watchers`` while it holds the lock.
"""

from __future__ import annotations

import email
import hashlib
import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from email.message import Message as Parsed
from functools import cached_property
from itertools import count

from tests.support.imap_text import literal, string

_DATE = b"01-Feb-2024 10:00:00 +0000"

_identities = count(1)


def _wire(name: bytes | str) -> bytes:
    return name.encode() if isinstance(name, str) else name


@dataclass(frozen=True)
class Change:
    """What happened to a folder.

    ``kind`` is ``new``, ``expunged``, ``flags``, ``renumbered``, ``created``, ``deleted`` or ``renamed``; the
    last has the former name in ``old_name``.
    """

    folder: Folder
    kind: str
    old_name: bytes = b""


def _unwatched(change: Change) -> None:
    """Nobody watches a folder without an account."""


@dataclass
class Mail:
    """One message; change it through its folder."""

    uid: int
    raw: bytes
    flags: tuple[bytes, ...]
    date: bytes
    modseq: int
    labels: tuple[bytes, ...] = ()
    thread: bytes = b""

    def __post_init__(self) -> None:
        self.added_at = self.modseq

    @cached_property
    def identity(self) -> bytes:
        """An EMAILID (RFC 8474), which depends on the content only."""
        return b"M" + hashlib.sha256(self.raw).hexdigest()[:20].encode()

    @cached_property
    def bodystructure(self) -> bytes:
        """BODYSTRUCTURE of the message."""
        return _structure(email.message_from_bytes(self.raw))

    @cached_property
    def header(self) -> bytes:
        """The header block, with its empty line."""
        head, empty, _ = self.raw.partition(b"\r\n\r\n")
        return head + empty

    def header_fields(self, names: Iterable[bytes]) -> bytes:
        """Return the fields with these names, in the message's order and still folded, and an empty line."""
        wanted = {name.upper() for name in names}
        fields = re.findall(rb"(?m)^([^\s:]+)[ \t]*:((?:.|\n(?=[ \t]))*\n?)", self.header)
        return b"".join(b"%s:%s" % field for field in fields if field[0].upper() in wanted) + b"\r\n"

    def section(self, section: bytes) -> bytes | None:
        """Return the bytes of ``BODY[section]``; None if there is no such part."""
        upper = section.upper()
        if upper == b"":
            return self.raw
        if upper == b"HEADER":
            return self.header
        if upper == b"TEXT":
            return self.raw[len(self.header) :]
        if upper.startswith(b"HEADER.FIELDS ("):
            return self.header_fields(section[section.index(b"(") + 1 : -1].replace(b'"', b"").split())
        part = email.message_from_bytes(self.raw)
        for number in section.split(b"."):
            if part.is_multipart():
                try:
                    part = part.get_payload()[int(number) - 1]
                except (IndexError, ValueError):
                    return None
            elif number != b"1":
                return None
        return _payload(part)


@dataclass
class Folder:
    """One mailbox. ``name`` is the wire name; ``attributes`` are those of LIST, such as ``rb"\\Sent"``.

    A rename keeps ``mailbox_id``, the MAILBOXID (RFC 8474).
    """

    name: bytes
    lock: threading.RLock
    uidvalidity: int = 1_700_000_000
    uidnext: int = 1
    modseq: int = 1
    attributes: tuple[bytes, ...] = ()
    mails: dict[int, Mail] = field(default_factory=dict)
    vanished: list[tuple[int, int]] = field(default_factory=list)
    mailbox_id: bytes = field(default_factory=lambda: b"F%d" % next(_identities))
    watcher: Callable[[Change], None] = _unwatched

    @property
    def unseen(self) -> int:
        """How many messages lack \\Seen."""
        return sum(rb"\Seen" not in mail.flags for mail in self.mails.values())

    def add(
        self,
        raw: bytes,
        *flags: bytes,
        date: bytes | str = _DATE,
        uid: int | None = None,
        labels: tuple[bytes, ...] = (),
    ) -> int:
        """Add a message under the next UID or a higher one; return its UID."""
        with self.lock:
            number = self.uidnext if uid is None else uid
            self.modseq += 1
            self.mails[number] = Mail(number, raw, flags, _wire(date), self.modseq, labels)
            self.uidnext = max(self.uidnext, number + 1)
            self.watcher(Change(self, "new"))
            return number

    def set_flags(self, uid: int, *flags: bytes) -> None:
        """Replace a message's flags."""
        with self.lock:
            self.modseq += 1
            self.mails[uid].flags, self.mails[uid].modseq = flags, self.modseq
            self.watcher(Change(self, "flags"))

    def expunge(self, *uids: int) -> None:
        """Remove messages."""
        with self.lock:
            self.modseq += 1
            for uid in uids:
                del self.mails[uid]
                self.vanished.append((self.modseq, uid))
            self.watcher(Change(self, "expunged"))

    def renumber(self, uidvalidity: int) -> None:
        """Give every message a new UID under a new UIDVALIDITY, as after a restored backup."""
        with self.lock:
            old = list(self.mails.values())
            self.uidvalidity, self.uidnext, self.vanished = uidvalidity, 1, []
            self.mails = {}
            watcher, self.watcher = self.watcher, _unwatched
            for mail in old:
                self.add(mail.raw, *mail.flags, date=mail.date, labels=mail.labels)
            self.watcher = watcher
            self.watcher(Change(self, "renumbered"))


class Account:
    """One user of the scripted server; begins with an empty INBOX. ``user.folder("INBOX").add(raw)``

    Unless ``is_open``, the user can sign in, but every other command is refused.
    """

    def __init__(self, name: str, password: str) -> None:
        self.name = name
        self.password = password
        self.is_open = True
        self.lock = threading.RLock()
        self.folders: dict[bytes, Folder] = {}
        self.watchers: list[Callable[[Change], None]] = []
        self.create("INBOX")

    def create(self, name: bytes | str, *attributes: bytes, uidvalidity: int = 0) -> Folder:
        """Create a folder and return it; `name` is a wire name."""
        with self.lock:
            number = uidvalidity or 1_700_000_000 + len(self.folders)
            folder = Folder(_wire(name), self.lock, number, attributes=attributes, watcher=self._changed)
            self.folders[folder.name] = folder
            self._changed(Change(folder, "created"))
            return folder

    def _changed(self, change: Change) -> None:
        for watcher in list(self.watchers):
            watcher(change)

    def folder(self, name: bytes | str) -> Folder:
        """Return the folder of this name, INBOX in any case; raise KeyError if there is none."""
        wire = _wire(name)
        return self.folders[b"INBOX" if wire.upper() == b"INBOX" else wire]

    def delete(self, name: bytes | str) -> None:
        """Delete a folder with its messages."""
        with self.lock:
            self._changed(Change(self.folders.pop(_wire(name)), "deleted"))

    def rename(self, old: bytes | str, new: bytes | str) -> None:
        """Rename a folder and keep everything else."""
        with self.lock:
            folder = self.folders.pop(_wire(old))
            folder.name = _wire(new)
            self.folders[folder.name] = folder
            self._changed(Change(folder, "renamed", _wire(old)))


# -- BODYSTRUCTURE (RFC 9051 §7.5.2) -------------------------------------------------------------------


def _structure(part: Parsed) -> bytes:
    kind, _, subtype = part.get_content_type().partition("/")
    disposition = _disposition(part)
    if part.is_multipart() and kind == "multipart":
        inner = b"".join(_structure(child) for child in part.get_payload())
        return b"(%s %s %s %s NIL NIL)" % (inner, _text(subtype), _parameters(part), disposition)
    body = _payload(part)
    fields = [
        _text(kind),
        _text(subtype),
        _parameters(part),
        _text(part.get("Content-ID")),
        _text(part.get("Content-Description")),
        _text(part.get("Content-Transfer-Encoding", "7bit")),
        b"%d" % len(body),
    ]
    if kind == "message" and subtype == "rfc822" and part.is_multipart():
        inside = part.get_payload(0)
        fields += [b"(" + b" ".join([b"NIL"] * 10) + b")", _structure(inside)]
    if kind == "text" or (kind, subtype) == ("message", "rfc822"):
        fields.append(b"%d" % body.count(b"\n"))
    return b"(" + b" ".join([*fields, b"NIL", disposition, b"NIL", b"NIL"]) + b")"


def _payload(part: Parsed) -> bytes:
    if part.is_multipart():
        return b"".join(child.as_bytes() for child in part.get_payload())
    # get_payload() would replace bytes that do not fit the charset by U+FFFD
    return str(part._payload).encode("utf-8", "surrogateescape")  # type: ignore[attr-defined]


def _parameters(part: Parsed, header: str = "Content-Type") -> bytes:
    pairs = (part.get_params(header=header, unquote=True) or [])[1:]
    texts = [b"%s %s" % (_text(name), _text(_flat(value))) for name, value in pairs]
    return b"(" + b" ".join(texts) + b")" if texts else b"NIL"


def _disposition(part: Parsed) -> bytes:
    kind = part.get_content_disposition()
    return b"(%s %s)" % (_text(kind), _parameters(part, "Content-Disposition")) if kind else b"NIL"


def _flat(value: object) -> str:
    return str(value[2]) if isinstance(value, tuple) else str(value)


def _text(value: object) -> bytes:
    return string(None if value is None else str(value).encode("utf-8", "surrogateescape"))


def body_item(item: bytes, mail: Mail) -> bytes | None:
    """Answer ``BODY[…]`` or ``BODY.PEEK[…]``, with an optional ``<offset.count>``; None for other items."""
    match = re.fullmatch(rb"BODY(?:\.PEEK)?\[(.*)\](?:<(\d+)\.(\d+)>)?", item, re.IGNORECASE | re.DOTALL)
    if not match:
        return None
    section, offset, count = match.groups()
    data = mail.section(section)
    name = b"BODY[%s]" % section
    if offset is not None:
        data = (data or b"")[int(offset) : int(offset) + int(count)]
        name += b"<%s>" % offset
    return name + b" " + (b"NIL" if data is None else literal(data))
