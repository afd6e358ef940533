"""A connection that is logged in: what the server offers, what was spent, and how long it lives."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Self

from mailsync.imap import commands, unasked
from mailsync.imap.capabilities import Capabilities
from mailsync.imap.connection import Connection
from mailsync.imap.flights import FlightLimit
from mailsync.imap.token_bucket import TokenBucket
from mailsync.model import ListedFolder, Namespaces


class LoggedIn:
    """The part of a :class:`Session <mailsync.imap.session.Session>` that needs no mailbox to be selected."""

    def __init__(self, connection: Connection, capabilities: frozenset[str], enabled: frozenset[str]) -> None:
        """`capabilities` are those to use, `enabled` those that ENABLE has turned on; in upper case."""
        self._connection = connection
        self._capabilities = Capabilities(connection, capabilities)
        self._enabled = enabled
        self.opened_at = time.monotonic()
        self.token_ends_at: datetime | None = None
        """When the access token ends with which this session was opened; None for a password."""
        self.flights = FlightLimit()

    @property
    def capabilities(self) -> frozenset[str]:
        """The capabilities offered, in upper case, less those that turned out not to be understood."""
        return self._capabilities.usable

    @property
    def has_list_status(self) -> bool:
        """Whether one command gives the status of all folders (RFC 5819)."""
        return "LIST-STATUS" in self._capabilities

    @property
    def announced_limit(self) -> int | None:
        """How many messages one command processes (RFC 9738); 0 for an unknown limit, None for no limit."""
        limit = self._capabilities.message_limit
        return 0 if limit is None and "UIDONLY" in self._capabilities else limit

    @property
    def has_vanished(self) -> bool:
        """Whether CHANGEDSINCE can report deletions too: QRESYNC (RFC 7162 §3.2) is enabled."""
        return "QRESYNC" in self._enabled and "QRESYNC" in self._capabilities

    @property
    def commands(self) -> Counter[str]:
        """How many commands were sent, by name without UID."""
        return self._connection.commands

    @property
    def bytes_in(self) -> int:
        """The bytes of IMAP received, without TLS."""
        return self._connection.reader.bytes_in

    @property
    def closed(self) -> bool:
        """Whether the connection was closed, by :meth:`close` or by an error."""
        return self._connection.closed

    @property
    def was_lost_in_flight(self) -> bool:
        """Whether the server has ended the connection because it got several commands in one flight."""
        return self._connection.was_lost_in_flight

    def resume(
        self,
        bucket: TokenBucket,
        on_wait: Callable[[], None],
        on_begin: Callable[[str], None] = lambda command: None,
    ) -> None:
        """Prepare a kept session for another turn; callbacks as for :func:`mailsync.imap.open_session`."""
        self._connection.resume(bucket, on_wait, on_begin)

    @property
    def is_proven(self) -> bool:
        """Whether the server has answered a command since :meth:`resume`; True for a new session."""
        return self._connection.is_proven

    def release_memory(self) -> None:
        """Forget the turn and free the read buffer until :meth:`resume`; close if much came unasked."""
        unasked.release_memory(self._connection)

    def is_alive(self) -> bool:
        """Whether the peer has neither closed the connection nor said BYE; sends no command."""
        return unasked.is_alive(self._connection)

    def check_budget(self) -> None:
        """Raise OutOfTokens if no command may be sent now."""
        self._connection.bucket.check()

    @property
    def commands_left(self) -> int:
        """How many commands may be sent now; the reserve for others does not count."""
        bucket = self._connection.bucket
        return max(0, int(bucket.tokens - bucket.floor))

    def list_folders(self) -> list[ListedFolder]:
        """Return the folders, with SPECIAL-USE where offered (RFC 6154).

        Raises ProtocolError for an empty list, since every mailbox has an INBOX.
        """

        def send() -> list[ListedFolder]:
            has_special_use = {"SPECIAL-USE", "LIST-EXTENDED"} <= self.capabilities
            return commands.list_folders(self._connection, b"(SPECIAL-USE)" if has_special_use else b"")

        return self._capabilities.without_broken_extension(send, "SPECIAL-USE")

    def namespaces(self) -> Namespaces | None:
        """Return the namespaces (RFC 2342); None if they are not offered, or the answer is of no use."""
        offered = {"NAMESPACE", "IMAP4REV2"} & self.capabilities
        return commands.list_namespaces(self._connection) if offered else None

    def noop(self) -> None:
        """Send NOOP, to learn whether the server still answers; raises ProtocolError for NO and BAD."""
        self._connection.run("NOOP")

    @contextmanager
    def deadline(self, seconds: float) -> Iterator[None]:
        """Limit all waiting in the context together; past it the session closes and Transient is raised."""
        with self._connection.timeouts.deadline(seconds):
            yield

    def close(self) -> None:
        """Close the socket, without LOGOUT."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
