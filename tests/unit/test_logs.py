"""The form of log lines, and that they contain no secrets."""

from __future__ import annotations

import io
import json
import logging
import math
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from mailsync import logs
from mailsync.config import Settings
from mailsync.redaction import keep_secret, redact

log = logging.getLogger("mailsync.test")


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """The log as JSON; the process's logging is restored afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    stream = io.StringIO()
    logs.configure(Settings(log_format="json", log_level="DEBUG"), stream=stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


def parsed(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def as_text(stream: io.StringIO) -> str:
    """The log so far; from now on it is text."""
    logs.configure(Settings(log_format="text", log_level="DEBUG"), stream=stream)
    return stream.getvalue()


def test_a_json_line_has_time_level_message_and_extra_fields(
    lines: io.StringIO,
) -> None:
    log.info("Folder %s", "complete", extra={"action": "backfill", "account_id": 1, "duration_ms": 812.5})
    (line,) = parsed(lines)
    assert list(line) == ["timestamp", "level", "message", "action", "account_id", "duration_ms", "logger"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("timestamp"))
    assert line == {
        "level": "INFO",
        "message": "Folder complete",
        "action": "backfill",
        "account_id": 1,
        "duration_ms": 812.5,
        "logger": "mailsync.test",
    }


def test_every_value_is_logged_as_one_line_of_json(lines: io.StringIO) -> None:
    odd = {
        "a": math.nan,
        "b": b"\xff\n",
        "c": ("x", {1: object}),
        "d": "\udc80\x00\u2028",
        "e": None,
        "f": True,
    }
    log.warning("two\r\nlines", extra=odd)
    assert lines.getvalue().count("\n") == 1
    (line,) = parsed(lines)
    assert (line["a"], line["b"], line["e"], line["f"]) == ("nan", "\\xff\n", None, True)
    assert line["c"] == ["x", {"1": "<class 'object'>"}]


def test_a_text_line_has_its_fields_and_cannot_be_forged_by_a_server(lines: io.StringIO) -> None:
    as_text(lines)
    log.info("NO [X] bad\r\n2026 INFO forged", extra={"account_id": 7, "folder": "a\nb", "run_id": None})
    (line,) = lines.getvalue().splitlines()
    assert line.endswith(r"INFO    NO [X] bad\r\n2026 INFO forged  account_id=7 folder=a\nb")


def test_a_text_line_escapes_invisible_and_direction_characters(lines: io.StringIO) -> None:
    as_text(lines)
    text = "NO \u202eexe.fdp \u2066\u200f\u061c \ufeff\u200b\u00ad \x1b[2J\x9b \U000e0041 \u200d"
    log.info("%s", text, extra={"folder": text, "names": [text], text: 1})
    (line,) = lines.getvalue().splitlines()
    assert line.isascii()
    assert r"NO \u202eexe.fdp \u2066\u200f\u061c \ufeff\u200b\xad \x1b[2J\x9b \U000e0041 \u200d" in line


@pytest.mark.parametrize("format", ["json", "text"])
def test_a_thread_that_fails_is_logged_without_secrets(format: str) -> None:
    # in another process, because pytest handles failing threads itself
    code = (
        "import threading; from mailsync import logs; from mailsync.config import Settings\n"
        f"logs.configure(Settings(log_format={format!r}, api_token='a-token-of-threads'))\n"
        "def fail(): raise ValueError('with a-token-of-threads')\n"
        "thread = threading.Thread(target=fail, name='looker'); thread.start(); thread.join()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Thread looker failed" in done.stderr
    assert "ValueError: with ***" in done.stderr
    assert "a-token-of-threads" not in done.stderr


def test_ordinary_letters_stay_readable_in_a_text_line(lines: io.StringIO) -> None:
    as_text(lines)
    log.info("%s", "Größe ОТПРАВЛЕНО 送信済み نامه‌ها")
    assert "Größe ОТПРАВЛЕНО 送信済み نامه" in lines.getvalue()


def test_no_line_of_a_traceback_looks_like_a_line_of_the_log(lines: io.StringIO) -> None:
    as_text(lines)
    try:
        raise ValueError("bad\n2026-01-31T12:00:00.000Z INFO    forged \u202e\x1b[2J")
    except ValueError:
        log.exception("Failed", stack_info=True)
    first, *rest = lines.getvalue().splitlines()
    assert first.endswith("ERROR   Failed")
    assert len(rest) > 4
    assert all(line.startswith("    ") and line.isascii() for line in rest)
    assert r"    2026-01-31T12:00:00.000Z INFO    forged \u202e\x1b[2J" in rest


@pytest.mark.parametrize(("stream", "expected"), [("terminal", "text"), ("pipe", "json")])
def test_the_format_is_text_on_a_terminal_and_json_elsewhere(
    lines: io.StringIO, stream: str, expected: str
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return stream == "terminal"

    out = Terminal()
    logs.configure(Settings(), stream=out)
    log.info("hello")
    assert out.getvalue().startswith("{") == (expected == "json")


def test_the_level_comes_from_the_settings(lines: io.StringIO) -> None:
    logs.configure(Settings(log_level="ERROR", log_format="json"), stream=lines)
    log.warning("quiet")
    log.error("loud")
    assert [line["message"] for line in parsed(lines)] == ["loud"]


def test_configuring_again_replaces_the_handler(lines: io.StringIO) -> None:
    logs.configure(Settings(log_format="json"), stream=lines)
    log.info("once")
    assert len(parsed(lines)) == 1


@pytest.mark.parametrize("format", ["json", "text"])
def test_secrets_are_masked_in_message_fields_and_traceback(lines: io.StringIO, format: str) -> None:
    secret = "un" + 'gu"essäble'
    keep_secret(secret)
    if format == "text":
        as_text(lines)
    extra = {"a": secret, "b": [secret.encode()], "c": {secret: {"x": (secret,)}}, "d": ValueError(secret)}
    try:
        try:
            raise ValueError(secret)
        except ValueError as error:
            raise RuntimeError(f"with {error!r}") from error
    except RuntimeError:
        log.exception("It was %s", secret, extra=extra, stack_info=True)
    written = lines.getvalue()
    assert "RuntimeError: with ValueError('***')" in written
    assert "essäble" not in written
    assert "ess\\u00e4ble" not in written


def test_the_secrets_of_the_settings_are_masked(lines: io.StringIO) -> None:
    token, key = secrets.token_urlsafe(), secrets.token_hex(32)
    url = "postgresql://bob:p%40ss-w0rd@db/x?password=other-w0rd"
    settings = Settings(database_url=url, api_token=f"{token}, {token}2", imap_encryption_key=key)
    logs.configure(settings, stream=lines)
    assert redact(f"{token}2 {key} p@ss-w0rd p%40ss-w0rd other-w0rd") == "*** *** *** *** ***"
    assert redact(url) == "postgresql://***@db/x?password=***"


def test_the_secrets_of_oauth_clients_are_masked(lines: io.StringIO) -> None:
    environ = {"OAUTH_GOOGLE_CLIENT_ID": "a-client", "OAUTH_GOOGLE_CLIENT_SECRET": "a-secret"}
    logs.configure(Settings.from_env(environ), stream=lines)
    assert redact("a-client a-secret") == "a-client ***"


def test_all_pieces_into_which_a_driver_may_split_a_password_are_masked(lines: io.StringIO) -> None:
    url = "postgresql://bob:first@second/third#fourth@127.0.0.1:1/db"
    logs.configure(Settings.model_construct(database_url=url), stream=lines)
    message = 'failed to resolve host "second/third", "third#fourth@127.0.0.1", "first" "fourth"'
    hidden = redact(message)
    assert not re.search("first|second|third|fourth", hidden), hidden
    assert "127.0.0.1" in hidden


def test_only_the_password_of_an_unambiguous_url_is_masked(lines: io.StringIO) -> None:
    url = "postgresql://bobby:se#cr?et@clearhost:5432/maildata?user=me@example.org"
    logs.configure(Settings(database_url=url), stream=lines)
    assert redact("se#cr?et clearhost maildata bobby") == "*** clearhost maildata bobby"


def test_a_failed_log_call_is_reported_without_its_arguments(lines: io.StringIO) -> None:
    root = logging.getLogger()
    root.handlers[:] = [
        h for h in root.handlers if getattr(h, "stream", None) is lines
    ]  # pytest's handlers raise
    log.info("%d accounts", "not-to-be-shown")
    assert "A log line could not be written: TypeError at" in lines.getvalue()
    assert "not-to-be-shown" not in lines.getvalue()


def test_a_warning_about_settings_is_logged_once(lines: io.StringIO) -> None:
    settings = Settings.from_env({"SYNC_INTERVALX": "5s", "LOG_FORMAT": "json"})
    logs.configure(settings, stream=lines)
    logs.configure(settings, stream=lines)
    (line,) = parsed(lines)
    assert line["level"] == "WARNING"
    assert line["message"] == "SYNC_INTERVALX: unknown variable, ignored; did you mean SYNC_INTERVAL?"
