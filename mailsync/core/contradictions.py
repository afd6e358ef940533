"""The answers of a server that contradict each other, and which of them counts (SPEC §10.8); pure.

=========================  =================================================  ==============================
contradiction              decision, and its reason                           decided by
=========================  =================================================  ==============================
SEARCH below EXISTS        Asked again, by ranges, then by FETCH. If they     :func:`judge_view`
                           stay fewer, the view is partial and deletes
                           nothing: what is not shown may exist.
SEARCH above EXISTS        FETCH decides: UIDs that it does not answer, and   :func:`judge_view`,
                           for which EXISTS has no room, are not messages.    :func:`phantoms`
all agree on the newest n  A window that slides, where the server announces   :func:`window_size`,
of a folder                limits: older rows are only out of view, and       :func:`out_of_view`
                           stay.
VANISHED in such a window  It may name what slid out: a reconcile decides.    :func:`out_of_view`
EXISTS, live rows          The rows are wrong: reconcile.                     :func:`needs_reconcile`
STATUS, EXAMINE            STATUS is saved: it decided what this turn does,   :func:`status_to_save`
                           and the next turn has to see later changes.
UIDNEXT                    A hint: believed for less than a batch, otherwise  :func:`promised_uids`
                           a SEARCH decides. Any difference causes a visit.
HIGHESTMODSEQ went back    Believed when it changes: all flags are scanned.   :func:`modseq_went_back`
                           Some servers always show less by STATUS.
UIDVALIDITY                EXAMINE decides; 0 and none mean unknown. STATUS   :func:`judge_uidvalidity`
                           only causes a visit.
UIDVALIDITY and            UIDs of another session mean nothing, so rows are  :func:`judge_uidvalidity`
UIDNOTSTICKY               not compared by them.
more than half is gone     Believed when a later turn sees the same.          :func:`is_large_deletion`
LIST, LIST-STATUS          LIST says what exists. A difference is looked      ``steps/survey.py``
                           into once; a missing status is asked for.
LIST, STATUS               A folder that STATUS finds exists, listed or not.  ``steps/tombstone_folders.py``
body, row                  With another date or size, another message has     ``bodies/download.py``
                           the UID: the body is refused.                      (``UidValidityMoved``)
=========================  =================================================  ==============================
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from enum import Enum

from mailsync.model import FolderState, MailboxStatus
from mailsync.uidset import LARGEST_UID, UidSet

PARTIAL_VIEW = "partial_view"
UIDS_NOT_STICKY = "uids_not_sticky"
LIMITATIONS = (PARTIAL_VIEW, UIDS_NOT_STICKY)

LARGE_DELETION = 100
"""Rows of a folder that may go by one observation, whatever share of the folder they are."""

_KNOWN_WINDOWS = (10_000,)
"""Sizes to which servers with limits restrict a folder without announcing the number (Yahoo)."""


# -- SEARCH, EXISTS and FETCH -------------------------------------------------------------------------


class ViewVerdict(Enum):
    """Whether SEARCH finds as many messages as EXISTS says."""

    AGREES = "agrees"
    TOO_FEW = "too few"
    TOO_MANY = "too many"


def judge_view(found: int, exists: int) -> ViewVerdict:
    """Compare the number of UIDs that SEARCH and its ranges `found` with EXISTS."""
    if found == exists:
        return ViewVerdict.AGREES
    return ViewVerdict.TOO_FEW if found < exists else ViewVerdict.TOO_MANY


def phantoms(unanswered: UidSet, others: int, exists: int | None) -> UidSet:
    """Return those of `unanswered` that are not messages: UIDs that SEARCH shows and FETCH does not answer.

    `others` is how many other messages the folder is known to hold, and `exists` is its EXISTS, None if
    unknown. If the others leave no room, all of `unanswered` are phantoms. If there is room for one of them,
    nothing tells which one exists, so none is a phantom.
    """
    return unanswered if exists is not None and others >= exists else UidSet()


# -- a view that slides -------------------------------------------------------------------------------


def window_size(
    folder: FolderState, exists: int, announced: int | None, gone: UidSet, lowest: int
) -> int | None:
    """Return to how many of its newest messages the server restricts the folder; None if it shows all.

    `announced` is how many messages the server processes in one command (RFC 9738), 0 if it announces limits
    without the number, and None if it announces none: then EXISTS is believed, so that a person who deletes
    the oldest messages sees them expunged. `gone` are the live rows that the server does not show, and
    `lowest` is the lowest UID that it shows. A folder is restricted in three cases: EXISTS equals the
    announced limit or a known one; as many messages left at the low end as arrived, so that EXISTS is what it
    was; or the folder was restricted before and EXISTS is still about as large. If the server shows UID 1,
    it hides nothing below.
    """
    if announced is None or lowest <= 1:
        return None
    if exists == announced or exists in _KNOWN_WINDOWS:
        return exists
    size = folder.view_limit
    if size is not None and size <= exists <= size + max(10, size // 100):
        return size
    slid = bool(gone) and gone.highest < lowest and folder.is_complete
    return exists if slid and folder.server_messages == exists else None


def out_of_view(size: int | None, gone: UidSet, lowest: int) -> UidSet:
    """Return those of the rows `gone` that only slid out of a view of `size` messages from `lowest` on.

    None as `size` stands for a view of the whole folder, from which nothing slides.
    """
    return UidSet() if size is None else gone.between(1, lowest - 1)


def partial_view_message(path: str, shown: int, exists: int) -> str:
    """Return the words for a folder of which the server shows a part."""
    return f"{path}: the server shows {shown:,} of {exists:,} messages"


def window_message(path: str, size: int, kept: int) -> str:
    """Return the words for a folder of which the server shows only the newest `size` messages.

    `kept` is how many older rows are kept.
    """
    older = f"; {kept:,} older ones are kept as they were" if kept else ""
    return f"{path}: the server shows only the newest {size:,} messages{older}"


def not_sticky_message(path: str) -> str:
    """Return the words for a folder with UIDNOTSTICKY."""
    return (
        f"{path}: the server numbers its messages differently in each session (UIDNOTSTICKY), so changes are"
        " mirrored only by fetching the folder again"
    )


# -- EXISTS, STATUS and EXAMINE -----------------------------------------------------------------------


def needs_reconcile(
    before: FolderState,
    folder: FolderState,
    status: MailboxStatus,
    *,
    exists: int,
    windowed: bool,
    vanished: int = 0,
) -> bool:
    """Whether the folder's numbers are still unexplained after new mail and flags.

    For a complete folder of which all is shown and mirrored, EXISTS has to equal the number of live rows. For
    any other folder the change from the numbers of `before` to `status` has to be explained by arrivals above
    ``last_uid`` and by the `vanished` rows, which must not be more than the messages that are lacking.
    """
    if folder.is_complete and not windowed and folder.view_limit is None:
        return exists != folder.live_count
    if status.uidnext is not None and status.uidnext <= before.last_uid:
        return True
    return not arrivals_explain(before, status, vanished)


def arrivals_explain(folder: FolderState, status: MailboxStatus, vanished: int = 0) -> bool:
    """Whether new mail alone explains the difference between the last comparison and `status`.

    It does if MESSAGES grew by as much as UIDNEXT. If `vanished` rows were deleted, MESSAGES must have grown
    by at least that much less, since others may have been deleted too. For folders in a window or a first
    sync, whose rows cannot be counted against the server's messages.
    """
    before = (folder.server_messages, folder.uidnext)
    if None in before or status.messages is None or status.uidnext is None:
        return before == (status.messages, status.uidnext)
    deleted = status.uidnext - (folder.uidnext or 0) - status.messages + (folder.server_messages or 0)
    return deleted >= vanished if vanished else deleted == 0


def explains_modseq(folder: FolderState, seen: MailboxStatus, arrived: Collection[int]) -> bool:
    """Whether the MODSEQs of new messages alone explain how far HIGHESTMODSEQ rose above our cursor.

    No two operations have the same mod-sequence (RFC 7162 §3.1), so if messages that `arrived` have every
    value in between, nothing else has changed, and CHANGEDSINCE would report nothing.
    """
    rise = (seen.modseq or 0) - folder.highest_modseq
    return (
        folder.highest_modseq > 0
        and 0 < rise <= len(arrived)
        and all(modseq in arrived for modseq in range(folder.highest_modseq + 1, (seen.modseq or 0) + 1))
    )


def status_to_save(examined: MailboxStatus, status: MailboxStatus) -> MailboxStatus:
    """Return the status to save as compared: STATUS's numbers, or EXAMINE's where STATUS gave none.

    The plan was made from STATUS, so the next turn has to see what changed between the two. A HIGHESTMODSEQ
    that STATUS does not give cannot be compared: the flags are then scanned by the clock.
    """
    return replace(
        status,
        messages=examined.messages if status.messages is None else status.messages,
        uidnext=examined.uidnext if status.uidnext is None else status.uidnext,
    )


# -- cursors ------------------------------------------------------------------------------------------


def promised_uids(last_uid: int, uidnext: int | None, most: int) -> UidSet | None:
    """Return the UIDs above `last_uid` that UIDNEXT promises, at most `most`; None if a search has to decide.

    UIDNEXT may run ahead or go back, so it is a hint: for up to one batch, asking for UIDs that do not exist
    costs less than a search.
    """
    first = last_uid + 1
    if first > LARGEST_UID:
        return UidSet()
    if uidnext is None or not 0 <= uidnext - first <= most:
        return None
    return UidSet([(first, uidnext - 1)] if uidnext > first else [])


def modseq_went_back(folder: FolderState, status: MailboxStatus) -> bool:
    """Whether HIGHESTMODSEQ fell below the cursor just now.

    Only when it changed: some servers always report a lower HIGHESTMODSEQ in STATUS than in EXAMINE.
    """
    return bool(status.modseq and status.modseq < folder.highest_modseq) and (
        status.modseq != folder.server_modseq
    )


class UidValidity(Enum):
    """The meaning of a UIDVALIDITY for the rows of its folder."""

    SAME = "same"
    ADOPT = "adopt"
    RESET = "reset"
    MEANINGLESS = "meaningless"


def judge_uidvalidity(folder: FolderState, examined: MailboxStatus) -> UidValidity:
    """Decide what the UIDVALIDITY of EXAMINE means for the rows of the folder (RFC 9051 §2.3.1.1).

    ``ADOPT`` is the first known value, ``RESET`` another one, and ``SAME`` also an unknown one.
    ``MEANINGLESS`` is any other value with UIDNOTSTICKY: rows are then not compared by UID at all.
    """
    current = examined.uidvalidity or 0
    if current in (folder.uidvalidity, 0):
        return UidValidity.SAME
    if not folder.uidvalidity:
        return UidValidity.ADOPT
    return UidValidity.MEANINGLESS if examined.uids_not_sticky else UidValidity.RESET


def is_large_deletion(gone: int, live: int) -> bool:
    """Whether so many of the `live` rows are gone that one observation is not enough: more than half."""
    return gone > LARGE_DELETION and gone * 2 > live
