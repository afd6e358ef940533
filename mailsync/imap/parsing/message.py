"""The fields of a FETCH response become a :class:`~mailsync.model.Message`; bad fields become None."""

from __future__ import annotations

import enum
import re

from mailsync.imap.parsing.bodystructure import BadStructure, parse_structure
from mailsync.imap.parsing.fetch_response import UNREADABLE, Fields, Value
from mailsync.imap.parsing.flags import parse_flags, parse_labels
from mailsync.imap.parsing.list_response import parse_number
from mailsync.mail.charsets import decode_raw
from mailsync.mail.dates import parse_internal_date
from mailsync.mail.headers import HEADER_FIELDS, parse_headers
from mailsync.mail.text import clean_text
from mailsync.model import Attachment, Message, MessageState

LONGEST_ID = 255

_STATE = re.compile(
    rb"\* \d+ FETCH \(UID (\d{1,18}) FLAGS \(([^()\"{}]*)\)(?: MODSEQ \((\d{1,19})\))?\)\Z"
    rb"|\* \d+ FETCH \(UID (\d{1,18}) (?:MODSEQ \((\d{1,19})\) )?FLAGS \(([^()\"{}]*)\)\)\Z"
)


_LONG_FIELDS = frozenset({"To", "Cc", "Bcc", "References"})
_FEW_FIELDS = 64 * 1024
"""Bytes of the few fields that are fetched: the smallest value that IMAP_MAX_LITERAL_BYTES may have."""


class Detail(enum.Enum):
    """How much of a message to fetch; less if the server fails to give more.

    ``WHOLE_HEADER`` is for servers that cannot select fields, ``FEW_FIELDS`` for headers that are too long:
    it leaves out the fields that may name many people or messages. The last three are one item each.
    """

    FULL = "full"
    NO_STRUCTURE = "no_structure"
    WHOLE_HEADER = "whole_header"
    FEW_FIELDS = "few_fields"
    BASIC = "basic"
    DATE = "date"
    SIZE = "size"
    FLAGS = "flags"

    @property
    def has_headers(self) -> bool:
        """Whether header fields are asked for."""
        return self in _HEADERS


_HEADERS = {
    Detail.FULL: f"HEADER.FIELDS ({' '.join(HEADER_FIELDS).upper()})",
    Detail.NO_STRUCTURE: f"HEADER.FIELDS ({' '.join(HEADER_FIELDS).upper()})",
    Detail.WHOLE_HEADER: "HEADER",
    Detail.FEW_FIELDS: "HEADER.FIELDS"
    f" ({' '.join(name for name in HEADER_FIELDS if name not in _LONG_FIELDS).upper()})",
}
_STATES = {
    Detail.DATE: ("INTERNALDATE",),
    Detail.SIZE: ("RFC822.SIZE",),
    Detail.FLAGS: ("FLAGS",),
}


def items(detail: Detail, capabilities: frozenset[str]) -> bytes:
    """Return the parenthesised list of items to fetch (SPEC §9.4)."""
    names = ["UID", *_STATES.get(detail, ("FLAGS", "INTERNALDATE", "RFC822.SIZE"))]
    if detail.has_headers:
        names += extras(capabilities)
    if detail in (Detail.FULL, Detail.FEW_FIELDS):
        # a header that is too long does not make the structure unreadable
        names.append("BODYSTRUCTURE")
    if detail.has_headers:
        limit = f"<0.{_FEW_FIELDS}>" if detail is Detail.FEW_FIELDS else ""
        names.append(f"BODY.PEEK[{_HEADERS[detail]}]{limit}")
    return f"({' '.join(names)})".encode("ascii")


def extras(capabilities: frozenset[str]) -> list[str]:
    """Return the items that depend on extensions."""
    names = []
    if "CONDSTORE" in capabilities:
        names.append("MODSEQ")
    if "X-GM-EXT-1" in capabilities:
        names.append("X-GM-MSGID X-GM-THRID X-GM-LABELS")
    elif "OBJECTID" in capabilities:
        names.append("EMAILID THREADID")
    return names


def uid_of(fields: Fields) -> int:
    """Return the UID among the fields; 0 if it is missing or malformed."""
    value = fields.get(b"UID")
    return parse_number(value) or 0 if isinstance(value, bytes) else 0


