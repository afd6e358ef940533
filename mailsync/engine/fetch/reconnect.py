"""Another session within the same turn, if the one before broke or cannot be trusted (SPEC §9.5, §22)."""

from __future__ import annotations

import logging

from mailsync.engine.turn import Turn
from mailsync.errors import FolderError
from mailsync.model import FolderState

log = logging.getLogger(__name__)

MOST_RECONNECTS = 3
"""Sessions that a turn opens after its first one."""


def may_reconnect(turn: Turn) -> bool:
    """Whether the turn may open another session, and has time for that."""
    return turn.result.reconnects < MOST_RECONNECTS and not turn.is_over()


def reconnect(turn: Turn, folder: FolderState, why: str) -> None:
    """Open another session and EXAMINE `folder` in it; `why` is logged.

    Raises FolderError if the folder has another UIDVALIDITY by now, and everything that ends a turn at its
    beginning: Transient, Throttled, AuthenticationFailed, OutOfTokens.
    """
    open_again(turn, why, folder)
    seen = turn.session.examine(folder.wire_name)
    if seen.uidvalidity and seen.uidvalidity != folder.uidvalidity:
        raise FolderError("its UIDVALIDITY has changed")


def open_again(turn: Turn, why: str, folder: FolderState | None = None) -> None:
    """Open another session in place of the turn's; `why`, and the folder that it is for, are logged.

    Raises what ends a turn at its beginning, as :func:`reconnect`.
    """
    log.info(
        "Reconnecting within the turn",
        extra={
            "action": "reconnect",
            "account_id": turn.account.id,
            "folder_id": folder.id if folder else None,
            "error": why,
        },
    )
    turn.session.close()
    turn.env.counters.commands(turn.session)
    turn.result.reconnects += 1
    turn.connect()
    turn.result.needs_new_session = False
