"""What the server says, asked or not, of the mailbox that is open (RFC 9051 §7.3, §7.4)."""

from __future__ import annotations

import re

from mailsync.imap.fetch_flags import parse_vanished
from mailsync.imap.parsing.list_response import number, object_id
from mailsync.imap.status_responses import parse_completion
from mailsync.model import MailboxStatus

_CODES = frozenset({"UIDNEXT", "UIDVALIDITY", "HIGHESTMODSEQ", "NOMODSEQ", "MAILBOXID"})
_LONGEST = 500
_COUNT = re.compile(rb"\* (\d{1,18}) (EXISTS|EXPUNGE)\b", re.IGNORECASE)


class Mailbox:
    """Follows EXISTS, EXPUNGE, VANISHED and the response codes of EXAMINE."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forget everything: another mailbox is being opened."""
        self.exists = 0
        self._codes: dict[str, bytes] = {}
        self._seen_exists = False

    def take(self, parts: list[bytes]) -> None:
        """Take in one untagged response, whatever it is."""
        text = parts[0]
        count = _COUNT.match(text)
        if count:
            if count[2].upper() == b"EXISTS":
                self.exists = int(count[1])
                self._seen_exists = True
            else:
                self.exists = max(0, self.exists - 1)
            return
        vanished = parse_vanished(parts)
        if vanished:
            if not vanished[0]:
                self.exists = max(0, self.exists - len(vanished[1]))
            return
        reply = parse_completion(text[2:])
        if reply is None or reply.status != "OK":
            return
        if reply.code == "CLOSED":
            self.restart()
        elif reply.code in _CODES:
            self._codes[reply.code] = reply.argument[:_LONGEST]

    def status(self) -> MailboxStatus:
        """Return what was said since :meth:`restart`."""
        modseq = number(self._codes.get("HIGHESTMODSEQ"))
        return MailboxStatus(
            messages=self.exists if self._seen_exists else None,
            uidnext=number(self._codes.get("UIDNEXT")),
            uidvalidity=number(self._codes.get("UIDVALIDITY")),
            modseq=0 if modseq is None and "NOMODSEQ" in self._codes else modseq,
            mailbox_id=object_id(self._codes.get("MAILBOXID")),
        )
