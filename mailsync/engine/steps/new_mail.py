"""New mail: the UIDs above ``last_uid``, ascending, each batch all or nothing (SPEC §10.5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mailsync.core.contradictions import promised_uids
from mailsync.engine.fetch.commit import Statement
from mailsync.engine.fetch.mirror import mirror
from mailsync.engine.steps import window
from mailsync.engine.turn import Turn
from mailsync.errors import TurnOver
from mailsync.imap import Batch
from mailsync.model import FolderState, MailboxStatus, Message
from mailsync.uidset import LARGEST_UID, UidSet


def fetch_new(turn: Turn, folder: FolderState, seen: MailboxStatus) -> FolderState:
    """Store mail above ``last_uid``; with each batch the cursor moves to the highest UID that it brought.

    Raises TurnOver if the turn ends before all of the mail is stored.
    """
    with turn.session.deadline(turn.settings.incremental_timeout):
        uids, known = _candidates(turn, folder, seen)
        return store_new(turn, folder, uids, known=known)


def store_new(turn: Turn, folder: FolderState, uids: UidSet, *, known: bool = True) -> FolderState:
    """Store the messages `uids`, all above ``last_uid``, as :func:`fetch_new` does.

    `known` says that they exist, so that the cursor may pass over those that are not answered.
    """
    if mirror(turn, folder, uids, newest_first=False, announce=True, cursor=_LastUid(known)):
        raise TurnOver(turn.is_over() or "turn time used up")
    return turn.folders.reload(folder) if uids else folder


class _LastUid(NamedTuple):
    """Moves ``last_uid`` to the highest UID of a batch; without an answer only if its messages are known."""

    known: bool

    def after(self, batch: Batch, stored: Sequence[Message]) -> list[Statement]:
        last = max((m.uid for m in batch.messages), default=batch.requested.highest if self.known else 0)
        return [Statement("advance_new", {"last_uid": last})]


def _candidates(turn: Turn, folder: FolderState, seen: MailboxStatus) -> tuple[UidSet, bool]:
    """Return the UIDs to ask for, and whether they are known to exist.

    Those that UIDNEXT promises are fetched without a search, which saves a command.
    """
    first = folder.last_uid + 1
    promised = promised_uids(folder.last_uid, seen.uidnext, turn.settings.fetch_batch)
    if promised is not None:
        return promised, False
    existing = turn.session.search(uids=UidSet([(first, LARGEST_UID)]), since=window.search_since(turn))
    return existing.between(first, LARGEST_UID), True
