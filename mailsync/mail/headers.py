"""A block of header fields becomes the columns of a message (SPEC §10.3); pure.

Whatever the bytes, there is an answer: what is missing is null, what cannot be read is null and named in
``errors``, what is too long is cut and named there too.

Names in ``errors``:

``charset``
    an encoded word in an unknown charset, or with bytes that its charset does not have
``date``
    a Date that cannot be read, lies outside of 1900 to 2200, or has a zone beyond ±15:59
``from``, ``to``, ``cc``, ``bcc``, ``reply_to``
    an entry without an address; it is left out (of From, its name is kept)
``message_id``
    a Message-ID field without an id
``headers_truncated``
    the block was longer than 1 MiB; the rest was not looked at
``subject_truncated``, ``to_truncated``, ``message_id_truncated``, …
    the column's limit was passed: 4 KiB of a subject, 1,000 addresses of a list, 1,000 bytes of an
    address or an id (of which a digest remains), 64 KiB or 1,000 ids of References
"""

from __future__ import annotations

import re
from datetime import datetime

from mailsync.mail.addresses import AddressList, parse_addresses
from mailsync.mail.dates import parse_date, parse_internal_date
from mailsync.mail.text import (
    MAX_INDEXED_BYTES,
    clamp,
    clean_text,
    cut,
    decode_filename,
    decode_raw,
    decode_words,
    decode_words_checked,
    one_line,
)
from mailsync.model import Headers

__all__ = [
    "HEADER_FIELDS",
    "Headers",
    "clean_text",
    "decode_filename",
    "decode_words",
    "parse_headers",
    "parse_internal_date",
]

#: The fields to ask a server for.
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

#: How much of a block is looked at.
MAX_BLOCK_BYTES = 1024 * 1024
MAX_SUBJECT_BYTES = 4 * 1024
MAX_REFERENCES_BYTES = 64 * 1024
MAX_REFERENCES = 1_000
# How much of a field is looked at, so that one header of many megabytes costs little.
_MAX_TEXT = 64 * 1024

_ID = re.compile(r"<([^<>]+)>")
_WHOLE_ID = re.compile(r"<([^<>\s]+)>")
# So few characters that their UTF-8 passes no limit.
_SHORT = MAX_INDEXED_BYTES // 4
_JOINED = frozenset({"to", "cc", "bcc", "reply-to"})
_MARKS = frozenset(
    {
        "list-id",
        "list-unsubscribe",
        "auto-submitted",
        "precedence",
        "x-auto-response-suppress",
        "return-path",
    }
)
_BULK = frozenset({"bulk", "list", "junk", "auto_reply"})


def parse_headers(block: bytes) -> Headers:
    """Read a header block, as ``BODY[HEADER.FIELDS (...)]`` or a whole message has it.

    Field order, folding, line ends and a missing last CRLF do not matter. Never raises.
    """
    errors: list[str] = []
    if len(block) > MAX_BLOCK_BYTES:
        block = block[:MAX_BLOCK_BYTES]
        errors.append("headers_truncated")
    fields = _split(block)
    get = fields.get
    sender = _list(get("from"), "from", errors)
    to = _list(get("to"), "to", errors)
    cc = _list(get("cc"), "cc", errors)
    references, reference_ids = _references(get("references"), errors)
    # In the order of the fields, since names cost a microsecond here.
    return Headers(
        _message_id(get("message-id"), errors),
        _in_reply_to(get("in-reply-to"), errors),
        references,
        reference_ids,
        _date(get("date"), errors),
        _subject(get("subject"), errors),
        sender.emails[0] if sender.emails else None,
        sender.names[0] if sender.emails else sender.lone_name,
        _list(get("reply-to"), "reply_to", errors).emails,
        to.emails,
        to.names,
        cc.emails,
        cc.names,
        _list(get("bcc"), "bcc", errors).emails,
        _list_id(get("list-id"), errors),
        _is_automated(fields),
        tuple(dict.fromkeys(errors)) if errors else (),
    )


