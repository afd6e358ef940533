"""Reads address lists that are not in a common form, one token at a time (RFC 5322 §3.4 and §4.4); pure.

It reads groups, comments, routes, encoded words and domains in brackets, and what programs get wrong: missing
or wrong separators, brackets and quotes, and names with commas and colons that are not quoted. No mailbox is
lost because another one is malformed.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from mailsync.mail.mailboxes import MAX_ADDRESSES, MAX_NAME_BYTES, Mailboxes
from mailsync.mail.text import decode_words

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
_GROUP_END = re.compile(r";\s*+(?:,|$)")
_LOCAL_USER = re.compile(r"[a-z0-9._-]+")
_LONGEST_SHARED_NAME = 16 * MAX_NAME_BYTES


class _Piece(NamedTuple):
    """Text between separators that has no address: a local user, or the beginning of a name with commas."""

    text: str
    user: str
    comment: str
    begins_name: bool

    def add_to(self, mailboxes: Mailboxes) -> None:
        """Add it as a mailbox of its own."""
        mailboxes.add(self.comment if self.user else self.text, self.user)


class AddressReader:
    """Reads a list into `mailboxes`, one mailbox at a time.

    ``pieces`` wait for the name that they may belong to. For the current mailbox, ``phrase`` holds all text
    as shown, ``words`` the raw pieces between spaces, ``before_colon`` the text before the last colon, and
    ``angle`` the address in brackets; ``named`` and ``words_before`` are the lengths of ``phrase`` and
    ``words`` at that address.
    """

    def __init__(self, mailboxes: Mailboxes, *, is_nested: bool = False) -> None:
        self.mailboxes = mailboxes
        self.is_nested = is_nested
        self.pieces: list[_Piece] = []
        self.last_group_end = -1
        self.position = 0
        self._begin()

    def _begin(self) -> None:
        self.before_colon: list[str] = []
        self.phrase: list[str] = []
        self.words: list[list[str]] = []
        self.comment = ""
        self.angle: str | None = None
        self.named = self.words_before = 0
        self.at_boundary = True
        self.quoted = False

    def read(self, text: str) -> None:
        """Add all mailboxes in `text`."""
        if "&lt;" in text:  # a program escaped the list for HTML
            text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"')
        self.position, end = 0, len(text)
        if ":" in text:
            self.last_group_end = max((match.start() for match in _GROUP_END.finditer(text)), default=-1)
        # after one quote or comment without an end, looking for further ends would take quadratic time
        may_quote = may_comment = True
        while self.position < end:
            if self.mailboxes.is_full:
                if text[self.position :].strip(" \t\r\n,;"):
                    self.mailboxes.problems.add("truncated")
                return
            char = text[self.position]
            if char == '"' and may_quote:
                if match := _QUOTED.match(text, self.position):
                    self._quoted(match)
                    self.position = match.end()
                    continue
                may_quote = False
            elif char == "(" and may_comment:
                if after := _comment_end(text, self.position):
                    self.comment = self.comment or _ESCAPED.sub(r"\1", text[self.position + 1 : after - 1])
                    self.at_boundary = True
                    self.position = after
                    continue
                may_comment = False
            match = _TOKEN.match(text, self.position)
            if match is None:  # a backslash as the last character
                break
            self._token(str(match.lastgroup), str(match[str(match.lastgroup)]))
            self.position = match.end()
        self._flush()
        self._flush_pieces()

    def _token(self, kind: str, token: str) -> None:
        if kind == "literal" and "@" in token:  # Ann Bell [mailto:ann@x.example]
            kind, token = "angle", token[1:-1]
        if kind == "space":
            self.phrase.append(" ")
            self.at_boundary = not (self.words and self.words[-1][-1] == "@")
        elif kind == "angle":
            if self.angle is not None:  # a comma is missing: the text in between is the next one's name
                after = self.phrase[self.named :]
                del self.phrase[self.named :], self.words[self.words_before :]
                self._flush()
                self.phrase = after
            self.angle = token
            self.named, self.words_before = len(self.phrase), len(self.words)
            self.at_boundary = True
        elif kind == "escaped":
            self._word(token[1], token)
        elif kind != "special":
            self._word(token, token)
        elif token == ",":
            self._flush()
        elif token == ";":
            self._flush()
            self._flush_pieces()
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
        """Drop the name of a group, which a semicolon ends; other text may be the beginning of a name."""
        if self.angle is not None or any("@" in word for word in self.words):
            self._word(":", ":")
        elif len(self.words) == 1 and "".join(self.words[0]).lower() == "mailto":
            self._begin()
        elif self.position < self.last_group_end:
            self._flush_pieces()
            self._begin()
        else:
            before = self.before_colon
            before += self.phrase
            before.append(":")
            self._begin()
            self.before_colon = before

    def _flush(self) -> None:
        """Add the current mailbox and begin the next."""
        if self.angle is not None and any("@" in word for word in self.words[self.words_before :]):
            # a comma is missing: Ann <ann@x.example> bob@x.example
            after, words = self.phrase[self.named :], self.words[self.words_before :]
            del self.phrase[self.named :], self.words[self.words_before :]
            self._flush_one()
            self.phrase, self.words = after, words
        self._flush_one()

    def _flush_one(self) -> None:
        words = ["".join(word) for word in self.words]
        emails = [word for word in words if "@" in word]
        phrase = "".join(self.phrase).strip()
        if self.angle is None and not emails and _is_address(self.comment):
            self.angle = self.comment  # Ann Bell (ann@x.example)
        elif self.angle is not None and emails and "@" not in self.angle and "=?" not in self.angle:
            self.comment, self.angle = self.angle, None  # ann@x.example <Ann Bell>
        if self.angle is not None:
            self._add("".join(self.before_colon + self.phrase).strip(), self.angle)
        elif len(words) == 1 and emails == words and _is_quoted(words[0]):
            self._add_text(phrase)
        elif emails:
            rest = " ".join(word for word in words if "@" not in word)
            # many addresses may share a long name, which each of them decodes
            name = _ESCAPED.sub(r"\1", rest.replace('"', ""))[:_LONGEST_SHARED_NAME]
            # one more than there is room for, so that the list is marked as truncated
            for email in emails[: MAX_ADDRESSES + 1 - len(self.mailboxes.emails)]:
                self._add(name, email)
        elif words:
            self._flush_without_address(words, phrase)
        self._begin()

    def _flush_without_address(self, words: list[str], phrase: str) -> None:
        if "=?" in phrase and "@" in (text := decode_words(phrase)):
            self._add_text(text)
        else:
            is_user = len(words) == 1 and not self.quoted and "=?" not in words[0]
            text = "".join(self.before_colon + self.phrase).strip()
            begins_name = not self.quoted and not (is_user and _LOCAL_USER.fullmatch(words[0]))
            self.pieces.append(_Piece(text, words[0] if is_user else "", self.comment, begins_name))

    def _add(self, name: str, email: str) -> None:
        """Add a mailbox. The waiting pieces are the beginning of its name if it has one without quotes."""
        if name and not self.quoted:
            first = len(self.pieces)
            while first and self.pieces[first - 1].begins_name:
                first -= 1
            name = ", ".join([*(piece.text for piece in self.pieces[first:]), name])
            del self.pieces[first:]
        self._flush_pieces()
        self.mailboxes.add(name or self.comment, email)

    def _add_text(self, text: str) -> None:
        """Add the mailboxes in text that was quoted or encoded as a whole."""
        self._flush_pieces()
        if text.count("@") == 1:
            self.mailboxes.add_one_in_text(text)
        elif self.is_nested:
            self.mailboxes.add(text, "")
        else:
            AddressReader(self.mailboxes, is_nested=True).read(text)

    def _flush_pieces(self) -> None:
        """Add the waiting pieces as mailboxes of their own, or as one name without an address."""
        if len(self.pieces) > 1 and all(piece.begins_name for piece in self.pieces):
            self.mailboxes.add(", ".join(piece.text for piece in self.pieces), "")
        else:
            for piece in self.pieces:
                piece.add_to(self.mailboxes)
        self.pieces.clear()


def _is_address(text: str) -> bool:
    return "@" in text and not any(char.isspace() for char in text.strip())


def _is_quoted(word: str) -> bool:
    return len(word) > 2 and word[0] == word[-1] == '"'


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
