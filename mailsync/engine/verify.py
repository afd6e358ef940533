"""Verify the mirror: compare every tracked folder with its rows: UIDs, flags, sizes, dates (SPEC §20).

Both sides are read in stretches of a few thousand UIDs, so that memory is bounded for any folder. Nothing is
written, and only differences are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from mailsync.core.contradictions import PARTIAL_VIEW, UIDS_NOT_STICKY, not_sticky_message
from mailsync.core.folder_roles import HOLDS_NONE, assign_roles, is_inbox
from mailsync.core.namespaces import foreign_names
from mailsync.engine.catch_up import take_turns
from mailsync.engine.steps import server_view, window
from mailsync.engine.steps.server_view import ServerView
from mailsync.engine.turn import Turn
from mailsync.engine.turn_kind import TurnEnvironment, TurnKind
from mailsync.engine.verify_report import Difference, FolderReport, Report
from mailsync.errors import FolderError, ProtocolError
from mailsync.model import FolderState, MessageState
from mailsync.store import attempts, folders, messages
from mailsync.store.attempts import WITHOUT_CONTENT
from mailsync.uidset import LARGEST_UID, UidSet

STRETCH = 5000
NO_SUCH_FOLDER = "no such folder"

_EXPIRY = timedelta(hours=2)
"""A rolling window expires rows hourly."""


def verify(
    env: TurnEnvironment,
    account_id: int,
    *,
    wait: float,
    on_pause: Callable[[float], None] = lambda seconds: None,
) -> Report:
    """Compare the account's tracked folders, under its lock, in as many turns as it takes.

    `wait` is how many seconds to queue for the lock before Busy is raised. `on_pause` is called with the
    seconds of each wait for commands. Raises any error that ends a turn; a folder that cannot be read is a
    difference.
    """
    report = Report()
    kind = TurnKind(
        run=lambda turn: _compare(turn, report),
        trigger="cli",
        max_seconds=env.settings.backfill_batch_timeout,
        reserved_share=0.25,
        lock_timeout=wait,
        updates_health=False,
        reschedules=False,
        name="verify",
        insists=True,
    )
    take_turns(env, account_id, kind, on_pause)
    return report


def _compare(turn: Turn, report: Report) -> None:
    if not report.listed:
        _compare_listing(turn, report)
        report.listed = True
    for folder in turn.folders.tracked():
        if folder.id in report.done:
            continue
        known = report.folders.setdefault(folder.id, FolderReport(folder.id, folder.path, folder.is_complete))
        if not known.complete and not folder.last_error:
            # During the first sync the rows below the watermark are missing on purpose.
            report.done.add(folder.id)
            continue
        try:
            _compare_folder(turn, folder, report, known)
        except (FolderError, ProtocolError) as error:
            if turn.session.closed:
                raise
            known.add(Difference("unreadable", server=str(error)))
        _compare_counts(turn, folder, known)
        report.done.add(folder.id)
        turn.checkpoint()


def _compare_listing(turn: Turn, report: Report) -> None:
    """Find folders that only the server has, and rows of folders that it no longer has."""
    listed = turn.session.list_folders()
    traits = assign_roles(listed, foreign_names(listed, turn.session.namespaces()))
    mailboxes = {name for name, t in traits.items() if t.excluded_reason not in HOLDS_NONE}
    known = {f.wire_name for f in turn.folders if not f.missing_since}
    for mailbox in listed:
        name = mailbox.wire_name
        if traits[name].excluded_reason is None and not is_inbox(name) and name not in known:
            unknown = report.folders[name] = FolderReport(None, mailbox.path, complete=False)
            unknown.add(Difference("unknown_folder"))
    for folder in turn.folders:
        gone = folder.wire_name not in mailboxes and not is_inbox(folder.wire_name)
        if gone and folder.live_count:
            outlived = report.folders[folder.id] = FolderReport(folder.id, folder.path, folder.is_complete)
            rows = f"{folder.live_count} rows, kept for FOLDER_MISSING_GRACE"
            outlived.add(Difference("extra", None, NO_SUCH_FOLDER, rows), folder.live_count)
            report.done.add(folder.id)


def _compare_counts(turn: Turn, folder: FolderState, known: FolderReport) -> None:
    """Compare the stored counts with the rows, and find rows that should not be live."""
    begins = window.start(turn)
    if begins is not None and turn.account.sync_window_days:
        begins -= _EXPIRY
    (stored,) = folders.load(turn.conn, folder.account_id, folder.id)
    counted = messages.count_rows(turn.conn, folder, begins)
    for kind, stored_count, rows in (
        ("live_count", stored.live_count, counted.live),
        ("live_unseen", stored.live_unseen, counted.unseen),
    ):
        if stored_count != rows:
            known.add(Difference(kind, None, f"{rows} counted", str(stored_count)))
    for kind, rows in (("outside_window", counted.outside), ("stray", counted.stray)):
        if rows:
            known.add(Difference(kind), rows)


def _compare_folder(turn: Turn, folder: FolderState, report: Report, known: FolderReport) -> None:
    with turn.session.deadline(turn.settings.reconcile_timeout):
        seen = turn.session.examine(folder.wire_name)
        if seen.uids_not_sticky:
            known.add(Difference(UIDS_NOT_STICKY, server=not_sticky_message(folder.path)))
            return
        if seen.uidvalidity and folder.uidvalidity and seen.uidvalidity != folder.uidvalidity:
            known.add(Difference("uidvalidity", server=str(seen.uidvalidity), mirror=str(folder.uidvalidity)))
            return
        begin = report.next_uid.get(folder.id, 1)
        view = server_view.read(turn) if turn.session.exists else ServerView(UidSet(), agreed=True)
        message = server_view.limitation_message(turn, folder, view)
        if message and begin == 1:
            known.add(Difference(PARTIAL_VIEW, server=message))
        shown_from = _shown_from(view, is_limited=message is not None)
        server = view.uids.between(begin, LARGEST_UID)
        silent = attempts.silent_uids(turn.conn, folder) if turn.loaded.without_content else UidSet()
    for uids, lowest, highest in _stretches(server, begin):
        if lowest > begin:
            turn.checkpoint()
        with turn.session.deadline(turn.settings.flag_scan_timeout):
            states = _states(turn, uids.minus(silent))
        # SEARCH names them, and asking for more might cost the connection
        states.update((uid, MessageState(uid, None, None, None, None)) for uid in uids.both(silent))
        _compare_stretch(turn, folder, known, states, lowest, highest, shown_from)
        report.next_uid[folder.id] = highest + 1
        turn.keep_alive()
        turn.env.on_progress(turn)


def _shown_from(view: ServerView, *, is_limited: bool) -> int:
    """Return the lowest UID at which a row without a message is a difference.

    Below that UID the server may hold messages that it does not show.
    """
    if not is_limited:
        return 1
    return view.uids.lowest if view.agreed else LARGEST_UID + 1


def _stretches(server: UidSet, begin: int) -> Iterator[tuple[UidSet, int, int]]:
    """Cut the UIDs into pieces, each with its range of rows; together the ranges cover all rows."""
    lowest = begin
    while len(server) > STRETCH:
        uids = server.oldest(STRETCH)
        yield uids, lowest, uids.highest
        server, lowest = server.between(uids.highest + 1, LARGEST_UID), uids.highest + 1
    yield server, lowest, LARGEST_UID


def _states(turn: Turn, uids: UidSet) -> dict[int, MessageState]:
    """Return the states of `uids`; those left out are asked for once more, and may be gone by then."""
    by_uid: dict[int, MessageState] = {}
    for _ in range(2):
        left = uids.minus(UidSet.of(by_uid))
        if not left:
            break
        for states in turn.session.fetch_states(left):
            by_uid.update((state.uid, state) for state in states)
            turn.keep_alive()
    return by_uid


def _compare_stretch(
    turn: Turn,
    folder: FolderState,
    known: FolderReport,
    server: dict[int, MessageState],
    lowest: int,
    highest: int,
    shown_from: int,
) -> None:
    begins = window.start(turn)
    for row, errors in messages.select_states(turn.conn, folder, lowest, highest):
        state = server.pop(row.uid, None)
        if state is None:
            is_inside = begins is None or (row.internal_date and row.internal_date >= begins)
            if is_inside and row.uid >= shown_from:
                known.add(Difference("extra", row.uid))
            continue
        known.messages += 1
        for difference in _differences(state, row, errors):
            known.add(difference)
    for uid, state in sorted(server.items()):
        if begins is None or state.internal_date is None or state.internal_date >= begins:
            known.messages += 1
            known.add(Difference("missing", uid))


def _differences(server: MessageState, row: MessageState, errors: frozenset[str]) -> Iterator[Difference]:
    if not WITHOUT_CONTENT.isdisjoint(errors):
        yield Difference("placeholder", row.uid)
    if "unfetchable" in errors:
        return
    if server.flags is not None and server.flags != row.flags and not _flags_unknown(server, row, errors):
        yield Difference("flags", row.uid, _flags(server.flags), _flags(row.flags))
    if server.size_bytes != row.size_bytes:
        yield Difference("size_bytes", row.uid, _size(server.size_bytes), _size(row.size_bytes))
    if server.internal_date is not None and server.internal_date != row.internal_date:
        yield Difference("internal_date", row.uid, _date(server.internal_date), _date(row.internal_date))


def _flags_unknown(server: MessageState, row: MessageState, errors: frozenset[str]) -> bool:
    """Whether the row itself says that its flags, or some of them, are not those of the server."""
    if "flags" in errors:
        return not row.flags
    return "unstorable" in errors and set(row.flags or ()) <= set(server.flags or ())


def _flags(flags: Sequence[str] | None) -> str:
    return " ".join(flags or ()) or "none"


def _size(size: int | None) -> str:
    return "none" if size is None else str(size)


def _date(when: datetime | None) -> str:
    return "none" if when is None else when.astimezone(UTC).isoformat().replace("+00:00", "Z")
