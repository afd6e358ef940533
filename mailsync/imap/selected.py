"""The state of the mailbox that is open, from responses that come at any time (RFC 9051 §7.3, §7.4)."""

from __future__ import annotations

import re

from mailsync.imap.fetch_flags import parse_vanished
from mailsync.imap.parsing.list_response import parse_number, parse_object_id
from mailsync.imap.status_responses import StatusResponse, parse_status_response
from mailsync.model import MailboxStatus

NOT_STICKY = "UIDNOTSTICKY"

_CODES = frozenset({"UIDNEXT", "UIDVALIDITY", "HIGHESTMODSEQ", "NOMODSEQ", "MAILBOXID", NOT_STICKY})
_LONGEST_ARGUMENT = 500
_COUNT = re.compile(rb"\* (\d{1,18}) (EXISTS|EXPUNGE)\b", re.IGNORECASE)


class SelectedMailbox:
    """Follows EXISTS, EXPUNGE, VANISHED and the response codes of EXAMINE."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything: another mailbox is being opened."""
        self.exists = 0
        self._codes: dict[str, bytes] = {}
        self._has_exists = False

    def handle_response(self, response: list[bytes]) -> None:
        """Update the state from one untagged response; other responses are ignored."""
        text = response[0]
        count = _COUNT.match(text)
        if count:
            if count[2].upper() == b"EXISTS":
                self.exists = int(count[1])
                self._has_exists = True
            else:
                self.exists = max(0, self.exists - 1)
            return
        vanished = parse_vanished(response)
        if vanished:
            is_earlier, uids = vanished
            if not is_earlier:
                self.exists = max(0, self.exists - len(uids))
            return
        status = parse_status_response(text[2:])
        if status is None:
            return
        if status.status == "OK" and status.code == "CLOSED":
            self.reset()
        else:
            self.handle_code(status)

    def handle_code(self, status: StatusResponse) -> None:
        """Update the state from the response code of an untagged response or of EXAMINE's completion.

        Servers send ``NO [UIDNOTSTICKY]`` (RFC 4315 §2) as well as OK; all other codes count with OK only.
        """
        code = status.code
        if (status.status == "OK" and code in _CODES) or (status.status == "NO" and code == NOT_STICKY):
            self._codes[code] = status.argument[:_LONGEST_ARGUMENT]

    def status(self) -> MailboxStatus:
        """Return what the server has reported since :meth:`reset`."""
        modseq = parse_number(self._codes.get("HIGHESTMODSEQ"))
        return MailboxStatus(
            messages=self.exists if self._has_exists else None,
            uidnext=parse_number(self._codes.get("UIDNEXT")),
            uidvalidity=parse_number(self._codes.get("UIDVALIDITY")),
            modseq=0 if modseq is None and "NOMODSEQ" in self._codes else modseq,
            mailbox_id=parse_object_id(self._codes.get("MAILBOXID")),
            uids_not_sticky=NOT_STICKY in self._codes,
        )
