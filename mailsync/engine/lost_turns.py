"""Turns that ended with their process, and when an account is backed off because of them (SPEC §8, §12).

A turn is open until its end is written. One lost turn may be an operator's `kill -9` or a lack of memory.
Several in a row point to a server whose answers end the process.
"""

from __future__ import annotations

import logging

from mailsync.core.health import MOST_LOST_TURNS
from mailsync.engine.turn import Turn
from mailsync.errors import PoisonousServer

log = logging.getLogger(__name__)


def check(turn: Turn) -> PoisonousServer | None:
    """Log that the turn before this one was lost; returns the error that ends this one if too many were lost.

    The server is not asked anything then. A turn that a person insists on gets no error.
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
    if lost.count < MOST_LOST_TURNS or turn.kind.insists:
        return None
    step = f"; the last step was {lost.step}" if lost.step else ""
    return PoisonousServer(
        f"the last {lost.count} {lost.kind} turns of this account ended with their process{step}",
        turns=lost.count,
    )
