"""BODYSTRUCTURE (RFC 9051 §7.5.2) becomes JSON text and a list of attachments.

Structures in one mailbox mostly differ in strings and numbers only. So a template is made once for each
skeleton, a structure without its strings and numbers, and filled for each message.
"""

from __future__ import annotations

import re
from json.encoder import encode_basestring
from typing import NamedTuple

from mailsync.bounded_cache import BoundedCache
from mailsync.imap.parsing.bodystructure_template import BadStructure, Leaf, Template, parse_skeleton
from mailsync.mail.attachments import build_attachment
from mailsync.mail.charsets import decode_raw
from mailsync.mail.text import clean_text
from mailsync.model import Attachment

__all__ = ["BadStructure", "Structure", "parse_structure"]

LONGEST = 256 * 1024

_DIGITS = re.compile(r"[0-9]+")
_UNSAFE = re.compile(r"[\\\x00-\x1f\ud800-\udfff]")
_TOKEN = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)("|\\?\Z)|([()])|([^\s()"]+)', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_NAMES = ("name", "filename")

_templates: BoundedCache[str, Template | None] = BoundedCache(8 * 1024 * 1024)


class Structure(NamedTuple):
    """``json`` for ``messages.mime_structure``, and the leaves that people call attachments.

    ``truncated`` means that parts were left out because there are too many or they are nested too deeply.
    """

    json: str
    attachments: tuple[Attachment, ...]
    truncated: bool


def parse_structure(pieces: list[bytes]) -> Structure:
    """Parse a structure given as text, literal, text, …; raises BadStructure."""
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
            template = _template(skeleton)
            if template is not None:
                return _fill(template, split[1::2], _DIGITS.findall(outside), escape=False)
    skeleton, strings, numbers = _tokens(pieces)
    template = _template(skeleton)
    if template is None:
        raise BadStructure("the parentheses do not match")
    return _fill(template, strings, numbers, escape=True)


def _template(skeleton: str) -> Template | None:
    """Return the template for a skeleton, from the cache if possible; None if it is no structure."""
    try:
        return _templates[skeleton]
    except KeyError:
        pass
    template: Template | None
    try:
        template = parse_skeleton(skeleton)
    except BadStructure:
        template = None
    _templates.remember(skeleton, template, 200 + len(skeleton) + (template.size if template else 0))
    return template


def _tokens(pieces: list[bytes]) -> tuple[str, list[str], list[str]]:
    """Return skeleton, strings and numbers; handles escapes, literals, and atoms in place of strings."""
    skeleton: list[str] = []
    strings: list[str] = []
    numbers: list[str] = []
    for i, piece in enumerate(pieces):
        text = clean_text(decode_raw(piece))
        if i % 2:
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


def _fill(template: Template, strings: list[str], numbers: list[str], *, escape: bool) -> Structure:
    if len(strings) != template.strings:
        raise BadStructure("strings and skeleton do not agree")
    values = strings + [n if n[0] != "0" and len(n) < 19 else _number(n) for n in numbers]
    for i in template.lower:
        values[i] = values[i].lower()
    attachments = [part for leaf in template.leaves if (part := _attachment(leaf, values))]
    if escape:
        values = [encode_basestring(value)[1:-1] for value in values]
    return Structure(template.json % template.pick(values), tuple(attachments), template.truncated)


def _number(digits: str) -> str:
    """Strip leading zeros, which JSON forbids, and cut to 18 digits, the most that a column holds."""
    return digits.lstrip("0")[:18] or "0"


def _attachment(leaf: Leaf, values: list[str]) -> Attachment | None:
    pairs = leaf.disposition_parameters + leaf.parameters
    return build_attachment(
        leaf.part,
        "application" if leaf.maintype is None else values[leaf.maintype],
        "octet-stream" if leaf.subtype is None else values[leaf.subtype],
        "" if leaf.disposition is None else values[leaf.disposition],
        [(values[name], values[value]) for name, value in pairs if values[name].startswith(_NAMES)],
        "" if leaf.content_id is None else values[leaf.content_id],
        None if leaf.size is None else int(values[leaf.size]),
        is_related=leaf.parent is not None and values[leaf.parent] == "related",
    )
