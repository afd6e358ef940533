"""Changes of a mailbox at an exact point of a conversation with the scripted server.

Each function takes the server, the name of a command and the change, and makes the change once::

    before(server, "IDLE", lambda: inbox.add(raw))    # EXAMINE was answered; "+ idling" was not sent
    during(server, "DONE", lambda: inbox.add(raw))    # executed; its tagged answer was not sent
    after(server, "UNSELECT", lambda: inbox.add(raw)) # answered; the next command was not executed
"""

from __future__ import annotations

from collections.abc import Callable

from tests.support.scripted import ScriptedServer
from tests.support.session import Request

Change = Callable[[], object]
Place = Callable[[ScriptedServer, str, Change], None]


def before(server: ScriptedServer, name: str, change: Change) -> None:
    """Make the change when the next command of this name has arrived, before it is executed."""

    def answer(request: Request) -> bytes:
        change()
        return request.default()

    server.on(name, answer, times=1)


def during(server: ScriptedServer, name: str, change: Change) -> None:
    """Make the change when the next command of this name was executed, before its answer is sent.

    IDLE is executed when it ends; use :func:`before` IDLE, or change the mailbox while the client idles.
    """

    def answer(request: Request) -> bytes:
        data = request.default()
        change()
        return data

    server.on(name, answer, times=1)


def after(server: ScriptedServer, name: str, change: Change) -> None:
    """Make the change when the answer to the next command of this name was sent."""

    def answer(request: Request) -> None:
        request.answer(request.default())
        change()

    server.on(name, answer, times=1)


PARKING_BY_NOTIFY: dict[str, tuple[Place, str]] = {
    "before the FETCH is executed": (before, "UID FETCH"),
    "before the FETCH is answered": (during, "UID FETCH"),
    "after the FETCH": (after, "UID FETCH"),
    "before UNSELECT is executed": (before, "UNSELECT"),
    "before UNSELECT is answered": (during, "UNSELECT"),
    "after UNSELECT": (after, "UNSELECT"),
    "before NOTIFY is executed": (before, "NOTIFY"),
    "before NOTIFY is answered": (during, "NOTIFY"),
    "after NOTIFY": (after, "NOTIFY"),
}
"""Points between the last work of a turn and the session that listens, for tests with parameters."""

PARKING_BY_IDLE: dict[str, tuple[Place, str]] = {
    "before the FETCH is answered": (during, "UID FETCH"),
    "after the FETCH": (after, "UID FETCH"),
    "before EXAMINE is executed": (before, "EXAMINE"),
    "before EXAMINE is answered": (during, "EXAMINE"),
    "after EXAMINE": (after, "EXAMINE"),
    "before + idling": (before, "IDLE"),
}

ENDING_IDLE: dict[str, tuple[Place, str]] = {
    "before DONE is executed": (before, "DONE"),
    "before DONE is answered": (during, "DONE"),
    "after DONE": (after, "DONE"),
}
