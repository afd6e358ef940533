"""Rows of LIST and STATUS (RFC 9051 §7.3.1, §7.3.4)."""

from __future__ import annotations

import re

from mailsync.imap.bounds import BIGGEST
from mailsync.imap.parsing.mailbox_name import decode_name
from mailsync.mail.charsets import decode_raw
from mailsync.mail.text import clean_text
from mailsync.model import ListedFolder, MailboxStatus

_LIST = re.compile(rb"\* (?:LIST|XLIST|LSUB) +\(([^()]*)\) *", re.IGNORECASE)
_DELIMITER = re.compile(rb'(?:NIL|"(\\?.)"|([^\s"()]))(?: +|\Z)', re.IGNORECASE)
_STATUS = re.compile(rb"\* STATUS +", re.IGNORECASE)
_STRING = re.compile(rb'"([^"\\]*+(?:\\.[^"\\]*+)*+)"', re.DOTALL)
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
# possessive, and matching only from the start of a run, so that their time is linear
_ITEMS = re.compile(rb"\(([^()]*+(?:\([^()]*+\)[^()]*+)*+)\)\s*+\Z")
_ITEM = re.compile(rb"(?<![A-Za-z-])([A-Za-z-]++) ++(?:\(([^()]*+)\)|\"([^\"]*+)\"|([^\s()]++))")
_EXTENDED = re.compile(rb"(?<! ) ++\([^()]*+(?:\([^()]*+\)[^()]*+)*+\)\s*+\Z")

LONGEST_ITEMS = 4096
"""Bytes of a row's attributes or items that are read."""
MOST_ATTRIBUTES = 16
"""Attributes of a folder that are kept; RFC 9051 and RFC 6154 define hardly more in all."""
LONGEST_NAME = 2000
"""Bytes of a mailbox name; Postgres cannot index much more, and nobody types a longer one."""


def is_list(parts: list[bytes]) -> bool:
    """Whether the response is a row of LIST."""
    return _LIST.match(parts[0]) is not None


def parse_list(parts: list[bytes]) -> ListedFolder | None:
    r"""Parse ``* LIST (\HasNoChildren \Sent) "/" "Sent Items"``; None if it holds no valid mailbox name.

    INBOX comes in any case and is returned in upper case. An unquoted name may hold spaces, which some
    servers send although the RFC forbids it.
    """
    row = _row(parts)
    if row is None:
        return None
    attributes, delimiter, name = row
    return ListedFolder(
        wire_name=name,
        path=decode_name(name),
        delimiter=clean_text(decode_raw(delimiter)) if delimiter else None,
        attributes=frozenset(decode_raw(word).lower() for word in attributes.split()[:MOST_ATTRIBUTES]),
    )


def parse_list_name(parts: list[bytes]) -> bytes | None:
    """Return only the wire name of a row of LIST; None if :func:`parse_list` returns None."""
    row = _row(parts)
    return row[2] if row else None


def _row(parts: list[bytes]) -> tuple[bytes, bytes | None, bytes] | None:
    """Return the raw attributes, delimiter and name of a row of LIST."""
    text = parts[0]
    head = _LIST.match(text)
    if head is None:
        return None
    position = head.end()
    delimiter = None
    if position < len(text):
        match = _DELIMITER.match(text, position)
        if match is None:
            return None
        delimiter = match[1][-1:] if match[1] else match[2]
        position = match.end()
    name = _name(parts, position, extended=True)
    return (head[1][:LONGEST_ITEMS], delimiter, name) if name and len(name) <= LONGEST_NAME else None


def parse_status(parts: list[bytes]) -> tuple[bytes, MailboxStatus] | None:
    """Parse ``* STATUS "Sent Items" (MESSAGES 3 UIDNEXT 9 …)``; None for other responses."""
    head = _STATUS.match(parts[0])
    if head is None:
        return None
    items = _ITEMS.search(parts[-1])
    if items is None:
        return None
    rest = [*parts[:-1], parts[-1][: items.start()].rstrip(b" ")]
    name = _name(rest, head.end(), extended=False)
    if not name:
        return None
    values = {key.upper(): a or b or c for key, a, b, c in _ITEM.findall(items[1], 0, LONGEST_ITEMS)}
    mailbox_id = values.get(b"MAILBOXID")
    return name, MailboxStatus(
        messages=parse_number(values.get(b"MESSAGES")),
        uidnext=parse_number(values.get(b"UIDNEXT")),
        uidvalidity=parse_number(values.get(b"UIDVALIDITY")),
        unseen=parse_number(values.get(b"UNSEEN")),
        modseq=parse_number(values.get(b"HIGHESTMODSEQ")),
        mailbox_id=parse_object_id(mailbox_id),
    )


def parse_number(value: bytes | None) -> int | None:
    """Return the number, or None if `value` is not a number or does not fit a bigint."""
    if value is None or not value.isdigit() or len(value) > 19:
        return None
    parsed = int(value)
    return parsed if parsed <= BIGGEST else None


def parse_object_id(value: bytes | None) -> str | None:
    """Return a MAILBOXID (RFC 8474 §4) as text; None if it is missing or empty."""
    return clean_text(decode_raw(value.strip(b"() ")))[:255] or None if value else None


def _name(parts: list[bytes], start: int, *, extended: bool) -> bytes:
    """Return the mailbox name: a literal, a quoted string, or all remaining text."""
    text = parts[0]
    if len(parts) > 1 and not text[start:].strip():
        name = parts[1]
    else:
        quoted = _STRING.match(text, start)
        if quoted:
            name = _ESCAPE.sub(rb"\1", quoted[1])
        else:
            name = text[start:].strip(b" ")
            if extended:
                # LIST-EXTENDED may append ("CHILDINFO" (…)); a name that ends in parentheses loses them
                name = _EXTENDED.sub(b"", name) if b'("' in name else name
            name = name.strip(b'"')
    return b"INBOX" if name.upper() == b"INBOX" else name
