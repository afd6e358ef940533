"""A block of header fields becomes the columns of a message (SPEC §10.3); pure.

A missing field is null. A field that cannot be read is null and named in ``errors``; a field that is too long
is cut and named there too.

Names in ``errors``:

``charset``
    an encoded word in an unknown charset, or with bytes that its charset does not have
``date``
    a Date that cannot be read, is before 1900 or after 2200, or has an unknown zone or one beyond ±15:59
``from``, ``to``, ``cc``, ``bcc``, ``reply_to``
    an entry without an address, which is skipped (the name of From is kept)
``message_id``
    a Message-ID field without an id
``headers_truncated``
    a field was longer than 1 MiB; the rest of it was ignored
``subject_truncated``, ``to_truncated``, ``message_id_truncated``, …
    more than the column holds: 4 KiB of a subject, 1,000 addresses of a list, 1,000 bytes of an address or
    an id (which then ends in a digest), 64 KiB or 1,000 ids of References
"""

from __future__ import annotations

import re
from datetime import datetime

from mailsync.mail.addresses import parse_addresses
from mailsync.mail.automated import is_automated
from mailsync.mail.charsets import decode_raw
from mailsync.mail.dates import parse_date
from mailsync.mail.header_fields import FieldReader
from mailsync.mail.mailboxes import AddressList
from mailsync.mail.text import MAX_INDEXED_BYTES, clamp, cut, decode_words, decode_words_checked, one_line
from mailsync.model import Headers

HEADER_FIELDS: tuple[str, ...] = (
    "From",
    "To",
    "Cc",
    "Bcc",
    "Reply-To",
    "Subject",
    "Date",
    "Message-ID",
    "In-Reply-To",
    "References",
    "List-Id",
    "List-Unsubscribe",
    "Auto-Submitted",
    "Precedence",
    "X-Auto-Response-Suppress",
    "Return-Path",
)
"""The fields that are fetched."""

MAX_FIELD_BYTES = 1024 * 1024
"""Bytes of a field that are read, or of all fields of a name that are joined."""
MAX_SUBJECT_BYTES = 4 * 1024
MAX_REFERENCES_BYTES = 64 * 1024
MAX_REFERENCES = 1_000
_MAX_TEXT = 64 * 1024
"""Characters of a field that are read, so that a header of many megabytes costs little."""

_ID = re.compile(r"<([^<>]+)>")
_WHOLE_ID = re.compile(r"<([^<>\s]+)>")
_SHORT = MAX_INDEXED_BYTES // 4
"""Characters whose UTF-8 cannot exceed MAX_INDEXED_BYTES."""
_BLANKS = " \t"
_JOINED = frozenset({"to", "cc", "bcc", "reply-to"})


def parse_headers(block: bytes) -> Headers:
    """Parse a header block: the answer to ``BODY[HEADER.FIELDS (...)]``, or the beginning of a message.

    Field order, folding, line ends and a missing last CRLF do not matter, and a line that is not a field
    costs only itself. Never raises.
    """
    errors: list[str] = []
    fields = _split(block)
    if fields is None:
        fields = _split_unusual(block, errors)
    get = fields.get
    sender = _list(get("from"), "from", errors)
    to = _list(get("to"), "to", errors)
    cc = _list(get("cc"), "cc", errors)
    references, reference_ids = _references(get("references"), errors)
    # positional, because keyword arguments cost a microsecond per message
    return Headers(
        _message_id(get("message-id"), errors),
        _in_reply_to(get("in-reply-to"), errors),
        references,
        reference_ids,
        _date(get("date"), errors),
        _subject(get("subject"), errors),
        sender.emails[0] if sender.emails else None,
        _from_name(sender),
        sender.emails,
        _list(get("reply-to"), "reply_to", errors).emails,
        to.emails,
        to.names,
        cc.emails,
        cc.names,
        _list(get("bcc"), "bcc", errors).emails,
        _list_id(get("list-id"), errors),
        is_automated(fields),
        tuple(dict.fromkeys(errors)) if errors else (),
    )


def _split(block: bytes) -> dict[str, str] | None:
    """Return unfolded values by lower-case name: the first one, or all joined for address lists.

    Returns None for a block that is unusual. :mod:`mailsync.mail.header_fields` has the rules for all blocks.
    """
    if len(block) > MAX_FIELD_BYTES or b"\n" not in block:
        return None
    text = _decode(block)
    text = text.lstrip("\n").partition("\n\n")[0]
    if "\r" in text or text.startswith("\ufeff"):
        return None
    # unfolding removes the line break and keeps the white space (RFC 5322 §2.2.3)
    text = text.replace("\n ", " ").replace("\n\t", " ")
    fields: dict[str, str] = {}
    repeated: dict[str, list[str]] = {}
    for line in text.split("\n"):
        name, colon, value = line.partition(":")
        if not colon:
            continue
        name = name.lower()
        value = value.strip()
        first = fields.get(name)
        if not first:
            fields[name] = value
        elif name in _JOINED:
            repeated.setdefault(name, [first]).append(value)
    # a look at each name takes longer
    names = "".join(fields)
    if (" " in names or "\t" in names or "" in fields) and any(name[-1:] in _BLANKS for name in fields):
        return None
    for name, values in repeated.items():
        fields[name] = "; ".join(values)  # a comma might join the last name of one field to the next field
    return fields


