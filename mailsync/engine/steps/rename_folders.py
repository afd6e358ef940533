"""Folders that were renamed keep their rows: how a rename is proved, and how it is stored.

:mod:`mailsync.core.renames` decides what may be a rename. Each proof costs a few commands, so a turn proves
as many as it can afford; the other names wait for the next turn.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence

from mailsync.core import renames
from mailsync.core.renames import Rename
from mailsync.engine.turn import Turn
from mailsync.errors import FolderError, ProtocolError, Transient
from mailsync.model import MailboxStatus, MessageState
from mailsync.store import folders
from mailsync.uidset import UidSet

log = logging.getLogger(__name__)

REFUSALS = (FolderError, ProtocolError, Transient)
"""Refusals that concern one folder: on a connection that is still open the others keep their turn."""

_COMMANDS = 4
"""Commands of a proof: STATUS, EXAMINE, FETCH, and one for the rest of the turn."""


def request_statuses(
    turn: Turn, names: Iterable[bytes], known: dict[bytes, MailboxStatus | None], most: int | None = None
) -> set[bytes]:
    """Add to `known` the status of those `names` that it lacks; None if the server gives no answer.

    Asks for at most `most`, or for as many as the turn can afford. Returns the names that were not asked for.
    """
    missing = [name for name in names if name not in known]
    affordable = max(1, turn.session.commands_left // _COMMANDS) if most is None else most
    for name in missing[:affordable]:
        try:
            turn.session.unselect()
            known[name] = turn.session.status(name)
        except REFUSALS:
            if turn.session.closed:
                raise
            known[name] = None
    return set(missing[affordable:])


def prove(turn: Turn, proposed: Sequence[Rename]) -> tuple[list[Rename], set[bytes]]:
    """Return the renames that are proved, and the new names for which this turn had no commands or time."""
    proven = [rename for rename in proposed if rename.certain]
    doubtful = [rename for rename in proposed if not rename.certain]
    rows = {}
    if doubtful:
        ids = [rename.folder.id for rename in doubtful]
        rows = folders.newest(turn.conn, turn.account.id, ids, renames.NEWEST)
    for i, rename in enumerate(doubtful):
        # Try at least one, or turns that are always short of time would never prove any.
        if turn.session.commands_left < _COMMANDS - 1 or (i and turn.is_over()):
            return proven, {rename.wire_name for rename in doubtful[i:]}
        if _is_proven(turn, rename, rows.get(rename.folder.id, [])):
            proven.append(rename)
        turn.keep_alive()
    return proven, set()


def _is_proven(turn: Turn, rename: Rename, rows: Sequence[MessageState]) -> bool:
    """Whether the mailbox of the new name has the folder's newest messages and its UIDVALIDITY."""
    if not rows:
        return False
    server: dict[int, MessageState] = {}
    try:
        with turn.session.deadline(turn.settings.flag_scan_timeout):
            seen = turn.session.examine(rename.wire_name)
            if seen.uidvalidity != rename.folder.uidvalidity:
                return False
            for states in turn.session.fetch_states(UidSet.of(row.uid for row in rows)):
                server.update((state.uid, state) for state in states)
    except REFUSALS:
        if turn.session.closed:
            raise
        return False
    return renames.agree(rows, server)


def apply(turn: Turn, proven: Sequence[Rename], paths: Mapping[bytes, str]) -> None:
    """Store the new names, inside a transaction; rows and cursors stay as they are."""
    if not proven:
        return
    displaced = [folder.id for folder in renames.displaced(turn.folders, proven)]
    renamed = [(rename.folder.id, rename.wire_name, paths[rename.wire_name]) for rename in proven]
    folders.rename(turn.conn, turn.account.id, renamed, displaced)
    for rename in proven:
        log.info(
            "Folder renamed",
            extra={"action": "rename", "account_id": turn.account.id, "folder_id": rename.folder.id},
        )


def choices(turn: Turn, proven: Sequence[Rename]) -> Collection[bytes]:
    """Return the names, after the renames, of the folders that a person has tracked or untracked."""
    moved = {rename.folder.id: rename.wire_name for rename in proven}
    lost = {folder.id for folder in renames.displaced(turn.folders, proven)}
    return {
        moved.get(folder.id, folder.wire_name)
        for folder in turn.folders
        if folder.tracked_by_user is not None and folder.id not in lost
    }
