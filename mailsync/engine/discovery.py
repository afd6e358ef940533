"""Which folders there are: LIST, roles, exclusions (SPEC §6)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import timedelta

from mailsync.engine.turn import Turn
from mailsync.folders import assign_roles, is_inbox
from mailsync.model import ListedFolder, MailboxStatus
from mailsync.store import folders, messages
from mailsync.store.db import transaction

log = logging.getLogger(__name__)


def discover(turn: Turn, statuses: Mapping[bytes, MailboxStatus] | None = None) -> None:
    """LIST the mailboxes and store what is new or different; those no longer listed begin their grace.

    An empty LIST is an error that the protocol raises, so it cannot make a folder missing.
    """
    listed = _one_inbox(turn.session.list_folders())
    traits = assign_roles(listed)
    with transaction(turn.conn):
        folders.upsert(turn.conn, turn.account.id, [(f, traits[f.wire_name]) for f in listed])
    turn.folders = folders.load(turn.conn, turn.account.id)
    turn.next_discovery_at = turn.now() + timedelta(seconds=turn.settings.discovery_interval)


def _one_inbox(listed: list[ListedFolder]) -> list[ListedFolder]:
    """Let INBOX be there once: it is one mailbox in any case, and exists, listed or not (RFC 9051 §5.1)."""
    others = [f for f in listed if not is_inbox(f.wire_name)]
    inboxes = [f for f in listed if is_inbox(f.wire_name)]
    inboxes.sort(key=lambda f: f.wire_name != b"INBOX")
    inbox = inboxes[0] if inboxes else ListedFolder(b"INBOX", "INBOX", listed[0].delimiter, frozenset())
    return [inbox, *others]


def empty_untracked(turn: Turn) -> None:
    """Tombstone the rows of folders that are not tracked any more; coming back, they are filled anew."""
    for folder in turn.folders:
        if folder.tracked or not (folder.live_count or folder.last_uid):
            continue
        turn.working()
        # the cursors first: they must not vouch for rows that are gone, should it be tracked again halfway
        folders.clear_cursors(turn.conn, folder)
        while gone := messages.tombstone_chunk(turn.conn, folder, "untracked"):
            turn.tally.messages_deleted += gone
            turn.checkpoint()
        turn.refresh(folder)