class _RowFields(FieldReader):
    wanted = frozenset(name.lower().encode() for name in HEADER_FIELDS)
    joined = frozenset(name.encode() for name in _JOINED)
    longest = MAX_FIELD_BYTES


def _split_unusual(block: bytes, errors: list[str]) -> dict[str, str]:
    """Return what :func:`_split` does, for any block."""
    reader = _RowFields()
    reader.read_block(block)
    if reader.cut:
        errors.append("headers_truncated")
    return {
        name.decode(): _decode(value).replace("\r", " ").replace("\n ", " ").replace("\n\t", " ").strip()
        for name, value in reader.values().items()
    }


def _decode(block: bytes) -> str:
    """Decode a block as UTF-8, or line by line, because one odd line says nothing about the others.

    Line ends become LF, NUL becomes U+FFFD.
    """
    try:
        text = block.decode()
    except UnicodeDecodeError:
        text = "\x1b"
    if "\x1b" in text:
        text = "\n".join([decode_raw(line) for line in block.split(b"\n")])
    text = text.replace("\r\n", "\n")
    return text.replace("\0", "\ufffd") if "\0" in text else text


_NO_ADDRESSES = AddressList()


def _list(value: str | None, column: str, errors: list[str]) -> AddressList:
    if not value:
        return _NO_ADDRESSES
    addresses = parse_addresses(value)
    if addresses.problems:
        if "unreadable" in addresses.problems:
            errors.append(column)
        if "truncated" in addresses.problems:
            errors.append(f"{column}_truncated")
        if "charset" in addresses.problems:
            errors.append("charset")
    return addresses


def _from_name(sender: AddressList) -> str | None:
    """Return the first author's name; a name without an address belongs to the only address."""
    name = sender.names[0] if sender.names else None
    return name if name or len(sender.emails) > 1 else sender.lone_name


def _subject(value: str | None, errors: list[str]) -> str | None:
    if value is None:
        return None
    text, known = decode_words_checked(value[:_MAX_TEXT])
    if not known:
        errors.append("charset")
    text = one_line(text)
    subject = cut(text, MAX_SUBJECT_BYTES)
    if len(subject) < len(text) or len(value) > _MAX_TEXT:
        errors.append("subject_truncated")
    return subject


def _date(value: str | None, errors: list[str]) -> datetime | None:
    if value is None:
        return None
    moment = parse_date(value)
    if moment is None:
        errors.append("date")
    return moment


def _ids(text: str) -> list[str]:
    """Return the ids in a field: everything in angle brackets, or else the words with an @."""
    if "=?" in text:
        text = decode_words(text)
    ids: list[str] = _WHOLE_ID.findall(text)
    if len(ids) != text.count("<"):
        ids = ["".join(bracketed.split()) for bracketed in _ID.findall(text)]
    return list(filter(None, ids)) or [word for word in text.split() if "@" in word]


def _clamped(text: str, column: str, errors: list[str]) -> str:
    if len(text) <= _SHORT:
        return text
    clamped = clamp(text)
    if clamped != text:
        errors.append(f"{column}_truncated")
    return clamped


def _message_id(value: str | None, errors: list[str]) -> str | None:
    if value is None:
        return None
    ids = _ids(value[:_MAX_TEXT]) or value[:_MAX_TEXT].strip("<> \t").split()
    if not ids:
        errors.append("message_id")
        return None
    return _clamped(ids[0], "message_id", errors)


def _in_reply_to(value: str | None, errors: list[str]) -> str | None:
    """Return the first id; old programs write a sentence before it, or instead of it."""
    ids = _ids(value[:_MAX_TEXT]) if value else None
    return _clamped(ids[0], "in_reply_to", errors) if ids else None


def _references(value: str | None, errors: list[str]) -> tuple[str | None, tuple[str, ...]]:
    """Return the field's text and its distinct ids: the first, which began the thread, and the last ones."""
    if not value:
        return None, ()
    text = cut(value, MAX_REFERENCES_BYTES)
    ids = list(dict.fromkeys(_clamped(id_, "references", errors) for id_ in _ids(text)))
    if len(text) < len(value) or len(ids) > MAX_REFERENCES:
        errors.append("references_truncated")
        ids = ids[:1] + ids[1:][-(MAX_REFERENCES - 1) :]
    return text, tuple(ids)


def _list_id(value: str | None, errors: list[str]) -> str | None:
    """Return the id in angle brackets (RFC 2919), or the whole text if there are none."""
    if not value:
        return None
    value = value[:_MAX_TEXT]
    match = _ID.search(value)
    text = "".join(match[1].split()) if match else decode_words(value).strip("<> \t")
    return _clamped(text.lower(), "list_id", errors) or None
