"""Trees of MIME parts, written as a message and as the BODYSTRUCTURE that a server answers for it; pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count


@dataclass(frozen=True, slots=True)
class Leaf:
    """A part without parts; ``name`` is that of Content-Type, ``filename`` that of Content-Disposition."""

    type: str
    disposition: str = ""
    name: str = ""
    filename: str = ""
    content_id: str = ""
    content: str = "x"


@dataclass(frozen=True, slots=True)
class Attached:
    """An attached message."""

    message: Tree
    disposition: str = "attachment"


@dataclass(frozen=True, slots=True)
class Multipart:
    """A multipart, such as ``Multipart("mixed", [...])``, with at least one part."""

    kind: str
    parts: list[Tree] = field(default_factory=list)


Tree = Leaf | Attached | Multipart


def message_of(tree: Tree) -> bytes:
    """Return the message, beginning with the fields of the outermost part."""
    return _message(tree, count())


def _message(tree: Tree, numbers: Iterator[int]) -> bytes:
    if isinstance(tree, Multipart):
        boundary = f"=_{next(numbers)}"
        parts = "".join(f"--{boundary}\r\n{_message(part, numbers).decode()}\r\n" for part in tree.parts)
        head = f'Content-Type: multipart/{tree.kind}; boundary="{boundary}"\r\n'
        return f"{head}\r\n{parts}--{boundary}--".encode()
    if isinstance(tree, Attached):
        head = "Content-Type: message/rfc822\r\n"
        if tree.disposition:
            head += f"Content-Disposition: {tree.disposition}\r\n"
        return head.encode() + b"\r\n" + _message(tree.message, numbers)
    head = f"Content-Type: {tree.type}{_parameter('name', tree.name)}\r\n"
    if tree.disposition:
        head += f"Content-Disposition: {tree.disposition}{_parameter('filename', tree.filename)}\r\n"
    if tree.content_id:
        head += f"Content-ID: <{tree.content_id}>\r\n"
    return f"{head}\r\n{tree.content}".encode()


def _parameter(name: str, value: str) -> str:
    return f'; {name}="{value}"' if value else ""


def structure_of(tree: Tree) -> bytes:
    """Return the BODYSTRUCTURE (RFC 9051 §7.5.2)."""
    return _structure(tree).encode()


def _structure(tree: Tree) -> str:
    if isinstance(tree, Multipart):
        parts = "".join(map(_structure, tree.parts))
        return f'({parts} "{tree.kind}" ("boundary" "x") NIL NIL NIL)'
    if isinstance(tree, Attached):
        disposition = f'("{tree.disposition}" NIL)' if tree.disposition else "NIL"
        envelope = "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"
        inner = _structure(tree.message)
        return f'("message" "rfc822" NIL NIL NIL "7bit" 9 {envelope} {inner} 1 NIL {disposition} NIL NIL)'
    maintype, _, subtype = tree.type.partition("/")
    lines = " 1" if maintype == "text" else ""
    disposition = f'("{tree.disposition}" {_pairs("filename", tree.filename)})' if tree.disposition else "NIL"
    content_id = f'"<{tree.content_id}>"' if tree.content_id else "NIL"
    size = len(tree.content)
    return (
        f'("{maintype}" "{subtype}" {_pairs("name", tree.name)} {content_id} NIL "7bit" {size}{lines}'
        f" NIL {disposition} NIL NIL)"
    )


def _pairs(name: str, value: str) -> str:
    return f'("{name}" "{value}")' if value else "NIL"
