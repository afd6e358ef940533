"""Scripted servers that show less than they hold."""

from __future__ import annotations

import re

from tests.support.imap_text import as_set, in_set
from tests.support.scripted import ScriptedServer
from tests.support.session import Request


def cut_searches(server: ScriptedServer, most: int, code: str = "", *, newest: bool = True) -> None:
    """Let UID SEARCH name at most `most` messages: the newest, or else the oldest.

    `code` is ``OK [MESSAGELIMIT {most} {lowest}]`` or another tagged response; silent without one.
    """

    def search(request: Request) -> bytes:
        answer = request.default()
        found = _uids(answer)
        if len(found) <= most:
            return answer
        shown = found[-most:] if newest else found[:most]
        completion = (code or "OK done").format(most=most, lowest=shown[0]).encode()
        if completion.startswith(b"NO"):
            shown = []
        if answer.startswith(b"* ESEARCH"):
            named = b" ALL " + as_set(shown) if shown else b""
            line = b'* ESEARCH (TAG "%s") UID%s\r\n' % (request.tag, named)
        else:
            line = b"* SEARCH" + b"".join(b" %d" % uid for uid in shown) + b"\r\n"
        return line + request.tagged(completion)

    server.on("UID SEARCH", search)


def hide_from_searches(server: ScriptedServer, *uids: int) -> None:
    """Let UID SEARCH never name these messages; EXISTS counts them, and FETCH answers them."""

    def search(request: Request) -> bytes:
        shown = [uid for uid in _uids(request.default()) if uid not in uids]
        named = b" ALL " + as_set(shown) if shown else b""
        return b'* ESEARCH (TAG "%s") UID%s\r\n' % (request.tag, named) + request.tagged(b"OK done")

    server.on("UID SEARCH", search)


def hide_from_fetches(server: ScriptedServer, *uids: int) -> None:
    """Let UID FETCH never answer these messages."""

    def fetch(request: Request) -> bytes:
        lines = request.default().splitlines(keepends=True)
        gone = [b"UID %d " % uid for uid in uids] + [b"UID %d)" % uid for uid in uids]
        kept, skipping = [], False
        for line in lines:
            if re.match(rb"\* \d+ FETCH |%s " % request.tag, line):
                skipping = any(name in line for name in gone)
            kept += [] if skipping else [line]
        return b"".join(kept)

    server.on("UID FETCH", fetch)


def _uids(answer: bytes) -> list[int]:
    """The UIDs in an answer to UID SEARCH, ascending."""
    extended = re.search(rb"ALL ([0-9:,]+)", answer.split(b"\r\n")[0])
    if extended:
        return sorted(uid for first, last in in_set(extended[1], 0) for uid in range(first, last + 1))
    line = answer.split(b"\r\n")[0]
    return sorted(map(int, re.findall(rb"\b\d+\b", line))) if line.startswith(b"* SEARCH") else []
