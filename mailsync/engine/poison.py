"""Turns that ended with their process, and when an account is backed off because of them (SPEC §8, §12).

A turn is open until its end is written. After one lost turn nobody can tell a server whose answers end
processes from an operator's `kill -9` or a lack of memory; several in a row are no coincidence.
"""

from __future__ import annotations

import logging

from mailsync.core.health import MOST_LOST_TURNS
from mailsync.engine.turn import Turn
from mailsync.errors import PoisonousServer

log = logging.getLogger(__name__)


def found(turn: Turn, *, insists: bool) -> PoisonousServer | None:
    """Log that the turn before this one was lost; returns the error that ends this one if it was too many.

    The server is then asked nothing. A turn that a person insists on gets no error.
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
    if lost.count < MOST_LOST_TURNS or insists:
        return None
    step = f"; the last step was {lost.step}" if lost.step else ""
    return PoisonousServer(
        f"the last {lost.count} {lost.kind} turns of this account ended with their process{step}",
        turns=lost.count,
    )
