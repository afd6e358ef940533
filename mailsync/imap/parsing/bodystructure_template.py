"""Templates of JSON text for BODYSTRUCTURE (RFC 9051 §7.5.2).

A skeleton is a structure without its strings and numbers. It is parsed once into a template with a slot for
each value. Nothing here recurses.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple

DEEPEST = 100
"""Levels of nesting that are kept: Postgres' JSON parser recurses, and real messages have far fewer."""
MOST_LEAVES = 1000

_TOKEN = re.compile(r'""|[()]|[^\s()"]+|"')

Node = Any  # int (a slot) | None (NIL) | list[Node]


class BadStructure(ValueError):
    """The text is not a BODYSTRUCTURE."""


MISSING = ("", "application", "octet-stream")
"""The values in place of what a structure leaves out: any word, and the type and the subtype of a leaf."""


class Leaf(NamedTuple):
    """A leaf of the structure; its fields are indexes into the values of a message.

    ``parameters`` are those of the disposition and then those of the type. ``parents`` are the subtypes of
    the multipart around the leaf and, as long as each is the first part of the next, of those around that.
    ``is_inside`` means that the leaf is inside an attached message.
    """

    part: str
    maintype: int
    subtype: int
    parameters: tuple[tuple[int, int], ...]
    content_id: int
    size: int | None
    disposition: int
    parents: tuple[int, ...]
    is_inside: bool


@dataclass(frozen=True, slots=True)
class Template:
    """A template for ``json`` with a ``%s`` for each slot.

    The values of a message are its strings, its numbers, MISSING, and the types of its leaves, such as
    ``text/html``, each in the order of the text. ``pick`` selects from them the values of the slots, in
    order. ``strings`` is the number of strings, ``lower`` the indexes of those whose case does not matter,
    ``multiparts`` those of the subtypes of multiparts.
    """

    strings: int
    json: str
    pick: Callable[[list[str]], tuple[str, ...]]
    lower: tuple[int, ...]
    multiparts: tuple[int, ...]
    leaves: tuple[Leaf, ...]
    truncated: bool

    @property
    def size(self) -> int:
        """An estimate of its memory in bytes."""
        parents = sum(len(leaf.parents) for leaf in self.leaves)
        return 500 + 2 * len(self.json) + 500 * len(self.leaves) + 100 * len(self.lower) + 8 * parents


def parse_skeleton(skeleton: str) -> Template:
    r"""Return the template for a skeleton, in which ``""`` stands for a string and ``0`` for a number.

    >>> parse_skeleton('("" "" NIL NIL NIL "" 0 0)').json
    '{"part":"1","type":"%s","encoding":"%s","size":%s,"lines":%s}'

    Raises BadStructure if the parentheses do not match or atoms other than NIL occur.
    """
    strings = skeleton.count('""')
    root, count = _nested(skeleton, strings)
    return _Writer(strings, count).write(root)


def _nested(skeleton: str, strings: int) -> tuple[list[Node], int]:
    """Return the lists of a skeleton, with indexes for strings and numbers, and how many these are."""
    root: list[Node] = []
    stack = [root]
    string, number = 0, strings
    for token in _TOKEN.findall(skeleton):
        if token == '""':
            stack[-1].append(string)
            string += 1
        elif token == "(":
            node: list[Node] = []
            stack[-1].append(node)
            stack.append(node)
        elif token == ")":
            stack.pop()
            if not stack:
                raise BadStructure("one closing parenthesis too many")
        elif token == "0":
            stack[-1].append(number)
            number += 1
        elif token.upper() == "NIL":
            stack[-1].append(None)
        else:
            raise BadStructure("an unexpected atom")
    if len(stack) != 1 or len(root) != 1 or not isinstance(root[0], list):
        raise BadStructure("the parentheses do not match")
    return root[0], number


class _Task(NamedTuple):
    """A node to be written; ``parents`` and ``is_inside`` are those of :class:`Leaf`."""

    node: list[Node]
    part: str
    depth: int
    parents: tuple[int, ...]
    is_inside: bool


