"""Which folders there are: LIST, renames, roles, exclusions, limits (SPEC §6)."""

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
"""Folders of one account, with those that are gone: each turn loads them all."""

Known = dict[bytes, MailboxStatus | None]


def discover(turn: Turn, statuses: Mapping[bytes, MailboxStatus] | None = None) -> None:
    """LIST the mailboxes and store what is new or different; those no longer listed begin their grace.

    `statuses` are those of a LIST-STATUS of this turn, if there was one; else STATUS is asked for, of the few
    folders where it matters. Renamed folders keep their ids and rows. Where that is more than the turn can
    find out, the new names wait, and discovery is due again with the next turn.

    An empty LIST is an error that the protocol raises, so it cannot make a folder missing. Raises
    ProtocolError for more new names than can be kept beside the known ones.
    """
    listed = _one_inbox(turn.session.list_folders())
    _refuse_ever_new_names(turn, listed)
    traits = assign_roles(listed)
    known: Known = dict(statuses or {})
    traits = _without_alias(turn, listed, traits, known)
    there = {name for name, found in traits.items() if found.excluded_reason not in HOLDS_NONE}
    waiting = rename_folders.ask(turn, renames.to_identify(turn.folders, there), known)
    told = {name: status for name, status in known.items() if status is not None}
    proven, unproven = rename_folders.prove(turn, renames.propose(turn.folders, there, told))
    waiting |= unproven
    chosen = rename_folders.choices(turn, proven)
    traits = leave_out(traits, TOO_MANY, beyond_limit(traits, chosen, turn.settings.folder_max_count))
    _store(turn, [(f, traits[f.wire_name]) for f in listed], told, proven, waiting)
    wait = 0.0 if waiting else turn.settings.discovery_interval
    turn.result.next_discovery_at = turn.now() + timedelta(seconds=wait)


def _refuse_ever_new_names(turn: Turn, listed: Sequence[ListedFolder]) -> None:
    known = {f.wire_name for f in turn.folders}
    new = sum(f.wire_name not in known for f in listed)
    if new and len(known) + new > _MOST_KEPT:
        raise ProtocolError(
            f"LIST: {new:,} folders are new beside {len(known):,} that are or were there, and no more than"
            f" {_MOST_KEPT:,} are kept; those that are gone leave after FOLDER_MISSING_GRACE"
        )


def _one_inbox(listed: list[ListedFolder]) -> list[ListedFolder]:
    """Let INBOX be there once: it is one mailbox in any case, and exists, listed or not (RFC 9051 §5.1)."""
    others = [f for f in listed if not is_inbox(f.wire_name)]
    inboxes = [f for f in listed if is_inbox(f.wire_name)]
    inboxes.sort(key=lambda f: f.wire_name != b"INBOX")
    inbox = inboxes[0] if inboxes else ListedFolder(b"INBOX", "INBOX", listed[0].delimiter, frozenset())
    return [inbox, *others]


def _without_alias(
    turn: Turn, listed: Sequence[ListedFolder], traits: dict[bytes, FolderTraits], known: Known
) -> dict[bytes, FolderTraits]:
    """Leave out a second name of INBOX, once the numbers of both prove it; silence changes nothing."""
    alias = inbox_alias(listed)
    if alias is None or traits[alias].excluded_reason:
        return traits
    rename_folders.ask(turn, (b"INBOX", alias), known, most=2)
    inbox, other = known[b"INBOX"], known[alias]
    if inbox is None or other is None:
        proven = any(f.wire_name == alias and f.excluded_reason == INBOX_ALIAS for f in turn.folders)
    else:
        proven = is_same_mailbox(inbox, other)
    return leave_out(traits, INBOX_ALIAS, {alias} if proven else ())


def _store(
    turn: Turn,
    found: Sequence[tuple[ListedFolder, FolderTraits]],
    told: Mapping[bytes, MailboxStatus],
    proven: Sequence[Rename],
    waiting: Collection[bytes],
) -> None:
    before = list(turn.folders)
    if proven:
        turn.ensure_run()
    with transaction(turn.conn):
        rename_folders.apply(turn, proven, {f.wire_name: f.path for f, _ in found})
        folders.upsert(
            turn.conn,
            turn.account.id,
            [each for each in found if each[0].wire_name not in waiting],
            mailbox_ids={name: status.mailbox_id for name, status in told.items() if status.mailbox_id},
            untouched=waiting,
        )
    turn.folders.reload_all()
    _say(turn, before)


def _say(turn: Turn, before: Sequence[FolderState]) -> None:
    """Log, once, what a person should know of the folders."""
    extra = {"action": "discover", "account_id": turn.account.id}
    limits = (turn.settings.folder_warn_count, turn.settings.folder_max_count)
    note, old_note = count_note(turn.folders, *limits), count_note(before, *limits)
    if note and not old_note:
        log.warning("Many folders: %s", note, extra=extra)
    there = {f.id for f in before if not f.missing_since}
    gone = sum(f.id in there for f in turn.folders if f.missing_since)
    if gone:
        # a server in trouble shows a part; nothing is lost by that before the grace is over
        suspicious = len(there) >= _MANY and gone * 2 > len(there)
        level = logging.WARNING if suspicious else logging.INFO
        log.log(level, "%d of %d folders are no longer listed", gone, len(there), extra=extra)
