"""BODYSTRUCTURE (RFC 9051 §7.5.2) becomes JSON text and a list of attachments.

Structures in one mailbox mostly differ in strings and numbers only. So a template is made once for each
skeleton, a structure without its strings and numbers, and filled for each message.
"""

from __future__ import annotations

import re
from functools import lru_cache
from json.encoder import encode_basestring
from typing import NamedTuple

from mailsync.bounded_cache import BoundedCache
from mailsync.imap.parsing.bodystructure_template import MISSING, BadStructure, Leaf, Template, parse_skeleton
from mailsync.mail.attachments import Kind, build_attachment, decide_roles, kind_of, type_or_default
from mailsync.mail.content_fields import disposition_of, subtype_of_multipart, type_of_words
from mailsync.mail.file_names import name_parameters
from mailsync.mail.odd_fields import Pairs
from mailsync.mail.parameters import with_text
from mailsync.mail.text import clean_text
from mailsync.model import Attachment

__all__ = ["BadStructure", "Structure", "parse_structure"]

LONGEST = 256 * 1024

_DIGITS = re.compile(r"[0-9]+")
_UNSAFE = re.compile(r"[\\\x00-\x1f\ud800-\udfff]")
_TOKEN = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)("|\\?\Z)|([()])|([^\s()"]+)', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_LONG = 200
"""Characters of words that are not cached."""
_MULTIPARTS = frozenset({"alternative", "mixed", "related", "report", "signed"})

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
        text = pieces[0].decode("utf-8", "surrogateescape")
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
        # servers pass on raw names, each in a charset of its own
        text = piece.decode("utf-8", "surrogateescape")
        if i % 2:
            skeleton.append('""')
            strings.append(clean_text(with_text(text)))
            continue
        for string, end, bracket, atom in _TOKEN.findall(text):
            if bracket:
                skeleton.append(bracket)
            elif not atom:
                if end != '"':
                    raise BadStructure("a string does not end")
                skeleton.append('""')
                strings.append(clean_text(with_text(_ESCAPE.sub(r"\1", string))))
            elif _DIGITS.fullmatch(atom):
                skeleton.append("0")
                numbers.append(atom)
            elif atom.upper() == "NIL":
                skeleton.append("NIL")
            else:
                skeleton.append('""')
                strings.append(clean_text(with_text(atom)))
    return " ".join(skeleton), strings, numbers


def _fill(template: Template, strings: list[str], numbers: list[str], *, escape: bool) -> Structure:
    if len(strings) != template.strings:
        raise BadStructure("strings and skeleton do not agree")
    values = strings + [n if n[0] != "0" and len(n) < 19 else _number(n) for n in numbers]
    values += MISSING
    for i in template.lower:
        values[i] = values[i].lower()
    for i in template.multiparts:
        if values[i] not in _MULTIPARTS:
            values[i] = subtype_of_multipart(values[i])
    leaves = [_facts_of(leaf, values) for leaf in template.leaves]
    roles = decide_roles(tuple([facts.kind for facts, _ in leaves]))
    attachments = [
        _attachment(leaf, *leaves[i], values) for i, leaf in enumerate(template.leaves) if roles[i].is_file
    ]
    values += [facts.type for facts, _ in leaves]
    if escape:
        values = [encode_basestring(value)[1:-1] for value in values]
    return Structure(template.json % template.pick(values), tuple(attachments), template.truncated)


def _number(digits: str) -> str:
    """Strip leading zeros, which JSON forbids, and cut to 18 digits, the most that a column holds."""
    return digits.lstrip("0")[:18] or "0"


class _Facts(NamedTuple):
    """The meaning of a leaf's words; ``more`` are file names that the server left inside the type."""

    type: str
    disposition: str
    kind: Kind
    more: Pairs


def _facts_of(leaf: Leaf, values: list[str]) -> tuple[_Facts, Pairs]:
    """Return the facts and the name parameters of a leaf."""
    _, main, sub, parameters, _, _, disposition, parents, is_inside = leaf
    maintype, subtype, word = values[main], values[sub], values[disposition]
    names: Pairs = []
    if parameters:
        names = [(values[name], values[value]) for name, value in parameters if "name" in values[name]]
        if names:
            names = name_parameters(names)
    is_alternative = bool(parents) and "alternative" in [values[parent] for parent in parents]
    read = _read if len(maintype) + len(subtype) + len(word) < _LONG else _read.__wrapped__
    facts = read(maintype, subtype, word, bool(names), is_alternative, is_inside)
    return facts, names + facts.more if facts.more else names


@lru_cache(maxsize=1024)
def _read(
    maintype: str, subtype: str, disposition: str, is_named: bool, is_alternative: bool, is_inside: bool
) -> _Facts:
    content_type, parameters = type_of_words(maintype, subtype)
    more = name_parameters(parameters)
    is_named = is_named or bool(more)
    disposition = disposition_of(disposition)
    content_type = type_or_default(content_type, disposition, is_named)
    kind: Kind = "neither"
    if not is_inside:
        kind = kind_of(content_type, disposition, is_named, is_alternative)
    return _Facts(content_type, disposition, kind, more)


def _attachment(leaf: Leaf, facts: _Facts, names: Pairs, values: list[str]) -> Attachment:
    return build_attachment(
        leaf.part,
        facts.type,
        facts.disposition,
        names,
        values[leaf.content_id],
        None if leaf.size is None else int(values[leaf.size]),
        is_related=bool(leaf.parents) and values[leaf.parents[0]] == "related",
    )
