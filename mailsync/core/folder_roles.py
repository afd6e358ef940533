"""Decide the role, sync priority and exclusion of each folder that LIST names (SPEC §6, RFC 6154); pure.

The role comes from a SPECIAL-USE attribute, or else from the folder's name in one of many languages
(:mod:`mailsync.core.folder_role_names`). A name counts only as a whole path segment, and only at the top or
directly under ``INBOX`` or Gmail's container: ``INBOX.Sent`` is the sent folder, ``Sent Invoices`` and
``Clients/Acme/Sent`` are not.

Folders of a lower sync priority are synced first: inbox 1, sent 5 (below 100: compared at every tick), others
100, drafts 110, archive 150, flagged 160, excluded 200.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from mailsync.core.folder_role_names import NAMES
from mailsync.model import FolderState, FolderTraits, ListedFolder, MailboxStatus

INBOX = FolderTraits(role="inbox", sync_priority=1, excluded_reason=None)

_PRIORITIES: Final[Mapping[str | None, int]] = {
    "sent": 5,
    "drafts": 110,
    "archive": 150,
    "flagged": 160,
}
_OTHERS, _EXCLUDED = 100, 200
_EXCLUDED_ROLES = frozenset({"junk", "trash", "all"})

HOLDS_NONE = frozenset({"noselect", "nonexistent"})
"""Exclusions of names that hold only other folders, no messages; such names cannot be tracked."""

TOO_MANY = "too_many_folders"
OTHER_NAMESPACE = "other_namespace"
"""Folders of other users and shared ones: they are listed, and mirrored if a person chooses them."""
INBOX_ALIAS = "inbox_alias"
_CONTAINERS = frozenset({"inbox", "[gmail]", "[google mail]"})

# The first one wins if a folder has several. AllMail, Spam and Starred are older than RFC 6154.
_ATTRIBUTES: Final[tuple[tuple[str, str], ...]] = (
    ("\\all", "all"),
    ("\\allmail", "all"),
    ("\\trash", "trash"),
    ("\\junk", "junk"),
    ("\\spam", "junk"),
    ("\\sent", "sent"),
    ("\\drafts", "drafts"),
    ("\\archive", "archive"),
    ("\\flagged", "flagged"),
    ("\\starred", "flagged"),
)


_LONGEST_KEY = 200


def _key(name: str) -> str:
    """The form in which names are compared: case, composition of accents and spacing do not count.

    Normalised twice, since case folding can decompose letters (Unicode D146). Normalising takes more than
    linear time, so names longer than any that mail programs create are returned unchanged.
    """
    if len(name) > _LONGEST_KEY:
        return name
    folded = unicodedata.normalize("NFC", name).casefold()
    # the upper case of Turkish letters does not show whether an i had a dot
    folded = unicodedata.normalize("NFC", folded.replace("ı", "i").replace("i\u0307", "i"))
    return " ".join(folded.split())


def _roles_by_name() -> dict[str, tuple[str, int]]:
    """Map each name to its role and its place in that role's list, where the most common names are first."""
    roles: dict[str, tuple[str, int]] = {}
    for role, names in NAMES.items():
        for place, name in enumerate(names.replace("\n", ";").split(";")):
            if key := _key(name):
                roles.setdefault(key, (role, place))
    return roles


_BY_NAME: Final[Mapping[str, tuple[str, int]]] = _roles_by_name()


def is_inbox(wire_name: bytes) -> bool:
    """Whether a mailbox name is INBOX, which is case-insensitive (RFC 9051 §5.1)."""
    return wire_name.upper() == b"INBOX"


def traits(listed: ListedFolder) -> FolderTraits:
    """Decide role, priority and exclusion of one folder, without regard to the others.

    INBOX is never excluded, whatever its attributes. ``excluded_reason`` is ``nonexistent``,
    ``noselect``, ``junk``, ``trash``, ``all`` or None. Use :func:`assign_roles` for a whole listing.
    """
    if is_inbox(listed.wire_name):
        return INBOX
    if "\\nonexistent" in listed.attributes:
        return FolderTraits(None, _EXCLUDED, "nonexistent")
    if "\\noselect" in listed.attributes:
        return FolderTraits(None, _EXCLUDED, "noselect")
    named = _role_by_name(listed)
    return _with_role(_role_by_attribute(listed) or (named[0] if named else None))


def assign_roles(
    listed: Sequence[ListedFolder], foreign: Collection[bytes] = ()
) -> dict[bytes, FolderTraits]:
    """Decide role, priority and exclusion of all folders of a listing; returns them by wire name.

    Folders whose names are in `foreign`, those of other users and shared ones, get no role and are excluded.

    If an attribute gives a role to a folder, no other folder gets that role by its name; if only names give
    it, the most common name wins. Every folder with a name for junk or trash is excluded, since mail programs
    create different ones, and so are the folders below. A folder that is listed twice has the attributes of
    both rows.
    """
    rows: dict[bytes, ListedFolder] = {}
    for row in listed:
        first = rows.get(row.wire_name)
        rows[row.wire_name] = replace(row, attributes=row.attributes | first.attributes) if first else row
    own = {wire_name: row for wire_name, row in rows.items() if wire_name not in foreign}
    decided = {wire_name: traits(row) for wire_name, row in own.items()}
    _drop_weaker_names(own, decided)
    _leave_out_children(own, decided)
    return decided | {name: _foreign_traits(row) for name, row in rows.items() if name in foreign}


