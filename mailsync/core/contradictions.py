"""The answers of a server that contradict each other, and which of them counts (SPEC §10.8); pure."""

from __future__ import annotations

from mailsync.uidset import UidSet


def phantoms(unanswered: UidSet, others: int, exists: int | None) -> UidSet:
    """Return those of `unanswered` that are no messages: UIDs that SEARCH shows and FETCH does not answer.

    `others` is how many other messages the folder is known to hold, and `exists` is its EXISTS, None if
    unknown. If the others leave no room, all of `unanswered` are phantoms. If there is room for one of them,
    nothing tells which one exists, so none is a phantom.
    """
    return unanswered if exists is not None and others >= exists else UidSet()
