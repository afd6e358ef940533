"""Replace the secrets of this process by ``***`` before a text is logged or shown."""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mailsync.secret_forms import Beginning, end_of_token, forms_of, shortened

MASK = "***"

_HEAD = 4
_CUT = 16
"""Characters of a secret at the end of a text that are masked although its rest is missing."""

# Possessive quantifiers wherever the text may be long keep the time linear. `user:password@host` is not a
# secret, because our own messages give it as an example.
_AFTER_SCHEME = re.compile(r"://(?<=[a-z0-9+.-]://)(?!user:password@host\b)([^\s\"']++)", re.IGNORECASE)
# An unterminated string counts too, because the text may have been cut there.
_STRING = r"""\\?"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)"""
_ATOM = r"""[^\s"]++"""
# The tag before a command shows that a client sent the line. Without a tag, LOGIN and AUTHENTICATE are mostly
# words of a server ("LOGIN disabled, use AUTHENTICATE PLAIN"): there only what looks like no word is masked.
_TAG = r"(?<![\w.-])(?!IMAP\d)[A-Za-z]{1,8}\d{1,9}(?:\.\d{1,9})? "
_LOGIN = re.compile(
    rf"({_TAG}LOGIN )(?!(?:command|denied|disabled|failed|failure|is|method|not|rejected|was)\b)"
    rf"(?:{_STRING}(?: (?:{_STRING}|{_ATOM}))?|{_ATOM} (?:{_STRING}|{_ATOM}))"
)
_AUTHENTICATE = re.compile(rf"({_TAG}AUTHENTICATE [\w-]++ )(?!failed\b|is\b|not\b)(?:{_STRING}|{_ATOM})")
_NO_WORD = r"""\\?"?(?=[^\s"]{0,64}\d)(?=[^\s"]{0,64}[A-Za-z])[^\s"]{16,}+"?"""
_BARE_LOGIN = re.compile(rf"""\b(LOGIN )(?:\\?"[^"\\]{{0,99}}\\?"|{_ATOM}) {_NO_WORD}""")
_BARE_AUTHENTICATE = re.compile(
    rf"\b(AUTHENTICATE [\w-]++ )(?:{_NO_WORD}|(?=[A-Za-z0-9+/]*+[0-9+/=])[A-Za-z0-9+/]{{8,}}+={{0,2}}+(?!\S))"
)
_COMMANDS = (_LOGIN, _AUTHENTICATE, _BARE_LOGIN, _BARE_AUTHENTICATE)
# characters of a credential that :meth:`Mask.beginning` must see to know that it is one
_SEEN = 64