def is_answer(fields: Fields, detail: Detail) -> bool:
    """Whether the fields answer our FETCH, rather than report flags that changed meanwhile."""
    if b"BODY[]" in fields or detail.has_headers:
        return b"BODY[]" in fields
    if detail is Detail.FLAGS:
        return b"FLAGS" in fields
    return b"RFC822.SIZE" in fields or b"INTERNALDATE" in fields


def is_miscounted(fields: Fields) -> bool:
    """Whether the header's literal has another length than the server said, so that no field is certain."""
    return b"BODY[]" in _words(fields.get(UNREADABLE)).split()


def build_message(uid: int, fields: Fields, detail: Detail) -> Message:
    """Build a message from the fields of a response.

    ``parse_errors`` names those that are missing or malformed: ``bodystructure``, ``headers``, ``flags``,
    ``internal_date``, ``size``; and those that :func:`mailsync.mail.headers.parse_headers` names.
    """
    errors: list[str] = []
    block = fields.get(b"BODY[]")
    if not isinstance(block, bytes):
        block = b""
        errors.append("headers")
    elif detail is Detail.FEW_FIELDS:
        # the fields that were left out may exist
        errors.append("headers")
    headers = parse_headers(block)

    mime_structure: str | None = None
    attachments: tuple[Attachment, ...] = ()
    structure = fields.get(b"BODYSTRUCTURE")
    if isinstance(structure, list):
        try:
            mime_structure, attachments, truncated = parse_structure(structure)
            if truncated:
                errors.append("bodystructure_truncated")
        except BadStructure:
            errors.append("bodystructure")
    else:
        errors.append("bodystructure")

    state = build_state(uid, fields)
    if state.flags is None and b"FLAGS" in _words(fields.get(UNREADABLE)).split():
        errors.append("flags")
    if state.internal_date is None:
        errors.append("internal_date")
    if state.size_bytes is None:
        errors.append("size")

    labels = fields.get(b"X-GM-LABELS")
    return Message(
        uid=uid,
        modseq=state.modseq,
        flags=state.flags,
        internal_date=state.internal_date,
        size_bytes=state.size_bytes,
        provider_message_id=_identity(fields, b"X-GM-MSGID", b"EMAILID"),
        provider_thread_id=_identity(fields, b"X-GM-THRID", b"THREADID"),
        labels=None if labels is None else parse_labels(_inside(labels)),
        has_attachments=any(not part.is_embedded for part in attachments),
        mime_structure=mime_structure,
        attachments=attachments,
        headers=headers,
        parse_errors=(*errors, *headers.errors),
    )


def build_state(uid: int, fields: Fields) -> MessageState:
    """Build a state from the fields of a response; missing and malformed fields are None."""
    flags = fields.get(b"FLAGS")
    date = fields.get(b"INTERNALDATE")
    size = fields.get(b"RFC822.SIZE")
    modseq = fields.get(b"MODSEQ")
    return MessageState(
        uid,
        parse_number(modseq.strip()) if isinstance(modseq, bytes) else None,
        None if flags is None else parse_flags(_inside(flags)),
        parse_internal_date(date) if isinstance(date, bytes) else None,
        parse_number(size) if isinstance(size, bytes) else None,
    )


def quick_state(line: bytes) -> MessageState | None:
    """Parse the usual form of a flag response fast; None for other forms.

    >>> quick_state(b"* 1 FETCH (UID 7 FLAGS (Work) MODSEQ (12))").modseq
    12
    """
    match = _STATE.match(line)
    if match is None:
        return None
    uid, flags, modseq, other_uid, other_modseq, other_flags = match.groups()
    if uid is None:
        uid, flags, modseq = other_uid, other_flags, other_modseq
    return MessageState(int(uid), int(modseq) if modseq else None, parse_flags(flags), None, None)


def _identity(fields: Fields, *names: bytes) -> str | None:
    for name in names:
        value = fields.get(name)
        if isinstance(value, bytes) and value:
            return clean_text(decode_raw(value))[:LONGEST_ID]
    return None


def _words(value: Value) -> bytes:
    return value if isinstance(value, bytes) else b""


def _inside(value: bytes | list[bytes]) -> bytes:
    """Return the text between the parentheses of a list, with its literals quoted."""
    if isinstance(value, bytes):
        return value
    pieces = [
        b'"' + piece.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"' if i % 2 else piece
        for i, piece in enumerate(value)
    ]
    return b" ".join(pieces)[1:-1]
