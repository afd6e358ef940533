"""Folders whose UIDs are new in each session (UIDNOTSTICKY, RFC 4315 §2; SPEC §11).

Their rows cannot be matched by UID. They are compared by date and size, and if they differ, all of the folder
is fetched again, as after a change of UIDVALIDITY: messages that are still there get their old rows back.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime

from mailsync.core.contradictions import UIDS_NOT_STICKY, not_sticky_message
from mailsync.core.planning import next_reconcile
from mailsync.engine.steps import server_view, uidvalidity, window
from mailsync.engine.turn import Turn
from mailsync.model import FolderState, MailboxStatus, MessageState
from mailsync.store import folders, messages
from mailsync.store.db import transaction
from mailsync.uidset import LARGEST_UID

log = logging.getLogger(__name__)

_Identity = tuple[datetime | None, int | None]


def note_if_not_sticky(turn: Turn, folder: FolderState, seen: MailboxStatus) -> FolderState:
    """Note UIDNOTSTICKY of an EXAMINE in the folder's row; returns the row."""
    if not seen.uids_not_sticky:
        return folder
    server_view.note_limitation(turn, folder, UIDS_NOT_STICKY, not_sticky_message(folder.path))
    return turn.folders.reload(folder)


def status_to_begin(folder: FolderState, seen: MailboxStatus) -> MailboxStatus:
    """Return the status with which a first sync begins.

    Without persistent UIDs the folder keeps mailsync's own UIDVALIDITY, which :func:`visit` raises.
    """
    if not seen.uids_not_sticky or not folder.uidvalidity:
        return seen
    return replace(seen, uidvalidity=folder.uidvalidity)


def visit(turn: Turn, folder: FolderState, seen: MailboxStatus, to_save: MailboxStatus) -> None:
    """Compare a complete folder with the server; if they differ, the backfill pass fetches it again.

    The new rows get a UIDVALIDITY that no old row has, since their UIDs may have named other messages before.
    A folder that is not complete is left to the backfill pass.
    """
    folder = note_if_not_sticky(turn, folder, seen)
    if not folder.is_complete:
        return
    with turn.session.deadline(turn.settings.reconcile_timeout):
        is_equal = _on_server(turn) == _in_mirror(turn, folder)
    if not is_equal:
        _restart(turn, folder)
        return
    next_at = next_reconcile(turn.now(), turn.settings, turn.env.chance())
    folders.save_reconciled(turn.conn, folder, next_at=next_at, clean=True, suspect=None, missing=0, gone=0)
    folders.save_compared(turn.conn, folder, to_save, highest_modseq=None, next_flag_scan_at=None)
    turn.folders.reload(folder)


def _restart(turn: Turn, folder: FolderState) -> None:
    with transaction(turn.conn):
        folders.restart(turn.conn, folder, folder.uidvalidity + 1)
    log.info(
        "A folder without persistent UIDs has changed; it is fetched again",
        extra={"action": "uidvalidity", "account_id": folder.account_id, "folder_id": folder.id},
    )
    folder = turn.folders.reload(folder)
    uidvalidity.tombstone_old_uidvalidity(turn, folder, folder.uidvalidity)


def _on_server(turn: Turn) -> Counter[_Identity]:
    view = server_view.read(turn)
    found: Counter[_Identity] = Counter()
    for states in turn.session.fetch_states(view.uids) if view.uids else ():
        found.update(_identities(turn, states))
        turn.keep_alive()
    return found


def _in_mirror(turn: Turn, folder: FolderState) -> Counter[_Identity]:
    rows = messages.select_states(turn.conn, folder, 1, LARGEST_UID)
    return Counter(_identities(turn, (row for row, _ in rows)))


def _identities(turn: Turn, states: Iterable[MessageState]) -> Iterator[_Identity]:
    begins = window.start(turn)
    for state in states:
        if begins is None or state.internal_date is None or state.internal_date >= begins:
            yield state.internal_date, state.size_bytes
