"""Parking: at the end of a turn, leave the session open and listening (SPEC §22.1, §22.3).

The lock is still held. What the server reports when it is asked to report changes is compared with what is
stored, so that nothing is lost between the end of the work and the beginning of the listening.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from mailsync.core.folder_roles import is_inbox
from mailsync.core.planning import plan_folder
from mailsync.engine.steps import window
from mailsync.engine.turn import Turn
from mailsync.errors import FolderError, OutOfTokens, ProtocolError
from mailsync.imap import Session
from mailsync.model import FolderState, MailboxStatus, Parked


class Listener(Protocol):
    """Listens to the parked sessions of a process: :class:`mailsync.worker.listening.Listening`."""

    def may_park(self, account_id: int) -> bool:
        """Whether a session of the account may be parked now."""

    def park(self, account_id: int, session: Session) -> None:
        """Listen to a session that is kept."""


def park(turn: Turn) -> None:
    """Make the server report changes: of all mailboxes by NOTIFY, else of the inbox by IDLE, else not at all.

    With NOTIFY nothing stays selected. A difference to what is stored becomes a hint, as if the server had
    reported it. Without commands left, the session is not parked, and closed if a mailbox is selected.
    """
    session = turn.session
    if session.closed:
        return
    # paid from the commands that are reserved: else each turn that runs out of commands would log in again
    turn.bucket.floor = 0.0
    try:
        if not (_may_park(turn) and (_notify(turn) or _idle(turn))):
            session.unselect()
    except OutOfTokens:
        if session.selected is not None:
            session.close()


def covers_all(turn: Turn) -> bool:
    """Whether the server reports the changes of every tracked folder."""
    notified = turn.session.push.notified
    if turn.session.push.listening != "notify" or notified is None:
        return False
    return all(folder.wire_name in notified for folder in turn.folders.tracked())


def parked(turn: Turn) -> Parked | None:
    """Return how the turn's session is parked, as stored with the account; None if it is not."""
    if not turn.is_connected or (kind := turn.session.push.listening) is None:
        return None
    ticks = turn.settings.pushed_sync_interval if covers_all(turn) else None
    return Parked(turn.env.started_by, kind, ticks)


def _may_park(turn: Turn) -> bool:
    listener = turn.env.listener
    return (
        turn.kind.parks
        and turn.settings.imap_push == "auto"
        and listener is not None
        and listener.may_park(turn.account.id)
    )


def _notify(turn: Turn) -> bool:
    session = turn.session
    if not session.push.can_notify:
        return False
    statuses: Mapping[bytes, MailboxStatus] | None = {}
    if covers_all(turn) and not session.push.examined:
        session.unselect()
    elif covers_all(turn) and session.can_look_back:
        # Dovecot never reports a change that it notices while the changed mailbox is selected
        name = session.selected or b""
        statuses = {name: session.look_back()}
    else:
        statuses = session.notify()
    if statuses is None:
        return False
    _hint_at_differences(turn, statuses)
    return True


def _idle(turn: Turn) -> bool:
    if not turn.session.push.can_idle:
        return False
    inbox = next((folder for folder in turn.folders.tracked() if is_inbox(folder.wire_name)), None)
    if inbox is None or inbox.status == "pending":
        return False
    try:
        status = turn.session.idle(inbox.wire_name)
    except (FolderError, ProtocolError):
        if turn.session.closed:
            raise
        return False
    _hint_at_differences(turn, {inbox.wire_name: status})
    return True


def _hint_at_differences(turn: Turn, statuses: Mapping[bytes, MailboxStatus]) -> None:
    """Make hints of the statuses that a turn would act upon, unless one has acted upon them already."""
    push = turn.session.push
    if not statuses:
        return
    if turn.result.run_id is not None:
        turn.folders.reload_all()
        turn.result.has_reloaded = True
    condstore, windowed = turn.has("CONDSTORE"), window.start(turn) is not None
    for folder in turn.folders.tracked():
        status = statuses.get(folder.wire_name)
        if status is None or not _differs(turn, folder, status, condstore=condstore, windowed=windowed):
            push.followed.pop(folder.wire_name, None)
        elif push.followed.get(folder.wire_name) != status:
            # a difference that a visit does not settle is followed once, not for ever
            push.followed[folder.wire_name] = status
            push.hints.add(folder.wire_name, status)


def _differs(
    turn: Turn, folder: FolderState, status: MailboxStatus, *, condstore: bool, windowed: bool
) -> bool:
    if folder.last_error:
        return False
    return bool(plan_folder(folder, status, turn.now(), condstore=condstore, windowed=windowed))
