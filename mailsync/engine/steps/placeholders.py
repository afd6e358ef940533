"""Rows without content: fetched again at the next tick, and then less and less often (SPEC §9.5).

This step comes last in a hot turn: if the server fails at such a message, the turn loses only its session.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from mailsync.engine.fetch import single_messages
from mailsync.engine.fetch.commit import BatchWriter, Statement
from mailsync.engine.steps import window
from mailsync.engine.turn import Turn
from mailsync.errors import FolderError, OutOfTokens, ProtocolError, Transient
from mailsync.imap import Batch
from mailsync.model import FolderState, Message
from mailsync.redaction import redact
from mailsync.store import attempts, retention
from mailsync.store.attempts import WITHOUT_CONTENT, Retry
from mailsync.uidset import UidSet

log = logging.getLogger(__name__)

MOST_A_TURN = 10
_MOST_FOR_A_PERSON = 1_000


def ask_again(turn: Turn, *, now: bool = False) -> None:
    """Fetch the messages that are due, each alone: at most :data:`MOST_A_TURN`, or all with `now`.

    A message that arrives complete emits ``message.updated``.
    """
    if not turn.loaded.without_content:
        return
    if now:
        attempts.retry_now(turn.conn, turn.account.id)
    due = attempts.due_retries(turn.conn, turn.account.id, _MOST_FOR_A_PERSON if now else MOST_A_TURN)
    if not due:
        return
    turn.ensure_run()
    folders = {(f.id, f.uidvalidity): f for f in turn.folders}
    tracked = {f.id for f in turn.folders.tracked()}
    # sorted by folder, so that each folder is EXAMINEd once
    for retry in sorted(due):
        folder = folders.get((retry.folder_id, retry.uidvalidity))
        if folder is None:
            continue
        try:
            if not retry.is_needed:
                attempts.cancel_retry(turn.conn, folder, retry.uid)
            elif folder.id not in tracked:
                attempts.note_retry(turn.conn, folder, retry.uid, turn.settings.sync_interval)
            elif turn.is_over():
                return
            else:
                _ask(turn, folder, retry)
        except OutOfTokens:
            return
        except (FolderError, ProtocolError, Transient) as error:
            _log_failure(folder, retry.uid, redact(str(error)))
            if turn.session.closed:
                return


def _ask(turn: Turn, folder: FolderState, retry: Retry) -> None:
    turn.session.check_budget()
    # planned before anything can fail, or a message that always fails would always come first
    attempts.note_retry(turn.conn, folder, retry.uid, turn.settings.sync_interval)
    with turn.session.deadline(turn.settings.incremental_timeout):
        if turn.session.selected != folder.wire_name:
            seen = turn.session.examine(folder.wire_name)
            if seen.uidvalidity and seen.uidvalidity != folder.uidvalidity:
                raise FolderError("its UIDVALIDITY has changed")
            if seen.uids_not_sticky:
                # the UID may name another message in this session
                raise FolderError("its UIDs are new in each session")
        message = single_messages.ask(turn, retry.uid)
    if message is None or not WITHOUT_CONTENT.isdisjoint(message.parse_errors):
        _log_failure(folder, retry.uid, "no readable answer")
        return
    with BatchWriter(turn, folder, announce=True) as writer:
        writer.write(Batch(UidSet.of([retry.uid]), [message]), [message], _Announcement())
    if not window.inside(turn, [message]):
        # its date is known only now, and lies outside of the window: retention expires the row
        retention.make_due(turn.conn)


class _Announcement:
    """Emits ``message.updated`` if the row has its content now, and cancels the next retry."""

    def after(self, batch: Batch, stored: Sequence[Message]) -> list[Statement]:
        return [Statement("announce_content", {"uid": batch.requested.lowest})]


def _log_failure(folder: FolderState, uid: int, error: str) -> None:
    log.info(
        "A message still cannot be fetched",
        extra={
            "action": "fetch",
            "account_id": folder.account_id,
            "folder_id": folder.id,
            "uid": uid,
            "error": error,
        },
    )
