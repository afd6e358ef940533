"""Content fields that break their grammar: wrong separators, stray quotes, values without quotes; pure.

:func:`mailsync.mail.content_fields.read_field` passes on what is not in the common form, comments included.
Each character is read a bounded number of times.
"""

from __future__ import annotations

import re

from mailsync.mail.text import decode_words

Pairs = list[tuple[str, str]]
"""The parameters of a field: their names in lower case, and their values."""

REPEATED_NAME = re.compile(r"(?:\s*+content-[a-z-]++\s*+:)++", re.IGNORECASE)
"""The name of the field, which some programs repeat in its value."""

# a parameter with one of these names ends a value that lacks its quotes or its separator
_NEXT = (
    r"(?:access-type|boundary|charset|creation-date|delsp|filename|format|micalg|method|modification-date|name"
    r"|profile|protocol|read-date|reply-type|report-type|size|smime-type|start|start-info|type|x-apple-part-url"
    r"|x-mac-creator|x-mac-hide-extension|x-mac-type|x-unix-mode)(?:\*[0-9]{0,4}\*?)?\s*+="
)
_WORD = r"=\?[^\s?]{1,40}\?[BbQq]\?[^?]{0,200}\?="

_PARENTHESES = re.compile(r"([()])")
_COMMENT_PIECE = re.compile(r"[()]|\\.", re.DOTALL)
_BLANKS = re.compile(r"\s*+")
_BETWEEN = re.compile(r"[\s;,:/\\\"'<>]*+")
_TOKEN = re.compile(r"[^\s;,:=()\"'/\\<>]*+")
_NAME = re.compile(r"[^\s=:;,()\"<>]*+")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*+)"', re.DOTALL)
_AFTER_QUOTED = re.compile(rf"\s*+(?:[;,(]|\Z|{_NEXT})", re.IGNORECASE)
_LOOSE_END = re.compile(rf'"(?=\s*+(?:[;,]|\Z|{_NEXT}))|;(?=\s*+{_NEXT})', re.IGNORECASE)
_BARE = re.compile(rf"(?:{_WORD}|\([^()]{{0,200}}\)|[^;\s,]|[\s,]++(?!{_NEXT}))*+", re.IGNORECASE)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED_MARK = re.compile(r'\\(["\\])')
_NAME_AND_COMMENT = re.compile(r"([^\s()]+\.[^\s().]{1,8})\s++\([^()]*+\)")
_END_OF_VALUE = re.compile(r"[\s,(]")


def read_odd_field(value: str) -> tuple[str, Pairs]:
    """Return word and parameters of a field as :func:`mailsync.mail.content_fields.read_field` does."""
    text = value.replace("\r", "").replace("\n", "").strip()
    if text.startswith("=?"):
        text = decode_words(text)
    if repeated := REPEATED_NAME.match(text):
        text = text[repeated.end() :].lstrip()
    text = text.lstrip("<[{")
    if text[:1] in ('"', "'"):
        # quotes around the word, or around everything
        inside, _, behind = text[1:].replace('\\"', '"').partition(text[0])
        text = f"{inside} {behind}"
    return _Reader(text).read()


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._has_comments = "(" in text

    def read(self) -> tuple[str, Pairs]:
        word = self._word()
        pairs: Pairs = []
        while True:
            self._skip_comments()
            self._match(_BETWEEN)
            self._skip_comments()
            name = self._match(_NAME).lower()
            self._skip_comments()
            if not name or self._next() not in ("=", ":"):
                if self._position >= len(self._text):
                    return word, pairs
                if not name:
                    self._position += 1
                continue
            self._position += 1
            pairs.append((name, self._value(name)))

    def _word(self) -> str:
        """Read a type or a disposition; nothing if the field begins with a parameter."""
        self._skip_comments()
        begin = self._position
        word = self._match(_TOKEN)
        self._skip_comments()
        if self._next() == "=":
            self._position = begin
            return ""
        if self._next() in ("/", "\\"):
            self._position += 1
            self._skip_comments()
            begin = self._position
            subtype = self._match(_TOKEN)
            if self._next() == "=":
                self._position, subtype = begin, ""
            word = f"{word}/{subtype}"
        return word.lower()

    def _value(self, name: str) -> str:
        is_file_name = name.startswith(("name", "filename"))
        if is_file_name:
            self._match(_BLANKS)
        else:
            self._skip_comments()
        if self._next() == '"':
            return self._quoted(is_file_name)
        value = self._match(_BARE).strip('" \t')
        if is_file_name:
            comment = _NAME_AND_COMMENT.fullmatch(value)
            return comment[1] if comment else value
        if name.startswith("boundary"):
            # a parenthesis may be meant, unless it begins a comment at the end
            return value.partition("(")[0].rstrip() if value.endswith(")") else value
        end = _END_OF_VALUE.search(value)
        return value[: end.start()] if end else value

    def _quoted(self, is_file_name: bool) -> str:
        text, begin = self._text, self._position
        quoted = _QUOTED.match(text, begin)
        if quoted and _AFTER_QUOTED.match(text, quoted.end()):
            self._position = quoted.end()
            value = quoted[1]
        else:
            # quotes inside the quotes, or none at the end
            end = _LOOSE_END.search(text, begin + 1)
            self._position = end.end() if end else len(text)
            value = text[begin + 1 : end.start() if end else len(text)].rstrip()
            if end is None and not is_file_name:
                value, separator, _ = value.partition(";")
                self._position = begin + 1 + len(value) if separator else len(text)
        # Windows' paths have backslashes that escape nothing
        return (_ESCAPED_MARK if is_file_name else _ESCAPED).sub(r"\1", value)

    # -- steps -------------------------------------------------------------------------------------

    def _next(self) -> str:
        return self._text[self._position : self._position + 1]

    def _match(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._position)
        assert match is not None
        self._position = match.end()
        return match[0]

    def _skip_comments(self) -> None:
        """Skip blanks and comments, which may be nested (RFC 5322 §3.2.2)."""
        self._match(_BLANKS)
        while self._has_comments and self._next() == "(":
            depth = 0
            for piece in _COMMENT_PIECE.finditer(self._text, self._position):
                depth += (piece[0] == "(") - (piece[0] == ")")
                if not depth:
                    self._position = piece.end()
                    break
            else:
                # a parenthesis without its end begins no comment
                self._has_comments = False
            self._match(_BLANKS)


def without_comments(text: str) -> str:
    """Replace each comment in parentheses, which may be nested, by a blank (RFC 5322 §3.2.2).

    A comment without its end reaches to the end of `text`. Quotes are not looked at.

    >>> without_comments("base64 (made by (a program)); x")
    'base64  ; x'
    """
    if "(" not in text:
        return text
    out: list[str] = []
    depth = 0
    for piece in _PARENTHESES.split(text):
        if piece == "(":
            depth += 1
        elif piece == ")" and depth:
            depth -= 1
            if not depth:
                out.append(" ")
        elif not depth:
            out.append(piece)
    return "".join(out)
