"""Queries and server answers for the tests of discovery."""

from __future__ import annotations

from collections.abc import Callable

from mailsync.engine.turn import Turn
from tests.support.scripted import CAPABILITIES, ScriptedServer
from tests.support.session import Request
from tests.support.turns import Mirror

ALL, BARE = CAPABILITIES, b"IMAP4rev1 UNSELECT"


def look(mirror: Mirror) -> None:
    """Take a turn that lists the folders."""
    mirror.conn.execute("update accounts set next_discovery_at = now()")
    ended = mirror.hot()
    assert isinstance(ended, Turn), ended


def ids(mirror: Mirror, path: str) -> dict[int, int]:
    """The live rows of a folder: UID and id."""
    query = "select uid, id from messages where folder_id = %s and deleted_at is null"
    return dict(mirror.conn.execute(query, [mirror.folder(path).id]).fetchall())


def events(mirror: Mirror) -> list[tuple[str, str | None, str | None]]:
    """The events of renamed folders: type, old path, new path."""
    query = (
        "select type, data ->> 'old', coalesce(data ->> 'new', data ->> 'path') from sync_events"
        " where type in ('folder.renamed', 'folder.missing', 'folder.restored') order by seq"
    )
    return mirror.conn.execute(query).fetchall()


def fetched(server: ScriptedServer) -> int:
    """How many FETCHes asked for whole messages."""
    return sum(b"BODYSTRUCTURE" in command.line for command in server.journal.commands())


def end_grace(mirror: Mirror) -> None:
    """Make the missing folders a week older."""
    mirror.conn.execute("update folders set missing_since = missing_since - interval '7 days'")


def reasons(mirror: Mirror, path: str) -> list[str | None]:
    """The distinct reasons for which a folder's rows are tombstones; None for live rows."""
    query = "select distinct deleted_reason from messages where folder_id = %s order by 1"
    return [row[0] for row in mirror.conn.execute(query, [mirror.folder(path).id])]


def only(*names: bytes) -> Callable[[Request], bytes]:
    """Answer LIST and LIST-STATUS with only these names."""

    def answer(request: Request) -> bytes:
        lines = request.default().splitlines(keepends=True)
        # * LIST () "/" L, and * STATUS L (…)
        kept = [
            line for line in lines[:-1] if line.split()[4 if b" LIST " in line else 2].strip(b'"') in names
        ]
        return b"".join([*kept, lines[-1]])

    return answer


def refusing(*names: bytes, words: bytes = b"NO there is no such mailbox") -> Callable[[Request], bytes]:
    """Refuse STATUS of these folders."""

    def answer(request: Request) -> bytes:
        refused = request.text.split()[0].strip(b'"') in names
        return request.tagged(words) if refused else request.default()

    return answer


def without_status_of(name: bytes) -> Callable[[Request], bytes]:
    """Answer STATUS and LIST-STATUS without that folder's status."""

    def answer(request: Request) -> bytes:
        lines = request.default().splitlines(keepends=True)
        return b"".join(line for line in lines if not (line.startswith(b"* STATUS") and name in line))

    return answer


def twice_and_otherwise(request: Request) -> bytes:
    """Answer LIST with each row twice, and with another spelling of INBOX."""
    lines = request.default().splitlines(keepends=True)
    rows = [line.replace(b"INBOX", b"Inbox") for line in lines[:-1]]
    return b"".join([*rows, *rows, lines[-1]])
