"""What the scripted server notes of every session: who said what when, and who spoke at the same time."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass


@dataclass
class Command:
    """One tagged command. Times are ``time.monotonic()``; ``finished`` is None while it is being answered.

    ``answered`` is False where the connection ended first; ``selected`` says whether the session has a
    mailbox selected after it.
    """

    connection: int
    name: str
    line: bytes
    started: float
    finished: float | None = None
    answered: bool = False
    selected: bool = False


@dataclass(frozen=True)
class Span:
    """A time during which one connection had the floor."""

    connection: int
    start: float
    end: float


class Journal:
    """All commands of a server, in order of arrival, and when each session was logged in."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._commands: list[Command] = []
        self._users: dict[int, str] = {}
        self._logged_in: dict[int, float] = {}
        self._closed: dict[int, float] = {}

    # -- written by the server -------------------------------------------------------------------------

    def begin(self, connection: int, name: str, line: bytes) -> Command:
        """A command has arrived."""
        command = Command(connection, name, line, time.monotonic())
        with self._lock:
            self._commands.append(command)
        return command

    def login(self, connection: int, user: str, accepted: bool) -> None:
        """Somebody gave a user name on this connection."""
        with self._lock:
            self._users[connection] = user
            if accepted:
                self._logged_in[connection] = time.monotonic()

    def close(self, connection: int) -> None:
        """The connection is gone; who sees it first says when."""
        with self._lock:
            self._closed.setdefault(connection, time.monotonic())

    # -- read by tests -----------------------------------------------------------------------------------

    def commands(self, name: str | None = None, user: str | None = None) -> list[Command]:
        """The commands so far, of all or of one name (``"UID FETCH"``) and user."""
        with self._lock:
            return [
                command
                for command in self._commands
                if name in (None, command.name) and user in (None, self._users.get(command.connection))
            ]

    def counts(self, user: str | None = None) -> Counter[str]:
        """How often each command came."""
        return Counter(command.name for command in self.commands(user=user))

    def sessions(self, user: str | None = None) -> list[Span]:
        """From login to the end of the connection; still open ones end now."""
        with self._lock:
            return [
                Span(number, start, self._closed.get(number, time.monotonic()))
                for number, start in self._logged_in.items()
                if user in (None, self._users[number])
            ]

    def speaking(self, user: str | None = None, gap: float = 0.0) -> list[Span]:
        """When each connection spoke: from command to answer, and all along while a mailbox is selected.

        Pauses of one connection of up to `gap` seconds count as speaking: a burst is one span. All of it ends
        with the connection.
        """
        now = time.monotonic()
        with self._lock:
            closed = dict(self._closed)
        by_connection: dict[int, list[Command]] = {}
        for command in self.commands(user=user):
            by_connection.setdefault(command.connection, []).append(command)
        spans: list[Span] = []
        for number, commands in by_connection.items():
            over = closed.get(number, now)
            held: Span | None = None
            for at, command in enumerate(commands):
                end = command.finished if command.answered and command.finished else over
                if command.selected:
                    end = commands[at + 1].started if at + 1 < len(commands) else over
                end = max(command.started, min(end, over))
                if held and command.started <= held.end + gap:
                    held = Span(number, held.start, max(end, held.end))
                    spans[-1] = held
                else:
                    held = Span(number, command.started, end)
                    spans.append(held)
        return sorted(spans, key=lambda span: span.start)

    def interleavings(self, user: str | None = None, gap: float = 0.0) -> list[tuple[Span, Span]]:
        """Pairs of spans in which two connections of one user spoke at the same time; must be empty."""
        with self._lock:
            users = sorted(set(self._users.values())) if user is None else [user]
        found: list[tuple[Span, Span]] = []
        for name in users:
            latest: Span | None = None
            for span in self.speaking(name, gap):
                if latest and span.connection != latest.connection and span.start < latest.end:
                    found.append((latest, span))
                if latest is None or span.end > latest.end:
                    latest = span
        return found

    def busiest_minute(self, user: str | None = None, window: float = 60.0) -> int:
        """The most commands that arrived in any `window` seconds."""
        times = sorted(command.started for command in self.commands(user=user))
        most = first = 0
        for last, moment in enumerate(times):
            while moment - times[first] >= window:
                first += 1
            most = max(most, last - first + 1)
        return most
