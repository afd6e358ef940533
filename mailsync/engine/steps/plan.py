"""The plan of a visit, with what the turn knows of its server and its window."""

from __future__ import annotations

from mailsync.core.planning import NO_NETS, FolderPlan, SafetyNets, plan_folder
from mailsync.engine.steps import window
from mailsync.engine.turn import Turn
from mailsync.model import FolderState, MailboxStatus


def plan_visit(
    turn: Turn,
    folder: FolderState,
    status: MailboxStatus,
    *,
    nets: SafetyNets = NO_NETS,
    full: bool = False,
) -> FolderPlan:
    """Return what a visit has to do, as :func:`mailsync.core.planning.plan_folder` decides."""
    return plan_folder(
        folder,
        status,
        turn.now(),
        condstore=turn.has("CONDSTORE"),
        windowed=window.start(turn) is not None,
        nets=nets,
        full=full,
    )
