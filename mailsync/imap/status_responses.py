"""Status responses: OK, NO, BAD and BYE, and the errors of ours that their codes and texts stand for.

The rules of :func:`error_for` apply from top to bottom (SPEC §13). Codes are those of RFC 9051 §7.1, RFC 5530
and RFC 9208, and some that large providers invented.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from mailsync.errors import (
    AuthenticationFailed,
    FolderError,
    MailsyncError,
    NotConnected,
    ProtocolError,
    Throttled,
    Transient,
)
from mailsync.redaction import Mask, masking

_CREDENTIALS = masking("")

LONGEST_QUOTE = 300
"""Characters of a server's words that are shown to people."""

LONGEST_UNDERSTOOD = 1000
"""Characters of a server's words that are searched for their meaning."""

LONGEST_WAIT = 3600.0
"""Seconds to wait at most, however long the server asks for."""

_THROTTLED = frozenset({"LIMIT", "THROTTLED", "OVERQUOTA"})
_TRANSIENT = frozenset({"UNAVAILABLE", "INUSE", "IN-USE", "SERVERBUG"})
_REJECTED = frozenset(
    {"AUTHENTICATIONFAILED", "AUTHORIZATIONFAILED", "EXPIRED", "PRIVACYREQUIRED", "CONTACTADMIN", "WEBALERT"}
)
LOGGED_OUT = frozenset({"AUTHENTICATIONFAILED", "EXPIRED"})
"""Codes that end the use of a session; no mailbox and no message causes them."""
_FOLDER = frozenset({"NONEXISTENT", "NOPERM", "TRYCREATE", "CANNOT"})
_FOLDER_BUSY = frozenset({"INUSE", "IN-USE", "SERVERBUG"})
_OPENING = frozenset({"EXAMINE", "STATUS"})

_UNIT = r"(ms|millis\w*|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?)\b"
_WAITS = (
    re.compile(
        r"(?:back\s?-?off(?: time)?|retry|try(?: again)?|again|wait|blocked|locked|suspended)\b"
        rf"[^\d]{{0,24}}?\b(\d{{1,9}})\s*{_UNIT}",
        re.IGNORECASE,
    ),
    re.compile(r"(?:back\s?-?off(?: time)?|retry[- ]after)\W{0,3}(\d{1,9})\b", re.IGNORECASE),
)
_SLOW_DOWN = re.compile(
    r"too many(?! (?:invalid|bad) (?:imap )?command)|too much|too (?:fast|often|frequent)|throttl|rate.?limit"
    r"|limit (?:reached|exceeded)|(?:attempts|connections) exceeded"
    r"|exceeded .{0,100}?(?:limit|maximum|bandwidth|quota|attempts)"
    r"|maximum number|max\w{0,10} .{0,100}?connection|slow down|back\s?-?off|bandwidth|lock ?out",
    re.IGNORECASE,
)
_LATER = re.compile(
    r"temporar|try (?:again )?(?:later|in|after|soon)|later|not connected|unavailable|not available|overload"
    r"|busy|\bload\b|server error|internal (?:\w+ )?(?:error|failure)|system error|time[d -]*out|connection"
    r"|unable to (?:contact|reach)|database|shutting down|restart|maintenance|backend|lookup failed",
    re.IGNORECASE,
)
# Exchange Online, to a login and to any command after it
_NOT_CONNECTED = re.compile(r"authenticated but not connected", re.IGNORECASE)
_WRONG = re.compile(
    r"(?:invalid|incorrect|wrong|bad|unknown)\W+(?:\w+\W+){0,3}(?:password|credential|login|user)"
    r"|password (?:is |was )?(?:incorrect|wrong|invalid|expired)"
    r"|(?:user|account) (?:is )?(?:not found|unknown)",
    re.IGNORECASE,
)
_INSECURE = re.compile(
    r"(?:plain|clear) ?-?text|insecure|unencrypted|(?:ssl|tls|encryption|secure connection) (?:is )?required"
    r"|requires? (?:ssl|tls|encryption|an? (?:secure|encrypted))|under a layer",
    re.IGNORECASE,
)
_NO_SUCH = re.compile(
    r"(?:does ?n.?t|does not|no longer) exist|no such|not found|unknown (?:mailbox|folder)|nonexistent",
    re.IGNORECASE,
)
_CODE = re.compile(rb"\s*+\[([A-Za-z0-9_.-]++)([^\]]*+)\]")
_STATUS = re.compile(rb"(OK|NO|BAD|BYE|PREAUTH)(?: +|$)(.*)", re.IGNORECASE | re.DOTALL)


