"""The forms in which a text may contain a secret, for :mod:`mailsync.redaction`."""

from __future__ import annotations

import base64
import json
import re
from urllib.parse import quote, quote_plus

_BEGINNING = 48
"""Characters of a token that tell it from every other text; a multiple of 3, for base64."""

_TOKEN = re.compile(r"[A-Za-z0-9._~+/=!*$-]{200,}+")
_REST = re.compile(r"[A-Za-z0-9._~+/=!*$%\\-]*+")


class Beginning(str):
    """The beginning of a token, or of one of its forms: the rest of the word is masked with it.

    A token may have thousands of characters, and a process keeps a dozen forms of each.
    """

    __slots__ = ()


def shortened(value: str) -> str:
    """Return the beginning of a token, which is enough to find the token; another secret as it is."""
    return Beginning(value[:_BEGINNING]) if _TOKEN.fullmatch(value) else value


def end_of_token(text: str, start: int) -> int:
    """Return the index at which the token that begins at `start` ends, in whatever form it is."""
    match = _REST.match(text, start)
    return match.end() if match else start


def forms_of(value: str) -> set[str]:
    """The forms of ``value`` in URLs, IMAP strings, JSON, Python reprs and base64."""
    raw = value.encode("utf-8", "surrogatepass")
    forms = {value, quote_plus(raw), quote(raw), quote(raw, safe="")}
    forms |= {re.sub(r"%[0-9A-F]{2}", lambda code: code[0].lower(), form) for form in forms}
    forms |= {json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    # PHP escapes slashes in JSON
    forms |= {json.dumps(value)[1:-1].replace("/", "\\/")}
    forms |= {value.replace("\\", "\\\\").replace('"', '\\"'), repr(value)[1:-1], repr(raw)[2:-1]}
    forms |= {raw.decode("latin-1"), raw.hex()}
    for offset in range(3):
        # Inside a longer text, as in AUTHENTICATE PLAIN, base64 has one of three alignments. Characters that
        # depend on the neighbouring bytes are cut off.
        code = base64.b64encode(bytes(offset) + raw).rstrip(b"=").decode()
        inner = code[-(-offset * 8 // 6) : (offset + len(raw)) * 8 // 6]
        if offset == 0:
            forms |= {code, code.translate(str.maketrans("+/", "-_"))}
        if len(inner) >= 6:
            forms |= {inner, inner.translate(str.maketrans("+/", "-_"))}
    return {Beginning(form) for form in forms} if isinstance(value, Beginning) else forms
