"""The turn of an account whose parked session was told of changes (SPEC §22.3).

A hint is no truth: it says which folders to look at, and EXAMINE says what is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from mailsync.config import Settings
from mailsync.core.planning import is_due
from mailsync.engine.cycle import DeferredFolder, Look, hot, hot_turn, return_to, visit
from mailsync.engine.steps.plan import plan_visit
from mailsync.engine.turn import Turn
from mailsync.engine.turn_kind import TurnKind
from mailsync.errors import FolderError, LeftAlone, ProtocolError, TurnOver
from mailsync.imap.hints import Hints, merged
from mailsync.model import FolderState, MailboxStatus

_NOTHING = MailboxStatus()
_LONGEST_WAIT = 3660.0
"""Seconds; a later end of a backoff was written by a wrong clock."""


def woken(turn: Turn) -> None:
    """Visit the folders that the session was told of; do all that a tick does if that is not enough."""
    push = turn.session.push
    if push.listening is None or push.hints.names_changed:
        # nobody listened for a while, or the folders themselves are others
        hot(turn)
        return
    hints, flags_of = push.hints.take(), set(push.flags_of)
    push.flags_of.clear()
    deferred: list[DeferredFolder] = []
    try:
        for folder, look in _looks(turn, hints):
            if look.plan:
                visit(turn, folder, look, deferred)
                hints.statuses.pop(folder.wire_name, None)
                turn.checkpoint()
    except TurnOver:
        push.hints.give_back(hints)
        push.flags_of |= flags_of
        raise
    return_to(turn, deferred)


def _looks(turn: Turn, hints: Hints) -> Iterator[tuple[FolderState, Look]]:
    """Yield the folders that the hints name, by priority, each EXAMINEd, and what is to be done in it."""
    inside = turn.session.selected if hints.mailbox_changed else None
    for folder in turn.folders.tracked():
        # a report names only the items that changed
        told = merged(_stored(folder), hints.statuses.get(folder.wire_name, _NOTHING))
        if folder.wire_name == inside or plan_visit(turn, folder, told):
            look = _look(turn, folder, told, flags_changed=folder.wire_name == inside and hints.flags_changed)
            if look is not None:
                yield folder, look


def _look(turn: Turn, folder: FolderState, told: MailboxStatus, *, flags_changed: bool) -> Look | None:
    """EXAMINE the folder and plan the visit; None if the server refuses it.

    `flags_changed` says that IDLE has reported flags of it.
    """
    try:
        seen = turn.session.examine(folder.wire_name)
    except (FolderError, ProtocolError) as error:
        if turn.session.closed:
            raise
        turn.record_folder_error(folder, error)
        return None
    status = merged(told, seen)
    plan = plan_visit(turn, folder, status)
    if flags_changed and plan.flags is None and folder.is_complete and not turn.has("CONDSTORE"):
        # no number shows which flags changed
        plan = replace(plan, flags="newest", reasons=(*plan.reasons, "flags_newest"))
    return Look(status, plan, seen)


def _stored(folder: FolderState) -> MailboxStatus:
    """Return the status of the folder that was compared last."""
    return MailboxStatus(
        messages=folder.server_messages,
        uidnext=folder.uidnext,
        uidvalidity=folder.uidvalidity,
        unseen=folder.server_unseen,
        modseq=folder.server_modseq,
    )


def renew(turn: Turn) -> None:
    """Prove that the parked session lives; if it did not, do all that a tick does on the new one.

    IDLE is proven by its end, when the session is parked again.
    """
    if turn.session.push.listening is None:
        hot(turn)
    elif turn.session.push.listening == "notify":
        turn.session.noop()


def _left_alone(turn: Turn) -> LeftAlone | None:
    """Return an error if another worker listens to the account by now, or its server asked to wait."""
    account = turn.account
    if account.parked_by not in (None, turn.env.started_by):
        return LeftAlone(f"account {account.id} is listened to by {account.parked_by}")
    if account.backoff_until is not None and not is_due(account.backoff_until, turn.now(), _LONGEST_WAIT):
        return LeftAlone(f"account {account.id} waits until {account.backoff_until}")
    return None


def wake_turn(settings: Settings) -> TurnKind:
    """The worker's turn for an account whose parked session was told of changes."""
    return replace(hot_turn(settings), run=woken, trigger="push", reschedules=False, precheck=_left_alone)


def renewal_turn(settings: Settings) -> TurnKind:
    """The worker's turn for an account whose parked session has been quiet for long."""
    return replace(wake_turn(settings), run=renew)
