"""The commands of all sessions with the scripted server, and which sessions were active at the same time."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass


@dataclass
class Command:
    """One tagged command. Times are ``time.monotonic()``; ``finished`` is None until the answer is sent.

    ``arrived`` is when its last byte came, which may be long before its turn comes at ``started``.

    ``answered`` is False if the connection ended first; ``selected`` says whether the session had a mailbox
    selected afterwards.
    """

    connection: int
    name: str
    line: bytes
    started: float
    finished: float | None = None
    answered: bool = False
    selected: bool = False
    arrived: float = 0.0


@dataclass(frozen=True)
class Span:
    """A time during which one connection was active."""

    connection: int
    start: float
    end: float


@dataclass(frozen=True)
class Conflict:
    """A command that came while another connection of the user had ``other`` in flight, or during IDLE."""

    user: str
    connection: int
    command: str
    other_connection: int
    other: str


class Journal:
    """All commands of a server, in order of arrival, and when each session was logged in."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._commands: list[Command] = []
        self._users: dict[int, str] = {}
        self._logged_in: dict[int, float] = {}
        self._closed: dict[int, float] = {}
        self._violations: list[tuple[int, str, bytes]] = []

    # -- written by the server -------------------------------------------------------------------------

    def begin(self, connection: int, name: str, line: bytes) -> Command:
        """Record a command that has arrived."""
        command = Command(connection, name, line, time.monotonic())
        with self._lock:
            self._commands.append(command)
        return command

    def login(self, connection: int, user: str, accepted: bool) -> None:
        """Record a login on this connection."""
        with self._lock:
            self._users[connection] = user
            if accepted:
                self._logged_in[connection] = time.monotonic()

    def close(self, connection: int) -> None:
        """Record the end of a connection; the first call counts."""
        with self._lock:
            self._closed.setdefault(connection, time.monotonic())

    def violate(self, connection: int, during: str, line: bytes) -> None:
        """Record a line that a client must not send now."""
        with self._lock:
            self._violations.append((connection, during, line))

    # -- read by tests -----------------------------------------------------------------------------------

    def commands(self, name: str | None = None, user: str | None = None) -> list[Command]:
        """Return the commands so far, only those of a name (``"UID FETCH"``) or a user if given."""
        with self._lock:
            return [
                command
                for command in self._commands
                if name in (None, command.name) and user in (None, self._users.get(command.connection))
            ]

    def counts(self, user: str | None = None) -> Counter[str]:
        """Return how often each command came."""
        return Counter(command.name for command in self.commands(user=user))

    def sessions(self, user: str | None = None) -> list[Span]:
        """Return the spans from login to the end of the connection; open connections end now."""
        with self._lock:
            return [
                Span(number, start, self._closed.get(number, time.monotonic()))
                for number, start in self._logged_in.items()
                if user in (None, self._users[number])
            ]

    def speaking(self, user: str | None = None, gap: float = 0.0) -> list[Span]:
        """Return when each connection was active: from command to answer, and while a mailbox is selected.

        Pauses of up to `gap` seconds count as activity, so that a burst is one span. A span ends with its
        connection at the latest.
        """
        now = time.monotonic()
        with self._lock:
            closed = dict(self._closed)
        by_connection: dict[int, list[Command]] = {}
        for command in self.commands(user=user):
            by_connection.setdefault(command.connection, []).append(command)
        spans: list[Span] = []
        for number, commands in by_connection.items():
            closed_at = closed.get(number, now)
            span: Span | None = None
            for i, command in enumerate(commands):
                end = command.finished if command.answered and command.finished else closed_at
                if command.selected:
                    end = commands[i + 1].started if i + 1 < len(commands) else closed_at
                end = max(command.started, min(end, closed_at))
                if span and command.started <= span.end + gap:
                    span = Span(number, span.start, max(end, span.end))
                    spans[-1] = span
                else:
                    span = Span(number, command.started, end)
                    spans.append(span)
        return sorted(spans, key=lambda span: span.start)

    def interleavings(self, user: str | None = None, gap: float = 0.0) -> list[tuple[Span, Span]]:
        """Return pairs of spans in which two connections of one user were active at once; must be empty."""
        with self._lock:
            users = sorted(set(self._users.values())) if user is None else [user]
        overlaps: list[tuple[Span, Span]] = []
        for name in users:
            latest: Span | None = None
            for span in self.speaking(name, gap):
                if latest and span.connection != latest.connection and span.start < latest.end:
                    overlaps.append((latest, span))
                if latest is None or span.end > latest.end:
                    latest = span
        return overlaps

    def round_trips(self, user: str | None = None) -> int:
        """Return how often clients waited: commands that came together count once, if there is a latency."""
        trips, finished = 0, dict[int, float]()
        for command in self.commands(user=user):
            trips += command.arrived >= finished.get(command.connection, 0.0)
            finished[command.connection] = command.finished or command.started
        return trips

    def conflicts(self) -> list[Conflict]:
        """Return commands that came while another connection of their user had one in flight, or in IDLE."""
        now = time.monotonic()
        with self._lock:
            commands, closed, users = list(self._commands), dict(self._closed), dict(self._users)
            found = [
                Conflict(users.get(number, ""), number, line.decode(errors="replace"), number, during)
                for number, during, line in self._violations
            ]
        open_ones: dict[str, list[tuple[float, Command]]] = {}
        for command in sorted(commands, key=lambda command: command.started):
            user = users.get(command.connection)
            if user is None:
                continue
            running = [pair for pair in open_ones.get(user, []) if pair[0] > command.started]
            found += [
                Conflict(user, command.connection, command.name, other.connection, other.name)
                for _, other in running
                if other.connection != command.connection
            ]
            end = min(command.finished or now, closed.get(command.connection, now))
            open_ones[user] = [*running, (end, command)]
        return found

    def busiest_minute(self, user: str | None = None, window: float = 60.0) -> int:
        """Return the most commands that arrived in any `window` seconds."""
        times = sorted(command.started for command in self.commands(user=user))
        most = first = 0
        for last, moment in enumerate(times):
            while moment - times[first] >= window:
                first += 1
            most = max(most, last - first + 1)
        return most