def _foreign_traits(listed: ListedFolder) -> FolderTraits:
    reason = traits(listed).excluded_reason
    return FolderTraits(None, _EXCLUDED, reason if reason in HOLDS_NONE else OTHER_NAMESPACE)


def inbox_alias(listed: Iterable[ListedFolder]) -> bytes | None:
    """The listed name ``INBOX.INBOX``, which is INBOX itself at Rackspace; None if it is not listed."""
    for row in listed:
        if row.delimiter and row.path.upper() == f"INBOX{row.delimiter}INBOX":
            return row.wire_name
    return None


def is_same_mailbox(one: MailboxStatus, other: MailboxStatus) -> bool:
    """Whether two names are one mailbox, by UIDVALIDITY, UIDNEXT and MESSAGES.

    False for a mailbox that never held a message, since other new mailboxes have the same numbers.
    """
    if not one.uidvalidity or one.messages is None or one.uidnext is None or one.uidnext <= 1:
        return False
    return (one.uidvalidity, one.uidnext, one.messages) == (other.uidvalidity, other.uidnext, other.messages)


def leave_out(
    decided: Mapping[bytes, FolderTraits], reason: str, names: Collection[bytes]
) -> dict[bytes, FolderTraits]:
    """Return `decided` with `names` excluded for `reason`, unless they are excluded already."""
    return {
        name: replace(traits_, sync_priority=_EXCLUDED, excluded_reason=reason)
        if name in names and not traits_.excluded_reason
        else traits_
        for name, traits_ in decided.items()
    }


def beyond_limit(decided: Mapping[bytes, FolderTraits], chosen: Collection[bytes], most: int) -> set[bytes]:
    """The folders to exclude if more than `most` folders can hold messages (SPEC §6).

    Priority folders, and those that a person has `chosen` to track or not to track, are not among them.
    """
    if count_selectable(folder.excluded_reason for folder in decided.values()) <= most:
        return set()
    ordinary = (name for name, folder in decided.items() if folder.sync_priority >= _OTHERS)
    return {name for name in ordinary if name not in chosen}


def count_selectable(reasons: Iterable[str | None]) -> int:
    """Count the account's own folders that can hold messages; `reasons` are the exclusions of all folders."""
    return sum(reason not in HOLDS_NONE and reason != OTHER_NAMESPACE for reason in reasons)


def count_note(folders: Sequence[FolderState], warn: int, most: int) -> str | None:
    """A sentence for people about an account's many folders; None if they are at most `warn`."""
    count = count_selectable(f.excluded_reason for f in folders if not f.missing_since)
    if any(f.excluded_reason == TOO_MANY for f in folders):
        return (
            f"{count:,} folders are more than FOLDER_MAX_COUNT ({most:,}): only inbox, sent mail and folders"
            " chosen with `mailsync track-folder` are mirrored"
        )
    if count > warn:
        return (
            f"{count:,} folders are more than FOLDER_WARN_COUNT ({warn:,}); each one costs time at every tick"
        )
    return None


def percent(folder: FolderState) -> int:
    """Progress of the folder's first sync, 0 … 100; 100 only once it is complete."""
    if folder.is_complete:
        return 100
    if folder.initial_remaining is None:
        return 0
    return min(99, 100 * folder.live_count // max(1, folder.live_count + folder.initial_remaining))


def _drop_weaker_names(rows: Mapping[bytes, ListedFolder], decided: dict[bytes, FolderTraits]) -> None:
    marked: set[str] = set()
    by_name: dict[str, list[tuple[int, bytes]]] = {}
    for wire_name, row in rows.items():
        role = decided[wire_name].role
        if role is None or role in ("inbox", "junk", "trash"):
            continue
        if _role_by_attribute(row):
            marked.add(role)
        elif named := _role_by_name(row):
            by_name.setdefault(role, []).append((named[1], wire_name))
    for role, candidates in by_name.items():
        winner = None if role in marked else min(candidates)[1]
        for _, wire_name in candidates:
            if wire_name != winner:
                decided[wire_name] = _with_role(None)


def _leave_out_children(rows: Mapping[bytes, ListedFolder], decided: dict[bytes, FolderTraits]) -> None:
    parents = {
        row.path + row.delimiter: decided[row.wire_name].excluded_reason
        for row in rows.values()
        if row.delimiter and decided[row.wire_name].role in ("junk", "trash")
    }
    if not parents:
        return
    for wire_name, row in rows.items():
        if decided[wire_name].excluded_reason or is_inbox(wire_name) or not row.delimiter:
            continue
        if _role_by_attribute(row):
            continue
        end = row.path.find(row.delimiter)
        while end >= 0:
            reason = parents.get(row.path[: end + len(row.delimiter)])
            if reason:
                decided[wire_name] = FolderTraits(None, _EXCLUDED, reason)
                break
            end = row.path.find(row.delimiter, end + len(row.delimiter))


def _with_role(role: str | None) -> FolderTraits:
    if role in _EXCLUDED_ROLES:
        return FolderTraits(role, _EXCLUDED, role)
    return FolderTraits(role, _PRIORITIES.get(role, _OTHERS), None)


def _role_by_attribute(listed: ListedFolder) -> str | None:
    for attribute, role in _ATTRIBUTES:
        if attribute in listed.attributes:
            return role
    return None


def _role_by_name(listed: ListedFolder) -> tuple[str, int] | None:
    segments = listed.path.split(listed.delimiter) if listed.delimiter else [listed.path]
    keys = [key for segment in segments if (key := _key(segment))]
    if not keys or not _CONTAINERS.issuperset(keys[:-1]):
        return None
    return _BY_NAME.get(keys[-1])
