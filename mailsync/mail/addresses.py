"""Address lists of headers, by the grammar of RFC 5322 §3.4 with tolerance; pure.

One regular expression reads the common forms (``a@b``, ``Name <a@b>``, ``"Name" <a@b>``); a tokenizer
reads the rest: groups, comments, routes, encoded words, missing commas, domains, brackets and quotes.
Both take time that grows with the length of the text and no faster.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from mailsync.bounded_cache import BoundedCache
from mailsync.mail.text import MAX_INDEXED_BYTES, clamp, clean_text, cut, decode_words_checked

#: The most entries of one list that are kept.
MAX_ADDRESSES = 1_000
#: The most characters of one list that are looked at.
MAX_LIST_CHARS = 256 * 1024
#: The most bytes of UTF-8 that a display name keeps.
MAX_NAME_BYTES = 1_000

# Short lists come again and again: a sender, oneself. Longer ones hardly do.
_CACHED_LIST = 100
# So few characters that their UTF-8 passes no limit.
_SHORT = min(MAX_NAME_BYTES, MAX_INDEXED_BYTES) // 4
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

    ``emails`` are lower-case, ``names`` aligned with them; ``lone_name`` is the first name that came
    without an address. ``problems`` holds ``charset``, ``truncated`` and ``unreadable`` as they occurred.
    """

    emails: tuple[str, ...] = ()
    names: tuple[str | None, ...] = ()
    lone_name: str | None = None
    problems: frozenset[str] = frozenset()


_known: BoundedCache[str, AddressList] = BoundedCache(8 * 1024 * 1024)


def parse_addresses(text: str) -> AddressList:
    """Read the unfolded value of an address field.

    >>> parse_addresses('"Doe, Jo" <Jo@Example.com>, team: a@example.org (Ann);')[:2]
    (('jo@example.com', 'a@example.org'), ('Doe, Jo', 'Ann'))
    """
    found = _known.get(text)
    if found is None:
        found = _parse(text)
        if len(text) <= _CACHED_LIST:
            _known.remember(text, found, 500 + 4 * len(text) + 120 * len(found.emails))
    return found


def _parse(text: str) -> AddressList:
    found = _Found()
    text = clean_text(text)
    if len(text) > MAX_LIST_CHARS:
        text = text[:MAX_LIST_CHARS]
        found.problems.add("truncated")
    emails, names = found.emails, found.names
    at, end = 0, len(text)
    while at < end:
        match = _COMMON.match(text, at)
        if match is None:
            _Reader(found).read(text[at:])
            break
        if len(emails) >= MAX_ADDRESSES:
            found.problems.add("truncated")
            break
        quoted, phrase, angle, bare = match.groups()
        name, email = quoted or phrase or "", angle or bare
        at = match.end()
        if len(email) > _SHORT or len(name) > _SHORT or "=?" in email or email[0] == "'":
            found.add(name, email)
            continue
        # What add() comes to for a short and simple mailbox, without its calls.
        if "=?" in name:
            name, known = decode_words_checked(name)
            if not known:
                found.problems.add("charset")
        emails.append(email.lower())
        names.append(" ".join(name.split()) or None if name else None)
    return found.as_list()


class _Found:
    """The mailboxes found so far."""

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
        """Take one mailbox, its name and address as they stand in the header, unquoted."""
        shown = self._name(name)
        address = self._address(email or (shown if shown and "@" in shown and " " not in shown else ""))
        if address:
            self.emails.append(address)
            self.names.append(shown)
        elif shown:
            self.lone_name = self.lone_name or shown
            self.problems.add("unreadable")

    def _name(self, text: str) -> str | None:
        text, known = decode_words_checked(text)
        if not known:
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
    """Reads a list token by token, one mailbox at a time."""

    def __init__(self, found: _Found) -> None:
        self.found = found
        self._begin()

    def _begin(self) -> None:
        self.phrase: list[str] = []
        self.words: list[list[str]] = []
        self.comment = ""
        self.angle: str | None = None
        self.named = 0
        self.apart = True
        self.quoted = False

    def read(self, text: str) -> None:
        """Add all mailboxes of `text` to what was found."""
        at, end = 0, len(text)
        closed_quotes = closed_comments = True
        while at < end:
            if self.found.is_full:
                if text[at:].strip(" \t\r\n,;"):
                    self.found.problems.add("truncated")
                return
            char = text[at]
            if char == '"' and closed_quotes:
                if match := _QUOTED.match(text, at):
                    self._quoted(match)
                    at = match.end()
                    continue
                closed_quotes = False
            elif char == "(" and closed_comments:
                if after := _comment_end(text, at):
                    self.comment = self.comment or _ESCAPED.sub(r"\1", text[at + 1 : after - 1])
                    self.apart = True
                    at = after
                    continue
                closed_comments = False
            match = _TOKEN.match(text, at)
            if match is None:  # a backslash as the last character
                break
            self._token(str(match.lastgroup), str(match[str(match.lastgroup)]))
            at = match.end()
        self._flush()

    def _token(self, kind: str, token: str) -> None:
        if kind == "space":
            self.phrase.append(" ")
            self.apart = not (self.words and self.words[-1][-1] == "@")
        elif kind == "angle":
            if self.angle is not None:  # a comma is missing: what came in between names this one
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
            self.apart = True

    def _quoted(self, match: re.Match[str]) -> None:
        self.quoted = True
        self._word(_ESCAPED.sub(r"\1", match[1]), match[0])

    def _word(self, shown: str, raw: str) -> None:
        self.phrase.append(shown)
        if self.apart:
            self.words.append([raw])
            self.apart = False
        else:
            self.words[-1].append(raw)

    def _at(self) -> None:
        """An @ joins what stands around it, spaces or not."""
        self.apart = False
        if self.words:
            self.words[-1].append("@")
        else:
            self.words.append(["@"])

    def _colon(self) -> None:
        """What stands before a colon is a group's name, unless it is an address."""
        if self.angle is not None or any("@" in word for word in self.words):
            self._word(":", ":")
        else:
            self._begin()

    def _flush(self) -> None:
        """End of a mailbox: hand it over."""
        if self.angle is not None:
            self.found.add("".join(self.phrase) or self.comment, self.angle)
        elif self.words:
            self._flush_words()
        self._begin()

    def _flush_words(self) -> None:
        """Without angle brackets: each word with an @ is an address, the other words are its name."""
        words = ["".join(word) for word in self.words]
        emails = [word for word in words if "@" in word]
        if emails:
            rest = " ".join(word for word in words if "@" not in word)
            name = _ESCAPED.sub(r"\1", rest.replace('"', "")) or self.comment
            for email in emails[: MAX_ADDRESSES - len(self.found.emails)]:
                self.found.add(name, email)
        elif len(words) == 1 and not self.quoted and "=?" not in words[0]:
            self.found.add(self.comment, words[0])  # a local user: "root"
        else:
            self.found.add("".join(self.phrase), "")


def _comment_end(text: str, at: int) -> int:
    """The position after the comment that begins at `at`, nested ones included; 0 if it never ends."""
    depth = 0
    for match in _PARENTHESIS.finditer(text, at):
        token = match[0]
        if token == "(":
            depth += 1
        elif token == ")":
            depth -= 1
            if depth == 0:
                return match.end()
    return 0
