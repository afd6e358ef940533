"""Log lines as JSON or text, with every known secret masked.

Modules log with ``logging.getLogger(__name__)`` and pass structured fields in ``extra``::

    log.info("Folder complete", extra={"action": "backfill", "account_id": 1, "duration_ms": 812})
"""

from __future__ import annotations

import logging
import math
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from mailsync.config import database_url
from mailsync.redaction import keep_secret, redact
from mailsync.unprintable import escaped

if TYPE_CHECKING:
    from mailsync.config import Settings


# gunicorn's workers are forked from the process that has warned already
_warned: set[str] = set()


def configure(settings: Settings, *, stream: TextIO | None = None) -> None:
    """Send all log lines of the process to ``stream`` (stderr), in the level and format of the settings.

    From then on the secrets of the settings are masked. Calling it again replaces the earlier configuration.
    The settings' warnings are logged once.
    """
    for secret in _secrets_in(settings):
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
    # our own lines report what these libraries do
    for name in ("imapclient", "psycopg", "werkzeug"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    # Python would write the traceback of a thread to stderr without masking secrets
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _log_uncaught
    for warning in settings.warnings:
        if warning not in _warned:
            _warned.add(warning)
            logging.getLogger(__name__).warning(warning, extra={"action": "settings"})


class JsonLines(JsonFormatter):
    """One JSON object per line: ``timestamp, level, message``, the fields of ``extra``, ``logger``."""

    def __init__(self) -> None:
        super().__init__(
            ["timestamp", "levelname", "message"],
            rename_fields={"levelname": "level", "exc_info": "exception", "stack_info": "stack"},
        )

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        """Collect the fields of a line in order."""
        super().add_fields(log_data, record, message_dict)
        log_data["timestamp"] = _moment(record)
        log_data["logger"] = record.name

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """Mask secrets before the text is escaped for JSON, which would change how a secret looks."""
        return {key: _clean(value) for key, value in log_data.items()}


class TextLines(logging.Formatter):
    """``2026-01-31T12:00:00.000Z INFO  Folder complete  action=backfill account_id=1``, for people."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, followed by indented lines for a traceback or stack."""
        extra = {k: v for k, v in vars(record).items() if k not in RESERVED_ATTRS and not k.startswith("_")}
        fields = " ".join(f"{key}={_clean(value)}" for key, value in extra.items() if value is not None)
        line = f"{_moment(record)} {record.levelname:<7} {redact(record.getMessage())}"
        # text from a server may contain line breaks, and must not look like lines of the log
        lines = [escaped(f"{line}  {fields}" if fields else line)]
        if record.exc_info:
            lines += indented(self.formatException(record.exc_info))
        if record.stack_info:
            lines += indented(self.formatStack(record.stack_info))
        return "\n".join(lines)


def indented(trace: str) -> list[str]:
    """The lines of a traceback, masked, escaped and indented, so that none looks like a line of the log."""
    return [f"    {escaped(line)}" for line in redact(trace).split("\n")]


def _log_uncaught(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is None or isinstance(args.exc_value, SystemExit):
        return
    name = args.thread.name if args.thread else "unknown"
    info = (args.exc_type, args.exc_value, args.exc_traceback)
    logging.getLogger(__name__).error("Thread %s failed", name, exc_info=info, extra={"action": "thread"})


class _Handler(logging.StreamHandler[TextIO]):
    """A stream handler that reports its own failures without the arguments, which may contain secrets."""

    def handleError(self, record: logging.LogRecord) -> None:
        kind = sys.exc_info()[0]
        try:
            where = f"{record.pathname}:{record.lineno}"
            self.stream.write(f"A log line could not be written: {kind and kind.__name__} at {where}\n")
        except (OSError, ValueError):
            pass  # the stream is closed


def _secrets_in(settings: Settings) -> list[str]:
    secrets = [token for _, token in settings.api_tokens()]
    if settings.imap_encryption_key:
        secrets += settings.imap_encryption_key.get_secret_value().replace(",", " ").split()
    if settings.database_url:
        secrets += database_url.passwords(settings.database_url)
    return secrets + [client.secret.get_secret_value() for client in settings.oauth_clients if client.secret]


def _clean(value: Any) -> Any:
    """``value`` for a log line: numbers unchanged, everything else as masked text, also inside containers."""
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
