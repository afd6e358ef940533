"""Content-Type, Content-Disposition and Content-Transfer-Encoding as programs write them; pure.

RFC 2045 §5.1 and RFC 2183 §2 give the grammar. Many programs break it, so every value is read and none
raises an error. A value in the common form takes one regular expression; others are read by
:mod:`mailsync.mail.odd_fields`.
"""

from __future__ import annotations

import re
from functools import lru_cache

from mailsync.mail.charsets import decode_raw
from mailsync.mail.odd_fields import REPEATED_NAME, Pairs, read_odd_field, without_comments

_COMMON = re.compile(
    r"\s*+([A-Za-z0-9!#$&^_.+/-]++)\s*+"
    r'((?:;\s*+[A-Za-z0-9*_-]++=(?:"[^"\\\r\n]*+"|[^\s;"\\(),]++)\s*+)*+);?\s*+'
)
_COMMON_PARAMETER = re.compile(r';\s*+([A-Za-z0-9*_-]++)=(?:"([^"]*+)"|([^\s;]++))')
_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,127}/[a-z0-9!#$&^_.+-]{1,127}")
_NOT_WORD = re.compile(r"[^a-z0-9-]+")

_MOST_OF_ENCODING = 200
"""Characters of a Content-Transfer-Encoding that are read."""
_MOST_OF_TYPE = 100
"""Characters of a type that is cached, or repaired."""
_MOST_OF_CACHED = 50
"""Characters of a field that is cached; longer ones, with a boundary or a file name, seldom repeat."""
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
_COMMON_ENCODINGS = frozenset({"", *_ENCODINGS.values()})
_WORDS = {
    "html": "text/html",
    "htm": "text/html",
    "text": "text/plain",
    "plain": "text/plain",
    "txt": "text/plain",
}
"""Types by a single word."""
_DISPOSITIONS = ("attachment", "inline")
_FILES = frozenset({"application", "audio", "font", "image", "message", "model", "video"})
_MULTIPARTS = ("alternative", "related", "report", "signed", "encrypted", "digest", "parallel", "mixed")


def read_field(value: bytes | str) -> tuple[str, Pairs]:
    """Return the word of a Content-Type or Content-Disposition, and its parameters.

    The word, such as ``text/html`` or ``attachment``, and the names of parameters are in lower case; the word
    is "" if there is none. Values have neither quotes nor escapes. Bytes that are not UTF-8 become lone
    surrogates, as by Python's "surrogateescape".

    >>> read_field(b'Text/HTML charset="utf-8" (generated)')
    ('text/html', [('charset', 'utf-8')])
    """
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    if len(value) > _MOST_OF_CACHED:
        return _read_field(value)
    word, parameters = _read_short_field(value)
    return word, parameters.copy()


def _read_field(value: str) -> tuple[str, Pairs]:
    common = _COMMON.fullmatch(value)
    if common is None:
        return read_odd_field(value)
    word, parameters = common.groups()
    if not parameters:
        return word.lower(), []
    return word.lower(), [
        (name.lower(), quoted or bare) for name, quoted, bare in _COMMON_PARAMETER.findall(parameters)
    ]


_read_short_field = lru_cache(maxsize=512)(_read_field)


def readable_type(word: str) -> str:
    """Return a type such as ``text/html`` for the word of a Content-Type; "" if no type can be read.

    A word that begins with "multipart" means one, mixed unless it names a kind (RFC 2046 §5.1.3). A text
    without a readable subtype is plain (RFC 2045 §5.2), and a file of that sort ``application/octet-stream``.

    >>> readable_type("html"), readable_type("multipart/*"), readable_type("image"), readable_type("x")
    ('text/html', 'multipart/mixed', 'application/octet-stream', '')
    """
    if len(word) > _MOST_OF_TYPE:
        return word if _TYPE.fullmatch(word) else ""
    return _readable_type(word)


@lru_cache(maxsize=512)
def _readable_type(word: str) -> str:
    if _TYPE.fullmatch(word) and not word.endswith("."):
        return word
    words = [part.strip("\"'<>[]{}*. ") for part in word.split("/")]
    if word.startswith("multipart"):
        return "multipart/" + next((kind for kind in _MULTIPARTS if kind in word), "mixed")
    named = "/".join(part for part in words if part)
    if _TYPE.fullmatch(named):
        return named
    if named in _WORDS:
        return _WORDS[named]
    if words[0] == "text":
        return "text/html" if "html" in word else "text/plain"
    return "application/octet-stream" if words[0] in _FILES else ""


def disposition_of(word: str) -> str:
    """Return ``attachment`` or ``inline`` for the word of a Content-Disposition; "" for any other word."""
    if word in _DISPOSITIONS:
        return word
    word = word[:_MOST_OF_TYPE].lstrip("\"' \t")
    return next((known for known in _DISPOSITIONS if word.startswith(known)), "")


def type_of_words(maintype: str, subtype: str) -> tuple[str, Pairs]:
    """Return the type that a BODYSTRUCTURE names, "" if it is unreadable, and parameters found in it.

    Servers that do not understand a Content-Type split it at a wrong place, or not at all.

    >>> type_of_words("text", "html charset=utf-8"), type_of_words('"text/html"', "")
    (('text/html', [('charset', 'utf-8')]), ('text/html', []))
    """
    word = f"{maintype}/{subtype}"
    if _TYPE.fullmatch(word) and not word.endswith("."):
        return word, []
    word, pairs = read_field(word)
    return readable_type(word), pairs


def subtype_of_multipart(subtype: str) -> str:
    """Return the subtype of a multipart in a BODYSTRUCTURE; ``mixed`` if it is unreadable."""
    return readable_type("multipart/" + subtype[:_MOST_OF_TYPE]).partition("/")[2]


def encoding_of(value: bytes | str) -> str:
    """Return the word of a Content-Transfer-Encoding in lower case; "" if there is none (RFC 2045 §6.1).

    Quotes, comments, and what follows the word are left out, and other spellings of the encodings of RFC 2045
    become their names.

    >>> encoding_of('"Base64"; charset=utf-8'), encoding_of("8 bit"), encoding_of("(see below) x-uue")
    ('base64', '8bit', 'x-uue')
    """
    # a value from a header still has its line end
    text = (decode_raw(value) if isinstance(value, bytes) else value).strip().lower()
    if text in _COMMON_ENCODINGS:
        return text
    text = without_comments(text[:_MOST_OF_ENCODING])
    if repeated := REPEATED_NAME.match(text):
        text = text[repeated.end() :]
    words = [word.strip("-") for word in _NOT_WORD.split(text.partition(";")[0]) if word.strip("-")]
    for count in (2, 1):
        letters = "".join(words[:count]).replace("-", "")
        if letters in _ENCODINGS:
            return _ENCODINGS[letters]
    return words[0] if words else ""
