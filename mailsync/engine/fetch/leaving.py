"""The end of a turn whose folder still has messages that the server did not give (SPEC §9.5, §10.2)."""

from __future__ import annotations

from mailsync.engine.turn import Turn
from mailsync.errors import MailsyncError, MessagesDeferred, ProtocolError, TimedOut, TurnOver
from mailsync.model import FolderState
from mailsync.uidset import UidSet


def leave(
    turn: Turn,
    folder: FolderState,
    left: UidSet,
    failure: MailsyncError | None,
    *,
    gained: int,
    is_explained: bool,
) -> None:
    """Raise the error that leaves the messages `left` to a later turn; returns if nothing is left.

    While the connection is open, the turn continues with other folders. After MessagesDeferred the next turn
    follows at once; ProtocolError makes the folder wait for the next tick. A turn that follows at once has to
    be worth it, or such turns might never end: `gained`, the number of new rows, must be at least 1. Unless
    `is_explained`, which says that the messages that broke connections are known, it must be as many as are
    left. Once the last connection is closed, TurnOver ends the turn, or `failure` if the turn gained nothing.
    """
    count = "a message" if len(left) == 1 else f"{len(left):,} messages"
    words = f"{count} cannot be fetched for now: {failure or 'the server leaves them out'}"
    over = turn.is_over()
    if turn.session.closed:
        if not left:
            raise TurnOver("this turn has used up its connections")
        is_late = over and not isinstance(failure, TimedOut)
        if failure and not turn.tally.messages_new and not is_late:
            raise failure
        if not over and turn.tally.messages_new < len(left):
            turn.record_folder_error(folder, ProtocolError(words))
        raise TurnOver(words)
    if left:
        if over or gained >= (1 if is_explained else len(left)):
            raise MessagesDeferred(words)
        raise ProtocolError(words)
