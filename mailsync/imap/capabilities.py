"""The capabilities that a server offers, less those that it turns out not to understand."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from mailsync.errors import ProtocolError
from mailsync.imap.connection import Connection
from mailsync.imap.message_limit import Cut, announced_limit

log = logging.getLogger(__name__)
T = TypeVar("T")


class Capabilities:
    """The capabilities of one session, in upper case.

    Some servers offer an extension and answer its commands with BAD. Such an extension is disabled for the
    rest of the session.
    """

    def __init__(self, connection: Connection, offered: frozenset[str]) -> None:
        self.usable = offered
        self.understood = frozenset[str]()
        """Those whose items of FETCH the server has answered, so that a later BAD has another reason."""
        self.message_limit = announced_limit(offered)
        """How many messages one command processes at most (RFC 9738); None if the server has not said."""
        self._connection = connection

    def __contains__(self, capability: str) -> bool:
        return capability in self.usable

    def disable(self, *capabilities: str) -> None:
        """Treat `capabilities` as not offered from now on."""
        self.usable -= frozenset(capabilities)

    def note_limit(self, cut: Cut | None) -> None:
        """Note the number of messages after which the server stopped, if it said so."""
        if cut is not None and cut.limit is not None:
            self.message_limit = cut.limit

    def without_broken_extension(self, send: Callable[[], T], *capabilities: str) -> T:
        """Call `send`; after each BAD, disable the next of `capabilities` that is offered and call it again.

        Raises what `send` raises for other answers, and once none of them is left.
        """
        for capability in filter(self.__contains__, capabilities):
            try:
                return send()
            except ProtocolError:
                completion = self._connection.completion
                if completion.status != "BAD":
                    raise
                log.warning(
                    "The server offers %s but does not understand it: %s",
                    capability,
                    completion.words,
                    extra={"action": "fall_back"},
                )
                self.disable(capability)
        return send()
