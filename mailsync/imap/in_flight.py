"""The commands whose answers have yet to be read, oldest first (RFC 9051 §5.5)."""

from __future__ import annotations

import secrets
from collections import deque
from typing import NamedTuple


class Sent(NamedTuple):
    """A command: its tag, and its name without UID."""

    tag: bytes
    verb: str


class InFlight:
    """Gives tags to commands and finds commands by their tags; a connection has one."""

    def __init__(self) -> None:
        self._prefix = b"M%05d." % secrets.randbelow(100_000)
        self._tags_used = 0
        self._commands: deque[Sent] = deque()

    def new_tag(self) -> bytes:
        """Return a tag that was not used before."""
        self._tags_used += 1
        return self._prefix + b"%d" % self._tags_used

    def __len__(self) -> int:
        return len(self._commands)

    def __contains__(self, tag: bytes) -> bool:
        return self.completed_by(tag) is not None

    @property
    def oldest(self) -> Sent:
        """The command that was sent first; there must be one."""
        return self._commands[0]

    def has(self, verb: str) -> bool:
        """Whether a command of this name is in flight."""
        return any(command.verb == verb for command in self._commands)

    def add(self, tag: bytes, verb: str) -> None:
        """Note that a command was sent."""
        self._commands.append(Sent(tag, verb))

    def completed_by(self, line: bytes) -> Sent | None:
        """Return the command that the line completes, if it does."""
        tag = line.partition(b" ")[0]
        return next((command for command in self._commands if command.tag == tag), None)

    def remove(self, tag: bytes) -> None:
        """Note that a command was completed; one that is not in flight is ignored."""
        if (command := self.completed_by(tag)) is not None:
            self._commands.remove(command)

    def clear(self) -> None:
        """Forget all: the connection is closed."""
        self._commands.clear()
