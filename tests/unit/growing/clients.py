"""The functions that read texts of API clients and people, and that log them."""

from __future__ import annotations

import functools
import json
import logging
from contextlib import suppress
from typing import Any

from flask.testing import FlaskClient

from mailsync.accounts import fields
from mailsync.cli.terminal import printable, wrap
from mailsync.config import Settings
from mailsync.core.mx_hosts import host_by_mx
from mailsync.core.providers import likely_domain, normalise_email, provider_at, provider_for
from mailsync.credentials import BearerToken
from mailsync.errors import MailsyncError
from mailsync.imap.sasl import check_token
from mailsync.logs import JsonLines, TextLines
from mailsync.model import Endpoint
from mailsync.network.resolve import check_endpoint
from mailsync.redaction import kept_secret, redact, redact_beginning
from mailsync.secret_forms import shortened
from mailsync.web import create_app
from mailsync.web.http.cursors import Cursors
from mailsync.web.http.return_urls import check_return_url
from mailsync.web.schemas.base import _read_flag, _read_when, _read_whole, _text, read_moment
from mailsync.web.server import connections
from mailsync.web.views import bodies
from tests.unit.growing.entries import Reads, as_distinct, as_text, as_utf8, reads

TOKEN = "a-token-for-a-unit-test"


@functools.cache
def _settings() -> Settings:
    return Settings.from_env(
        {"DATABASE_URL": "postgresql:///none", "IMAP_ENCRYPTION_KEY": "a" * 64, "API_TOKEN": TOKEN}
    )


@functools.cache
def _client() -> FlaskClient:
    return create_app(_settings()).test_client()


def _ask(path: str, **more: Any) -> None:
    """Send a request that is refused before it reaches the database."""
    headers = {"Authorization": f"Bearer {TOKEN}", **more.pop("headers", {})}
    response = _client().open(path, headers=headers, **more)
    assert 400 <= response.status_code < 500, response.status


def _path(text: str) -> None:
    _ask("/v1/" + text.replace("?", "/") + "/none")


def _authorization(text: str) -> None:
    _ask("/v1/oauth/authorizations/" + text.replace("?", "/") + "x")


def _callback(text: str) -> None:
    """Open the address that needs no token; a state that may be ours would need the database."""
    _client().get("/oauth/callback?state=!" + text.replace("#", "/"))


def _query(text: str) -> None:
    _ask("/v1/accounts", query_string=text + "&none=1")


def _parameter(name: str) -> Any:
    return lambda text: _ask("/v1/accounts/1/messages", query_string={name: text, "none": 1})


def _head(name: str) -> Any:
    def read(text: str) -> None:
        value = text.replace("\r", "").replace("\n", "")
        _ask("/none", headers={name: value})

    return read


def _document(raw: bytes) -> None:
    _ask("/v1/accounts", method="POST", data=raw + b" !", content_type="application/json")


def _account(name: str) -> Any:
    def read(text: str) -> None:
        document = {"email": "a@example.com", "password": "a", "none": 1, name: text}
        _ask("/v1/accounts", method="POST", data=json.dumps(document), content_type="application/json")

    return read


def _log_line(formatter: logging.Formatter) -> Any:
    def read(text: str) -> None:
        extra = {"action": "http", "error": text, "list": [text]}
        record = logging.getLogger("none").makeRecord(
            "none", 20, "f", 1, "%s said", (text,), None, extra=extra
        )
        formatter.format(record)

    return read


def _masked(text: str) -> None:
    with kept_secret("aaaaaaab"), kept_secret("a a"), kept_secret("x"), kept_secret("a" * 300):
        redact(text)
        redact_beginning(text, 300)


def _endpoint(text: str) -> None:
    for endpoint in (Endpoint(text, 993, "tls", "a"), Endpoint("a", 993, "tls", text)):
        with suppress(MailsyncError):
            check_endpoint(endpoint, _settings())
        with suppress(MailsyncError):
            check_token(endpoint, BearerToken(text))


