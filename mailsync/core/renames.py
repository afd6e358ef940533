"""Which folders have another name now, told from what is held and what the server lists (SPEC §6); pure.

A mailbox is known again by its MAILBOXID (RFC 8474); without one by UIDVALIDITY, UIDNEXT and MESSAGES, which
is only a suggestion: the newest messages have to agree too. The table of cases is
``tests/unit/core/test_renames.py``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from mailsync.core.folder_roles import is_inbox
from mailsync.model import FolderState, Listing, MailboxStatus, MessageState

NEWEST = 20
"""How many of the newest messages have to agree where there is no MAILBOXID."""

_ASKED = 20

T = TypeVar("T")
Numbers = tuple[int | None, int | None, int | None]


@dataclass(frozen=True, slots=True)
class Rename:
    """A folder whose mailbox has the name `wire_name` now; a `certain` one needs no further proof."""

    folder: FolderState
    wire_name: bytes
    certain: bool


def propose(
    held: Sequence[FolderState], names: Collection[bytes], statuses: Mapping[bytes, MailboxStatus]
) -> list[Rename]:
    """Find the folders that were renamed; `names` are those that are listed and can hold messages.

    Names may change hands, in swaps and chains. A name without a status is unknown, and nothing follows from
    it. INBOX is never renamed: RENAME INBOX moves its messages and leaves it (RFC 9051 §6.3.6).
    """
    found = _by_mailbox_id(held, names, statuses)
    return found + _by_numbers(held, names, statuses, found)


def shows_any(folders: Sequence[FolderState], listing: Listing) -> bool:
    """Whether a LIST-STATUS alone shows that mailboxes have changed their names, as after a swap."""
    known = {f.wire_name: f for f in folders}
    for name, status in listing.statuses.items():
        folder = known.get(name)
        if folder and (_is_other(folder, status) or _has_other_id(folder, status)):
            return bool(propose(folders, listing.names, listing.statuses))
    return False


def displaced(held: Iterable[FolderState], renamed: Collection[Rename]) -> list[FolderState]:
    """The folders whose names `renamed` take and that get no other: their mailboxes are gone."""
    moved = {rename.folder.id for rename in renamed}
    taken = {rename.wire_name for rename in renamed}
    return [f for f in held if f.wire_name in taken and f.id not in moved]


def to_identify(held: Sequence[FolderState], names: Collection[bytes]) -> list[bytes]:
    """The names whose status could show a rename: the new ones, if folders worth knowing again are gone.

    The likeliest come first: those with the parent or the last part of a name that is gone. Of very many only
    so many are worth a command each.
    """
    gone = [f for f in held if _is_gone(f, names) and (f.mailbox_id or f.live_count) and not _fixed(f)]
    if not gone:
        return []
    delimiter = next((f.delimiter for f in gone if f.delimiter), "").encode()
    parts = {part for f in gone for part in _parts(f.wire_name, delimiter)}
    known = {f.wire_name for f in held}
    new = [name for name in names if name not in known and not is_inbox(name)]
    new.sort(key=lambda name: (parts.isdisjoint(_parts(name, delimiter)), name))
    return new[: _ASKED + 2 * len(gone)]


def _parts(name: bytes, delimiter: bytes) -> set[tuple[str, bytes]]:
    """The parent of a name, where there is one, and what it is called there."""
    parent, _, last = name.rpartition(delimiter) if delimiter else (b"", b"", name)
    return {("called", last), *([("below", parent)] if parent else [])}


def agree(rows: Sequence[MessageState], server: Mapping[int, MessageState]) -> bool:
    """Whether the server has all of `rows`, of equal size and date; nothing proves nothing."""
    return bool(rows) and all(
        (there := server.get(row.uid)) is not None
        and there.internal_date is not None
        and (there.size_bytes, there.internal_date) == (row.size_bytes, row.internal_date)
        for row in rows
    )


def _by_mailbox_id(
    held: Sequence[FolderState], names: Collection[bytes], statuses: Mapping[bytes, MailboxStatus]
) -> list[Rename]:
    now = _unique(
        (status.mailbox_id, name)
        for name, status in statuses.items()
        if status.mailbox_id and name in names and not is_inbox(name)
    )
    before = _unique((f.mailbox_id, f) for f in held if f.mailbox_id)
    known = {f.wire_name: f for f in held}
    found = []
    for mailbox_id, folder in before.items():
        name = now.get(mailbox_id)
        if name is None or name == folder.wire_name or _fixed(folder):
            continue
        old = statuses.get(folder.wire_name)
        left = _is_gone(folder, names) or (old is not None and _has_other_id(folder, old))
        holder = known.get(name)
        # of a folder whose own identity is not known it cannot be said that it lost its name
        if left and (holder is None or holder.mailbox_id or _is_other(holder, statuses[name])):
            found.append(Rename(folder, name, certain=True))
    return found


def _by_numbers(
    held: Sequence[FolderState],
    names: Collection[bytes],
    statuses: Mapping[bytes, MailboxStatus],
    certain: Sequence[Rename],
) -> list[Rename]:
    moved = {rename.folder.id for rename in certain}
    left = {f.wire_name: f for f in held if f.id in moved or _has_left(f, names, statuses)}
    known = {f.wire_name for f in held}
    taken = {rename.wire_name for rename in certain}
    candidates = [
        ((f.uidvalidity, f.uidnext, f.server_messages), f)
        for f in left.values()
        if f.id not in moved and f.uidvalidity and f.uidnext and f.server_messages and f.live_count
    ]
    # what went just now goes before what has been missing for longer, and may be the same mailbox
    just_now = {numbers for numbers, f in candidates if f.missing_since is None}
    before = _unique(
        (numbers, f) for numbers, f in candidates if f.missing_since is None or numbers not in just_now
    )
    now = _unique(
        ((status.uidvalidity, status.uidnext, status.messages), name)
        for name, status in statuses.items()
        if name in names
        and name not in taken
        and (name in left or name not in known)
        and not is_inbox(name)
        and status.uidvalidity
        and status.uidnext
        and status.messages
    )
    return [
        Rename(folder, name, certain=False)
        for numbers, folder in before.items()
        if (name := now.get(numbers)) and not _has_other_id(folder, statuses[name])
    ]


def _unique(pairs: Iterable[tuple[str | Numbers | None, T]]) -> dict[str | Numbers | None, T]:
    """The pairs whose key stands only once."""
    all_pairs = list(pairs)
    counts = Counter(key for key, _ in all_pairs)
    return {key: value for key, value in all_pairs if counts[key] == 1}


def _fixed(folder: FolderState) -> bool:
    return is_inbox(folder.wire_name)


def _is_gone(folder: FolderState, names: Collection[bytes]) -> bool:
    return folder.wire_name not in names


def _has_left(folder: FolderState, names: Collection[bytes], statuses: Mapping[bytes, MailboxStatus]) -> bool:
    if _fixed(folder):
        return False
    status = statuses.get(folder.wire_name)
    return _is_gone(folder, names) or (status is not None and _is_other(folder, status))


def _is_other(folder: FolderState, status: MailboxStatus) -> bool:
    """Whether another mailbox seems to have the folder's name, by UIDVALIDITY; 0 is unknown."""
    return bool(status.uidvalidity and folder.uidvalidity and status.uidvalidity != folder.uidvalidity)


def _has_other_id(folder: FolderState, status: MailboxStatus) -> bool:
    return bool(status.mailbox_id and folder.mailbox_id and status.mailbox_id != folder.mailbox_id)
