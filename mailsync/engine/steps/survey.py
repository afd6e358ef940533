"""The status of the tracked folders before any is opened, and since when all of them are compared."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime

from mailsync.core.folder_roles import HOLDS_NONE, is_inbox
from mailsync.core.planning import folders_to_poll
from mailsync.engine.fetch.reconnect import may_reconnect, open_again
from mailsync.engine.turn import Turn
from mailsync.errors import FolderError, MailsyncError, OutOfTokens, ProtocolError
from mailsync.imap import StatusAnswer
from mailsync.model import FolderState, Listing, MailboxStatus


def list_status(turn: Turn) -> Listing | None:
    """Return the answer to one LIST-STATUS; None if the server does not offer it, or answers BAD."""
    if not turn.session.has_list_status:
        return None
    try:
        return turn.session.list_status()
    except ProtocolError:
        is_offered = "LIST-STATUS" in turn.session.capabilities
        if turn.session.closed or is_offered:
            raise
        return None


def shows_other_folders(turn: Turn, listing: Listing) -> bool:
    """Whether names, or mailboxes of known names, appeared or disappeared; True once for each difference."""
    present = [f for f in turn.folders if not f.missing_since]
    known = {f.wire_name for f in present}
    only_names = {f.wire_name for f in present if f.excluded_reason in HOLDS_NONE}
    # A name that LIST-STATUS shows and LIST does not would otherwise cause a discovery in every turn.
    is_news = listing.shape != turn.session.last_listing
    turn.session.last_listing = listing.shape
    return is_news and (
        _without_inbox(known) != _without_inbox(listing.names)
        or not only_names.isdisjoint(listing.statuses)
        or any(f.tracked and f.is_complete and f.wire_name not in listing.statuses for f in present)
    )


def _without_inbox(names: Iterable[bytes]) -> set[bytes]:
    return {name for name in names if not is_inbox(name)}


def choose(turn: Turn, listing: Listing | None, done: Collection[int] | None) -> list[FolderState]:
    """Return the folders to survey: all that are tracked, or, without LIST-STATUS, the next ones of the
    round.

    With `done`, all but those. Priority folders come first, then the folders that earlier turns did not
    reach: if a turn always ended early at the same folder, those behind it would never be surveyed.
    """
    tracked, cursor = turn.folders.tracked(), turn.account.folder_rr_cursor
    if listing is None and done is None:
        # A folder that waits for its first sync is asked for its size only: commands are scarce.
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
    """Yield the chosen folders with their status, from the listing or else by STATUS (SPEC §22.8)."""
    statuses = listing.statuses if listing else {}
    chosen = list(chosen)
    # The server may list a folder without its status.
    asked = _ask(turn, [folder for folder in chosen if folder.wire_name not in statuses])
    for folder in chosen:
        status = statuses.get(folder.wire_name) or next(asked)
        if status is not None:
            yield folder, status


def _ask(turn: Turn, folders: Iterable[FolderState]) -> Iterator[MailboxStatus | None]:
    """Yield the answers to STATUS, in flights; None if there is none, which costs the folder its turn."""
    left = deque(folders)
    while left:
        turn.session.check_budget()
        if turn.session.flights.most < 2:
            # nothing is known of the others before this one may end the connection
            turn.round.mark(left[0])
        for _, answer in _flight(turn, left):
            folder = left.popleft()
            if isinstance(answer, OutOfTokens):
                raise answer
            turn.round.mark(folder)
            if isinstance(answer, MailboxStatus):
                yield answer
            elif turn.session.closed or not isinstance(answer, FolderError | ProtocolError):
                raise answer
            else:
                turn.record_folder_error(folder, answer)
                yield None


def _flight(turn: Turn, folders: Iterable[FolderState]) -> list[tuple[bytes, StatusAnswer]]:
    """Ask for the first of `folders`; a server that ends the connection for that is asked one by one."""
    names = [folder.wire_name for folder in folders]
    try:
        return turn.session.statuses(names)
    except MailsyncError as error:
        if not turn.session.was_lost_in_flight or not may_reconnect(turn):
            raise
        open_again(turn, str(error))
        return turn.session.statuses(names)


def compared_since(
    turn: Turn, began: datetime, compared: Collection[int], done: Mapping[int, datetime]
) -> datetime | None:
    """Return the time since which every tracked folder is compared; None if one never was.

    `compared` are the folders of this turn, which began at `began`, and `done` those of the turns before.
    """
    times = [
        began if folder.id in compared else done.get(folder.id) or folder.polled_at
        for folder in turn.folders.tracked()
    ]
    known = [at for at in times if at is not None]
    return min(known, default=began) if len(known) == len(times) else None