class _Writer:
    """Walks a nested structure and writes the template; ``work`` is a stack of nodes and closing texts."""

    def __init__(self, strings: int, count: int) -> None:
        self.strings = strings
        self.missing = count
        self.out: list[str] = []
        self.slots: list[int] = []
        self.lower: set[int] = set()
        self.multiparts: list[int] = []
        self.leaves: list[Leaf] = []
        self.truncated = False
        self.seen = 0
        self.work: list[str | _Task] = []

    def write(self, root: list[Node]) -> Template:
        # a single body is part 1; a multipart has no number of its own (RFC 9051 §6.4.5)
        self.work.append(_Task(root, "" if _is_multipart(root) else "1", 0, (), False))
        while self.work:
            item = self.work.pop()
            if isinstance(item, str):
                self.out.append(item)
                continue
            if item.depth >= DEEPEST or self.seen >= MOST_LEAVES:
                self.truncated = True
                self.out.append("null")
            elif _is_multipart(item.node):
                self._multipart(item)
            else:
                self._leaf(item)
        slots = tuple(self.slots)
        pick = itemgetter(*slots) if len(slots) > 1 else lambda values: tuple(values[i] for i in slots)
        lower = tuple(sorted(i for i in self.lower if i < self.strings))
        return Template(
            self.strings,
            "".join(self.out),
            pick,
            lower,
            tuple(self.multiparts),
            tuple(self.leaves),
            self.truncated,
        )

    def _multipart(self, task: _Task) -> None:
        node, part = task.node, task.part
        children = []
        for child in node:
            if not isinstance(child, list):
                break
            children.append(child)
        rest = node[len(children) :]
        subtype = self._value(rest, 0)
        self.out.append("{")
        if part:
            self.out.append(f'"part":"{part}",')
        self.out.append('"type":"multipart/')
        self._slot(subtype, "mixed", lower=True)
        if subtype is not None and subtype < self.strings:
            self.multiparts.append(subtype)
        self.out.append('"')
        self._parameters("params", self._pairs(rest, 1))
        self._disposition(rest, 2)
        self.out.append(',"parts":[')
        self.work.append("]}")
        prefix = f"{part}." if part else ""
        own = (self.missing if subtype is None else subtype,)
        for number in range(len(children), 0, -1):
            parents = own + task.parents if number == 1 else own
            self.work.append(
                _Task(children[number - 1], f"{prefix}{number}", task.depth + 1, parents, task.is_inside)
            )
            if number > 1:
                self.work.append(",")

    def _leaf(self, task: _Task) -> None:
        node, part = task.node, task.part
        self.seen += 1
        maintype, subtype = self._value(node, 0), self._value(node, 1)
        parameters = self._pairs(node, 2)
        self.out.append(f'{{"part":"{part}","type":"%s"')
        self.slots.append(self.missing + len(MISSING) + len(self.leaves))
        self.lower.update(slot for slot in (maintype, subtype) if slot is not None)
        self._parameters("params", parameters)
        content_id = self._text("id", node, 3)
        self._text("description", node, 4)
        self._text("encoding", node, 5, lower=True)
        size = self._number("size", node, 6)
        # message/rfc822 has an envelope and a body here, text a number of lines, other types neither
        position, inner = 7, None
        if len(node) > 8 and isinstance(node[7], list) and isinstance(node[8], list) and node[8]:
            inner, position = node[8], 9
        if len(node) > position and isinstance(node[position], int) and node[position] >= self.strings:
            self._number("lines", node, position)
            position += 1
        disposition, disposition_parameters = self._disposition(node, position + 1)
        missing = self.missing
        self.leaves.append(
            Leaf(
                part,
                missing + 1 if maintype is None else maintype,
                (missing + 2 if maintype is None else missing) if subtype is None else subtype,
                (*disposition_parameters, *parameters),
                missing if content_id is None else content_id,
                size,
                missing if disposition is None else disposition,
                task.parents,
                task.is_inside,
            )
        )
        if inner is None:
            self.out.append("}")
            return
        self.out.append(',"parts":[')
        self.work.append("]}")
        below = part if _is_multipart(inner) else f"{part}.1"
        self.work.append(_Task(inner, below, task.depth + 1, (), True))

    def _disposition(self, node: list[Node], position: int) -> tuple[int | None, list[tuple[int, int]]]:
        body = node[position] if len(node) > position else None
        if not isinstance(body, list):
            # some servers send the word without its list
            body = [body] if isinstance(body, int) and body < self.strings else []
        disposition = self._text("disposition", body, 0, lower=True)
        pairs = self._pairs(body, 1)
        self._parameters("disposition_params", pairs)
        return disposition, pairs

    def _value(self, node: list[Node], position: int) -> int | None:
        value = node[position] if len(node) > position else None
        return value if isinstance(value, int) else None

    def _pairs(self, node: list[Node], position: int) -> list[tuple[int, int]]:
        values = node[position] if len(node) > position else None
        if not isinstance(values, list):
            return []
        pairs = zip(values[::2], values[1::2], strict=False)
        return [(name, value) for name, value in pairs if isinstance(name, int) and isinstance(value, int)]

    def _parameters(self, key: str, pairs: list[tuple[int, int]]) -> None:
        if not pairs:
            return
        self.out.append(f',"{key}":{{')
        self.out.append(",".join(['"%s":"%s"'] * len(pairs)))
        self.out.append("}")
        for name, value in pairs:
            self.slots += name, value
            self.lower.add(name)

    def _text(self, key: str, node: list[Node], position: int, lower: bool = False) -> int | None:
        slot = self._value(node, position)
        if slot is not None:
            self.out.append(f',"{key}":"')
            self._slot(slot, "", lower=lower)
            self.out.append('"')
        return slot

    def _number(self, key: str, node: list[Node], position: int) -> int | None:
        slot = self._value(node, position)
        if slot is None or slot < self.strings:
            return None
        self.out.append(f',"{key}":%s')
        self.slots.append(slot)
        return slot

    def _slot(self, slot: int | None, default: str, *, lower: bool) -> None:
        if slot is None:
            self.out.append(default)
            return
        self.out.append("%s")
        self.slots.append(slot)
        if lower:
            self.lower.add(slot)


def _is_multipart(node: list[Node]) -> bool:
    return bool(node) and isinstance(node[0], list)
