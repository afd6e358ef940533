"""New mail: the UIDs above ``last_uid``, ascending, each batch all or nothing (SPEC §10.5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from mailsync.core.contradictions import promised_uids
from mailsync.engine.fetch.commit import Statement
from mailsync.engine.fetch.mirror import mirror
from mailsync.engine.steps import window
from mailsync.engine.turn import Turn
from mailsync.errors import TurnOver
from mailsync.imap import Batch
from mailsync.model import FolderState, MailboxStatus, Message
from mailsync.uidset import LARGEST_UID, UidSet

MOST_MODSEQS = 1000
"""Mod-sequences to remember; if more messages arrive, CHANGEDSINCE costs little beside them."""

_CLOCKS_DIFFER = timedelta(minutes=1)
"""How far the server's clock may be behind Postgres'."""


@dataclass
class Arrivals:
    """The mod-sequences of the new messages of one visit; of the first :data:`MOST_MODSEQS` only."""

    modseqs: set[int] = field(default_factory=set)


def fetch_new(turn: Turn, folder: FolderState, seen: MailboxStatus, arrived: Arrivals) -> FolderState:
    """Store mail above ``last_uid``; with each batch the cursor moves to the highest UID that it brought.

    `arrived` is filled. Raises TurnOver if the turn ends before all of the mail is stored.
    """
    with turn.session.deadline(turn.settings.incremental_timeout):
        uids, known = _candidates(turn, folder, seen)
        return store_new(turn, folder, uids, known=known, arrived=arrived)


def store_new(
    turn: Turn, folder: FolderState, uids: UidSet, *, known: bool = True, arrived: Arrivals | None = None
) -> FolderState:
    """Store the messages `uids`, all above ``last_uid``, as :func:`fetch_new` does.

    `known` says that they exist, so that the cursor may pass over those that are not answered.
    """
    cursor = _LastUid(turn, known, arrived or Arrivals())
    if mirror(turn, folder, uids, newest_first=False, announce=True, cursor=cursor):
        raise TurnOver(turn.is_over() or "turn time used up")
    cursor.observe()
    return turn.folders.reload(folder) if uids else folder


@dataclass
class _LastUid:
    """Moves ``last_uid`` to the highest UID of a batch; without an answer only if its messages are known."""

    turn: Turn
    known: bool
    arrived: Arrivals
    dates: list[datetime] = field(default_factory=list)

    def observe(self) -> None:
        """Count how long the messages of the last batch took from their arrival to their commit.

        Messages from before the last comparison have not arrived: a client has moved or copied them.
        """
        now = self.turn.now()
        self.turn.env.counters.observe_all(
            "mailsync_arrival_seconds", (max(0.0, (now - date).total_seconds()) for date in self.dates)
        )
        self.dates.clear()

    def after(self, batch: Batch, stored: Sequence[Message]) -> list[Statement]:
        # the batch before this one is committed
        self.observe()
        account = self.turn.account
        earliest = (account.overall_synced_at or account.created_at) - _CLOCKS_DIFFER
        self.dates += [m.internal_date for m in stored if m.internal_date and m.internal_date >= earliest]
        if len(self.arrived.modseqs) < MOST_MODSEQS:
            self.arrived.modseqs.update(message.modseq for message in stored if message.modseq)
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