class StatusResponse(NamedTuple):
    """A status response (RFC 9051 §7.1): ``status`` is OK, NO, BAD, BYE or PREAUTH, ``text`` the rest.

    ``mask`` hides the account's password in :attr:`words`.
    """

    status: str
    text: bytes
    mask: Mask = _CREDENTIALS

    @property
    def code(self) -> str:
        """The name of the response code in upper case, or ''."""
        match = _CODE.match(self.text)
        return match[1].decode("ascii").upper() if match else ""

    @property
    def argument(self) -> bytes:
        """The rest of the response code after its name, or nothing."""
        match = _CODE.match(self.text)
        return match[2].strip() if match else b""

    @property
    def words(self) -> str:
        """The server's words for a message to people."""
        return quoted(self.text, self.mask)


def parse_status_response(line: bytes, mask: Mask = _CREDENTIALS) -> StatusResponse | None:
    """Parse ``OK [READ-ONLY] done``, the text after a tag or ``* ``; None if it is no status response."""
    match = _STATUS.match(line)
    return StatusResponse(match[1].decode("ascii").upper(), match[2], mask) if match else None


def quoted(text: bytes, mask: Mask) -> str:
    """Return a server's words for a message to people: one line of at most :data:`LONGEST_QUOTE` characters.

    `mask` hides the account's password and no other secret, because the API shows these words to clients.
    """
    # four times the length, because some servers pad their words with blanks, which are collapsed
    shown, is_whole = mask.beginning(text.decode("utf-8", "replace"), 4 * LONGEST_QUOTE)
    words = " ".join(shown.split())
    words = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in words)
    return words if is_whole and len(words) <= LONGEST_QUOTE else words[: LONGEST_QUOTE - 1] + "…"


def requested_wait(text: str) -> float | None:
    """Return the seconds that a server's words ask us to wait, at most :data:`LONGEST_WAIT`; None if none.

    >>> requested_wait("Suggested Backoff Time: 5000 milliseconds")
    5.0
    """
    match = next(filter(None, (pattern.search(text) for pattern in _WAITS)), None)
    if not match:
        return None
    unit = (match[2] if match.re.groups > 1 else "s").lower()
    scale = (
        0.001 if unit.startswith(("ms", "milli")) else 60 if unit[0] == "m" else 3600 if unit[0] == "h" else 1
    )
    return min(int(match[1]) * scale, LONGEST_WAIT)


def error_for(response: StatusResponse, command: str, *, step: str | None = None) -> MailsyncError:
    """Return the error for `response`, a completion other than OK or a BYE, to `command`.

    `command` is a name without arguments, so that it cannot hold a password. Codes count more than words, and
    a rejected login more than a request to wait. `step` is ``login`` for LOGIN alone: no other command can
    reject a password, and a BYE never does.
    """
    message = f"{command}: the server said {response.status} {response.words}".rstrip()
    code = response.code
    text = _without_code(response.text).decode("utf-8", "replace")[:LONGEST_UNDERSTOOD]
    seconds = requested_wait(text)
    if _NOT_CONNECTED.search(text):
        return NotConnected(message, retry_after=seconds, step=step)
    if step == "login" and response.status != "BYE":
        if code in _REJECTED or (code not in _THROTTLED | _TRANSIENT and _rejects(text)):
            return AuthenticationFailed(message, retry_after=seconds, step=step)
    elif command in _OPENING and response.status == "NO" and _concerns_folder(code, text):
        return FolderError(message, temporary=code in _FOLDER_BUSY, step=step)
    if code == "MESSAGELIMIT":
        # "too many messages" for one command (RFC 9738), which is not a request to slow down
        return ProtocolError(message, step=step)
    if code in _THROTTLED or seconds is not None:
        return Throttled(message, retry_after=seconds, step=step)
    if code in _TRANSIENT or code in LOGGED_OUT:
        return Transient(message, step=step)
    if _SLOW_DOWN.search(text):
        return Throttled(message, step=step)
    if response.status == "BYE" or (code not in _FOLDER and _LATER.search(text)):
        return Transient(message, step=step)
    if response.status == "BAD":
        return ProtocolError(message, step=step)
    if step == "login":
        return AuthenticationFailed(message, step=step)
    if command in _OPENING or code == "NONEXISTENT":
        return FolderError(message, step=step)
    return ProtocolError(message, step=step)


def _without_code(text: bytes) -> bytes:
    code = _CODE.match(text)
    return text[code.end() :] if code else text


def _rejects(text: str) -> bool:
    # "too many wrong passwords" is a lock-out, which does not mean that this password is wrong
    return bool(_WRONG.search(text) or _INSECURE.search(text)) and not _SLOW_DOWN.search(text)


def _concerns_folder(code: str, text: str) -> bool:
    """Whether a refusal to open a folder concerns that folder alone.

    A folder that is locked or damaged must not stop the folders after it.
    """
    return code in _FOLDER or code in _FOLDER_BUSY or (not code and bool(_NO_SUCH.search(text)))
