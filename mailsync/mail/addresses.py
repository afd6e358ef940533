"""Address lists of headers (RFC 5322 §3.4), parsed leniently; pure.

One regular expression reads the common forms (``a@b``, ``Name <a@b>``, ``"Name" <a@b>``).
:mod:`mailsync.mail.address_reader` reads the rest. Both take linear time.
"""

from __future__ import annotations

import re

from mailsync.bounded_cache import BoundedCache
from mailsync.mail.address_reader import AddressReader
from mailsync.mail.mailboxes import MAX_ADDRESSES, MAX_NAME_BYTES, AddressList, Mailboxes
from mailsync.mail.text import MAX_INDEXED_BYTES, clean_text, decode_words_checked

MAX_LIST_CHARS = 256 * 1024
"""Characters of one list that are read."""

_CACHED_LIST = 100
"""Characters of a list that is cached. Short lists repeat, long ones rarely do."""
_SHORT = min(MAX_NAME_BYTES, MAX_INDEXED_BYTES) // 4
"""Characters whose UTF-8 cannot exceed a limit."""
_ATOM = r'[^\s"(),:;<>@\[\]\\]+'
_COMMON = re.compile(
    rf'(?:(?:\s*"([^"\\]*)"\s*|([^"(),:;<>@\[\]\\]*))<({_ATOM}@{_ATOM})>|\s*({_ATOM}@{_ATOM}))\s*(?:,\s*|$)'
)

_known: BoundedCache[str, AddressList] = BoundedCache(8 * 1024 * 1024)


def parse_addresses(text: str) -> AddressList:
    """Parse the unfolded value of an address field.

    >>> parse_addresses('"Doe, Jo" <Jo@Example.com>, team: a@example.org (Ann);')[:2]
    (('jo@example.com', 'a@example.org'), ('Doe, Jo', 'Ann'))
    """
    addresses = _known.get(text)
    if addresses is None:
        addresses = _parse(text)
        if len(text) <= _CACHED_LIST:
            _known.remember(text, addresses, 500 + 4 * len(text) + 120 * len(addresses.emails))
    return addresses


def _parse(text: str) -> AddressList:
    mailboxes = Mailboxes()
    text = clean_text(text)
    if len(text) > MAX_LIST_CHARS:
        text = text[:MAX_LIST_CHARS]
        mailboxes.problems.add("truncated")
    emails, names = mailboxes.emails, mailboxes.names
    position, end = 0, len(text)
    while position < end:
        match = _COMMON.match(text, position)
        if match is None:
            AddressReader(mailboxes).read(text[position:])
            break
        if len(emails) >= MAX_ADDRESSES:
            mailboxes.problems.add("truncated")
            break
        quoted, phrase, angle, bare = match.groups()
        name, email = quoted or phrase or "", angle or bare
        position = match.end()
        if len(email) > _SHORT or len(name) > _SHORT or "=?" in email or email[0] == "'" or "@" in name:
            mailboxes.add(name, email)
            continue
        # the result of add() for a short and simple mailbox, without its calls
        if "=?" in name:
            name, charset_fits = decode_words_checked(name)
            if not charset_fits:
                mailboxes.problems.add("charset")
        emails.append(email.lower())
        names.append(" ".join(name.split()) or None if name else None)
    return mailboxes.as_list()