def _field_of_account(text: str) -> None:
    checks = (fields.check_name, fields.check_username, fields.check_password, fields.check_host)
    for check in checks:
        with suppress(MailsyncError):
            check(text)


CLIENTS: list[Reads] = [
    reads(
        "end of a head",
        lambda raw: connections._END_OF_HEAD.search(raw),
        (b"", b"a"),
        (b"", b"\r"),
        (b"", b"\r\na"),
        (b"", b"\n\r"),
    ),
    reads(
        "token to mask",
        as_text(shortened),
        (b"", b"a"),
        (b"", b"a", b" "),
    ),
    reads(
        "redaction",
        as_text(redact),
        (b"", b"a"),
        (b"", b"a."),
        (b"", b"a://"),
        (b"a://", b"a"),
        (b"", b"a://b@ "),
        (b"", b"a://b@"),
        (b"", b"://"),
        (b"", b"a:// "),
        (b"", b"a://user:password@host "),
        (b"", b"a://user:password@host"),
        (b"", b"LOGIN "),
        (b"", b'LOGIN "'),
        (b"", b'LOGIN \\"'),
        (b"", b'LOGIN a \\"'),
        (b"", b"LOGIN a "),
        (b'LOGIN "', b'LOGIN \\" ', b'"'),
        (b"LOGIN a", b"a"),
        (b"", b'LOGIN "a" '),
        (b"", b'LOGIN "\\'),
        (b"", b"AUTHENTICATE "),
        (b"", b'AUTHENTICATE a \\"'),
        (b"", b'AUTHENTICATE a "'),
        (b"AUTHENTICATE ", b"a"),
        (b'AUTHENTICATE a "', b'AUTHENTICATE a \\"', b'"'),
        (b"", b"AUTHENTICATE a b "),
        (b"", b'LOGIN a "b'),
        (b"", b"A1 LOGIN "),
        (b"", b"A1 LOGIN a b "),
        (b"", b'A1 LOGIN "'),
        (b"A1 LOGIN a", b"a"),
        (b"", b"A"),
        (b"", b"A1"),
        (b" LOGIN A", b"1"),
        (b"LOGIN a 1", b"a"),
        (b"AUTHENTICATE a ", b"a1"),
        (b"", b"A1 AUTHENTICATE a "),
        (b"AUTHENTICATE ", b"a-"),
    ),
    reads(
        "secrets", as_text(_masked), (b"", b"a"), (b"", b"a "), (b"", b"x "), (b"", b"aaaaaaab"), (b"", b"x")
    ),
    *(
        reads(
            name,
            as_text(_log_line(formatter)),
            (b"", b"a"),
            (b"", b"a://"),
            (b"", b'LOGIN \\"'),
            (b"", b"\n"),
            (b"", b"\x85"),
            (b"", b"%s"),
        )
        for name, formatter in (("line of JSON", JsonLines()), ("line of text", TextLines()))
    ),
    reads(
        "path",
        as_text(_path),
        (b"", b"a"),
        (b"", b"/"),
        (b"", b"accounts/"),
        (b"", b"%"),
        (b"", b"a/1/"),
        (b"", b"a://"),
        (b"", b"."),
        (b"accounts/", b"1"),
        (b"", b'LOGIN "'),
    ),
    reads(
        "query",
        as_text(_query),
        (b"", b"a"),
        (b"", b"&"),
        (b"", b"a&"),
        (b"", b"a=b&"),
        (b"", b"%"),
        (b"", b"="),
        (b"", b"limit=1&"),
        (b"", b"+"),
        (b"cursor=", b"a"),
        (b"email=", b"a."),
    ),
    *(
        reads(
            f"parameter {name}",
            as_text(_parameter(name)),
            (b"", b"a"),
            (b"", b"1"),
            (b"", b":00"),
            (b"2000-01-01T00:00:00.", b"1"),
            (b"", b"\xff"),
            (b"", b"a@"),
        )
        for name in ("folder", "since", "from", "subject", "unread", "limit", "cursor")
    ),
    *(
        reads(
            name, as_text(_head(name)), (b"", b"a"), (b"", b" "), (b"Bearer", b" "), (b"", b","), (b"", b";a")
        )
        for name in ("Authorization", "X-Request-Id", "Content-Type", "Accept", "Host")
    ),
    reads(
        "document",
        _document,
        (b"", b"["),
        (b"", b'{"a":'),
        (b"", b" "),
        (b'"', b"\\"),
        (b"", b"1"),
        (b'{"a":"', b"\\u0000"),
        (b"[", b"1,"),
        (b"{", b'"a":1,'),
        (b'{"email":"', b"a"),
    ),
    *(
        reads(
            f"field {name}",
            as_text(_account(name)),
            (b"", b"a"),
            (b"a@", b"a."),
            (b"", b"."),
            (b"", b"@"),
            (b"a@", b"\xe9"),
            (b"", b"1"),
            (b"", b" "),
        )
        for name in ("email", "password", "imap_host", "username", "display_name", "sync_since", "metadata")
    ),
    reads("cursor", as_text(Cursors("none").read), (b"", b"a"), (b"", b"-")),
    reads("moment", as_text(read_moment), (b"", b"1"), (b"2000-01-01T00:00:00.", b"1")),
    reads(
        "date or moment", as_text(_read_when), (b"", b":00"), (b":00.", b"1"), (b"", b":00.0"), (b"", b"1")
    ),
    reads("flag", as_text(_read_flag), (b"", b"a")),
    reads("whole number", as_text(_read_whole), (b"", b"1"), (b"-", b"0")),
    reads("text to store", as_text(_text), (b"", b"a"), (b"", b"\0")),
    reads(
        "part's number",
        as_text(lambda text: bodies._PART.fullmatch(text)),
        (b"", b"1."),
        (b"", b"1"),
        (b"1", b".1"),
    ),
    reads(
        "e-mail address",
        as_text(normalise_email),
        (b"", b"a"),
        (b"a@", b"a."),
        (b"a@", b"\xe9"),
        (b"a@", b"-"),
        (b"", b"."),
        (b"", b"@"),
        (b"", b" "),
    ),
    reads("e-mail address, decomposed", as_utf8(normalise_email), (b"a@a", "\u0301\u0316".encode())),
    reads(
        "e-mail address of many letters", as_distinct(lambda text: normalise_email("a@" + text)), (b"", b"a")
    ),
    reads("address of a provider", as_text(provider_for), (b"a@", b"a."), (b"a@", b"."), (b"", b"@")),
    reads("misspelt domain", as_text(likely_domain), (b"", b"gmail."), (b"gmail.co", b"m")),
    reads("host of an MX record", as_text(host_by_mx), (b"", b"a."), (b"", b"."), (b"mx.", b"google.com.")),
    reads("host of a provider", as_text(provider_at), (b"", b"a."), (b"", b".")),
    reads("id of an authorization", as_text(_authorization), (b"", b"a"), (b"", b"0"), (b"", b"%00")),
    reads(
        "callback",
        as_text(_callback),
        (b"", b"a"),
        (b"", b"-"),
        (b"", b"%00"),
        (b"a", b"&a=b"),
        (b"a", b"&"),
        (b"a", b";"),
    ),
    reads(
        "address to return to",
        as_text(lambda text: check_return_url(f"https://a/{text}", ["https://a/"])),
        (b"", b"a"),
        (b"", b"/"),
        (b"", b"/."),
        (b"", b"%2e"),
        (b"", b";"),
    ),
    reads("endpoint", as_text(_endpoint), (b"", b"a"), (b"", b"."), (b"", b" "), (b"", b"\xff")),
    reads(
        "field of an account",
        as_text(_field_of_account),
        (b"", b"a"),
        (b"", b" "),
        (b"", b"\n"),
        (b"", b"\xff"),
        (b"a:", b"1"),
        (b"[", b"1:"),
    ),
    reads(
        "words on a terminal",
        as_text(lambda text: wrap(printable(text), 80, "  ")),
        (b"", b"a"),
        (b"", b" "),
        (b"", b"a "),
        (b"", b"\xff"),
        (b"", b"\n"),
    ),
]
