"""One command of a client, and its answer by an honest server."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from functools import cached_property

from tests.support import imap_commands
from tests.support.conversation import Conversation
from tests.support.imap_arguments import Refused
from tests.support.imap_text import Token, tokens
from tests.support.mailboxes import Account
from tests.support.notify import notify

COMMANDS = imap_commands.COMMANDS | {"NOTIFY": notify}


class HonestRequest:
    """A command; ``text`` are its arguments as they came."""

    commands: Mapping[str, Callable[[HonestRequest], bytes]] = COMMANDS

    def __init__(
        self, connection: Conversation, accounts: Mapping[str, Account], tag: bytes, name: str, text: bytes
    ) -> None:
        self.connection, self.tag, self.name, self.text = connection, tag, name, text
        self._accounts = accounts

    @cached_property
    def arguments(self) -> list[Token]:
        """The arguments: bytes, and lists for parentheses."""
        return tokens(self.text)

    @property
    def account(self) -> Account:
        """The account that is logged in."""
        if self.connection.account is None:
            raise Refused("BAD log in first")
        return self.connection.account

    def find_account(self, user: str) -> Account | None:
        """Return the account of this name, if there is one."""
        return self._accounts.get(user)

    def default(self) -> bytes:
        """Execute the command as an honest server does, and return the whole answer, not yet sent."""
        connection = self.connection
        command = self.commands.get(self.name)
        try:
            if command is None:
                return self.tagged(b"BAD unknown command")
            if connection.account and not connection.account.is_open and self.name != "CAPABILITY":
                return self.tagged(connection.habits.closed_refusal)
            with connection.account.lock if connection.account else contextlib.nullcontext():
                data = command(self)
                if self.name not in ("EXAMINE", "SELECT"):
                    data += connection.news()
        except Refused as refusal:
            return self.tagged(str(refusal).encode())
        except (ValueError, IndexError) as error:
            return self.tagged(b"BAD %s" % str(error).encode(errors="replace"))
        return data + self.tagged(b"OK %s completed" % self.name.encode())

    def tagged(self, text: bytes) -> bytes:
        """Return the tagged response: ``request.tagged(b"NO [INUSE] later")``."""
        return b"%s %s\r\n" % (self.tag, text)


def split_command(text: bytes) -> tuple[bytes, str, bytes]:
    """Return tag, name (``UID FETCH``) and arguments of a command with its literals."""
    tag, _, rest = text.removesuffix(b"\r\n").partition(b" ")
    name, _, rest = rest.partition(b" ")
    if name.upper() == b"UID":
        second, _, rest = rest.partition(b" ")
        name += b" " + second
    return tag, name.upper().decode(errors="replace"), rest
