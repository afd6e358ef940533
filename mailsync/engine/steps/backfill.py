"""The initial sync of a folder, newest first, in batches that commit with their watermark (SPEC §10.4)."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence

from mailsync.engine.fetch.commit import Statement
from mailsync.engine.fetch.mirror import mirror
from mailsync.engine.steps import not_sticky, server_view, uidvalidity, window
from mailsync.engine.turn import Turn
from mailsync.imap import Batch
from mailsync.model import FolderState, MailboxStatus, Message
from mailsync.store import attempts, folders, messages
from mailsync.store.db import transaction
from mailsync.uidset import LARGEST_UID, UidSet

log = logging.getLogger(__name__)


def fill_folder(turn: Turn, folder: FolderState) -> None:
    """Continue the folder's initial sync until it is complete or the turn is over.

    It can resume after any interruption: messages at or above ``initial_oldest_uid`` have rows, and each turn
    searches once for those below. Mail above the target is new mail, which the hot pass fetches meanwhile.
    """
    with turn.session.deadline(turn.settings.backfill_batch_timeout):
        seen = turn.session.examine(folder.wire_name)
        folder = uidvalidity.check_uidvalidity(turn, folder, seen) or turn.folders.reload(folder)
        is_new = folder.status == "pending"
        missing, next_highest = (_begin(turn, folder, seen), 0) if is_new else _resume(turn, folder)
    folder = not_sticky.note_if_not_sticky(turn, turn.folders.reload(folder), seen)
    while not mirror(turn, folder, missing, newest_first=True, announce=False, cursor=_Watermark()):
        if not next_highest:
            _finish(turn, folder)
            return
        turn.checkpoint()
        with turn.session.deadline(turn.settings.backfill_batch_timeout):
            folder = turn.folders.reload(folder)
            missing, next_highest = _resume(turn, folder, next_highest)


class _Watermark:
    """Moves ``initial_oldest_uid`` down to the lowest UID of a batch, and emits one event a batch."""

    def after(self, batch: Batch, stored: Sequence[Message]) -> list[Statement]:
        lowest, highest = batch.requested.lowest, batch.requested.highest
        data = json.dumps({"from_uid": lowest, "through_uid": highest, "messages": len(stored)})
        return [
            Statement("advance_initial", {"oldest": lowest, "done": len(batch.requested)}),
            Statement("emit_event", {"type": "folder.backfilled", "data": data}),
        ]


def _begin(turn: Turn, folder: FolderState, seen: MailboxStatus) -> UidSet:
    """Take the snapshot: the UIDs that exist now. The highest of them is the target."""
    uidvalidity.tombstone_old_uidvalidity(turn, folder, folder.uidvalidity)
    snapshot = server_view.read(turn).uids if turn.session.exists else UidSet()
    status = not_sticky.status_to_begin(folder, seen)
    with transaction(turn.conn):
        folders.begin_initial(turn.conn, folder, status, snapshot.highest, len(snapshot))
    return snapshot


def _resume(turn: Turn, folder: FolderState, highest: int = LARGEST_UID) -> tuple[UidSet, int]:
    """Return the UIDs below the watermark, at most `highest`, that have no live row yet.

    A server that stops at its limit (RFC 9738) names the newest of them. The second value is the highest UID
    that is still to be searched for, 0 if there is none.
    """
    highest = min(highest, (folder.initial_oldest_uid or 1) - 1)
    if highest < 1:
        return UidSet(), 0
    on_server, lowest = turn.session.search_newest(highest, window.search_since(turn))
    missing = on_server.minus(messages.live_uids(turn.conn, folder, lowest, highest))
    if lowest == 1:
        folders.note_remaining(turn.conn, folder, len(missing))
    return missing, lowest - 1


def _finish(turn: Turn, folder: FolderState) -> None:
    with transaction(turn.conn):
        folders.finish_initial(turn.conn, folder)
        # Delete attempts left by killed processes; their batch boundaries differ from ours.
        attempts.forget_attempts(turn.conn, folder, 1, folder.initial_target_uid or 0)
    folder = turn.folders.reload(folder)
    log.info(
        "Folder complete",
        extra={
            "action": "backfill",
            "account_id": folder.account_id,
            "folder_id": folder.id,
            "messages": folder.live_count,
        },
    )