def _split(block: bytes) -> dict[str, str]:
    """Field names in lower case to unfolded values: the first of a field, or all address lists joined."""
    try:
        text = block.decode()
    except UnicodeDecodeError:
        text = "\n".join([decode_raw(line) for line in block.split(b"\n")])
    text = text.replace("\r\n", "\n")
    if "\r" in text:
        text = text.replace("\r", " " if "\n" in text else "\n")
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    text = text.lstrip("\n").partition("\n\n")[0]
    # Unfolding takes the line break away and leaves the white space (RFC 5322 §2.2.3).
    text = text.replace("\n ", " ").replace("\n\t", " ")
    fields: dict[str, str] = {}
    repeated: dict[str, list[str]] = {}
    for line in text.split("\n"):
        name, colon, value = line.partition(":")
        if not colon:
            continue
        name = name.rstrip().lower()
        value = value.strip()
        held = fields.get(name)
        if not held:
            fields[name] = value
        elif name in _JOINED:
            repeated.setdefault(name, [held]).append(value)
    for name, values in repeated.items():
        fields[name] = ", ".join(values)
    return fields


_NO_ADDRESSES = AddressList()


def _list(value: str | None, column: str, errors: list[str]) -> AddressList:
    if not value:
        return _NO_ADDRESSES
    found = parse_addresses(value)
    if found.problems:
        if "unreadable" in found.problems:
            errors.append(column)
        if "truncated" in found.problems:
            errors.append(f"{column}_truncated")
        if "charset" in found.problems:
            errors.append("charset")
    return found


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
    """The ids in a field: what stands in angle brackets, or else words with an @."""
    if "=?" in text:
        text = decode_words(text)
    found: list[str] = _WHOLE_ID.findall(text)
    if len(found) != text.count("<"):
        found = ["".join(one.split()) for one in _ID.findall(text)]
    return [one for one in found if one] or [one for one in text.split() if "@" in one]


def _clamped(one: str, column: str, errors: list[str]) -> str:
    if len(one) <= _SHORT:
        return one
    kept = clamp(one)
    if kept != one:
        errors.append(f"{column}_truncated")
    return kept


def _message_id(value: str | None, errors: list[str]) -> str | None:
    if value is None:
        return None
    ids = _ids(value[:_MAX_TEXT]) or value[:_MAX_TEXT].strip("<> \t").split()
    if not ids:
        errors.append("message_id")
        return None
    return _clamped(ids[0], "message_id", errors)


def _in_reply_to(value: str | None, errors: list[str]) -> str | None:
    """The first id; old programs put a sentence before it, or instead of it."""
    ids = _ids(value[:_MAX_TEXT]) if value else None
    return _clamped(ids[0], "in_reply_to", errors) if ids else None


def _references(value: str | None, errors: list[str]) -> tuple[str | None, tuple[str, ...]]:
    """The field's text, and its ids without repetitions: the first, which began the thread, and the last."""
    if not value:
        return None, ()
    text = cut(value, MAX_REFERENCES_BYTES)
    ids = list(dict.fromkeys(_clamped(one, "references", errors) for one in _ids(text)))
    if len(text) < len(value) or len(ids) > MAX_REFERENCES:
        errors.append("references_truncated")
        ids = ids[:1] + ids[1:][-(MAX_REFERENCES - 1) :]
    return text, tuple(ids)


def _list_id(value: str | None, errors: list[str]) -> str | None:
    """RFC 2919: what stands in angle brackets; the whole text where there are none."""
    if not value:
        return None
    value = value[:_MAX_TEXT]
    match = _ID.search(value)
    text = "".join(match[1].split()) if match else decode_words(value).strip("<> \t")
    return _clamped(text.lower(), "list_id", errors) or None


def _is_automated(fields: dict[str, str]) -> bool:
    """Whether a program rather than a person sent this, by what the header says outright.

    Yes if it came over a list or with a way to unsubscribe (List-Id, List-Unsubscribe), is marked as
    automatic (RFC 3834's Auto-Submitted other than "no"; Precedence bulk, list, junk or auto_reply; an
    X-Auto-Response-Suppress other than "None"), or must not be answered (Return-Path ``<>``, as bounces).
    """
    if _MARKS.isdisjoint(fields):
        return False
    if "list-id" in fields or "list-unsubscribe" in fields:
        return True
    if _token(fields, "auto-submitted") not in ("", "no"):
        return True
    if _token(fields, "precedence") in _BULK:
        return True
    if _token(fields, "x-auto-response-suppress") not in ("", "none"):
        return True
    return "".join(fields.get("return-path", "")[:100].split()) == "<>"


def _token(fields: dict[str, str], name: str) -> str:
    value = fields.get(name)
    return value[:100].partition(";")[0].partition("(")[0].strip().lower() if value else ""
