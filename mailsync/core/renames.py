"""Find renamed folders by comparing stored folders with the server's list (SPEC §6); pure.

A mailbox is recognised by its MAILBOXID (RFC 8474). Without one, equal UIDVALIDITY, UIDNEXT and MESSAGES only
suggest a rename, and the newest messages must be equal too. ``tests/unit/core/test_renames.py`` is the table
of cases.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from mailsync.core.folder_roles import is_inbox
from mailsync.model import FolderState, Listing, MailboxStatus, MessageState

NEWEST = 20
"""How many of the newest messages must be equal if there is no MAILBOXID."""

_ASKED = 20

T = TypeVar("T")
Numbers = tuple[int | None, int | None, int | None]


@dataclass(frozen=True, slots=True)
class Rename:
    """A folder whose mailbox is now `wire_name`; if not ``certain``, its newest messages must prove it."""

    folder: FolderState
    wire_name: bytes
    certain: bool


def propose(
    stored: Sequence[FolderState], names: Collection[bytes], statuses: Mapping[bytes, MailboxStatus]
) -> list[Rename]:
    """Find renamed folders among the `stored` ones; `names` are listed and can hold messages.

    Folders may have swapped names, or taken each other's in a chain. Names without a status are ignored.
    INBOX is never renamed: RENAME INBOX moves its messages and keeps the mailbox (RFC 9051 §6.3.6).
    """
    certain = _by_mailbox_id(stored, names, statuses)
    return certain + _by_numbers(stored, names, statuses, certain)


def shows_any(folders: Sequence[FolderState], listing: Listing) -> bool:
    """Whether a LIST-STATUS alone shows that mailboxes have changed their names, as after a swap."""
    known = {f.wire_name: f for f in folders}
    for name, status in listing.statuses.items():
        folder = known.get(name)
        if folder and (_is_other(folder, status) or _has_other_id(folder, status)):
            return bool(propose(folders, listing.names, listing.statuses))
    return False


def displaced(stored: Iterable[FolderState], renamed: Collection[Rename]) -> list[FolderState]:
    """The folders that lose their name to a renamed one and get no new name: their mailboxes are gone."""
    moved = {rename.folder.id for rename in renamed}
    taken = {rename.wire_name for rename in renamed}
    return [f for f in stored if f.wire_name in taken and f.id not in moved]


def to_identify(stored: Sequence[FolderState], names: Collection[bytes]) -> list[bytes]:
    """The new names whose status could show a rename; empty unless a folder that can be recognised is gone.

    Names that share their parent or last part with a folder that is gone come first. Each name costs a STATUS
    command, so the list is limited.
    """
    gone = [f for f in stored if _is_gone(f, names) and (f.mailbox_id or f.live_count) and not _fixed(f)]
    if not gone:
        return []
    delimiter = next((f.delimiter for f in gone if f.delimiter), "").encode()
    parts = {part for f in gone for part in _parts(f.wire_name, delimiter)}
    known = {f.wire_name for f in stored}
    new = [name for name in names if name not in known and not is_inbox(name)]
    new.sort(key=lambda name: (parts.isdisjoint(_parts(name, delimiter)), name))
    return new[: _ASKED + 2 * len(gone)]


def _parts(name: bytes, delimiter: bytes) -> set[tuple[str, bytes]]:
    """The parent of a name, if it has one, and its last part."""
    parent, _, last = name.rpartition(delimiter) if delimiter else (b"", b"", name)
    return {("called", last), *([("below", parent)] if parent else [])}


def agree(rows: Sequence[MessageState], server: Mapping[int, MessageState]) -> bool:
    """Whether the server has all of `rows` with equal size and date; False without rows."""
    return bool(rows) and all(
        (there := server.get(row.uid)) is not None
        and there.internal_date is not None
        and (there.size_bytes, there.internal_date) == (row.size_bytes, row.internal_date)
        for row in rows
    )


def _by_mailbox_id(
    stored: Sequence[FolderState], names: Collection[bytes], statuses: Mapping[bytes, MailboxStatus]
) -> list[Rename]:
    now = _unique(
        (status.mailbox_id, name)
        for name, status in statuses.items()
        if status.mailbox_id and name in names and not is_inbox(name)
    )
    before = _unique((f.mailbox_id, f) for f in stored if f.mailbox_id)
    known = {f.wire_name: f for f in stored}
    renames = []
    for mailbox_id, folder in before.items():
        name = now.get(mailbox_id)
        if name is None or name == folder.wire_name or _fixed(folder):
            continue
        old = statuses.get(folder.wire_name)
        left = _is_gone(folder, names) or (old is not None and _has_other_id(folder, old))
        holder = known.get(name)
        # a stored folder without MAILBOXID may still be the mailbox of that name
        if left and (holder is None or holder.mailbox_id or _is_other(holder, statuses[name])):
            renames.append(Rename(folder, name, certain=True))
    return renames


def _by_numbers(
    stored: Sequence[FolderState],
    names: Collection[bytes],
    statuses: Mapping[bytes, MailboxStatus],
    certain: Sequence[Rename],
) -> list[Rename]:
    moved = {rename.folder.id for rename in certain}
    left = {f.wire_name: f for f in stored if f.id in moved or _has_left(f, names, statuses)}
    known = {f.wire_name for f in stored}
    taken = {rename.wire_name for rename in certain}
    candidates = [
        ((f.uidvalidity, f.uidnext, f.server_messages), f)
        for f in left.values()
        if f.id not in moved and f.uidvalidity and f.uidnext and f.server_messages and f.live_count
    ]
    # a folder that is newly gone wins over one missing for longer, which may be the same mailbox
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
    """The pairs whose key occurs only once."""
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
    """Whether UIDVALIDITY shows another mailbox under the folder's name; 0 is unknown."""
    return bool(status.uidvalidity and folder.uidvalidity and status.uidvalidity != folder.uidvalidity)


def _has_other_id(folder: FolderState, status: MailboxStatus) -> bool:
    return bool(status.mailbox_id and folder.mailbox_id and status.mailbox_id != folder.mailbox_id)
