"""Servers that fail at some of a folder's messages, in the ways that are known from the field."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any

from tests.support.imap_sessions import pieces
from tests.support.imap_text import in_set
from tests.support.scripted import Handler, ScriptedServer
from tests.support.session import Request

Fault = Callable[[Request, bytes], "bytes | None"]
"""Given the request and the honest response for the bad message, returns what to send in its place."""


def asks_for(request: Request, uid: int, even_flags: bool = False) -> bool:
    """Whether the FETCH is for the message, and not only for its flags."""
    if not even_flags and not any(
        word in request.text for word in (b"INTERNALDATE", b"RFC822.SIZE", b"BODY")
    ):
        return False
    asked = in_set(request.arguments[0], 10_000)  # type: ignore[arg-type]
    return any(first <= uid <= last for first, last in asked)


def fail_at(
    server: ScriptedServer,
    uids: int | Collection[int],
    fault: Fault,
    when: Callable[[Request], bool] = lambda request: True,
    folder: bytes | None = None,
) -> None:
    """Answer honestly up to a message of `uids`, which gets the `fault`, and continue behind it.

    Only requests count for which `when` is true, and only those in `folder` if one is given.
    """
    bad = {uids} if isinstance(uids, int) else set(uids)

    def answer(request: Request) -> bytes | None:
        here = request.connection.selected
        hit = {uid for uid in bad if asks_for(request, uid)}
        if not hit or not when(request) or (folder and here and here.name != folder):
            return request.default()
        lines, end = pieces(request.default())
        for line in lines:
            number = re.search(rb"UID (\d+)", line)
            if number and int(number[1]) in hit:
                if (instead := fault(request, line)) is None:
                    return None
                line = instead
            request.send(line)
        return end

    server.on("UID FETCH", answer)


def refuse(server: ScriptedServer, uids: int | Collection[int], text: bytes, **options: Any) -> None:
    """Refuse each set that holds a message of `uids`, without an answer for the others.

    With ``even_flags`` also a set whose flags alone are asked for.
    """
    _at_once(server, uids, lambda request: request.tagged(text), **options)


def kill(server: ScriptedServer, uids: int | Collection[int], **options: Any) -> None:
    """Close the connection at each set that holds a message of `uids`, without any answer."""
    _at_once(server, uids, Request.close, **options)


def _at_once(
    server: ScriptedServer,
    uids: int | Collection[int],
    answer: Handler,
    when: Callable[[Request], bool] = lambda request: True,
    folder: bytes | None = None,
    even_flags: bool = False,
) -> None:
    bad = {uids} if isinstance(uids, int) else set(uids)

    def handle(request: Request) -> bytes | None:
        here = request.connection.selected
        if not when(request) or (folder and here and here.name != folder):
            return request.default()
        return (
            answer(request) if any(asks_for(request, uid, even_flags) for uid in bad) else request.default()
        )

    server.on("UID FETCH", handle)


def for_content(request: Request) -> bool:
    """Whether the request is for more than flags, date and size."""
    return b"BODY" in request.text


def for_structure(request: Request) -> bool:
    """Whether the request is for the structure."""
    return b"BODYSTRUCTURE" in request.text


# -- faults ----------------------------------------------------------------------------------------------


def blank_line(request: Request, line: bytes) -> bytes:
    """An empty line before the closing parenthesis."""
    return line.removesuffix(b")\r\n") + b"\r\n)\r\n"


def garbage(request: Request, line: bytes) -> bytes:
    """Lines that belong to nothing, inside of the response."""
    return line[: len(line) // 2] + b"\r\n\x00\xff?\r\nnot IMAP\r\n" + line[len(line) // 2 :]


def literal_too_long(request: Request, line: bytes) -> bytes:
    """A literal that claims more bytes than it has, and swallows the next response."""
    return re.sub(rb"\{(\d+)\}", lambda size: b"{%d}" % (int(size[1]) + 150), line, count=1)


def literal_too_short(request: Request, line: bytes) -> bytes:
    """A literal that claims fewer bytes than it has."""
    return re.sub(rb"\{(\d+)\}", lambda size: b"{%d}" % (int(size[1]) // 2), line, count=1)


def close(request: Request, line: bytes) -> bytes:
    """The end of the connection."""
    return request.close()


def close_inside(request: Request, line: bytes) -> bytes:
    """Half of the response, and the end of the connection."""
    request.send(line[: len(line) // 2])
    return request.close()


def bye(request: Request, line: bytes) -> bytes:
    """BYE."""
    return request.bye(b"Internal error, see the log")


def hang(request: Request, line: bytes) -> bytes:
    """Nothing more."""
    return request.hang()


def no(request: Request, line: bytes) -> bytes | None:
    """NO, after the messages before."""
    request.send(request.tagged(b"NO cannot read this message"))
    return None


def left_out(request: Request, line: bytes) -> bytes:
    """Nothing for this message, and OK in the end."""
    return b""
