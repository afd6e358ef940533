"""The answer to NAMESPACE (RFC 2342 §5, RFC 9051 §7.3.3)."""

from __future__ import annotations

import re

from mailsync.imap.parsing.list_response import LONGEST_NAME
from mailsync.model import Namespace, Namespaces

MOST_NAMESPACES = 100
"""Namespaces of one answer that are kept."""

_HEAD = re.compile(rb"\* NAMESPACE +", re.IGNORECASE)
_TOKEN = re.compile(rb' *+(?:([()])|"([^"\\]*+(?:\\.[^"\\]*+)*+)"|([^\s()"]++))', re.DOTALL)
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_OPEN, _CLOSE = "(", ")"
_MOST_TOKENS = 100_000

# a parenthesis, a string, or None for NIL
_Token = str | bytes | None


def parse_namespaces(parts: list[bytes]) -> Namespaces | None:
    """Parse ``* NAMESPACE (("" "/")) (("~" "/")) NIL``; None for other responses and malformed ones.

    Prefixes and delimiters may be quoted strings or literals. Extensions of a namespace are ignored, and so
    is everything after the three lists.
    """
    head = _HEAD.match(parts[0])
    if head is None:
        return None
    tokens = _tokens([parts[0][head.end() :], *parts[1:]])
    lists: list[tuple[Namespace, ...]] = []
    position = 0
    while len(lists) < 3:
        if position >= len(tokens):
            return None
        if tokens[position] is None:
            lists.append(())
            position += 1
            continue
        found, position = _list(tokens, position)
        if found is None:
            return None
        lists.append(found[:MOST_NAMESPACES])
    return Namespaces(*lists)


def _tokens(parts: list[bytes]) -> list[_Token]:
    tokens: list[_Token] = []
    for i, part in enumerate(parts):
        if i % 2:
            tokens.append(part)
            continue
        for bracket, quoted, atom in _TOKEN.findall(part):
            if bracket:
                tokens.append(bracket.decode("ascii"))
            elif atom:
                tokens.append(None if atom.upper() == b"NIL" else atom)
            else:
                tokens.append(_ESCAPE.sub(rb"\1", quoted))
            if len(tokens) > _MOST_TOKENS:
                return tokens
    return tokens


def _list(tokens: list[_Token], start: int) -> tuple[tuple[Namespace, ...] | None, int]:
    """Read a list of namespaces; returns it, None if it is malformed, and the position after it."""
    if tokens[start] != _OPEN:
        return None, start
    namespaces: list[Namespace] = []
    fields: list[_Token] = []
    depth = 1
    for position in range(start + 1, len(tokens)):
        token = tokens[position]
        if token == _OPEN:
            depth += 1
            fields = [] if depth == 2 else fields
        elif token == _CLOSE:
            depth -= 1
            if depth == 0:
                return tuple(namespaces), position + 1
            if depth == 1:
                prefix, delimiter = (*fields, None, None)[:2]
                if isinstance(prefix, bytes) and len(prefix) <= LONGEST_NAME:
                    namespaces.append(
                        Namespace(prefix, delimiter[:1] if isinstance(delimiter, bytes) else None)
                    )
        elif depth == 2:
            fields.append(token)
    return None, len(tokens)
