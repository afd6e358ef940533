"""Address lists of headers (RFC 5322 §3.4), parsed leniently; pure.

One regular expression reads the common forms (``a@b``, ``Name <a@b>``, ``"Name" <a@b>``); a tokenizer
reads the rest: groups, comments, routes, encoded words, missing commas, domains, brackets and quotes.
Both take linear time.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from mailsync.bounded_cache import BoundedCache
from mailsync.mail.text import MAX_INDEXED_BYTES, clamp, clean_text, cut, decode_words_checked

MAX_ADDRESSES = 1_000
"""Entries of one list that are kept."""
MAX_LIST_CHARS = 256 * 1024
"""Characters of one list that are read."""
MAX_NAME_BYTES = 1_000
"""Bytes of UTF-8 that a display name keeps."""

_CACHED_LIST = 100
"""Characters of a list that is cached. Short lists repeat, long ones rarely do."""
_SHORT = min(MAX_NAME_BYTES, MAX_INDEXED_BYTES) // 4
"""Characters whose UTF-8 cannot exceed a limit."""
_ATOM = r'[^\s"(),:;<>@\[\]\\]+'
_COMMON = re.compile(
    rf'(?:(?:\s*"([^"\\]*)"\s*|([^"(),:;<>@\[\]\\]*))<({_ATOM}@{_ATOM})>|\s*({_ATOM}@{_ATOM}))\s*(?:,\s*|$)'
)
_TOKEN = re.compile(
    r"(?P<space>\s+)"
    r"|(?P<word>=\?[^?\s]*\?[bBqQ]\?[^?]*\?=)"
    r"|<(?P<angle>[^<>]*)>"
    r"|(?P<literal>\[[^\[\]]*\])"
    r"|(?P<escaped>\\.)"
    r'|(?P<special>[,;:@()<>"\[\]\\])'
    r'|(?P<atom>[^\s,;:@()<>"\[\]\\]+)',
    re.DOTALL,
)
_QUOTED = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_PARENTHESIS = re.compile(r"\\.|[()]", re.DOTALL)


class AddressList(NamedTuple):
    """The addresses of one field.

    ``emails`` are lower-case, ``names`` aligned with them; ``lone_name`` is the first name without an
    address. ``problems`` holds those of ``charset``, ``truncated`` and ``unreadable`` that occurred.
    """

    emails: tuple[str, ...] = ()
    names: tuple[str | None, ...] = ()
    lone_name: str | None = None
    problems: frozenset[str] = frozenset()


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
    mailboxes = _Mailboxes()
    text = clean_text(text)
    if len(text) > MAX_LIST_CHARS:
        text = text[:MAX_LIST_CHARS]
        mailboxes.problems.add("truncated")
    emails, names = mailboxes.emails, mailboxes.names
    position, end = 0, len(text)
    while position < end:
        match = _COMMON.match(text, position)
        if match is None:
            _Reader(mailboxes).read(text[position:])
            break
        if len(emails) >= MAX_ADDRESSES:
            mailboxes.problems.add("truncated")
            break
        quoted, phrase, angle, bare = match.groups()
        name, email = quoted or phrase or "", angle or bare
        position = match.end()
        if len(email) > _SHORT or len(name) > _SHORT or "=?" in email or email[0] == "'":
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


class _Mailboxes:
    """The mailboxes parsed so far."""

    def __init__(self) -> None:
        self.emails: list[str] = []
        self.names: list[str | None] = []
        self.lone_name: str | None = None
        self.problems: set[str] = set()

    @property
    def is_full(self) -> bool:
        return len(self.emails) >= MAX_ADDRESSES

    def as_list(self) -> AddressList:
        return AddressList(tuple(self.emails), tuple(self.names), self.lone_name, frozenset(self.problems))

    def add(self, name: str, email: str) -> None:
        """Add one mailbox; `name` and `email` are as in the header, unquoted."""
        shown = self._name(name)
        address = self._address(email or (shown if shown and "@" in shown and " " not in shown else ""))
        if address:
            self.emails.append(address)
            self.names.append(shown)
        elif shown:
            self.lone_name = self.lone_name or shown
            self.problems.add("unreadable")

    def _name(self, text: str) -> str | None:
        text, charset_fits = decode_words_checked(text)
        if not charset_fits:
            self.problems.add("charset")
        text = " ".join(text.split())
        shown = cut(text, MAX_NAME_BYTES)
        if len(shown) < len(text):
            self.problems.add("truncated")
        return shown or None

    def _address(self, text: str) -> str:
        if "=?" in text:
            text = decode_words_checked(text)[0]
        text = text.strip().lower()
        if '"' not in text:
            text = "".join(text.split())
        if text[:1] == "@" and ":" in text:
            text = text.partition(":")[2]  # RFC 5322 §4.4: <@relay.example:user@example>
        text = text.removeprefix("mailto:")
        if len(text) > 2 and text[0] == text[-1] and text[0] in "'\"":
            text = text[1:-1]
        address = clamp(text)
        if address != text:
            self.problems.add("truncated")
        return address


class _Reader:
    """Reads a list token by token, one mailbox at a time.

    Of the current mailbox, ``phrase`` holds all text as shown, ``words`` the raw pieces between spaces,
    ``angle`` the address in angle brackets, and ``named`` how much of ``phrase`` came before that.
    """

    def __init__(self, mailboxes: _Mailboxes) -> None:
        self.mailboxes = mailboxes
        self._begin()

    def _begin(self) -> None:
        self.phrase: list[str] = []
        self.words: list[list[str]] = []
        self.comment = ""
        self.angle: str | None = None
        self.named = 0
        self.at_boundary = True
        self.quoted = False

    def read(self, text: str) -> None:
        """Add all mailboxes in `text`."""
        position, end = 0, len(text)
        # after one quote or comment without an end, looking for further ends would take quadratic time
        may_quote = may_comment = True
        while position < end:
            if self.mailboxes.is_full:
                if text[position:].strip(" \t\r\n,;"):
                    self.mailboxes.problems.add("truncated")
                return
            char = text[position]
            if char == '"' and may_quote:
                if match := _QUOTED.match(text, position):
                    self._quoted(match)
                    position = match.end()
                    continue
                may_quote = False
            elif char == "(" and may_comment:
                if after := _comment_end(text, position):
                    self.comment = self.comment or _ESCAPED.sub(r"\1", text[position + 1 : after - 1])
                    self.at_boundary = True
                    position = after
                    continue
                may_comment = False
            match = _TOKEN.match(text, position)
            if match is None:  # a backslash as the last character
                break
            self._token(str(match.lastgroup), str(match[str(match.lastgroup)]))
            position = match.end()
        self._flush()

    def _token(self, kind: str, token: str) -> None:
        if kind == "space":
            self.phrase.append(" ")
            self.at_boundary = not (self.words and self.words[-1][-1] == "@")
        elif kind == "angle":
            if self.angle is not None:  # a comma is missing: the text in between is the next one's name
                after = self.phrase[self.named :]
                del self.phrase[self.named :]
                self._flush()
                self.phrase = after
            self.angle = token
            self.named = len(self.phrase)
        elif kind == "escaped":
            self._word(token[1], token)
        elif kind != "special":
            self._word(token, token)
        elif token in ",;":
            self._flush()
        elif token == "@":
            self.phrase.append(token)
            self._at()
        elif token == ":":
            self._colon()
        else:
            self.phrase.append(" ")
            self.at_boundary = True

    def _quoted(self, match: re.Match[str]) -> None:
        self.quoted = True
        self._word(_ESCAPED.sub(r"\1", match[1]), match[0])

    def _word(self, shown: str, raw: str) -> None:
        self.phrase.append(shown)
        if self.at_boundary:
            self.words.append([raw])
            self.at_boundary = False
        else:
            self.words[-1].append(raw)

    def _at(self) -> None:
        """An @ joins the words around it, with or without spaces."""
        self.at_boundary = False
        if self.words:
            self.words[-1].append("@")
        else:
            self.words.append(["@"])

    def _colon(self) -> None:
        """Drop the text before a colon: the name of a group, unless it holds an address."""
        if self.angle is not None or any("@" in word for word in self.words):
            self._word(":", ":")
        else:
            self._begin()

    def _flush(self) -> None:
        """Add the current mailbox and begin the next."""
        if self.angle is not None:
            self.mailboxes.add("".join(self.phrase) or self.comment, self.angle)
        elif self.words:
            self._flush_words()
        self._begin()

    def _flush_words(self) -> None:
        """Add a mailbox without angle brackets: words with an @ are addresses, the others are their name."""
        words = ["".join(word) for word in self.words]
        emails = [word for word in words if "@" in word]
        if emails:
            rest = " ".join(word for word in words if "@" not in word)
            name = _ESCAPED.sub(r"\1", rest.replace('"', "")) or self.comment
            for email in emails[: MAX_ADDRESSES - len(self.mailboxes.emails)]:
                self.mailboxes.add(name, email)
        elif len(words) == 1 and not self.quoted and "=?" not in words[0]:
            self.mailboxes.add(self.comment, words[0])  # a local user, such as "root"
        else:
            self.mailboxes.add("".join(self.phrase), "")


def _comment_end(text: str, start: int) -> int:
    """Return where the comment that begins at `start` ends, nested ones included; 0 if it never does."""
    depth = 0
    for match in _PARENTHESIS.finditer(text, start):
        token = match[0]
        if token == "(":
            depth += 1
        elif token == ")":
            depth -= 1
            if depth == 0:
                return match.end()
    return 0
