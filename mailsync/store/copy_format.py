"""Batches of messages as text for COPY, the fastest way from Python to a table.

Fields are separated by tabs, and null is ``\\N``. A value cannot look like null, because its backslashes are
doubled (PostgreSQL, "COPY: Text Format").
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from mailsync.bounded_cache import BoundedCache
from mailsync.model import Attachment, Message, MessageState

NULL = "\\N"

_known_flags: BoundedCache[tuple[str, ...], str] = BoundedCache(4 * 1024 * 1024)
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def message_block(messages: Iterable[Message]) -> str:
    """The lines of `messages` for ``copy_incoming``."""
    return "".join([_message_line(message) for message in messages])


def flags_block(states: Iterable[MessageState]) -> str:
    """The lines of `states` for ``copy_incoming_flags``. States without flags are left out."""
    return "".join(
        [f"{s.uid}\t{_number(s.modseq)}\t{_flags(s.flags)}\n" for s in states if s.flags is not None]
    )


def _message_line(m: Message) -> str:
    h = m.headers
    errors = m.parse_errors
    if m.flags is None and "flags" not in errors and "unfetchable" not in errors:
        errors = (*errors, "flags")
    texts: tuple[str | None, ...] = (
        m.provider_message_id,
        m.provider_thread_id,
        None if m.labels is None else _array(m.labels),
        "t" if m.has_attachments else "f",
        m.mime_structure,
        _attachments(m.attachments) if m.attachments else None,
        h.message_id,
        h.in_reply_to,
        h.references_header,
        _array(h.reference_ids),
        None if h.sent_at is None else str(h.sent_at),
        h.subject,
        h.from_email,
        h.from_name,
        _array(h.from_emails),
        _array(h.reply_to_emails),
        _array(h.to_emails),
        _array(h.to_names),
        _array(h.cc_emails),
        _array(h.cc_names),
        _array(h.bcc_emails),
        h.list_id,
        "t" if h.is_automated else "f",
        _array(errors),
    )
    together = "".join(filter(None, texts))
    # few rows need escaping, and isprintable finds tabs and line ends at the speed of C
    if "\\" in together or not together.isprintable():
        texts = tuple([None if text is None else text.translate(_ESCAPES) for text in texts])
    flags = NULL if m.flags is None else _flags(m.flags)
    date = NULL if m.internal_date is None else str(m.internal_date)
    first = f"{m.uid}\t{_number(m.modseq)}\t{flags}\t{date}\t{_number(m.size_bytes)}\t"
    return first + "\t".join([NULL if text is None else text for text in texts]) + "\n"


def _number(value: int | None) -> str:
    return NULL if value is None else str(value)


def _flags(flags: tuple[str, ...]) -> str:
    text = _known_flags.get(flags)
    if text is None:
        text = _array(flags).translate(_ESCAPES)
        _known_flags.remember(flags, text, 300 + 60 * len(flags) + 6 * len(text))
    return text


def _array(values: Sequence[str | None]) -> str:
    """An array literal. All elements are quoted, so that none is read as NULL."""
    if not values:
        return "{}"
    try:
        together = "".join(values)  # type: ignore[arg-type]
    except TypeError:
        together = '"'
    if '"' in together or "\\" in together:
        return "{" + ",".join([_quoted(value) for value in values]) + "}"
    return '{"' + '","'.join(values) + '"}'  # type: ignore[arg-type]


def _quoted(value: str | None) -> str:
    if value is None:
        return "NULL"
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _attachments(attachments: tuple[Attachment, ...]) -> str:
    return json.dumps([attachment._asdict() for attachment in attachments])
