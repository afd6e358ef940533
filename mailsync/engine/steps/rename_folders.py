"""Folders that were renamed keep their rows: what must be asked to know them again, and the change itself.

:mod:`mailsync.core.renames` decides what may be a rename. Each costs a few commands, so a turn proves as
many as it can afford; the names of the others wait, and the next turn goes on.
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
"""No answer about one folder; on a connection that is still open it must not cost the others their turn."""

_COMMANDS = 4
"""Commands that a rename may cost: STATUS, EXAMINE, FETCH, and a share for the rest of the turn."""


def ask(
    turn: Turn, names: Iterable[bytes], known: dict[bytes, MailboxStatus | None], most: int | None = None
) -> set[bytes]:
    """Add to `known` the status of those `names` that it lacks, None where there is no answer.

    Returns the names that were not asked for, since `most` of them were, or what the turn can afford.
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
    """The renames that are true, and the names of which this turn could not find out."""
    proven = [rename for rename in proposed if rename.certain]
    doubtful = [rename for rename in proposed if not rename.certain]
    rows = {}
    if doubtful:
        ids = [rename.folder.id for rename in doubtful]
        rows = folders.newest(turn.conn, turn.account.id, ids, renames.NEWEST)
    for at, rename in enumerate(doubtful):
        # one at least, or turns that are always short would never get to any
        if turn.session.commands_left < _COMMANDS - 1 or (at and turn.is_over()):
            return proven, {each.wire_name for each in doubtful[at:]}
        if _is_proven(turn, rename, rows.get(rename.folder.id, [])):
            proven.append(rename)
        turn.keep_alive()
    return proven, set()


def _is_proven(turn: Turn, rename: Rename, rows: Sequence[MessageState]) -> bool:
    """Whether the mailbox of that name holds the folder's newest messages, under the same UIDVALIDITY."""
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
    """Give the folders their new names, inside a transaction; rows and cursors stay as they are."""
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
    """The names, as they are after the renames, of the folders that a person has tracked or untracked."""
    moved = {rename.folder.id: rename.wire_name for rename in proven}
    lost = {folder.id for folder in renames.displaced(turn.folders, proven)}
    return {
        moved.get(folder.id, folder.wire_name)
        for folder in turn.folders
        if folder.tracked_by_user is not None and folder.id not in lost
    }
