"""The functions that read what authorization servers and browsers send."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from mailsync.accounts.authorize import state_of
from mailsync.auth.authorization import read_query, read_redirection
from mailsync.auth.device import read_device
from mailsync.auth.id_token import mailboxes_of, read_claims, read_object
from mailsync.auth.token_endpoint import read_answer, read_retry_after, read_tokens, refusal
from mailsync.config.oauth import OAuthClient, is_endpoint_url, read_clients
from mailsync.errors import MailsyncError
from mailsync.network.http import HttpResponse
from mailsync.web.views import oauth
from tests.unit.growing.entries import Reads, as_text, reads

_CLIENT = OAuthClient("corp", "client-1", token_url="https://login.example.com/token")
_URL = _CLIENT.token_url
_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_DEVICE = {"device_code": "a", "user_code": "b", "verification_uri": _URL}


def _answer(raw: bytes) -> None:
    texts = {"content-type": raw.decode("latin-1"), "location": raw.decode("latin-1")}
    for status, body in ((200, raw), (302, b""), (400, b"{}")):
        json_type = {"content-type": "application/json"} if body else {}
        with suppress(MailsyncError):
            read_answer(_URL, HttpResponse(status, texts | json_type, body), _NOW)
        with suppress(MailsyncError):
            read_answer(_URL, HttpResponse(status, texts, b"{}"), _NOW)


def _tokens(text: str) -> None:
    for name in ("access_token", "refresh_token", "token_type", "expires_in", "id_token"):
        with suppress(MailsyncError):
            read_tokens(_CLIENT, {"access_token": "a", name: text})


def _device(text: str) -> None:
    for name in ("device_code", "user_code", "verification_uri", "expires_in", "interval"):
        with suppress(MailsyncError):
            read_device(_CLIENT, _DEVICE | {name: text})


def _refusal(text: str) -> None:
    refusal(_CLIENT, {"error": text, "error_description": text})


def _redirection(text: str) -> None:
    for address in (text, f"http://127.0.0.1/?state=a&code={text}", f"?state=a&error={text}"):
        with suppress(MailsyncError):
            read_redirection(_CLIENT, address, "a")


def _payload(raw: bytes) -> None:
    code = base64.urlsafe_b64encode(raw).decode()
    mailboxes_of(f"a.{code}.c", "client-1")
    address = json.dumps({"aud": "client-1", "email": raw.decode("latin-1")})
    mailboxes_of(f"a.{base64.urlsafe_b64encode(address.encode()).decode()}.c", "client-1")


def _clients(text: str) -> None:
    suffixes = ("CLIENT_ID", "CLIENT_SECRET", "TOKEN_URL", "SCOPE", "MECHANISM", "IMAP_HOST")
    read_clients({f"OAUTH_CORP_{suffix}": text for suffix in suffixes} | {text: "a"})
    read_clients({"OAUTH_MICROSOFT_TENANT": text})


def _clients_called(text: str) -> Any:
    read_clients({f"OAUTH_{text}_CLIENT_ID": "a"})


AUTHORIZATION_SERVERS: list[Reads] = [
    reads("read_object", read_object, (b"", b"["), (b"", b'{"a":'), (b"[", b"1,", b"1]"), (b'"', b"\\u0061")),
    reads("read_answer", _answer, (b"", b"a"), (b"application/", b"a."), (b"http://", b"a@"), (b"", b"[")),
    reads("read_tokens", as_text(_tokens), (b"", b"a"), (b"", b"a."), (b"", b"1"), (b"a.", b"b", b".c")),
    reads("read_device", as_text(_device), (b"", b"a"), (b"", b"a "), (b"https://", b"a"), (b"", b"1")),
    reads("refusal", as_text(_refusal), (b"", b"AADSTS1"), (b"", b" Trace ID"), (b"", b" "), (b"", b"\x1b")),
    reads("read_redirection", as_text(_redirection), (b"", b"a=1&"), (b"", b"%41"), (b"http://", b"?")),
    reads(
        "state_of", as_text(lambda text: state_of(f"state={text}")), (b"", b"a"), (b"", b"-"), (b"a", b"&a")
    ),
    reads(
        "id of an authorization", as_text(lambda text: oauth._ID.fullmatch(text)), (b"", b"a"), (b"", b"0")
    ),
    reads("read_query", as_text(read_query), (b"?", b"a&"), (b"", b"%"), (b"", b'"'), (b"", b"<")),
    reads("read_claims", as_text(read_claims), (b"", b"a."), (b"", b"="), (b"a.", b"a", b"."), (b"a.", b"=")),
    reads("mailboxes_of", _payload, (b"", b"a"), (b"", b"a@"), (b"", b"@"), (b"", b" "), (b"", b"[")),
    reads(
        "read_retry_after",
        as_text(lambda text: read_retry_after(text, _NOW)),
        (b"", b"1"),
        (b"", b"Sun, "),
        (b"Sun, 01 Mar 2026 12:00:00 ", b"("),
    ),
    reads("is_endpoint_url", as_text(is_endpoint_url), (b"https://", b"a"), (b"", b":"), (b"https://", b"@")),
    reads("read_clients", as_text(_clients), (b"", b"a"), (b"", b"a "), (b"", b"_A"), (b"OAUTH_", b"A_")),
    reads("names of clients", as_text(_clients_called), (b"", b"A"), (b"", b"A_"), (b"A", b"_CLIENT_ID")),
]
