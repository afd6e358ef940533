"""The records that the layers pass to each other: frozen, typed, and almost without methods.

A message passes from socket to row in one way: bytes → response → :class:`Message` → batch → rows. No bytes
key leaves ``imap/`` and no dict row leaves ``store/``. Times are aware, durations are in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server and the user who logs in there; ``security`` is ``tls``, ``starttls`` or ``plaintext``."""

    host: str
    port: int
    security: str
    username: str


@dataclass(frozen=True, slots=True)
class Account:
    """One row of ``accounts``, as loaded at the beginning of a turn."""

    id: int
    email: str
    endpoint: Endpoint
    sync_since: datetime | None
    sync_window_days: int | None
    paused_at: datetime | None
    deleting_at: datetime | None
    sync_state: str
    sync_state_reason: str | None
    sync_state_message: str | None
    sync_state_since: datetime | None
    consecutive_failures: int
    consecutive_successes: int
    backoff_until: datetime | None
    priority_synced_at: datetime | None
    overall_synced_at: datetime | None
    last_success_at: datetime | None
    created_at: datetime
    folder_rr_cursor: int
    next_discovery_at: datetime
    capabilities: tuple[str, ...]
    mirrored_since: datetime | None = None
    failing_since: datetime | None = None
    last_sync_finished_at: datetime | None = None
    parked_by: str | None = None
    parked_kind: str | None = None
    tick_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class FolderState:
    """One row of ``folders``: the folder's identity, and how much of it is mirrored."""

    id: int
    account_id: int
    wire_name: bytes
    path: str
    delimiter: str | None
    mailbox_id: str | None
    role: str | None
    tracked: bool
    tracked_by_user: bool | None
    excluded_reason: str | None
    sync_priority: int
    status: str
    uidvalidity: int
    last_uid: int
    uidnext: int | None
    server_messages: int | None
    server_unseen: int | None
    server_modseq: int | None
    highest_modseq: int
    live_count: int
    live_unseen: int
    initial_target_uid: int | None
    initial_oldest_uid: int | None
    initial_done_at: datetime | None
    last_synced_at: datetime | None
    next_flag_scan_at: datetime | None
    next_reconcile_at: datetime | None
    last_reconciled_at: datetime | None
    last_reconcile_clean: bool | None
    suspect_deletion: str | None
    suspect_deletion_at: datetime | None
    uidvalidity_resets: tuple[datetime, ...]
    missing_since: datetime | None
    last_error: str | None
    retry_at: datetime | None
    polled_at: datetime | None = None
    initial_remaining: int | None = None
    limitation: str | None = None
    limitation_message: str | None = None
    view_limit: int | None = None

    @property
    def is_priority(self) -> bool:
        """Whether the folder is inbox or sent mail, which are compared at every tick."""
        return self.sync_priority < 100

    @property
    def is_complete(self) -> bool:
        """Whether the initial sync is done."""
        return self.status == "active"


@dataclass(frozen=True, slots=True)
class ListedFolder:
    """One row of LIST (RFC 9051 §7.3.1).

    ``wire_name`` is the mailbox name as the server sent it, unquoted. ``path`` is the same decoded from
    modified UTF-7 or UTF-8, without NUL and lone surrogates. ``attributes`` are in lower case with their
    backslash. ``delimiter`` is None for NIL.
    """

    wire_name: bytes
    path: str
    delimiter: str | None
    attributes: frozenset[str]


@dataclass(frozen=True, slots=True)
class FolderTraits:
    """The decisions of :mod:`mailsync.core.folder_roles` about a listed folder."""

    role: str | None
    sync_priority: int
    excluded_reason: str | None


@dataclass(frozen=True, slots=True)
class MailboxStatus:
    """The status of a mailbox, from STATUS, LIST-STATUS or EXAMINE.

    None for items that the server did not send. ``uidvalidity`` may also be 0 for unknown. ``modseq`` is
    HIGHESTMODSEQ, and 0 for NOMODSEQ (RFC 7162 §3.1.2.2). ``unseen`` is sent only by STATUS.
    ``uids_not_sticky`` is EXAMINE's UIDNOTSTICKY (RFC 4315 §2): the UIDs are valid in this session only.
    """

    messages: int | None = None
    uidnext: int | None = None
    uidvalidity: int | None = None
    unseen: int | None = None
    modseq: int | None = None
    mailbox_id: str | None = None
    uids_not_sticky: bool = False


