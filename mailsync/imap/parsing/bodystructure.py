"""BODYSTRUCTURE (RFC 9051 §7.5.2) becomes JSON text and a list of attachments.

Most messages of a mailbox share the shape of their structure and differ in strings and numbers only. So a
shape is parsed once, and its template filled for each message.
"""

from __future__ import annotations

import re
from json.encoder import encode_basestring
from typing import NamedTuple

from mailsync.bounded_cache import BoundedCache
from mailsync.imap.parsing.bodystructure_template import BadStructure, Leaf, Template, parse_shape
from mailsync.mail.charsets import decode_raw
from mailsync.mail.text import MAX_INDEXED_BYTES, clean_text, cut, decode_filename
from mailsync.model import Attachment

__all__ = ["BadStructure", "Structure", "parse_structure"]

LONGEST = 256 * 1024

_DIGITS = re.compile(r"[0-9]+")
_UNSAFE = re.compile(r"[\\\x00-\x1f\ud800-\udfff]")
_TOKEN = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)("|\\?\Z)|([()])|([^\s()"]+)', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_SIGNATURES = frozenset({"pgp-signature", "pkcs7-signature", "x-pkcs7-signature"})
_REPORTS = frozenset(
    {"delivery-status", "disposition-notification", "feedback-report", "global-delivery-status"}
)

_shapes: BoundedCache[str, Template | None] = BoundedCache(8 * 1024 * 1024)


class Structure(NamedTuple):
    """``json`` for ``messages.mime_structure``, and the leaves that a person would call attachments.

    ``truncated`` if it was too deep or too wide to be kept whole.
    """

    json: str
    attachments: tuple[Attachment, ...]
    truncated: bool


def parse_structure(pieces: list[bytes]) -> Structure:
    """Read a structure given as text, literal, text, …; raises BadStructure for anything else."""
    if sum(map(len, pieces)) > LONGEST:
        raise BadStructure("the structure is too long")
    if len(pieces) == 1:
        text = decode_raw(pieces[0])
        if not _UNSAFE.search(text):
            split = text.split('"')
            if len(split) % 2 == 0:
                raise BadStructure("a string does not end")
            outside = '""'.join(split[::2])
            skeleton = _DIGITS.sub("0", outside)
            shape = _shape(skeleton)
            if shape is not None:
                return _fill(shape, split[1::2], _DIGITS.findall(outside), escape=False)
    skeleton, strings, numbers = _tokens(pieces)
    shape = _shape(skeleton)
    if shape is None:
        raise BadStructure("the parentheses do not match")
    return _fill(shape, strings, numbers, escape=True)


def _shape(skeleton: str) -> Template | None:
    """Return the shape of a skeleton, parsed or remembered; None if it is no structure."""
    try:
        return _shapes[skeleton]
    except KeyError:
        pass
    shape: Template | None
    try:
        shape = parse_shape(skeleton)
    except BadStructure:
        shape = None
    _shapes.remember(skeleton, shape, 200 + len(skeleton) + (shape.size if shape else 0))
    return shape


def _tokens(pieces: list[bytes]) -> tuple[str, list[str], list[str]]:
    """Split into skeleton, strings and numbers, with escapes, literals, and atoms in place of strings."""
    skeleton: list[str] = []
    strings: list[str] = []
    numbers: list[str] = []
    for at, piece in enumerate(pieces):
        text = clean_text(decode_raw(piece))
        if at % 2:
            skeleton.append('""')
            strings.append(text)
            continue
        for string, end, bracket, atom in _TOKEN.findall(text):
            if bracket:
                skeleton.append(bracket)
            elif not atom:
                if end != '"':
                    raise BadStructure("a string does not end")
                skeleton.append('""')
                strings.append(_ESCAPE.sub(r"\1", string))
            elif _DIGITS.fullmatch(atom):
                skeleton.append("0")
                numbers.append(atom)
            elif atom.upper() == "NIL":
                skeleton.append("NIL")
            else:
                skeleton.append('""')
                strings.append(atom)
    return " ".join(skeleton), strings, numbers


def _fill(shape: Template, strings: list[str], numbers: list[str], *, escape: bool) -> Structure:
    if len(strings) != shape.strings:
        raise BadStructure("strings and shape do not agree")
    values = strings + [n if n[0] != "0" and len(n) < 19 else _number(n) for n in numbers]
    for at in shape.lower:
        values[at] = values[at].lower()
    attachments = [found for leaf in shape.leaves if (found := _attachment(leaf, values))]
    if escape:
        values = [encode_basestring(value)[1:-1] for value in values]
    return Structure(shape.template % shape.pick(values), tuple(attachments), shape.truncated)


def _number(digits: str) -> str:
    """JSON has no leading zeros, and no column holds more than 18 digits."""
    return digits.lstrip("0")[:18] or "0"


def _attachment(leaf: Leaf, values: list[str]) -> Attachment | None:
    """Return the leaf as an attachment, or None for what is the message's own text or machinery."""
    maintype = "application" if leaf.maintype is None else values[leaf.maintype]
    disposition = "" if leaf.disposition is None else values[leaf.disposition]
    pairs = leaf.disposition_parameters + leaf.parameters
    named = any(values[name].startswith(("name", "filename")) for name, _ in pairs)
    if maintype == "text" and not named and disposition != "attachment":
        return None
    subtype = "octet-stream" if leaf.subtype is None else values[leaf.subtype]
    if subtype in _SIGNATURES or (subtype in _REPORTS and not named):
        return None
    content_id = None if leaf.content_id is None else values[leaf.content_id].strip().strip("<>").strip()
    related = leaf.parent is not None and values[leaf.parent] == "related"
    return Attachment(
        part=leaf.part,
        filename=decode_filename((values[name], values[value]) for name, value in pairs) if named else None,
        content_type=cut(f"{maintype}/{subtype}", 255),
        size_bytes=None if leaf.size is None else int(values[leaf.size]),
        content_id=cut(content_id, MAX_INDEXED_BYTES) if content_id else None,
        is_inline=disposition == "inline" or (disposition != "attachment" and bool(content_id) and related),
    )
