"""Parking: at the end of a turn, leave the session open and listening (SPEC §22.1, §22.3).

The lock is still held. What the server reports when it is asked to report changes is compared with what is
stored, so that nothing is lost between the end of the work and the beginning of the listening.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Protocol

from mailsync.core.folder_roles import is_inbox
from mailsync.engine.steps.plan import plan_visit
from mailsync.engine.steps.survey import list_status
from mailsync.engine.turn import Turn
from mailsync.errors import FolderError, OutOfTokens, ProtocolError
from mailsync.imap import Session
from mailsync.imap.hints import Hints
from mailsync.model import FolderState, Listing, MailboxStatus
from mailsync.store.turns import Parked


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
    if session.push.hints.has_overflowed:
        # the server reports nothing on this session any more, not even by IDLE
        turn.result.needs_new_session = True
        return
    # Parking may spend the reserve: a session that is closed instead costs the next turn a login.
    turn.bucket.floor = 0.0
    try:
        if not (_may_park(turn) and (_notify(turn) or _idle(turn))):
            session.unselect()
    except OutOfTokens:
        if session.selected is not None:
            session.close()


def parked(turn: Turn) -> Parked | None:
    """Return how the turn's session is parked, as stored with the account; None if it is not.

    The account has its own tick while every tracked folder is reported, once a tick has found no change that
    was not reported.
    """
    if not turn.is_connected or (kind := turn.session.push.listening) is None:
        return None
    push = turn.session.push
    covers_all = kind == "notify" and push.watched.issubset(push.notified or ())
    ticks = turn.settings.pushed_sync_interval if covers_all and push.is_trusted else None
    return Parked(turn.env.started_by, kind, ticks)


def still_parked(turn: Turn) -> Parked | None:
    """Return how this process has parked the session that a turn left alone, as the account's row says."""
    account = turn.account
    if account.parked_by != turn.env.started_by or account.parked_kind is None:
        return None
    return Parked(account.parked_by, account.parked_kind, account.tick_seconds)


def judge_reports(turn: Turn, reported: Hints, listing: Listing, *, names_changed: bool) -> bool:
    """Decide by a tick's `listing` if the session's reports are trusted; returns if it has to be replaced.

    `reported` are the hints since the session was parked. `names_changed` says that the listing shows other
    folders than the stored ones. A server may stop reporting without a word, and then shows such a session an
    old list, too: Dovecot 2.3 does after some renames.
    """
    push = turn.session.push
    if push.listening != "notify":
        return False
    others_missed = names_changed and not reported.names_changed
    missed = False
    for folder in turn.folders.tracked():
        status = listing.statuses.get(folder.wire_name)
        if status is None or folder.wire_name in reported.statuses or folder.wire_name not in push.watched:
            continue
        missed = missed or (push.followed.get(folder.wire_name) != status and _is_news(folder, status))
    # a change of the last moment is yet to be reported, so that the first miss proves nothing
    is_deaf = others_missed or (missed and push.is_suspect)
    push.is_suspect = push.is_suspect or missed
    push.is_trusted = not push.is_suspect
    return is_deaf


def _is_news(folder: FolderState, status: MailboxStatus) -> bool:
    """Whether the status differs from the one that was compared last."""
    compared = (
        (folder.uidnext, status.uidnext),
        (folder.server_messages, status.messages),
        (folder.server_unseen, status.unseen),
        (folder.server_modseq, status.modseq),
    )
    return any(None not in (stored, shown) and stored != shown for stored, shown in compared)


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
    push = session.push
    if not push.can_notify:
        return False
    push.watched = frozenset(folder.wire_name for folder in turn.folders.tracked())
    if push.notified is None:
        statuses = session.notify()
        if statuses is None:
            return False
        _hint_at_names(turn, statuses.keys())
        _hint_at_differences(turn, statuses)
    elif push.examined:
        _hint_at_differences(turn, _look_back(turn))
    else:
        session.unselect()
    return True


def _look_back(turn: Turn) -> Mapping[bytes, MailboxStatus]:
    """Return the status of the mailboxes that were selected, with none selected any more.

    Dovecot never reports a change that it notices while the changed mailbox is selected.
    """
    session, examined = turn.session, turn.session.push.examined
    selected = session.selected
    if selected is not None and session.can_look_back:
        try:
            return {selected: session.look_back()}
        except (FolderError, ProtocolError):
            # the mailbox may be gone: the names and the status of all will show that
            if session.closed:
                raise
    session.unselect()
    if (listing := list_status(turn)) is not None:
        _hint_at_names(turn, listing.names)
        statuses = dict(listing.statuses)
    else:
        statuses = {name: session.status(name) for name in examined & session.push.watched}
    examined.clear()
    return statuses


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


def _hint_at_names(turn: Turn, names: Set[bytes]) -> None:
    """Make a hint of mailboxes that came or went since LIST, unless a turn has looked at them already."""
    push = turn.session.push
    # Dovecot 2.3 names them in UTF-8
    known = {spelling for folder in turn.folders for spelling in (folder.wire_name, folder.path.encode())}
    odd = (push.watched - names) | (names - known)
    if odd - push.odd_names:
        push.hints.names_changed = True
    push.odd_names = set(odd)


def _hint_at_differences(turn: Turn, statuses: Mapping[bytes, MailboxStatus]) -> None:
    """Make hints of the statuses that a turn would act upon, unless one has acted upon them already."""
    push = turn.session.push
    if not statuses:
        return
    if turn.result.run_id is not None:
        turn.folders.reload_all()
        turn.result.has_reloaded = True
    for folder in turn.folders.tracked():
        status = statuses.get(folder.wire_name)
        if status is None:
            continue
        if not _differs(turn, folder, status):
            push.followed.pop(folder.wire_name, None)
        elif push.followed.get(folder.wire_name) != status:
            # a difference that a visit does not settle is followed once, not for ever
            push.followed[folder.wire_name] = status
            push.hints.add(folder.wire_name, status)


def _differs(turn: Turn, folder: FolderState, status: MailboxStatus) -> bool:
    # a folder that failed waits for the next tick
    return not folder.last_error and bool(plan_visit(turn, folder, status))
