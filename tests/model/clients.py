"""Several mail clients on one mailbox, and an observer of the server's state; all by plain imaplib."""

from __future__ import annotations

import imaplib
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.support.imap_server import ImapServer, User, done, quoted
from tests.support.mirrors import Mail, mails_in

Answer = tuple[str, list[Any]]

_LISTED = re.compile(rb'\(([^)]*)\) (?:"[^"]*"|NIL) (?:"(.*)"|(.*))')
_UMLAUT = ("&ANw-", "Ü")


LISTS_AT_ONCE = "mailbox_list_index = no\n"
"""For dovecot.conf: with an index of folders, LIST may be some tenths of a second behind."""


class Truth(NamedTuple):
    """One folder as the server shows it."""

    uidvalidity: int
    mails: list[Mail]


class Letter(NamedTuple):
    """One complete message, to be restored later."""

    content: bytes
    flags: str
    date: str


@dataclass
class Client:
    """One connection of a mail client, which keeps its folder selected from one action to the next."""

    server: ImapServer
    user: User
    connection: imaplib.IMAP4 | None = None
    selected: tuple[str, object] | None = None
    answer: Answer = ("", [])

    def run(self, command: Callable[[imaplib.IMAP4], Answer]) -> bool:
        """Send a command that needs no folder; returns whether the server answered OK."""
        return self._attempt(command, None)

    def run_in(self, name: str, mailbox: object, command: Callable[[imaplib.IMAP4], Answer]) -> bool:
        """Send a command in a folder, which is selected first unless `mailbox` is selected already."""
        return self._attempt(command, (name, mailbox))

    def _attempt(self, command: Callable[[imaplib.IMAP4], Answer], where: tuple[str, object] | None) -> bool:
        # a client whose folder was deleted gets an error, or loses its connection; then it tries again
        try:
            if self._once(command, where):
                return True
        except (imaplib.IMAP4.error, OSError):
            pass
        self.close()
        return self._once(command, where)

    def _once(self, command: Callable[[imaplib.IMAP4], Answer], where: tuple[str, object] | None) -> bool:
        if where is not None and not self._select(where):
            return False
        self.answer = command(self._connected())
        return self.answer[0] == "OK"

    def _select(self, where: tuple[str, object]) -> bool:
        if self.selected == where:
            return True
        self.selected = None
        if self._connected().select(quoted(where[0]))[0] != "OK":
            return False
        self.selected = where
        return True

    def _connected(self) -> imaplib.IMAP4:
        if self.connection is None:
            self.connection = imaplib.IMAP4(self.server.host, self.server.port, timeout=60)
            # without this, the end of a literal's line waits for 40 ms
            self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connection.login(self.user.name, self.user.password)
        return self.connection

    def leave(self, name: str) -> None:
        """End the connection if it has a folder of that name, or one below it, selected."""
        if self.selected is not None and (self.selected[0] + "/").startswith(name + "/"):
            self.close()

    def close(self) -> None:
        """Close the connection without LOGOUT."""
        if self.connection is not None:
            self.connection.shutdown()
        self.connection, self.selected = None, None


@dataclass
class Reader:
    """A client that only reads, to find what the server really has."""

    server: ImapServer
    user: User
    _client: Client = field(init=False)

    def __post_init__(self) -> None:
        self._client = Client(self.server, self.user)

    def names(self) -> set[str]:
        """The wire names of all folders that can be opened."""
        found: set[str] = set()

        def ask(client: imaplib.IMAP4) -> Answer:
            answer = client.list()
            for row in done(answer):
                listed = _LISTED.fullmatch(row)
                assert listed, row
                if not {b"\\noselect", b"\\nonexistent"} & set(listed[1].lower().split()):
                    found.add((listed[2] or listed[3]).decode())
            return answer

        assert self._client.run(ask)
        return found

    def uids(self, name: str) -> list[int]:
        """The UIDs of a folder, ascending; none if it cannot be opened."""
        found: list[int] = []

        def ask(client: imaplib.IMAP4) -> Answer:
            if client.select(quoted(name), readonly=True)[0] == "OK":
                answer = client.uid("SEARCH", "ALL")
                found.extend(int(uid) for uid in (done(answer)[0] or b"").split())
                return _left(client)
            return "OK", []

        self._client.run(ask)
        return sorted(found)

    def letters(self, name: str) -> list[Letter]:
        """All messages of a folder."""
        found: list[Letter] = []

        def ask(client: imaplib.IMAP4) -> Answer:
            if done(client.select(quoted(name), readonly=True))[0] == b"0":
                return _left(client)
            answer = client.uid("FETCH", "1:*", "(FLAGS INTERNALDATE BODY.PEEK[])")
            found.extend(_letter(*part) for part in done(answer) if isinstance(part, tuple))
            return _left(client)

        assert self._client.run(ask)
        return found

    def all(self) -> dict[str, Truth]:
        """Every folder that can be opened, by its wire name."""
        return {name: self._truth(name) for name in sorted(self.names())}

    def _truth(self, name: str) -> Truth:
        found: list[Truth] = []

        def ask(client: imaplib.IMAP4) -> Answer:
            mails = mails_in(client, name)
            found.append(Truth(int(client.response("UIDVALIDITY")[1][0] or b"0"), mails))
            return _left(client)

        assert self._client.run(ask)
        return found[-1]

    def close(self) -> None:
        """End the connection."""
        self._client.close()


def _left(client: imaplib.IMAP4) -> Answer:
    # close the folder soon, since folders are deleted; pymap has no UNSELECT and does not need it
    return client.unselect() if "UNSELECT" in client.capabilities else ("OK", [])


def _letter(said: bytes, content: bytes) -> Letter:
    flags = re.search(rb"FLAGS \(([^)]*)\)", said)
    date = re.search(rb'INTERNALDATE ("[^"]*")', said)
    assert flags and date, said
    return Letter(content, flags[1].decode().replace("\\Recent", "").strip(), date[1].decode())


def path_of(wire: str) -> str:
    """Decode a wire name; only the part of modified UTF-7 that the tests' names need."""
    return wire.replace(*_UMLAUT)
