"""What a server's words mean for us: NO, BAD and BYE with their codes and texts → our error classes.

One table, read from top to bottom (SPEC §13, FIELD_NOTES §5.5). Codes are those of RFC 9051 §7.1, RFC 5530
and RFC 9208, and some that large providers made up.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from mailsync.errors import (
    AuthenticationFailed,
    FolderError,
    MailsyncError,
    ProtocolError,
    Throttled,
    Transient,
)
from mailsync.logs import redact

LONGEST_QUOTE = 300

_THROTTLED = frozenset({"LIMIT", "THROTTLED", "OVERQUOTA"})
_TRANSIENT = frozenset({"UNAVAILABLE", "INUSE", "SERVERBUG"})
_REJECTED = frozenset({"AUTHENTICATIONFAILED", "AUTHORIZATIONFAILED", "EXPIRED"})
_FOLDER = frozenset({"NONEXISTENT", "NOPERM", "TRYCREATE", "CANNOT"})

_HINT = re.compile(
    r"(?:back\s?-?off(?: time)?|retry(?:[ -]after)?|try again (?:in|after)|wait)\D{0,20}?(\d{1,9})\s*"
    r"(ms|millis\w*|s\b|sec\w*|m\b|min\w*|h\b|hour\w*)?",
    re.IGNORECASE,
)
_SLOW_DOWN = re.compile(
    r"too many|too much|throttl|rate.?limit|limit (?:reached|exceeded)"
    r"|exceeded .*(?:limit|maximum|bandwidth|quota)"
    r"|maximum number|max\w* .*connections|slow down|back\s?-?off|bandwidth",
    re.IGNORECASE,
)
_LATER = re.compile(
    r"temporar|try (?:again )?(?:later|in|after|soon)|later|not connected|unavailable|not available|overload"
    r"|busy|\bload\b|server error|internal error|system error|time[d -]*out|connection|shutting down|restart"
    r"|maintenance|backend",
    re.IGNORECASE,
)
_WRONG = re.compile(
    r"(?:invalid|incorrect|wrong|bad|unknown)\W+(?:\w+\W+){0,3}(?:password|credential|login|user)",
    re.IGNORECASE,
)
_CODE = re.compile(rb"\s*\[([A-Za-z0-9_.-]+)([^\]]*)\]")


_STATUS = re.compile(rb"(OK|NO|BAD|BYE|PREAUTH)(?: +|$)(.*)", re.IGNORECASE | re.DOTALL)


class Completion(NamedTuple):
    """A status response: ``status`` is OK, NO, BAD, BYE or PREAUTH, ``text`` what follows it."""

    status: str
    text: bytes

    @property
    def code(self) -> str:
        """The response code's name in upper case, or ''."""
        match = _CODE.match(self.text)
        return match[1].decode("ascii").upper() if match else ""

    @property
    def argument(self) -> bytes:
        """What follows the name inside the response code, or nothing."""
        match = _CODE.match(self.text)
        return match[2].strip() if match else b""

    @property
    def words(self) -> str:
        """The server's words, fit for a message to people."""
        return quoted(self.text)


def parse_completion(line: bytes) -> Completion | None:
    """Read ``OK [READ-ONLY] done``, as it follows a tag or ``* ``; None if it is no status response."""
    match = _STATUS.match(line)
    return Completion(match[1].decode("ascii").upper(), match[2]) if match else None


def quoted(text: bytes) -> str:
    """Return a server's words fit for a message to people: one line, without secrets, not too long."""
    words = redact(" ".join(text.decode("utf-8", "replace").split()))
    words = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in words)
    return words if len(words) <= LONGEST_QUOTE else words[: LONGEST_QUOTE - 1] + "…"


def hint(text: str) -> float | None:
    """Return the seconds that a server asks us to wait, in words, or None.

    >>> hint("Suggested Backoff Time: 5000 milliseconds")
    5.0
    """
    match = _HINT.search(text)
    if not match:
        return None
    unit = (match[2] or "s").lower()
    scale = (
        0.001 if unit.startswith(("ms", "milli")) else 60 if unit[0] == "m" else 3600 if unit[0] == "h" else 1
    )
    return min(int(match[1]) * scale, 86400.0)


def error_for(reply: Completion, command: str, *, step: str | None = None) -> MailsyncError:
    """Return the error that `reply`, which is not OK, to `command` stands for.

    `command` is the name without arguments, so that no password can be in it.
    """
    text = reply.text.decode("utf-8", "replace")
    code = reply.code
    said = f"{command}: the server said {reply.status} {quoted(reply.text)}".rstrip()
    seconds = hint(text)
    if code in _THROTTLED:
        return Throttled(said, retry_after=seconds, step=step)
    if code in _TRANSIENT:
        return Transient(said, step=step)
    if step == "login" and code in _REJECTED:
        return AuthenticationFailed(said, step=step)
    if step == "login" and reply.status != "BYE" and _WRONG.search(text):
        return AuthenticationFailed(said, step=step)
    if seconds is not None or _SLOW_DOWN.search(text):
        return Throttled(said, retry_after=seconds, step=step)
    if reply.status == "BYE" or (code not in _FOLDER and _LATER.search(text)):
        return Transient(said, step=step)
    if reply.status == "BAD":
        return ProtocolError(said, step=step)
    if step == "login":
        return AuthenticationFailed(said, step=step)
    if command in ("EXAMINE", "STATUS") or code == "NONEXISTENT":
        return FolderError(said, step=step)
    return ProtocolError(said, step=step)
