"""How much of a turn one folder may spend to complete its batches (SPEC §9.5)."""

from __future__ import annotations

from mailsync.engine.turn import Turn
from mailsync.model import FolderState

MOST_BAD = 10
"""Messages of a folder that may fail alone in one turn."""
MOST_BAD_AT_FIRST = 3
"""The same, as long as the folder has not given a single message: then more of them prove nothing."""
MOST_REQUESTS = 150
"""Requests for parts of batches and for single messages in one turn, for one folder."""

COMMANDS_OF_A_FOLDER = 4
"""EXAMINE, SEARCH, FETCH and CLOSE: what a completion leaves to each folder that waits for its first sync."""
COMMANDS_OF_A_REQUEST = 6
"""Commands of one request at most: one message with less and less detail, or a login and EXAMINE."""
MOST_COMMANDS_KEPT = 12
"""Commands that a completion leaves to all other folders together."""


def commands_of_others(turn: Turn, folder: FolderState) -> int:
    """Return how many commands `folder` has to leave to folders that wait for their first sync."""
    if turn.result.others_done:
        return 0
    waiting = sum(f.status == "pending" and f.id != folder.id for f in turn.folders.tracked())
    kept = min(waiting * COMMANDS_OF_A_FOLDER, MOST_COMMANDS_KEPT)
    return kept and kept + COMMANDS_OF_A_REQUEST
