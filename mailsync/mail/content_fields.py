"""The fields Content-Type, Content-Disposition and Content-Transfer-Encoding as programs write them; pure.

RFC 2045 §5.1 and RFC 2183 give their grammar. Many programs do not follow it, so no value raises an error.
"""

from __future__ import annotations

import re

from mailsync.mail.charsets import decode_raw

_PARENTHESES = re.compile(r"([()])")
_REPEATED_NAME = re.compile(r"(?:\s*content-[a-z-]+\s*:)+", re.IGNORECASE)
_NOT_WORD = re.compile(r"[^a-z0-9-]+")

_MOST_OF_ENCODING = 200
"""Characters of a Content-Transfer-Encoding that are read."""
_ENCODINGS = {
    "7bit": "7bit",
    "8bit": "8bit",
    "base64": "base64",
    "binary": "binary",
    "quotedprintable": "quoted-printable",
    "xbase64": "base64",
    "xquotedprintable": "quoted-printable",
}
"""The encodings of RFC 2045 by their letters and digits alone."""


def encoding_of(value: bytes | str) -> str:
    """Return the word of a Content-Transfer-Encoding in lower case; "" if there is none (RFC 2045 §6.1).

    Quotes, comments, and what follows the word are left out, and other spellings of the encodings of RFC 2045
    become their names.

    >>> encoding_of('"Base64"; charset=utf-8'), encoding_of("8 bit"), encoding_of("(see below) x-uue")
    ('base64', '8bit', 'x-uue')
    """
    text = decode_raw(value) if isinstance(value, bytes) else value
    if text in _ENCODINGS.values():
        return text
    text = without_comments(text[:_MOST_OF_ENCODING].lower())
    if repeated := _REPEATED_NAME.match(text):
        text = text[repeated.end() :]
    words = [word.strip("-") for word in _NOT_WORD.split(text.partition(";")[0]) if word.strip("-")]
    for count in (2, 1):
        letters = "".join(words[:count]).replace("-", "")
        if letters in _ENCODINGS:
            return _ENCODINGS[letters]
    return words[0] if words else ""


def without_comments(text: str) -> str:
    """Replace each comment in parentheses, which may be nested, by a blank (RFC 5322 §3.2.2).

    A comment without its end reaches to the end of `text`. Quotes are not looked at.

    >>> without_comments("text/html (made by (a program)); charset=utf-8")
    'text/html  ; charset=utf-8'
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
