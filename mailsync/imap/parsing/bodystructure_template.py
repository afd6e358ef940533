"""The shape of a BODYSTRUCTURE: its grammar without its strings and numbers (RFC 9051 §7.5.2).

A shape is parsed once and kept as a template for JSON text. Nothing here recurses.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple

DEEPEST = 100
"""Levels of nesting that are kept: Postgres' JSON parser recurses, and no real message comes near."""
MOST_LEAVES = 1000

_TOKEN = re.compile(r'""|[()]|[^\s()"]+|"')

Node = Any  # int (a slot) | None (NIL) | list[Node]


class BadStructure(ValueError):
    """The text is no BODYSTRUCTURE."""


class Leaf(NamedTuple):
    """Where in the values of a message the things stand that make a leaf an attachment; None: not said."""

    part: str
    maintype: int | None
    subtype: int | None
    parameters: tuple[tuple[int, int], ...]
    content_id: int | None
    size: int | None
    disposition: int | None
    disposition_parameters: tuple[tuple[int, int], ...]
    parent: int | None


@dataclass(frozen=True, slots=True)
class Template:
    """A template with a slot for each value.

    ``pick`` chooses the values of the slots, in order, from all values: first the strings, then the numbers,
    each in the order of the text. ``lower`` are the strings whose case does not matter.
    """

    strings: int
    template: str
    pick: Callable[[list[str]], tuple[str, ...]]
    lower: tuple[int, ...]
    leaves: tuple[Leaf, ...]
    truncated: bool

    @property
    def size(self) -> int:
        """An estimate of the memory that it takes, in bytes."""
        return 500 + 2 * len(self.template) + 500 * len(self.leaves) + 50 * len(self.lower)


def parse_shape(skeleton: str) -> Template:
    r"""Make the template of a skeleton, in which ``""`` stands for a string and ``0`` for a number.

    >>> parse_shape('("" "" NIL NIL NIL "" 0 0)').template
    '{"part":"1","type":"%s/%s","encoding":"%s","size":%s,"lines":%s}'

    Raises BadStructure if the parentheses do not match or other atoms than NIL occur.
    """
    strings = skeleton.count('""')
    return _Writer(strings).write(_nested(skeleton, strings))


def _nested(skeleton: str, strings: int) -> list[Node]:
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
                raise BadStructure("a parenthesis too many")
        elif token == "0":
            stack[-1].append(number)
            number += 1
        elif token.upper() == "NIL":
            stack[-1].append(None)
        else:
            raise BadStructure("an atom where none belongs")
    if len(stack) != 1 or len(root) != 1 or not isinstance(root[0], list):
        raise BadStructure("the parentheses do not match")
    return root[0]


class _Task(NamedTuple):
    """A node to be written; ``attached`` inside of a message that is itself an attachment."""

    node: list[Node]
    part: str
    depth: int
    parent: int | None
    attached: bool


