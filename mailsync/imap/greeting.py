"""The greeting of a server (RFC 9051 §7.1)."""

from __future__ import annotations

from mailsync.errors import ProtocolError
from mailsync.imap.reader import Reader
from mailsync.imap.status_responses import StatusResponse, error_for, parse_status_response
from mailsync.redaction import Mask

LONGEST_GREETING = 1024 * 1024


def read_greeting(reader: Reader, mask: Mask) -> StatusResponse:
    """Read ``* OK …`` or ``* PREAUTH …``.

    Raises ProtocolError, Transient or Throttled, with ``step`` ``connect``, if no session can begin.
    """
    reader.allow(LONGEST_GREETING)
    line = reader.read_response()[0]
    greeting = parse_status_response(line[2:], mask) if line.startswith(b"* ") else None
    if greeting is None or greeting.status in ("NO", "BAD"):
        raise ProtocolError(
            "the greeting is not that of an IMAP server; check host, port and security", step="connect"
        )
    if greeting.status == "BYE":
        raise error_for(greeting, "greeting", step="connect")
    return greeting
