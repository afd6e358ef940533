"""Turns that ended with their process: when an account's server is left alone for that (SPEC §8, §12).

A turn's begin counts until its end is written. After one such turn nobody can tell a server whose answers
end processes from `kill -9` by an operator or from a lack of memory; several in a row are no chance.
"""

from __future__ import annotations

import logging

from mailsync.engine.turn import Turn
from mailsync.engine.work import Work
from mailsync.errors import PoisonousServer
from mailsync.health import MOST_LOST_TURNS

log = logging.getLogger(__name__)


def found(turn: Turn, work: Work) -> PoisonousServer | None:
    """Log that the turn before this one was lost; the error that ends this one if it was one too many.

    Then nothing is asked of the server. A person who insists gets no error.
    """
    lost = turn.loaded.lost
    if lost is None:
        return None
    log.warning(
        "The turn before this one ended with its process",
        extra={
            "action": "lost_turn",
            "account_id": turn.account.id,
            "kind": lost.kind,
            "turns": lost.count,
            "step": lost.step,
        },
    )
    if lost.count < MOST_LOST_TURNS or work.insists:
        return None
    step = f"; the last step was {lost.step}" if lost.step else ""
    return PoisonousServer(
        f"the last {lost.count} {lost.kind} turns of this account ended with their process{step}",
        turns=lost.count,
    )
