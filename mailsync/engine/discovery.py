"""Which folders there are: LIST, roles, exclusions (SPEC §6)."""

from __future__ import annotations

import logging
from datetime import timedelta

from mailsync.engine.turn import Turn
from mailsync.folders import assign_roles
from mailsync.store import folders, messages
from mailsync.store.db import transaction

log = logging.getLogger(__name__)


def discover(turn: Turn) -> None:
    """LIST the mailboxes and store what is new or different; those no longer listed begin their grace.

    An empty LIST is an error that the protocol raises, so it cannot make a folder missing.
    """
    listed = turn.session.list_folders()
    traits = assign_roles(listed)
    with transaction(turn.conn):
        folders.upsert(turn.conn, turn.account.id, [(f, traits[f.wire_name]) for f in listed])
    turn.folders = folders.load(turn.conn, turn.account.id)
    turn.next_discovery_at = turn.now() + timedelta(seconds=turn.settings.discovery_interval)


def empty_untracked(turn: Turn) -> None:
    """Tombstone the rows of folders that are not tracked any more; coming back, they are filled anew."""
    for folder in turn.folders:
        if folder.tracked or not (folder.live_count or folder.last_uid):
            continue
        turn.working()
        while gone := messages.tombstone_chunk(turn.conn, folder, "untracked"):
            turn.tally.messages_deleted += gone
            turn.checkpoint()
        folders.clear_cursors(turn.conn, folder)
        turn.refresh(folder)