class _Writer:
    """Walks a nested structure and writes the template; `work` is a stack of nodes and closing texts."""

    def __init__(self, strings: int) -> None:
        self.strings = strings
        self.out: list[str] = []
        self.slots: list[int] = []
        self.lower: set[int] = set()
        self.leaves: list[Leaf] = []
        self.truncated = False
        self.seen = 0
        self.work: list[str | _Task] = []

    def write(self, root: list[Node]) -> Template:
        # The body of a message without multipart is part 1; a multipart itself has no number.
        self.work.append(_Task(root, "" if _is_multipart(root) else "1", 0, None, False))
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
        return Template(self.strings, "".join(self.out), pick, lower, tuple(self.leaves), self.truncated)

    def _multipart(self, task: _Task) -> None:
        node, part = task.node, task.part
        children = []
        for child in node:
            if not isinstance(child, list):
                break
            children.append(child)
        rest = node[len(children) :]
        subtype = self._string(rest, 0)
        self.out.append("{")
        if part:
            self.out.append(f'"part":"{part}",')
        self.out.append('"type":"multipart/')
        self._slot(subtype, "mixed", lower=True)
        self.out.append('"')
        self._parameters("params", self._pairs(rest, 1))
        self._disposition(rest, 2)
        self.out.append(',"parts":[')
        self.work.append("]}")
        prefix = f"{part}." if part else ""
        for number in range(len(children), 0, -1):
            self.work.append(
                _Task(children[number - 1], f"{prefix}{number}", task.depth + 1, subtype, task.attached)
            )
            if number > 1:
                self.work.append(",")

    def _leaf(self, task: _Task) -> None:
        node, part = task.node, task.part
        self.seen += 1
        maintype, subtype = self._string(node, 0), self._string(node, 1)
        parameters = self._pairs(node, 2)
        self.out.append(f'{{"part":"{part}","type":"')
        self._slot(maintype, "application", lower=True)
        self.out.append("/")
        self._slot(subtype, "octet-stream", lower=True)
        self.out.append('"')
        self._parameters("params", parameters)
        content_id = self._text("id", node, 3)
        self._text("description", node, 4)
        self._text("encoding", node, 5, lower=True)
        size = self._number("size", node, 6)
        # message/rfc822 has an envelope and a body here, text a number of lines, others go on at once.
        at, inner = 7, None
        if len(node) > 8 and isinstance(node[7], list) and isinstance(node[8], list) and node[8]:
            inner, at = node[8], 9
        if len(node) > at and isinstance(node[at], int) and node[at] >= self.strings:
            self._number("lines", node, at)
            at += 1
        disposition, disposition_parameters = self._disposition(node, at + 1)
        if not task.attached:
            self.leaves.append(
                Leaf(
                    part,
                    maintype,
                    subtype,
                    tuple(parameters),
                    content_id,
                    size,
                    disposition,
                    tuple(disposition_parameters),
                    task.parent,
                )
            )
        if inner is None:
            self.out.append("}")
            return
        self.out.append(',"parts":[')
        self.work.append("]}")
        below = part if _is_multipart(inner) else f"{part}.1"
        self.work.append(_Task(inner, below, task.depth + 1, None, True))

    def _disposition(self, node: list[Node], at: int) -> tuple[int | None, list[tuple[int, int]]]:
        body = node[at] if len(node) > at else None
        if not isinstance(body, list):
            # Some servers give the word alone.
            body = [body] if isinstance(body, int) and body < self.strings else []
        disposition = self._text("disposition", body, 0, lower=True)
        pairs = self._pairs(body, 1)
        self._parameters("disposition_params", pairs)
        return disposition, pairs

    def _string(self, node: list[Node], at: int) -> int | None:
        found = node[at] if len(node) > at else None
        return found if isinstance(found, int) else None

    def _pairs(self, node: list[Node], at: int) -> list[tuple[int, int]]:
        found = node[at] if len(node) > at else None
        if not isinstance(found, list):
            return []
        pairs = zip(found[::2], found[1::2], strict=False)
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

    def _text(self, key: str, node: list[Node], at: int, lower: bool = False) -> int | None:
        slot = self._string(node, at)
        if slot is not None:
            self.out.append(f',"{key}":"')
            self._slot(slot, "", lower=lower)
            self.out.append('"')
        return slot

    def _number(self, key: str, node: list[Node], at: int) -> int | None:
        slot = self._string(node, at)
        if slot is None or slot < self.strings:
            return None
        self.out.append(f',"{key}":%s')
        self.slots.append(slot)
        return slot

    def _slot(self, slot: int | None, otherwise: str, *, lower: bool) -> None:
        if slot is None:
            self.out.append(otherwise)
            return
        self.out.append("%s")
        self.slots.append(slot)
        if lower:
            self.lower.add(slot)


def _is_multipart(node: list[Node]) -> bool:
    return bool(node) and isinstance(node[0], list)
