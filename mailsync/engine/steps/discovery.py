"""Discovery of folders: LIST, renames, roles, exclusions, limits (SPEC §6)."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta

from mailsync.core import renames
from mailsync.core.folder_roles import (
    HOLDS_NONE,
    INBOX_ALIAS,
    TOO_MANY,
    assign_roles,
    beyond_limit,
    count_note,
    inbox_alias,
    is_inbox,
    is_same_mailbox,
    leave_out,
)
from mailsync.core.namespaces import foreign_names
from mailsync.core.renames import Rename
from mailsync.engine.steps import rename_folders
from mailsync.engine.turn import Turn
from mailsync.errors import ProtocolError
from mailsync.model import FolderState, FolderTraits, ListedFolder, MailboxStatus
from mailsync.store import folders
from mailsync.store.db import transaction

log = logging.getLogger(__name__)

_MANY = 10
_MOST_KEPT = 25_000
"""Folders of one account, including those that are gone: each turn loads all of them."""

Known = dict[bytes, MailboxStatus | None]


def discover(turn: Turn, statuses: Mapping[bytes, MailboxStatus] | None = None) -> None:
    """LIST the mailboxes and store new and changed ones; for those no longer listed a grace period begins.

    `statuses` are those of this turn's LIST-STATUS. Without them STATUS is sent for the few folders for
    which it matters. Renamed folders keep their ids and rows. If the turn cannot prove all renames, the new
    names wait, and discovery is due again in the next turn.

    Folders of other users and shared ones are stored, but not tracked by themselves (RFC 2342). An empty LIST
    cannot make folders missing: the session raises ProtocolError. Raises ProtocolError, too, for more new
    names than can be stored beside the known ones.
    """
    listed = _one_inbox(turn.session.list_folders())
    _check_count(turn, listed)
    traits = assign_roles(listed, foreign_names(listed, turn.session.namespaces()))
    known: Known = dict(statuses or {})
    traits = _without_alias(turn, listed, traits, known)
    present = {name for name, t in traits.items() if t.excluded_reason not in HOLDS_NONE}
    waiting = rename_folders.request_statuses(turn, renames.to_identify(turn.folders, present), known)
    statuses = {name: status for name, status in known.items() if status is not None}
    proven, unproven = rename_folders.prove(turn, renames.propose(turn.folders, present, statuses))
    waiting |= unproven
    chosen = rename_folders.choices(turn, proven)
    traits = leave_out(traits, TOO_MANY, beyond_limit(traits, chosen, turn.settings.folder_max_count))
    _store(turn, [(f, traits[f.wire_name]) for f in listed], statuses, proven, waiting)
    wait = 0.0 if waiting else turn.settings.discovery_interval
    turn.result.next_discovery_at = turn.now() + timedelta(seconds=wait)


def _check_count(turn: Turn, listed: Sequence[ListedFolder]) -> None:
    known = {f.wire_name for f in turn.folders}
    new = sum(f.wire_name not in known for f in listed)
    if new and len(known) + new > _MOST_KEPT:
        raise ProtocolError(
            f"LIST: {new:,} folders are new beside {len(known):,} known ones, and at most {_MOST_KEPT:,} are"
            " kept; folders that are gone are dropped after FOLDER_MISSING_GRACE"
        )


def _one_inbox(listed: list[ListedFolder]) -> list[ListedFolder]:
    """Return the list with exactly one INBOX, which exists in any spelling, listed or not (RFC 9051 §5.1)."""
    others = [f for f in listed if not is_inbox(f.wire_name)]
    inboxes = [f for f in listed if is_inbox(f.wire_name)]
    inboxes.sort(key=lambda f: f.wire_name != b"INBOX")
    inbox = inboxes[0] if inboxes else ListedFolder(b"INBOX", "INBOX", listed[0].delimiter, frozenset())
    return [inbox, *others]


def _without_alias(
    turn: Turn, listed: Sequence[ListedFolder], traits: dict[bytes, FolderTraits], known: Known
) -> dict[bytes, FolderTraits]:
    """Exclude a second name of INBOX, once the numbers of both prove that they are one mailbox."""
    alias = inbox_alias(listed)
    if alias is None or traits[alias].excluded_reason:
        return traits
    rename_folders.request_statuses(turn, (b"INBOX", alias), known, most=2)
    inbox, other = known[b"INBOX"], known[alias]
    if inbox is None or other is None:
        proven = any(f.wire_name == alias and f.excluded_reason == INBOX_ALIAS for f in turn.folders)
    else:
        proven = is_same_mailbox(inbox, other)
    return leave_out(traits, INBOX_ALIAS, {alias} if proven else ())


def _store(
    turn: Turn,
    listed: Sequence[tuple[ListedFolder, FolderTraits]],
    statuses: Mapping[bytes, MailboxStatus],
    proven: Sequence[Rename],
    waiting: Collection[bytes],
) -> None:
    before = list(turn.folders)
    if proven:
        turn.ensure_run()
    with transaction(turn.conn):
        rename_folders.apply(turn, proven, {f.wire_name: f.path for f, _ in listed})
        folders.upsert(
            turn.conn,
            turn.account.id,
            [(f, traits) for f, traits in listed if f.wire_name not in waiting],
            mailbox_ids={name: status.mailbox_id for name, status in statuses.items() if status.mailbox_id},
            untouched=waiting,
        )
    turn.folders.reload_all()
    _log_changes(turn, before)


def _log_changes(turn: Turn, before: Sequence[FolderState]) -> None:
    """Log what changed since `before`: too many folders, or folders that are no longer listed."""
    extra = {"action": "discover", "account_id": turn.account.id}
    limits = (turn.settings.folder_warn_count, turn.settings.folder_max_count)
    note, old_note = count_note(turn.folders, *limits), count_note(before, *limits)
    if note and not old_note:
        log.warning("Many folders: %s", note, extra=extra)
    present = {f.id for f in before if not f.missing_since}
    gone = sum(f.id in present for f in turn.folders if f.missing_since)
    if gone:
        # A server in trouble may list only a part. Rows are kept until the grace period ends.
        suspicious = len(present) >= _MANY and gone * 2 > len(present)
        level = logging.WARNING if suspicious else logging.INFO
        log.log(level, "%d of %d folders are no longer listed", gone, len(present), extra=extra)