class _Secrets:
    """A set of secrets, each in all forms in which a text may contain it.

    Secrets are looked up by their first characters, so that masking a line takes the same time with two
    accounts as with thousands.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_head: dict[str, tuple[str, ...]] = {}
        self._short: frozenset[str] = frozenset()
        self._keepers: dict[str, int] = {}
        self._users: dict[str, int] = {}
        self._removed: deque[str] = deque()
        self.longest = 0
        """The length of the longest form of any secret so far."""

    def add(self, value: str) -> None:
        with self._lock:
            self._keepers[value] = keepers = self._keepers.get(value, 0) + 1
            for form in forms_of(value) if keepers == 1 else ():
                # similar secrets share forms
                self._users[form] = users = self._users.get(form, 0) + 1
                if users == 1:
                    self._add_form(form)
        self._process_removed()

    def remove(self, value: str) -> None:
        """Undo one :meth:`add`. Never waits for the lock, because the garbage collector may call it."""
        self._removed.append(value)
        self._process_removed()

    def _process_removed(self) -> None:
        # if another thread holds the lock, it processes the queue when it is done
        while self._removed and self._lock.acquire(blocking=False):
            try:
                while self._removed:
                    self._forget(self._removed.popleft())
            finally:
                self._lock.release()

    def _forget(self, value: str) -> None:
        self._keepers[value] -= 1
        if self._keepers[value]:
            return
        del self._keepers[value]
        for form in forms_of(value):
            self._users[form] -= 1
            if not self._users[form]:
                del self._users[form]
                self._remove_form(form)

    def _add_form(self, form: str) -> None:
        self.longest = max(self.longest, len(form))
        if len(form) < _HEAD:
            self._short |= {form}
            return
        known = (*self._by_head.get(form[:_HEAD], ()), form)
        self._by_head[form[:_HEAD]] = tuple(sorted(known, key=len, reverse=True))

    def _remove_form(self, form: str) -> None:
        if len(form) < _HEAD:
            self._short -= {form}
            return
        left = tuple(known for known in self._by_head.pop(form[:_HEAD]) if known != form)
        if left:
            self._by_head[form[:_HEAD]] = left

    def mask(self, text: str) -> str:
        if not self._by_head and not self._short:
            return text
        parts, i, copied = [], 0, 0
        while i < len(text):
            length = self._length_at(text, i)
            if length:
                parts += [text[copied:i], MASK]
                copied = i = i + length
            else:
                i += 1
        return "".join([*parts, text[copied:]])

    def _length_at(self, text: str, i: int) -> int:
        """The length of the secret that begins at index `i`; 0 if none does."""
        left = len(text) - i
        for form in self._by_head.get(text[i : i + _HEAD], ()):
            if text.startswith(form, i):
                return end_of_token(text, i) - i if isinstance(form, Beginning) else len(form)
            # a server's line is cut when it gets too long, perhaps within a token of thousands of characters
            if _CUT <= left < len(form) and form.startswith(text[i:]):
                return left
        # very short secrets are masked only as whole words, or logs would be unreadable
        for form in self._short:
            if text.startswith(form, i) and not _inside_word(text, i, i + len(form)):
                return len(form)
        return 0


_secrets = _Secrets()


def keep_secret(value: str) -> None:
    """Mask ``value`` in logs and messages from now on, until the process ends."""
    if value:
        _secrets.add(shortened(value))


@contextmanager
def kept_secret(value: str) -> Iterator[None]:
    """Mask ``value`` inside the context, and afterwards only while other callers still keep it.

    It is also masked in an error that leaves the context, which may be shown or logged later.
    """
    if not value:
        yield
        return
    value = shortened(value)
    _secrets.add(value)
    try:
        yield
    except BaseException as error:
        _mask_in_error(error, value)
        raise
    finally:
        _secrets.remove(value)


def _mask_in_error(error: BaseException, value: str) -> None:
    """Mask ``value`` in the arguments of an error and of its causes and contexts."""
    mask, seen = masking(value), set[int]()
    chain: list[BaseException | None] = [error]
    while chain:
        link = chain.pop()
        if link is not None and id(link) not in seen:
            seen.add(id(link))
            link.args = tuple(mask(arg) if isinstance(arg, str) else arg for arg in link.args)
            chain += [link.__cause__, link.__context__]


def redact(text: str) -> str:
    """``text`` with ``***`` in place of secrets, for logs and for the operators of the service.

    Secrets are the values passed to :func:`keep_secret` and :func:`kept_secret`, in plain, escaped,
    percent-encoded and base64 form, and credentials as :func:`mask_credentials` finds them. Do not use it for
    responses to API clients: a client could find out whether a text that it sent is a secret.
    """
    return _all_secrets(text)


def redact_beginning(text: str, limit: int) -> tuple[str, bool]:
    """:meth:`Mask.beginning` for everything that :func:`redact` masks."""
    return _all_secrets.beginning(text, limit)


def masking(*values: str) -> Mask:
    """Return a mask for ``values`` in all of their forms and for credentials, but for no other secret."""
    secrets = _Secrets()
    for value in filter(None, values):
        secrets.add(shortened(value))
    return Mask(secrets)


def mask_credentials(text: str) -> str:
    """``text`` with ``***`` for the credentials in ``scheme://user:password@`` and commands that log in.

    They are found by their position, whether or not they are secrets of this process.
    """
    return _no_secret(text)


class Mask:
    """Replaces credentials, found by their position, and the given secrets by ``***``.

    ``mask(text)`` returns the whole text, :meth:`beginning` only as much as is shown.
    """

    def __init__(self, secrets: _Secrets) -> None:
        self._secrets = secrets

    def __call__(self, text: str) -> str:
        """Return all of ``text``, masked."""
        return self._masked(text, _without_userinfo)

    def beginning(self, text: str, limit: int) -> tuple[str, bool]:
        """The first `limit` characters of the masked text or fewer, and whether they are all of it.

        Reads only as much of `text` as needed, so that a long text takes no longer than a short one. A secret
        at the cut is masked or left out as a whole.
        """
        # masking a very short secret inside a longer one makes the text longer
        room = 2 * self._secrets.longest + _SEEN
        if len(text) <= limit + 2 * room:
            masked = self(text)
            return masked[:limit], len(masked) <= limit
        masked = self._masked(text[: limit + 2 * room], _without_open_userinfo)
        return masked[: max(0, min(limit, len(masked) - room))], False

    def _masked(self, text: str, without_userinfo: Callable[[re.Match[str]], str]) -> str:
        text = self._secrets.mask(text)
        if "://" in text:
            text = _AFTER_SCHEME.sub(without_userinfo, text)
        if "LOGIN " in text or "AUTHENTICATE " in text:
            for command in _COMMANDS:
                text = command.sub(rf"\1{MASK}", text)
        return text


def _without_userinfo(match: re.Match[str]) -> str:
    _, at_sign, after = match[1].rpartition("@")
    return f"://{MASK}@{after}" if at_sign else match[0]


def _without_open_userinfo(match: re.Match[str]) -> str:
    """As :func:`_without_userinfo`, and masks a URL at the end of the text, whose ``@`` may be cut off."""
    return f"://{MASK}" if match.end() == len(match.string) else _without_userinfo(match)


_all_secrets = Mask(_secrets)
_no_secret = Mask(_Secrets())


def _inside_word(text: str, start: int, end: int) -> bool:
    return text[start - 1 : start].isalnum() or text[end : end + 1].isalnum()
