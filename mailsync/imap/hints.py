"""Hints: the reports of NOTIFY (RFC 5465) and IDLE (RFC 2177), which say where to look and nothing more."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from mailsync.imap.parsing.list_response import is_list, parse_list_name, parse_status
from mailsync.imap.status_responses import parse_status_response
from mailsync.model import MailboxStatus

OVERFLOW = "NOTIFICATIONOVERFLOW"
"""The server has ended NOTIFY, because it had too much to say (RFC 5465 §5.8)."""

_CHANGE = re.compile(rb"\* (?:\d{1,18} (?:EXISTS|EXPUNGE|(FETCH))|VANISHED)\b", re.IGNORECASE)


class Hints:
    """The hints since :meth:`take`.

    ``statuses`` are the items that STATUS responses brought, by wire name. ``names_changed`` says that
    mailboxes came, went or changed their names, ``mailbox_changed`` that the selected mailbox changed,
    ``flags_changed`` that flags in it did, and ``has_overflowed`` that NOTIFY is over.
    """

    def __init__(self) -> None:
        self.has_overflowed = False
        self._clear()

    def _clear(self) -> None:
        self.statuses: dict[bytes, MailboxStatus] = {}
        self.names_changed = self.mailbox_changed = self.flags_changed = False

    def __bool__(self) -> bool:
        return bool(self.statuses or self.names_changed or self.mailbox_changed)

    def note(self, response: list[bytes], watched: Mapping[bytes, bytes], *, idles: bool) -> bytes | None:
        """Take what one untagged response says; returns the name of a mailbox that came or went, else None.

        `watched` holds the wire names of mailboxes by their possible spellings; the status of another one is
        ignored. `idles` says whether changes of the selected
        mailbox are of interest.
        """
        if (row := parse_status(response)) is not None:
            if (wire_name := watched.get(row[0])) is not None:
                self.add(wire_name, row[1])
            return None
        if is_list(response):
            self.names_changed = True
            return parse_list_name(response)
        if idles and (change := _CHANGE.match(response[0])):
            self.mailbox_changed = True
            self.flags_changed = self.flags_changed or change[1] is not None
            return None
        status = parse_status_response(response[0][2:])
        if status is not None and status.code == OVERFLOW:
            self.has_overflowed = self.names_changed = True
        return None

    def add(self, wire_name: bytes, status: MailboxStatus) -> None:
        """Add the items that one STATUS response brought; they replace earlier ones."""
        self.statuses[wire_name] = merged(self.statuses.get(wire_name), status)

    def take(self) -> Hints:
        """Return the hints so far, and forget them here."""
        taken = Hints()
        taken.statuses, self.statuses = self.statuses, {}
        taken.names_changed, taken.mailbox_changed = self.names_changed, self.mailbox_changed
        taken.flags_changed, taken.has_overflowed = self.flags_changed, self.has_overflowed
        self._clear()
        return taken

    def give_back(self, taken: Hints) -> None:
        """Add hints that were taken and not followed; what came since then replaces them."""
        for wire_name, status in taken.statuses.items():
            self.statuses[wire_name] = merged(status, self.statuses.get(wire_name, status))
        self.names_changed = self.names_changed or taken.names_changed
        self.mailbox_changed = self.mailbox_changed or taken.mailbox_changed
        self.flags_changed = self.flags_changed or taken.flags_changed


def is_flag_change(response: list[bytes]) -> bool:
    """Whether the response, which no command asked for, reports flags of a message."""
    change = _CHANGE.match(response[0])
    return change is not None and change[1] is not None


def merged(known: MailboxStatus | None, news: MailboxStatus) -> MailboxStatus:
    """Return `known` with the items that `news` has, which a server may send unasked and incomplete."""
    if known is None:
        return news
    return replace(
        known,
        messages=known.messages if news.messages is None else news.messages,
        uidnext=known.uidnext if news.uidnext is None else news.uidnext,
        uidvalidity=known.uidvalidity if news.uidvalidity is None else news.uidvalidity,
        unseen=known.unseen if news.unseen is None else news.unseen,
        modseq=known.modseq if news.modseq is None else news.modseq,
        mailbox_id=known.mailbox_id if news.mailbox_id is None else news.mailbox_id,
    )