class Namespace(NamedTuple):
    """The beginning of the wire names in a namespace, and the delimiter below it; None for NIL."""

    prefix: bytes
    delimiter: bytes | None


class Namespaces(NamedTuple):
    """The answer to NAMESPACE (RFC 2342): the user's own, those of other users, and shared ones."""

    personal: tuple[Namespace, ...] = ()
    other_users: tuple[Namespace, ...] = ()
    shared: tuple[Namespace, ...] = ()


@dataclass(frozen=True, slots=True)
class Listing:
    """The response to LIST-STATUS: all listed wire names, and the statuses that the server sent."""

    names: frozenset[bytes]
    statuses: Mapping[bytes, MailboxStatus]

    @property
    def shape(self) -> object:
        """A value that changes if the names do, or the names that have a status."""
        return self.names, frozenset(self.statuses)


class Attachment(NamedTuple):
    """A part of a message that people would call an attachment; ``part`` is its number in BODYSTRUCTURE."""

    part: str
    filename: str | None
    content_type: str
    size_bytes: int | None
    content_id: str | None
    is_inline: bool

    @property
    def is_embedded(self) -> bool:
        """Whether the HTML of the message shows the part, so that people do not call it an attachment."""
        return self.is_inline and self.content_id is not None


class Headers(NamedTuple):
    """The header fields of a message that are mirrored, in the order of their columns.

    Addresses are in lower case. ``x_names`` has a name or None for each of ``x_emails``, except that
    ``from_name`` belongs to ``from_email``, the first of ``from_emails``. ``errors`` names the
    fields that could not be parsed or were cut.
    """

    message_id: str | None
    in_reply_to: str | None
    references_header: str | None
    reference_ids: tuple[str, ...]
    sent_at: datetime | None
    subject: str | None
    from_email: str | None
    from_name: str | None
    from_emails: tuple[str, ...]
    reply_to_emails: tuple[str, ...]
    to_emails: tuple[str, ...]
    to_names: tuple[str | None, ...]
    cc_emails: tuple[str, ...]
    cc_names: tuple[str | None, ...]
    bcc_emails: tuple[str, ...]
    list_id: str | None
    is_automated: bool
    errors: tuple[str, ...]


class Message(NamedTuple):
    """One message from a FETCH response, ready to be stored.

    ``flags`` are canonical, sorted and without ``\\Recent``, or None if the server did not send them.
    ``mime_structure`` is JSON text. ``size_bytes`` is None if the server sent an impossible size.
    ``parse_errors`` names everything that was not sent or could not be parsed, also in the headers.
    """

    uid: int
    modseq: int | None
    flags: tuple[str, ...] | None
    internal_date: datetime | None
    size_bytes: int | None
    provider_message_id: str | None
    provider_thread_id: str | None
    labels: tuple[str, ...] | None
    has_attachments: bool
    mime_structure: str | None
    attachments: tuple[Attachment, ...]
    headers: Headers
    parse_errors: tuple[str, ...]


class MessageState(NamedTuple):
    """The items of a message that may change or that prove its identity, for flag scans and ``verify``."""

    uid: int
    modseq: int | None
    flags: tuple[str, ...] | None
    internal_date: datetime | None
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The state of an account after a turn.

    From ``next_sync_at`` on, None keeps the stored value; but ``failing_since`` is stored also if it is None,
    which means that inbox and sent mail were compared.
    """

    state: str
    reason: str | None
    message: str | None
    failures: int
    successes: int
    backoff_until: datetime | None
    healthy_until: datetime | None
    next_sync_at: datetime | None = None
    last_success_at: datetime | None = None
    priority_synced_at: datetime | None = None
    overall_synced_at: datetime | None = None
    failing_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class RunResult:
    """The result of a turn, as stored in ``sync_runs``."""

    status: str
    folders: int
    messages_new: int
    flags_changed: int
    messages_deleted: int
    imap_commands: int
    bytes_in: int
    error_code: str | None
    error_message: str | None
