"""Masking: ``***`` in place of the secrets of this process, before a text is logged or shown."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import quote, quote_plus

MASK = "***"

_HEAD = 4

# These patterns are possessive over all that may be long, so that their time is linear. `user:password@host`
# is no secret: our own messages give it as an example.
_AFTER_SCHEME = re.compile(r"://(?<=[a-z0-9+.-]://)(?!user:password@host\b)([^\s\"']++)", re.IGNORECASE)
# An unterminated string counts: the text may have been cut there.
_STRING = r"""\\?"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)"""
_ATOM = r"""[^\s"]++"""
# Servers and people write "LOGIN failed for …" too; that is prose, not a command.
_LOGIN = re.compile(
    r"\bLOGIN (?!(?:failed|failure|denied|rejected|is|was|not)\b)"
    rf"(?:{_STRING}(?: (?:{_STRING}|{_ATOM}))?|{_ATOM} (?:{_STRING}|{_ATOM}))"
)
_AUTHENTICATE = re.compile(rf"\b(AUTHENTICATE \S++) (?:{_STRING}|{_ATOM})")


class _Secrets:
    """A set of secrets, each in all the forms that a text may hold.

    A secret is looked up by its first characters, so that a line costs the same with two accounts or with
    thousands.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_head: dict[str, tuple[str, ...]] = {}
        self._short: frozenset[str] = frozenset()
        self._keepers: dict[str, int] = {}
        self._users: dict[str, int] = {}
        self._leaving: deque[str] = deque()
        self.longest = 0
        """The length of the longest form that a secret has had."""

    def add(self, value: str) -> None:
        with self._lock:
            self._keepers[value] = keepers = self._keepers.get(value, 0) + 1
            for form in _forms(value) if keepers == 1 else ():
                # secrets that resemble each other have forms in common
                self._users[form] = users = self._users.get(form, 0) + 1
                if users == 1:
                    self._put(form)
        self._settle()

    def remove(self, value: str) -> None:
        """Take back one :meth:`add`; never waits, since the garbage collector may call it anywhere."""
        self._leaving.append(value)
        self._settle()

    def _settle(self) -> None:
        # no wait for the lock: its holder settles too when it is done
        while self._leaving and self._lock.acquire(blocking=False):
            try:
                while self._leaving:
                    self._forget(self._leaving.popleft())
            finally:
                self._lock.release()

    def _forget(self, value: str) -> None:
        self._keepers[value] -= 1
        if self._keepers[value]:
            return
        del self._keepers[value]
        for form in _forms(value):
            self._users[form] -= 1
            if not self._users[form]:
                del self._users[form]
                self._take(form)

    def _put(self, form: str) -> None:
        self.longest = max(self.longest, len(form))
        if len(form) < _HEAD:
            self._short |= {form}
            return
        known = (*self._by_head.get(form[:_HEAD], ()), form)
        self._by_head[form[:_HEAD]] = tuple(sorted(known, key=len, reverse=True))

    def _take(self, form: str) -> None:
        if len(form) < _HEAD:
            self._short -= {form}
            return
        left = tuple(known for known in self._by_head.pop(form[:_HEAD]) if known != form)
        if left:
            self._by_head[form[:_HEAD]] = left

    def mask(self, text: str) -> str:
        if not self._by_head and not self._short:
            return text
        parts, at, kept = [], 0, 0
        while at < len(text):
            length = self._length_at(text, at)
            if length:
                parts += [text[kept:at], MASK]
                kept = at = at + length
            else:
                at += 1
        return "".join([*parts, text[kept:]])

    def _length_at(self, text: str, at: int) -> int:
        """The length of the secret that begins at this place; 0 where there is none."""
        for form in self._by_head.get(text[at : at + _HEAD], ()):
            if text.startswith(form, at):
                return len(form)
        # A very short secret is masked only as a whole word; logs would be unreadable otherwise.
        for form in self._short:
            if text.startswith(form, at) and not _inside_word(text, at, at + len(form)):
                return len(form)
        return 0


_secrets = _Secrets()


def keep_secret(value: str) -> None:
    """Never let ``value`` be logged or quoted from now on, for as long as the process lives."""
    if value:
        _secrets.add(value)


@contextmanager
def kept_secret(value: str) -> Iterator[None]:
    """Let ``value`` be a secret inside the context, and afterwards only if somebody else keeps it.

    It is masked in an error that leaves the context, so that the error may be shown or logged later.
    """
    if not value:
        yield
        return
    _secrets.add(value)
    try:
        yield
    except BaseException as error:
        _cleanse(error, value)
        raise
    finally:
        _secrets.remove(value)


def _cleanse(error: BaseException, value: str) -> None:
    """Mask ``value`` in the texts of an error and of its causes and contexts."""
    mask, seen = masking(value), set[int]()
    chain: list[BaseException | None] = [error]
    while chain:
        each = chain.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            each.args = tuple(mask(arg) if isinstance(arg, str) else arg for arg in each.args)
            chain += [each.__cause__, each.__context__]


def redact(text: str) -> str:
    """``text`` with ``***`` in place of secrets, for logs and for the people who run the service.

    Secrets are the values given to :func:`keep_secret` and :func:`kept_secret`, in plain, escaped,
    percent-encoded and base64 form, and credentials as :func:`mask_credentials` finds them. Texts for clients
    of the API never go through this: a client that chose the text would see whether it is a secret.
    """
    return _all_secrets(text)


def redact_beginning(text: str, limit: int) -> tuple[str, bool]:
    """As :meth:`Mask.beginning`, for what :func:`redact` masks."""
    return _all_secrets.beginning(text, limit)


def masking(value: str) -> Mask:
    """Return a mask for ``value``, in all of its forms, and for credentials, but for no other secret."""
    alone = _Secrets()
    if value:
        alone.add(value)
    return Mask(alone)


def mask_credentials(text: str) -> str:
    """``text`` with ``***`` for the credentials in ``scheme://user:password@``, LOGIN and AUTHENTICATE.

    Only their place counts, not whether they are secrets of this process.
    """
    return _no_secret(text)


class Mask:
    """Puts ``***`` in place of credentials, by where they stand, and of the secrets that it was given.

    ``mask(text)`` takes a whole text, :meth:`beginning` no more of it than is shown.
    """

    def __init__(self, secrets: _Secrets) -> None:
        self._secrets = secrets

    def __call__(self, text: str) -> str:
        """All of ``text``, masked."""
        return self._masked(text, _without_userinfo)

    def beginning(self, text: str, limit: int) -> tuple[str, bool]:
        """The first `limit` characters of the masked text, perhaps fewer, and whether they are all of it.

        No more of `text` is looked at than they need, so that a long one costs no more than a short one. A
        secret at the edge is masked or left out; no part of it is shown.
        """
        # A very short secret inside a longer one makes the longer one grow when it is masked.
        room = 2 * self._secrets.longest
        if len(text) <= limit + 2 * room:
            masked = self(text)
            return masked[:limit], len(masked) <= limit
        masked = self._masked(text[: limit + 2 * room], _without_open_userinfo)
        return masked[: max(0, min(limit, len(masked) - room))], False

    def _masked(self, text: str, without_userinfo: Callable[[re.Match[str]], str]) -> str:
        text = self._secrets.mask(text)
        if "://" in text:
            text = _AFTER_SCHEME.sub(without_userinfo, text)
        if "LOGIN " in text:
            text = _LOGIN.sub(f"LOGIN {MASK}", text)
        return _AUTHENTICATE.sub(rf"\1 {MASK}", text) if "AUTHENTICATE " in text else text


def _without_userinfo(found: re.Match[str]) -> str:
    _, at, after = found[1].rpartition("@")
    return f"://{MASK}@{after}" if at else found[0]


def _without_open_userinfo(found: re.Match[str]) -> str:
    """As :func:`_without_userinfo`, but at the end of the text, where the ``@`` may have been cut off."""
    return f"://{MASK}" if found.end() == len(found.string) else _without_userinfo(found)


_all_secrets = Mask(_secrets)
_no_secret = Mask(_Secrets())


def _forms(value: str) -> set[str]:
    """The forms of ``value`` in URLs, IMAP strings, JSON, Python reprs and base64."""
    raw = value.encode("utf-8", "surrogatepass")
    forms = {value, quote_plus(raw), quote(raw), quote(raw, safe="")}
    forms |= {re.sub(r"%[0-9A-F]{2}", lambda code: code[0].lower(), form) for form in forms}
    forms |= {json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    forms |= {value.replace("\\", "\\\\").replace('"', '\\"'), repr(value)[1:-1], repr(raw)[2:-1]}
    forms |= {raw.decode("latin-1"), raw.hex()}
    for offset in range(3):
        # Inside a longer text, as in AUTHENTICATE PLAIN, base64 has three phases; what depends on the
        # neighbours is cut off.
        code = base64.b64encode(bytes(offset) + raw).rstrip(b"=").decode()
        inner = code[-(-offset * 8 // 6) : (offset + len(raw)) * 8 // 6]
        if offset == 0:
            forms |= {code, code.translate(str.maketrans("+/", "-_"))}
        if len(inner) >= 6:
            forms |= {inner, inner.translate(str.maketrans("+/", "-_"))}
    return forms


def _inside_word(text: str, start: int, end: int) -> bool:
    return text[start - 1 : start].isalnum() or text[end : end + 1].isalnum()
