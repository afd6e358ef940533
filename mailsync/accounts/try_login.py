"""The connection test: connect, log in, LIST; says which step failed (SPEC §5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mailsync.config import Settings
from mailsync.errors import MailsyncError
from mailsync.imap import TokenBucket, open_session
from mailsync.model import Endpoint


@dataclass(frozen=True, slots=True)
class Tested:
    """What a server showed: its capabilities after login, sorted, and how many folders it lists."""

    capabilities: tuple[str, ...]
    folders: int


def try_connection(
    endpoint: Endpoint,
    password: str,
    settings: Settings,
    *,
    bucket: TokenBucket,
    on_wait: Callable[[], None] = lambda: None,
) -> Tested:
    """Log in and list the folders; nothing is stored and nothing on the server changes.

    Raises what :func:`mailsync.imap.open_session` does; its ``step`` is ``dns``, ``connect``, ``tls``,
    ``login`` or ``list``.
    """
    with open_session(endpoint, password, settings, bucket=bucket, on_wait=on_wait) as session:
        try:
            listed = session.list_folders()
        except MailsyncError as error:
            error.step = error.step or "list"
            raise
        return Tested(tuple(sorted(session.capabilities)), len(listed))
