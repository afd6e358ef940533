"""Commands that wait for a person who authorizes them, and that person."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.support.authorization_server import AuthorizationServer, RegisteredClient
from tests.support.dovecot_oauth import OAuthDovecot
from tests.support.oauth_browser import Browser
from tests.support.programs import Mailsync, Running

_URL = re.compile(r"https?://\S+/authorize\?\S+")
_DEVICE = re.compile(r"open (\S+) on any device")
_CODE = re.compile(r"^    (\S+)$", re.MULTILINE)


@dataclass
class SigningIn:
    """A mailbox of Dovecot at a provider of the tests, whose clients the commands have."""

    mailsync: Mailsync
    server: AuthorizationServer
    dovecot: OAuthDovecot

    def client(self, name: str = "corp", **fields: object) -> RegisteredClient:
        """Register a client for the mail server, and configure it."""
        client = self.server.add_client(name, **{"imap_host": self.dovecot.host, **fields})  # type: ignore[arg-type]
        self.mailsync.environment |= client.environment()
        return client

    @property
    def where(self) -> list[str]:
        """The options that name the mail server."""
        return ["--port", str(self.dovecot.port), "--security", "plaintext"]

    def start(self, *args: str) -> Running:
        """Start a command that waits for a person."""
        return self.mailsync.start(*args)

    def add(self, email: str, *args: str) -> Running:
        """Start adding an account."""
        return self.start("add-account", email, "--oauth", "corp", *self.where, *args)


def enter_code(command: Running, user: str, *, deny: bool = False) -> None:
    """Enter the code that a command shows, as `user`."""
    command.wait_for("Waiting for up to")
    page, code = _DEVICE.search(command.output), _CODE.search(command.output)
    assert page
    assert code
    Browser().enter_code(page[1], code[1], user, deny=deny)


def shown_url(output: str) -> str:
    """The address that a command asks to open."""
    url = _URL.search(output)
    assert url, output
    return url[0]


def open_url(command: Running, user: str, *, deny: bool = False) -> None:
    """Open the address that a command shows, sign in as `user`, and go where the provider sends."""
    command.wait_for("Waiting for up to")
    answer = Browser().consent_and_return(shown_url(command.output), user, deny=deny)
    assert answer.status == 200
