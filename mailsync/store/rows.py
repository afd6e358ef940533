"""A batch of messages as one block of text for COPY: the shortest way from Python to a table.

Fields are joined by tabs; a control character stands for null, so that few rows need escaping at all
(PostgreSQL, "COPY: Text Format").
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import lru_cache

from mailsync.model import Attachment, Message, MessageState

NULL = "\x01"
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\x01": "\\x01"})


def message_block(messages: Iterable[Message]) -> str:
    """The lines of `messages` for ``copy_incoming``."""
    return "".join([_message_line(message) for message in messages])


def flags_block(states: Iterable[MessageState]) -> str:
    """The lines of `states` for ``copy_incoming_flags``; those without FLAGS are left out."""
    return "".join(
        [f"{s.uid}\t{_number(s.modseq)}\t{_flags(s.flags)}\n" for s in states if s.flags is not None]
    )


def _message_line(m: Message) -> str:
    h = m.headers
    errors = m.parse_errors
    if m.flags is None and "flags" not in errors and "unfetchable" not in errors:
        errors = (*errors, "flags")
    texts: tuple[str, ...] = (
        NULL if m.provider_message_id is None else m.provider_message_id,
        NULL if m.provider_thread_id is None else m.provider_thread_id,
        NULL if m.labels is None else _array(m.labels),
        "t" if m.has_attachments else "f",
        NULL if m.mime_structure is None else m.mime_structure,
        _attachments(m.attachments) if m.attachments else NULL,
        NULL if h.message_id is None else h.message_id,
        NULL if h.in_reply_to is None else h.in_reply_to,
        NULL if h.references_header is None else h.references_header,
        _array(h.reference_ids),
        NULL if h.sent_at is None else str(h.sent_at),
        NULL if h.subject is None else h.subject,
        NULL if h.from_email is None else h.from_email,
        NULL if h.from_name is None else h.from_name,
        _array(h.reply_to_emails),
        _array(h.to_emails),
        _array(h.to_names),
        _array(h.cc_emails),
        _array(h.cc_names),
        _array(h.bcc_emails),
        NULL if h.list_id is None else h.list_id,
        "t" if h.is_automated else "f",
        _array(errors),
    )
    together = "".join(texts)
    # isprintable is a scan in C that rules out every control character; nulls alone do not need escaping
    if "\\" in together or not together.replace(NULL, "").isprintable():
        texts = tuple([text if text == NULL else text.translate(_ESCAPES) for text in texts])
    flags = NULL if m.flags is None else _flags(m.flags)
    date = NULL if m.internal_date is None else str(m.internal_date)
    return (
        f"{m.uid}\t{_number(m.modseq)}\t{flags}\t{date}\t{_number(m.size_bytes)}\t" + "\t".join(texts) + "\n"
    )


def _number(value: int | None) -> str:
    return NULL if value is None else str(value)


@lru_cache(maxsize=4096)
def _flags(flags: tuple[str, ...] | None) -> str:
    return _array(flags or ()).translate(_ESCAPES)


def _array(values: Sequence[str | None]) -> str:
    """An array literal; every element quoted, so that none reads as NULL or a number."""
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
