"""Log lines as JSON or text, with every known secret replaced before a line is written.

Modules log by ``logging.getLogger(__name__)`` and put what belongs in fields of its own into ``extra``::

    log.info("Folder complete", extra={"action": "backfill", "account_id": 1, "duration_ms": 812})
"""

from __future__ import annotations

import base64
import json
import logging
import math
import re
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO
from urllib.parse import quote, quote_plus

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from mailsync import postgres_url
from mailsync.unprintable import escaped

if TYPE_CHECKING:
    from mailsync.config import Settings

MASK = "***"

_HEAD = 4

# Each of these takes what it has looked at, and gives nothing back, so that its time is linear.
# The exception is the example that our own messages give.
_AFTER_SCHEME = re.compile(r"://(?<=[a-z0-9+.-]://)(?!user:password@host\b)([^\s\"']++)", re.IGNORECASE)
# A string without an end is one, too: it was cut.
_STRING = r"""\\?"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)"""
_ATOM = r"""[^\s"]++"""
# Servers and people write "LOGIN failed for …" too; that is prose, not a command.
_LOGIN = re.compile(
    r"\bLOGIN (?!(?:failed|failure|denied|rejected|is|was|not)\b)"
    rf"(?:{_STRING}(?: (?:{_STRING}|{_ATOM}))?|{_ATOM} (?:{_STRING}|{_ATOM}))"
)
_AUTHENTICATE = re.compile(rf"\b(AUTHENTICATE \S++) (?:{_STRING}|{_ATOM})")


class _Secrets:
    """The secrets of this process, in all the forms in which they may come by.

    They are found by their first characters, so that a line costs the same with two accounts or with
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
        """The most characters that a form of a secret has had."""

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
        # whoever holds the lock comes here too when done
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
        # A very short one is taken only where it stands alone, else logs could not be read.
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
    """Let ``value`` be a secret inside, and from then on only if somebody else keeps it.

    An error that leaves is rid of it, so that it may be shown or logged later.
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
    """Mask ``value`` in the texts of an error and of those that it came of."""
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

    These are what :func:`keep_secret` and :func:`kept_secret` were told, in plain, escaped, percent-encoded
    and base64 form, and what :func:`mask_credentials` masks. Clients of the API get no text that went through
    this: those who can make a server say a text would see whether it is a secret.
    """
    return _all_secrets(text)


def redact_beginning(text: str, limit: int) -> tuple[str, bool]:
    """As :meth:`Mask.beginning`, for what :func:`redact` masks."""
    return _all_secrets.beginning(text, limit)


def masking(value: str) -> Mask:
    """Return what masks ``value``, in all of its forms, and credentials; it knows no other secret."""
    alone = _Secrets()
    if value:
        alone.add(value)
    return Mask(alone)


def mask_credentials(text: str) -> str:
    """``text`` with ``***`` for what stands as ``scheme://user:password@`` or in LOGIN and AUTHENTICATE.

    The place alone counts, not whether it is a secret of this process.
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
        # A very short secret inside of a longer one makes it longer when it is masked.
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
    """As :func:`_without_userinfo`, but at the end of the text the ``@`` may be what was cut off."""
    return f"://{MASK}" if found.end() == len(found.string) else _without_userinfo(found)


_all_secrets = Mask(_secrets)
_no_secret = Mask(_Secrets())


def configure(settings: Settings, *, stream: TextIO | None = None) -> None:
    """Send all log lines of the process to ``stream`` (stderr), in the level and format of the settings.

    The secrets of the settings are kept secret from here on. Calling it again replaces what it did before.
    """
    for secret in _of_settings(settings):
        keep_secret(secret)
    out = sys.stderr if stream is None else stream
    handler = _Handler(out)
    as_text = settings.log_format == "text" or (settings.log_format is None and out.isatty())
    handler.setFormatter(TextLines() if as_text else JsonLines())
    root = logging.getLogger()
    for old in [known for known in root.handlers if isinstance(known, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(settings.log_level)
    # What these do is told by our own lines; theirs would drown them.
    for name in ("imapclient", "psycopg", "werkzeug"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    # Python would write the traceback to stderr as it is, with whatever a text in it holds.
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _log_uncaught


class JsonLines(JsonFormatter):
    """One JSON object a line: ``timestamp, level, message``, what ``extra`` held, ``logger``."""

    def __init__(self) -> None:
        super().__init__(
            ["timestamp", "levelname", "message"],
            rename_fields={"levelname": "level", "exc_info": "exception", "stack_info": "stack"},
        )

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        """Collect the fields of a line in their order."""
        super().add_fields(log_data, record, message_dict)
        log_data["timestamp"] = _moment(record)
        log_data["logger"] = record.name

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """Redact every text before it is escaped for JSON, where a secret would look different."""
        return {key: _clean(value) for key, value in log_data.items()}


class TextLines(logging.Formatter):
    """``2026-01-31T12:00:00.000Z INFO  Folder complete  action=backfill account_id=1``, for people."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one line; only a traceback adds lines of its own, which are indented."""
        extra = {k: v for k, v in vars(record).items() if k not in RESERVED_ATTRS and not k.startswith("_")}
        fields = " ".join(f"{key}={_clean(value)}" for key, value in extra.items() if value is not None)
        line = f"{_moment(record)} {record.levelname:<7} {redact(record.getMessage())}"
        # A server's words may hold line breaks; they must not look like lines of ours.
        lines = [escaped(f"{line}  {fields}" if fields else line)]
        if record.exc_info:
            lines += indented(self.formatException(record.exc_info))
        if record.stack_info:
            lines += indented(self.formatStack(record.stack_info))
        return "\n".join(lines)


def indented(trace: str) -> list[str]:
    """The lines of a traceback for people: redacted, escaped, and none that looks like a line of the log."""
    return [f"    {escaped(line)}" for line in redact(trace).split("\n")]


def _log_uncaught(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is None or isinstance(args.exc_value, SystemExit):
        return
    name = args.thread.name if args.thread else "that is gone"
    info = (args.exc_type, args.exc_value, args.exc_traceback)
    logging.getLogger(__name__).error("Thread %s failed", name, exc_info=info, extra={"action": "thread"})


class _Handler(logging.StreamHandler[TextIO]):
    """A stream handler whose own failures are told without the arguments, which may be secret."""

    def handleError(self, record: logging.LogRecord) -> None:
        kind = sys.exc_info()[0]
        try:
            where = f"{record.pathname}:{record.lineno}"
            self.stream.write(f"A log line could not be written: {kind and kind.__name__} at {where}\n")
        except (OSError, ValueError):
            pass  # nobody reads the stream any more


def _of_settings(settings: Settings) -> list[str]:
    found = [token for _, token in settings.api_tokens()]
    if settings.imap_encryption_key:
        found += settings.imap_encryption_key.get_secret_value().replace(",", " ").split()
    if settings.database_url:
        found += postgres_url.passwords(settings.database_url)
    return found


def _forms(value: str) -> set[str]:
    """What ``value`` looks like in URLs, IMAP strings, JSON, Python reprs and base64."""
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


def _clean(value: Any) -> Any:
    """``value`` for a log line: numbers as they are, containers of them too, all else as redacted text."""
    if value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {redact(str(key)): _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(item) for item in value]
    if isinstance(value, bytes):
        return redact(value.decode("utf-8", "backslashreplace"))
    return redact(str(value))


def _moment(record: logging.LogRecord) -> str:
    return (
        datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )
