"""Mailboxes for the tests of commands."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.support.commands import EMAIL, Synced
from tests.support.dovecot import Dovecot
from tests.support.imap_server import User
from tests.support.mail import message
from tests.support.scripted import ScriptedServer
from tests.support.turns import Mirror


@pytest.fixture
def user(dovecot: Dovecot) -> User:
    """An empty mailbox."""
    return dovecot.new_user()


@pytest.fixture
def synced(database_url: str, scripted: ScriptedServer) -> Iterator[Synced]:
    """Mirror a mailbox of three messages in INBOX and two in Work, one of each read, with more `folders`."""
    with contextlib.ExitStack() as stack:

        def sync(*folders: str) -> Mirror:
            user = scripted.new_user(EMAIL)
            for path in ("INBOX", "Work"):
                folder = user.folder("INBOX") if path == "INBOX" else user.create(path)
                for number in range(3 if path == "INBOX" else 2):
                    folder.add(message(number), *([rb"\Seen"] if number == 0 else []))
            for path in folders:
                user.create(path)
            mirror = stack.enter_context(Mirror(database_url, scripted, user))
            mirror.complete()
            return mirror

        yield sync
