"""One FETCH response becomes its fields (RFC 9051 §7.5.2), each read for itself."""

from __future__ import annotations

import re

Value = bytes | list[bytes] | None
Fields = dict[bytes, Value]

UNREADABLE = b"\0unreadable"
"""The key under which the names of fields stand that were there but could not be read, space-separated."""

KNOWN = frozenset(
    b"UID FLAGS INTERNALDATE RFC822.SIZE MODSEQ BODYSTRUCTURE BODY[] EMAILID THREADID"
    b" X-GM-MSGID X-GM-THRID X-GM-LABELS".split()
)
"""The fields that we ask for; no other is kept."""

MOST_UNREADABLE = 8
"""How often reading resumes in one response. Each attempt may look at all the rest in vain."""

_HEAD = re.compile(rb"\* \d+ FETCH +\(", re.IGNORECASE)
_ITEM = re.compile(
    rb" *+([A-Za-z0-9.\-]++)(\[[^\]]*+\](?:<\d+>)?)? "  # the name, and the section of BODY[…]
    rb'(?:\(([^()"{}]*+)\)|"([^"\\]*+)"|([^ ()"{}]++)(?=[ )]|\Z))?'  # the common values
)
_QUOTED = re.compile(rb'"([^"\\]*+(?:\\.[^"\\]*+)*+)"', re.DOTALL)
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
# An unterminated string matches to the end, so that the search is linear even then.
_BRACKETS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[()]', re.DOTALL)
_NEXT = re.compile(
    rb"[ )](?=(?:UID \d|FLAGS \(|INTERNALDATE \"|RFC822\.SIZE -?\d|MODSEQ \(|EMAILID \(|THREADID [(N]"
    rb"|X-GM-[A-Z]+ |BODY\[HEADER|BODYSTRUCTURE \())",
    re.IGNORECASE,
)


def is_fetch(parts: list[bytes]) -> bool:
    """Whether the response is one of FETCH."""
    return _HEAD.match(parts[0]) is not None


def parse_fetch(parts: list[bytes], careful: bool = False) -> Fields:
    r"""Return the fields of a response as :meth:`Reader.response` gives it, by upper-case name.

    ``* 1 FETCH (UID 7 FLAGS (\Seen) INTERNALDATE "…" BODYSTRUCTURE (…) BODY[HEADER.FIELDS (…)] {9}`` gives
    ``{b"UID": b"7", b"FLAGS": b"\\Seen", b"INTERNALDATE": b"…", b"BODYSTRUCTURE": [b"(…)"],
    b"BODY[]": b"…"}``: numbers and strings as their bytes, flat lists as what stands between the
    parentheses, nested ones as text, literal, text, …; sections of BODY without what they name; NIL as None.

    Fields that nobody asks for are left out. A field that cannot be read is skipped up to the next that is
    known, and named under UNREADABLE. After :data:`MOST_UNREADABLE` of these the rest is left unread.
    """
    fields: Fields = {}
    head = _HEAD.match(parts[0])
    if head is None:
        return fields
    part, text, at = 0, parts[0], head.end()
    last = len(parts) - 1
    resumed = 0
    while True:
        item = _ITEM.match(text, at)
        if item is None:
            rest = text[at:].strip(b" ")
            if part == last and rest in (b")", b""):
                return fields
            # Out of step inside this response; perhaps the cheap search for the end of a list was wrong.
            if not careful:
                return parse_fetch(parts, careful=True)
            resumed += 1
            part, text, at = _resume(parts, part, at)
            if at < 0 or resumed > MOST_UNREADABLE:
                return fields
            continue
        name = item[1].upper() if item[2] is None else b"BODY[]"
        at = item.end()
        group = item.lastindex or 0
        if group >= 3:
            value: Value = item[group]
            if group == 5 and value in (b"NIL", b"nil"):
                value = None
            if name in KNOWN:
                fields.setdefault(name, value)
        elif at == len(text) and part < last:
            if name in KNOWN:
                fields.setdefault(name, parts[part + 1])
            part += 2
            text, at = parts[part], 0
        else:
            # The cheap search looks at all the rest, so it is tried only once.
            cheap = not careful and name == b"BODYSTRUCTURE" and name not in fields
            found = _complex(parts, part, at, cheap)
            if found is None:
                resumed += 1
                before = _bytes(fields.get(UNREADABLE)).split()
                if name in KNOWN and name not in before:
                    fields[UNREADABLE] = b" ".join((*before, name))
                part, text, at = _resume(parts, part, at)
                if at < 0 or resumed > MOST_UNREADABLE:
                    return fields
            else:
                value, part, at = found
                text = parts[part]
                if name in KNOWN:
                    fields.setdefault(name, value)


def _bytes(value: Value) -> bytes:
    return value if isinstance(value, bytes) else b""


def _complex(parts: list[bytes], part: int, at: int, cheap: bool) -> tuple[Value, int, int] | None:
    """Read a value that is a quoted string with escapes or a list; None if it has no end."""
    text = parts[part]
    quoted = _QUOTED.match(text, at)
    if quoted:
        return _ESCAPE.sub(rb"\1", quoted[1]), part, quoted.end()
    if text[at : at + 1] != b"(":
        return None
    if cheap:
        # The usual neighbour of a structure; counting says whether it was found inside a string.
        end = text.find(b") BODY[", at) + 1
        if end:
            piece = text[at:end]
            if piece.count(b"(") == piece.count(b")"):
                return [piece], part, end
    return _list(parts, part, at)


def _list(parts: list[bytes], part: int, at: int) -> tuple[Value, int, int] | None:
    depth = 0
    value: list[bytes] = []
    while True:
        text = parts[part]
        for token in _BRACKETS.finditer(text, at):
            if token[0] == b"(":
                depth += 1
            elif token[0] == b")":
                depth -= 1
                if depth == 0:
                    value.append(text[at : token.end()])
                    return None if _swallowed(value) else (value, part, token.end())
        if part + 2 >= len(parts):
            return None
        value += text[at:], parts[part + 1]
        part, at = part + 2, 0


def _swallowed(value: list[bytes]) -> bool:
    """Whether a list with a parenthesis too few took the header, which follows it, for a part of itself."""
    return len(value) > 1 and any(b" BODY[HEADER" in text for text in value[::2])


def _resume(parts: list[bytes], part: int, at: int) -> tuple[int, bytes, int]:
    """Return where the next known field begins; -1 as the position if there is none."""
    while True:
        following = _NEXT.search(parts[part], at)
        if following:
            return part, parts[part], following.end()
        if part + 2 >= len(parts):
            return part, b"", -1
        part, at = part + 2, 0
