"""The fields of a FETCH response (RFC 9051 §7.5.2); a malformed field does not affect the others."""

from __future__ import annotations

import re

Value = bytes | list[bytes] | None
Fields = dict[bytes, Value]

UNREADABLE = b"\0unreadable"
"""The key for the space-separated names of fields that are present but malformed."""

KNOWN = frozenset(
    b"UID FLAGS INTERNALDATE RFC822.SIZE MODSEQ BODYSTRUCTURE BODY[] EMAILID THREADID"
    b" X-GM-MSGID X-GM-THRID X-GM-LABELS".split()
)
"""The fields that we fetch; others are ignored."""

MOST_UNREADABLE = 8
"""How often parsing resumes in one response. Each attempt may search all the rest in vain."""

_HEAD = re.compile(rb"\* \d+ FETCH +\(", re.IGNORECASE)
_ITEM = re.compile(
    rb" *+([A-Za-z0-9.\-]++)(\[[^\]]*+\](?:<\d+>)?)? "  # the name, and the section of BODY[…]
    rb'(?:\(([^()"{}]*+)\)|"([^"\\]*+)"|([^ ()"{}]++)(?=[ )]|\Z))?'  # the common values
)
_AFTER_LITERAL = (b")", b" ", b"")
"""The beginnings of the text after a header (RFC 9051 §9); any other shows that its length was wrong."""
_QUOTED = re.compile(rb'"([^"\\]*+(?:\\.[^"\\]*+)*+)"', re.DOTALL)
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
# an unterminated string matches to the end, so that the search is linear even then
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
    r"""Return the fields by upper-case name; `parts` is a response from :meth:`Reader.read_response`.

    ``* 1 FETCH (UID 7 FLAGS (\Seen) INTERNALDATE "…" BODYSTRUCTURE (…) BODY[HEADER.FIELDS (…)] {9}`` gives
    ``{b"UID": b"7", b"FLAGS": b"\\Seen", b"INTERNALDATE": b"…", b"BODYSTRUCTURE": [b"(…)"],
    b"BODY[]": b"…"}``. Numbers and strings are bytes, a flat list is the text between its parentheses, a
    nested list is text, literal, text, …, and NIL is None. Sections of BODY lose their names.

    Unknown fields are ignored. A malformed field is skipped up to the next known one and named under
    UNREADABLE; after :data:`MOST_UNREADABLE` of them the rest is ignored. `careful` turns off a fast way to
    find the end of a list that may be wrong.
    """
    fields: Fields = {}
    head = _HEAD.match(parts[0])
    if head is None:
        return fields
    part, text, position = 0, parts[0], head.end()
    last = len(parts) - 1
    resumed = 0
    while True:
        item = _ITEM.match(text, position)
        if item is None:
            rest = text[position:].strip(b" ")
            if part == last and rest in (b")", b""):
                return fields
            # out of step in this response, perhaps because the fast search ended a list too early
            if not careful:
                return parse_fetch(parts, careful=True)
            resumed += 1
            part, text, position = _resume(parts, part, position)
            if position < 0 or resumed > MOST_UNREADABLE:
                return fields
            continue
        name = item[1].upper() if item[2] is None else b"BODY[]"
        position = item.end()
        group = item.lastindex or 0
        if group >= 3:
            value: Value = item[group]
            if group == 5 and value in (b"NIL", b"nil"):
                value = None
            if name in KNOWN:
                fields.setdefault(name, value)
        elif position == len(text) and part < last:
            if name in KNOWN:
                fields.setdefault(name, parts[part + 1])
            part += 2
            text, position = parts[part], 0
            if name == b"BODY[]" and text[:1] not in _AFTER_LITERAL:
                fields[UNREADABLE] = b" ".join((*_bytes(fields.get(UNREADABLE)).split(), name))
        else:
            # try the fast search only once, since it searches all the rest
            fast = not careful and name == b"BODYSTRUCTURE" and name not in fields
            parsed = _complex(parts, part, position, fast)
            if parsed is None:
                resumed += 1
                unreadable = _bytes(fields.get(UNREADABLE)).split()
                if name in KNOWN and name not in unreadable:
                    fields[UNREADABLE] = b" ".join((*unreadable, name))
                part, text, position = _resume(parts, part, position)
                if position < 0 or resumed > MOST_UNREADABLE:
                    return fields
            else:
                value, part, position = parsed
                text = parts[part]
                if name in KNOWN:
                    fields.setdefault(name, value)


def _bytes(value: Value) -> bytes:
    return value if isinstance(value, bytes) else b""


def _complex(parts: list[bytes], part: int, start: int, fast: bool) -> tuple[Value, int, int] | None:
    """Parse a quoted string with escapes, or a list, and return where it ends; None if it has no end."""
    text = parts[part]
    quoted = _QUOTED.match(text, start)
    if quoted:
        return _ESCAPE.sub(rb"\1", quoted[1]), part, quoted.end()
    if text[start : start + 1] != b"(":
        return None
    if fast:
        # BODY usually follows a structure; unequal counts show that this match is inside a string
        end = text.find(b") BODY[", start) + 1
        if end:
            piece = text[start:end]
            if piece.count(b"(") == piece.count(b")"):
                return [piece], part, end
    return _list(parts, part, start)


def _list(parts: list[bytes], part: int, start: int) -> tuple[Value, int, int] | None:
    depth = 0
    value: list[bytes] = []
    while True:
        text = parts[part]
        for token in _BRACKETS.finditer(text, start):
            if token[0] == b"(":
                depth += 1
            elif token[0] == b")":
                depth -= 1
                if depth == 0:
                    value.append(text[start : token.end()])
                    return None if _includes_header(value) else (value, part, token.end())
        if part + 2 >= len(parts):
            return None
        value += text[start:], parts[part + 1]
        part, start = part + 2, 0


def _includes_header(value: list[bytes]) -> bool:
    """Whether a list that lacks a parenthesis runs on into the header, which follows it."""
    return len(value) > 1 and any(b" BODY[HEADER" in text for text in value[::2])


def _resume(parts: list[bytes], part: int, start: int) -> tuple[int, bytes, int]:
    """Return where the next known field begins; the position is -1 if there is none."""
    while True:
        following = _NEXT.search(parts[part], start)
        if following:
            return part, parts[part], following.end()
        if part + 2 >= len(parts):
            return part, b"", -1
        part, start = part + 2, 0
