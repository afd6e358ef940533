"""What a log line looks like, and that no secret is ever in one."""

from __future__ import annotations

import base64
import io
import json
import logging
import math
import re
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from mailsync import logs
from mailsync.config import Settings

log = logging.getLogger("mailsync.test")


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What is logged as JSON; the logging of the process is as before afterwards."""
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
    """Whatever was logged so far, and from now on as text."""
    logs.configure(Settings(log_format="text", log_level="DEBUG"), stream=stream)
    return stream.getvalue()


def test_a_json_line_begins_with_time_level_and_message_and_holds_the_extra_fields(
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


def test_a_line_stays_one_line_of_json_whatever_is_logged(lines: io.StringIO) -> None:
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


def test_a_text_line_names_its_fields_and_lets_no_server_forge_a_second_line(lines: io.StringIO) -> None:
    as_text(lines)
    log.info("NO [X] bad\r\n2026 INFO forged", extra={"account_id": 7, "folder": "a\nb", "run_id": None})
    (line,) = lines.getvalue().splitlines()
    assert line.endswith(r"INFO    NO [X] bad\r\n2026 INFO forged  account_id=7 folder=a\nb")


def test_a_text_line_looks_like_what_it_says(lines: io.StringIO) -> None:
    as_text(lines)
    said = "NO \u202eexe.fdp \u2066\u200f\u061c \ufeff\u200b\u00ad \x1b[2J\x9b \U000e0041 \u200d"
    log.info("%s", said, extra={"folder": said, "names": [said], said: 1})
    (line,) = lines.getvalue().splitlines()
    assert line.isascii()
    assert r"NO \u202eexe.fdp \u2066\u200f\u061c \ufeff\u200b\xad \x1b[2J\x9b \U000e0041 \u200d" in line


@pytest.mark.parametrize("format", ["json", "text"])
def test_a_thread_that_fails_is_logged_without_secrets(format: str) -> None:
    # in a process of its own, since pytest looks after threads itself
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


def test_what_people_write_stays_readable_in_a_text_line(lines: io.StringIO) -> None:
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


def test_the_level_is_the_setting_s(lines: io.StringIO) -> None:
    logs.configure(Settings(log_level="ERROR", log_format="json"), stream=lines)
    log.warning("quiet")
    log.error("loud")
    assert [line["message"] for line in parsed(lines)] == ["loud"]


def test_configuring_again_replaces_the_handler(lines: io.StringIO) -> None:
    logs.configure(Settings(log_format="json"), stream=lines)
    log.info("once")
    assert len(parsed(lines)) == 1


SECRETS = [
    "p\"a\\ss'wörd §1",
    "hunter2!",
    "a b&c=d/e?f#g",
    "ключ-от-почты",
    "tab\tand\x7f",
    "~~~???>>>",
    "Zx9",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_redacted_in_every_form_in_which_it_may_come_by(secret: str) -> None:
    logs.keep_secret(secret)
    raw = secret.encode()
    imap_quoted = secret.replace("\\", "\\\\").replace('"', '\\"')
    forms = [
        secret, quote(secret), quote(secret, safe=""), quote_plus(secret), imap_quoted, raw.hex(),
        json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1],
        repr(raw)[2:-1], base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode(),
    ]  # fmt: skip
    for form in forms:
        text = logs.redact(f"before {form} after")
        assert form not in text, form
        assert text.startswith("before ***"), text
        assert text.endswith("after"), text


@pytest.mark.parametrize("user", ["", "a", "ab", "abc", "abcd@example.org"])
def test_a_password_inside_of_sasl_plain_is_redacted(user: str) -> None:
    secret = "correct horse battery"
    logs.keep_secret(secret)
    line = base64.b64encode(f"\0{user}\0{secret}".encode()).decode()
    hidden = logs.redact(f"sent {line}")
    assert "***" in hidden
    assert base64.b64encode(secret.encode()).decode()[4:-4] not in hidden


def test_a_very_short_secret_is_redacted_alone_and_leaves_words_readable() -> None:
    logs.keep_secret("q7")
    assert logs.redact("q7 in q7x and (q7), aq7") == "*** in q7x and (***), aq7"


def test_secrets_that_contain_each_other_are_redacted_whole() -> None:
    logs.keep_secret("open-sesame")
    logs.keep_secret("open-sesame-and-close")
    assert logs.redact("open-sesame-and-close open-sesame") == "*** ***"


def test_an_empty_secret_hides_nothing() -> None:
    logs.keep_secret("")
    assert logs.redact("plain text") == "plain text"


def test_what_is_tried_is_secret_only_meanwhile_and_an_error_takes_none_of_it_along() -> None:
    tried = "Tried-and-rejected"
    cause = OSError(f"cause {tried}")
    with pytest.raises(ValueError, match=r"^the server says \*\*\*$") as raised, logs.kept_secret(tried):
        assert logs.redact(f"now {tried}") == "now ***"
        raise ValueError(f"the server says {tried}") from cause
    assert "rejected" not in f"{raised.value!r} {cause!r}"
    assert logs.redact(f"later {tried}") == f"later {tried}"


def test_a_secret_that_several_keep_is_forgotten_with_the_last_of_them() -> None:
    with logs.kept_secret("tried-by-two"):
        with logs.kept_secret("tried-by-two"), logs.kept_secret("q8"):
            assert logs.redact("tried-by-two q8") == "*** ***"
        assert logs.redact("tried-by-two q8") == "*** q8"
    assert logs.redact("tried-by-two") == "tried-by-two"
    logs.keep_secret("tried-and-stored")
    with logs.kept_secret("tried-and-stored"):
        pass
    assert logs.redact("tried-and-stored") == "***"


def test_a_form_that_two_secrets_share_stays_until_both_are_gone() -> None:
    with logs.kept_secret("a shared form"):
        with logs.kept_secret("a%20shared%20form"):
            assert logs.redact("a%20shared%20form") == "***"
        assert logs.redact("a%20shared%20form") == "***"
    assert logs.redact("a%20shared%20form") == "a%20shared%20form"


def test_secrets_of_many_threads_come_and_go_without_a_trace() -> None:
    before = len(logs._secrets._users), len(logs._secrets._by_head), len(logs._secrets._short)
    seen = []

    def try_some(thread: int) -> None:
        for number in range(100):
            with logs.kept_secret(f"common-{number % 3}"), logs.kept_secret(f"pass-{thread}-{number}"):
                seen.append(logs.redact(f"common-{number % 3} pass-{thread}-{number}"))

    threads = [threading.Thread(target=try_some, args=(thread,)) for thread in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert seen == ["*** ***"] * 400
    assert (len(logs._secrets._users), len(logs._secrets._by_head), len(logs._secrets._short)) == before
    assert not logs._secrets._leaving


def test_thousands_of_secrets_are_found_and_leave_nothing_behind() -> None:
    known = logs._Secrets()
    words = [f"{number * 7919:05x}-{number:x}-secret" for number in range(5000)]
    for word in words:
        known.add(word)
    assert known.mask(f"a {words[5]} b {words[-5]} c") == "a *** b *** c"
    for word in words:
        known.remove(word)
    assert not known._by_head
    assert not known._users
    assert not known._keepers


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://bob:pw@host:5432/db?x=1", "postgresql://***@host:5432/db?x=1"),
        ("see imaps://me@x:p/w@host.", "see imaps://***@host."),
        ("A1 LOGIN bob pw123", "A1 LOGIN ***"),
        ('A1 LOGIN "bob" "p w\\"1"', "A1 LOGIN ***"),
        ('b\'A1 LOGIN "bob" "pw"\'', "b'A1 LOGIN ***'"),
        ("A1 AUTHENTICATE PLAIN AGJvYgBwdw==", "A1 AUTHENTICATE PLAIN ***"),
        ("NO [AUTHENTICATIONFAILED] LOGIN failed for bob", "NO [AUTHENTICATIONFAILED] LOGIN failed for bob"),
        ("http://localhost:3000/health", "http://localhost:3000/health"),
        ("give postgresql://user:password@host/db", "give postgresql://user:password@host/db"),
    ],
)
def test_credentials_are_redacted_by_their_place_too(text: str, expected: str) -> None:
    assert logs.redact(text) == expected


@pytest.mark.parametrize("format", ["json", "text"])
def test_no_secret_is_in_a_line_its_fields_or_its_traceback(lines: io.StringIO, format: str) -> None:
    secret = "un" + 'gu"essäble'
    logs.keep_secret(secret)
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


def test_the_secrets_of_the_settings_are_known_from_the_start(lines: io.StringIO) -> None:
    token, key = secrets.token_urlsafe(), secrets.token_hex(32)
    url = "postgresql://bob:p%40ss-w0rd@db/x?password=other-w0rd"
    settings = Settings(database_url=url, api_token=f"{token}, {token}2", imap_encryption_key=key)
    logs.configure(settings, stream=lines)
    assert logs.redact(f"{token}2 {key} p@ss-w0rd p%40ss-w0rd other-w0rd") == "*** *** *** *** ***"
    assert logs.redact(url) == "postgresql://***@db/x?password=***"


def test_a_password_is_known_in_all_pieces_into_which_a_driver_may_cut_its_url(lines: io.StringIO) -> None:
    url = "postgresql://bob:first@second/third#fourth@127.0.0.1:1/db"
    logs.configure(Settings.model_construct(database_url=url), stream=lines)
    said = 'failed to resolve host "second/third", "third#fourth@127.0.0.1", "first" "fourth"'
    hidden = logs.redact(said)
    assert not re.search("first|second|third|fourth", hidden), hidden
    assert "127.0.0.1" in hidden


def test_only_the_password_of_a_url_that_is_clear_is_secret(lines: io.StringIO) -> None:
    url = "postgresql://bobby:se#cr?et@clearhost:5432/maildata?user=me@example.org"
    logs.configure(Settings(database_url=url), stream=lines)
    assert logs.redact("se#cr?et clearhost maildata bobby") == "*** clearhost maildata bobby"


def test_a_broken_log_call_is_told_without_its_arguments(lines: io.StringIO) -> None:
    root = logging.getLogger()
    root.handlers[:] = [h for h in root.handlers if getattr(h, "stream", None) is lines]  # pytest's raise
    log.info("%d accounts", "not-to-be-shown")
    assert "A log line could not be written: TypeError at" in lines.getvalue()
    assert "not-to-be-shown" not in lines.getvalue()


SECRET = 'pa55-Wört "q\\uote 0123456789'


@pytest.mark.parametrize(
    "shown",
    [
        SECRET,
        "imap://anna:0123456789abcdef0123456789@mail.example.org/",
        'LOGIN anna "0123456789abcdef0123456789"',
        "LOGIN anna 0123456789abcdef0123456789",
        'AUTHENTICATE PLAIN "0123456789abcdef0123456789"',
        "AUTHENTICATE PLAIN 0123456789abcdef0123456789",
    ],
)
def test_a_secret_at_the_edge_of_what_is_looked_at_is_never_half_shown(shown: str) -> None:
    with logs.kept_secret(SECRET), logs.kept_secret("x"):
        for filler, step in (("a", 3), ("x ", 17)):
            for before in range(0, 900, step):
                text = (filler * before)[:before] + " " + shown + " b" * 2000
                found, is_whole = logs.redact_beginning(text, 100)
                assert len(found) <= 100
                assert not is_whole
                assert not any(part in found for part in ("pa5", "012", "0123", "a55"))


@pytest.mark.parametrize("secret", [SECRET, "z" * 500])
def test_secrets_that_are_masked_pull_none_into_view(secret: str) -> None:
    with logs.kept_secret(secret):
        for before in range(0, 600, 13):
            found, _ = logs.redact_beginning("a" * before + f" {secret}" * 1000, 300)
            assert not any(part in found for part in ("pa5", "zz"))


def test_the_beginning_of_a_short_text_is_all_of_it() -> None:
    assert logs.redact_beginning("imap://anna:secret@example.org", 100) == ("imap://***@example.org", True)
    assert logs.redact_beginning("a" * 101, 100) == ("a" * 100, False)
    assert logs.redact_beginning("a" * 100_000, 100) == ("a" * 100, False)
