"""SessionCache with test servers, for the tests of mailsync.imap."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from mailsync.config import Settings
from mailsync.credentials import Credential
from mailsync.imap import Batch, Detail, Session, TokenBucket, open_session
from mailsync.model import Endpoint, Message
from mailsync.uidset import UidSet
from tests.support import mail
from tests.support.mailboxes import Account
from tests.support.scripted import ScriptedServer

FIVE = UidSet([(1, 5)])


def settings_with(**overrides: Any) -> Settings:
    """Return settings that allow loopback and plaintext, with timeouts that a busy machine does not reach."""
    return Settings(
        **{
            "imap_allow_private_hosts": True,
            "imap_allow_plaintext": True,
            "imap_connect_timeout": 60,
            "imap_read_timeout": 60,
            **overrides,
        }
    )


def connect(
    server: Any,
    user: Any,
    *,
    port: int | None = None,
    host: str | None = None,
    security: str = "plaintext",
    password: Credential | None = None,
    bucket: TokenBucket | None = None,
    on_wait: Callable[[], None] = lambda: None,
    disabled_capabilities: frozenset[str] = frozenset(),
    **overrides: Any,
) -> Session:
    """Open a session with a test server as one of its users."""
    endpoint = Endpoint(host or server.host, port or server.port, security, user.name)
    return open_session(
        endpoint,
        user.password if password is None else password,
        settings_with(**overrides),
        bucket=bucket or TokenBucket(1e6, 1_000_000, 0),
        on_wait=on_wait,
        disabled_capabilities=disabled_capabilities,
    )


def user_with_five(server: ScriptedServer) -> Account:
    """Return a new user with five messages in INBOX, UIDs 1 to 5."""
    account = server.new_user()
    for n in FIVE:
        account.folder("INBOX").add(mail.message(n), rb"\Seen")
    return account


def fetch(session: Session, requested: UidSet = FIVE, detail: Detail = Detail.FULL) -> Batch:
    """Fetch one batch of messages."""
    [batch] = session.fetch_messages([requested], detail)
    return batch


def uids(messages: list[Message]) -> list[int]:
    """Return the UIDs in the order of the answer."""
    return [message.uid for message in messages]


def pieces(answer: bytes) -> tuple[list[bytes], bytes]:
    """Split an honest answer to FETCH into its untagged responses and its completion."""
    *lines, end = re.split(rb"(?=^\* \d+ FETCH|^M\d+\.)", answer, flags=re.MULTILINE)
    return [line for line in lines if line], end


def in_step(session: Session) -> bool:
    """Whether the session still works."""
    return not session.closed and session.search() == FIVE
