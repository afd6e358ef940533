"""Changes at every point between the work of a turn and its parked session: none waits for the next tick."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mailsync.engine.turn import Turn
from tests.support import mail
from tests.support.mailboxes import Account, Folder
from tests.support.placing import ENDING_IDLE, PARKING_BY_IDLE, PARKING_BY_NOTIFY, Place
from tests.support.pushed import BY_IDLE, BY_NOTIFY, PushedMirror, two_folders
from tests.support.scripted import ScriptedServer
from tests.support.turns import letters

StartScripted = Callable[..., ScriptedServer]
Change = Callable[[Folder], object]

PLAIN_IDLE = b"IMAP4rev1 IDLE UNSELECT"

CHANGES: dict[str, Change] = {
    "a message comes": lambda folder: folder.add(mail.message(99)),
    "a flag is set": lambda folder: folder.set_flags(1, rb"\Flagged"),
    "a message goes": lambda folder: folder.expunge(2),
}


def race(
    mirror: PushedMirror,
    server: ScriptedServer,
    user: Account,
    place: tuple[Place, str],
    change: Callable[[], object],
) -> None:
    """Wake the account, make the change at the place, and wait until the mirror equals the server."""
    made: list[bool] = []

    def make() -> None:
        made.append(True)
        if place[1] == "UNSELECT":
            # Dovecot notices a change half a second later, when nothing is selected any more
            server.notify_reports_selected = True
        change()

    place[0](server, place[1], make)
    user.folder("INBOX").add(mail.message(50))
    if place[1] == "NOTIFY":
        # sent once a session, at the end of its first turn
        mirror.env.sessions.drop(mirror.account_id)
        assert isinstance(mirror.hot(), Turn)
    mirror.follow(lambda: made and mirror.equals(user), "the change in the mirror")


@pytest.mark.long
@pytest.mark.parametrize("where", ["INBOX", "Archive"])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("point", PARKING_BY_NOTIFY)
def test_notify_misses_nothing(
    database_url: str, scripted_with: StartScripted, point: str, change: str, where: str
) -> None:
    server = scripted_with(capabilities=BY_NOTIFY)
    user = two_folders(server)
    with PushedMirror(database_url, server, user) as mirror:
        mirror.complete()
        mirror.settle()
        race(mirror, server, user, PARKING_BY_NOTIFY[point], lambda: CHANGES[change](user.folder(where)))


@pytest.mark.long
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("point", PARKING_BY_IDLE | ENDING_IDLE)
def test_idle_misses_nothing(
    database_url: str, scripted_with: StartScripted, point: str, change: str
) -> None:
    server = scripted_with(capabilities=BY_IDLE)
    user = server.new_user()
    inbox = letters(user, 3)
    with PushedMirror(database_url, server, user) as mirror:
        mirror.complete()
        mirror.settle()
        race(mirror, server, user, (PARKING_BY_IDLE | ENDING_IDLE)[point], lambda: CHANGES[change](inbox))


@pytest.mark.long
@pytest.mark.parametrize(
    ("point", "change"),
    [
        (point, change)
        for point in ENDING_IDLE
        for change in CHANGES
        # no server without CONDSTORE reports flags that change between two commands, of which the second is
        # EXAMINE: the tick has to find them
        if change != "a flag is set" or point == "before DONE is executed"
    ],
)
def test_idle_of_a_server_without_extensions_misses_nothing(
    database_url: str, scripted_with: StartScripted, point: str, change: str
) -> None:
    server = scripted_with(capabilities=PLAIN_IDLE)
    user = server.new_user()
    inbox = letters(user, 3)
    with PushedMirror(database_url, server, user) as mirror:
        mirror.complete()
        mirror.settle()
        race(mirror, server, user, ENDING_IDLE[point], lambda: CHANGES[change](inbox))
