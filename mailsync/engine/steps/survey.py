"""The status of the tracked folders, before any is opened, and since when all of them are compared."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime

from mailsync.core.folder_roles import HOLDS_NONE, is_inbox
from mailsync.core.planning import folders_to_poll
from mailsync.engine.turn import Turn
from mailsync.errors import FolderError, ProtocolError
from mailsync.model import FolderState, Listing, MailboxStatus


def list_status(turn: Turn) -> Listing | None:
    """The answer to one LIST-STATUS; None where it is not offered, or offered and not understood."""
    if not turn.session.has_list_status:
        return None
    try:
        return turn.session.list_status()
    except ProtocolError:
        believed = "LIST-STATUS" in turn.session.capabilities
        if turn.session.closed or believed:
            raise
        return None


def shows_other_folders(turn: Turn, listing: Listing) -> bool:
    """Whether names came or went, or the mailboxes of known names; told once a session."""
    there = [f for f in turn.folders if not f.missing_since]
    known = {f.wire_name for f in there}
    only_names = {f.wire_name for f in there if f.excluded_reason in HOLDS_NONE}
    # a name that LIST itself does not show would be news for ever
    is_news = listing.shape != turn.session.listed
    turn.session.listed = listing.shape
    return is_news and (
        _without_inbox(known) != _without_inbox(listing.names)
        or not only_names.isdisjoint(listing.statuses)
        or any(f.tracked and f.is_complete and f.wire_name not in listing.statuses for f in there)
    )


def _without_inbox(names: Iterable[bytes]) -> set[bytes]:
    return {name for name in names if not is_inbox(name)}


def choose(turn: Turn, listing: Listing | None, done: Collection[int] | None) -> list[FolderState]:
    """The folders to look at: all that are tracked, or, without LIST-STATUS, the next of the round.

    With `done`, all but those. Priority folders come first, then those that earlier turns did not get to, or
    what always ends a turn early would keep them waiting for ever.
    """
    tracked, cursor = turn.folders.tracked(), turn.account.folder_rr_cursor
    if listing is None and done is None:
        # of what waits for its first sync only the size is of use, and commands are scarce
        tracked = [f for f in tracked if f.status != "pending" or f.server_messages is None]
        chosen, following = folders_to_poll(tracked, cursor, turn.settings)
        first = min(turn.settings.sync_priority_folders, sum(f.is_priority for f in tracked))
        turn.round.begin(
            {f.id: f.id for f in chosen[first:-1]} | {f.id: following for f in chosen[first:][-1:]}
        )
        return chosen
    others = sorted((f for f in tracked if not f.is_priority), key=lambda f: (f.id <= cursor, f.id))
    turn.round.begin({f.id: f.id for f in others})
    rest = others if listing is not None else [f for f in others if f.id not in (done or ())]
    return [f for f in tracked if f.is_priority] + rest


def survey(
    turn: Turn, chosen: Iterable[FolderState], listing: Listing | None
) -> Iterator[tuple[FolderState, MailboxStatus]]:
    """The status of the chosen folders, from the listing, else by STATUS one after the other."""
    statuses = listing.statuses if listing else {}
    for folder in chosen:
        # a row without STATUS says nothing of the folder, so it is asked for alone
        status = statuses.get(folder.wire_name)
        if status is None:
            turn.session.check_budget()
            turn.round.mark(folder)
            status = _status(turn, folder)
        if status is not None:
            yield folder, status


def _status(turn: Turn, folder: FolderState) -> MailboxStatus | None:
    """The answer to STATUS; None if there is none, which costs this folder its turn."""
    try:
        turn.session.unselect()
        return turn.session.status(folder.wire_name)
    except (FolderError, ProtocolError) as error:
        if turn.session.closed:
            raise
        turn.record_folder_error(folder, error)
        return None


def compared_since(
    turn: Turn, began: datetime, compared: Collection[int], done: Mapping[int, datetime]
) -> datetime | None:
    """The time since which every tracked folder is compared; None while there is one that never was.

    `compared` are those of this turn, which `began` then, `done` those of the turns before it.
    """
    times = [
        began if folder.id in compared else done.get(folder.id) or folder.polled_at
        for folder in turn.folders.tracked()
    ]
    known = [at for at in times if at is not None]
    return min(known, default=began) if len(known) == len(times) else None
