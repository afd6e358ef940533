"""Mistaken and malicious clients: each is refused with a problem document, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from mailsync.store import db
from tests.support.api import AUTHORIZED, Api, StartApi
from tests.support.programs import API_TOKEN, ROOT
from tests.support.raw_http import AUTHORIZATION, Response, ask, assert_civil, lines
from tests.support.stored import ATTACHMENT, KEY, message, new_account, new_folder, settings_for, store

HOST = "Host: localhost"
OPEN = "/health/live"
_VARIABLE = re.compile(r"\{(\w+)\}")
_OFFLINE = f"{ROOT / 'tests' / 'support' / 'offline'}{os.pathsep}{ROOT}"


@pytest.fixture
def rows(database_url: str) -> dict[str, Any]:
    """Ids for paths: two accounts, a folder and a message of the first, and no consent."""
    settings = settings_for(database_url)
    with db.connect(settings, "test") as conn:
        account = new_account(conn, settings)
        new_account(conn, settings, "other@example.com")
        folder = new_folder(conn, account)
        store(conn, folder, message(1, subject="Größe", attachments=(ATTACHMENT,)), announce=True)
        row = conn.execute("select id from messages").fetchone()
        assert row
        known = {"account_id": account, "folder_id": folder.id, "message_id": row[0]}
        return known | {"authorization_id": "0" * 32}


@pytest.fixture
def victim(start_api: StartApi, rows: dict[str, Any], database: psycopg.Connection[Any]) -> Iterator[Api]:
    """An API that must not fail: in the end, its log has no error and no transaction is open."""
    api = start_api(WEB_CONCURRENCY="2", IMAP_ENCRYPTION_KEY=KEY, PYTHONPATH=_OFFLINE)
    yield api
    assert api.get(OPEN).status == 200
    left = database.execute(
        "select state, query from pg_stat_activity where application_name like 'mailsync-api%'"
        " and datname = current_database() and state like 'idle in transaction%'"
    )
    assert left.fetchall() == []
    assert [record for record in api.process.records() if record["level"] == "ERROR"] == []
    assert "Traceback" not in api.process.output


class Operations:
    """The operations in the API's description, to call them wrongly."""

    def __init__(self, api: Api, rows: dict[str, Any]) -> None:
        self._document = api.call("GET", "/openapi.json").json()
        self._values = {**rows, "part": "2"}

    def __iter__(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        for path, operations in self._document["paths"].items():
            for method, operation in operations.items():
                filled = _VARIABLE.sub(lambda match: str(self._values[match[1]]), path)
                yield method.upper(), filled, operation

    def bodies(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Those that take a document: method, path and the document's schema."""
        for method, path, operation in self:
            if "requestBody" in operation:
                reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
                yield method, path, self._document["components"]["schemas"][reference.rpartition("/")[2]]


def send(api: Api, method: str, path: str, body: bytes, kind: str = "application/json") -> Response:
    headers = AUTHORIZED | ({"Content-Type": kind} if kind else {})
    answer = api.request(method, path, headers, body)
    return Response(
        answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.body
    )


def snapshot(database: psycopg.Connection[Any]) -> list[Any]:
    tables = ("accounts", "account_credentials", "folders", "messages", "sync_events", "sync_runs")
    return [database.execute(f"select count(*), max(xmin::text) from {table}").fetchone() for table in tables]


NOT_JSON = {
    "nothing": b"{",
    "words": b"hello",
    "bytes": b"\xff\xfe\x00",
    "latin-1": '{"a": "ü"}'.encode("latin-1"),
    "utf-16": '{"a": 1}'.encode("utf-16"),
    "mark": b"\xef\xbb\xbf{}",
    "two": b"{}{}",
    "comment": b"{} // x",
    "lone surrogate": b'{"a": "\\ud800"}',
    "deep arrays": b"[" * 100_000,
    "deep objects": b'{"a":' * 100_000,
    "whole deep": b'{"metadata":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "digits": b'{"a": ' + b"9" * 100_000 + b"}",
    "NUL": b'{"a": "\x00"}',
}
NO_OBJECT = {b"null", b"[]", b'"text"', b"1", b"true", b"[{}]"}


def test_bodies_that_are_not_json_objects_are_refused_and_change_nothing(
    victim: Api, rows: dict[str, Any], database: psycopg.Connection[Any]
) -> None:
    before = snapshot(database)
    for method, path, _ in Operations(victim, rows).bodies():
        for name, body in NOT_JSON.items():
            assert_civil(send(victim, method, path, body), (method, path, name), 400)
        for body in NO_OBJECT:
            assert_civil(send(victim, method, path, body), (method, path, body), 422)
        for kind in (
            "",
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/jsonp",
            "multipart/form-data",
        ):
            assert_civil(send(victim, method, path, b'{"a": 1}', kind), (method, path, kind), 415)
        unknown = send(victim, method, path, b'{"__proto__": {}, "id": 9, "\\u0000": 1}')
        assert_civil(unknown, (method, path), 422)
        assert len(unknown.json()["errors"]) >= 3
    assert snapshot(database) == before


def test_constants_and_duplicate_fields_are_not_json(
    victim: Api, rows: dict[str, Any], database: psycopg.Connection[Any]
) -> None:
    before = snapshot(database)
    path = f"/v1/accounts/{rows['account_id']}"
    for body in (
        b'{"metadata": {"a": NaN}}',
        b'{"metadata": {"a": -Infinity}}',
        b'{"display_name": "a", "display_name": "b"}',
        b'{"metadata": {"a": {"b": 1, "b": 1}}}',
        b'{"metadata": {' + b",".join(b'"%d": 1' % (n % 60_000) for n in range(60_001)) + b"}}",
    ):
        assert_civil(send(victim, "PATCH", path, body), body[:80], 400)
    assert_civil(send(victim, "PATCH", path, b'{"metadata": {"a": 1e999}}'), "1e999", 422)
    assert snapshot(database) == before


ODD: list[Any] = [
    None, True, 0, -1, 1.5, 1e308, 10**400, 2**63, [], {}, [[]], {"a": 1}, "", " ", "0", "a\0b",
    "\r\nEvil: 1", "\x1b[31m", "\u2028", "\u202e", "é" * 100_000, "'; drop table accounts; --",
    "../../etc/passwd", "${jndi:x}", "\ud83d\ude00", "\ufffe",
]  # fmt: skip


def test_odd_values_of_every_field_are_stored_or_refused(victim: Api, rows: dict[str, Any]) -> None:
    valid = {"email": "new@example.com", "password": "correct horse", "imap_host": "127.0.0.1"}
    for method, path, schema in Operations(victim, rows).bodies():
        for name in schema.get("properties", {}):
            for odd in ODD:
                document = {**(valid if method == "POST" and path == "/v1/accounts" else {}), name: odd}
                if "verify" in schema["properties"] and name != "verify":
                    document["verify"] = False
                answer = send(victim, method, path, json.dumps(document).encode())
                # an accepted account is 201, and the next one has the same address
                assert_civil(answer, (method, path, name, odd), 200, 201, 202, 400, 404, 409, 422)
    shown = victim.call("GET", "/v1/accounts", limit=500)
    assert shown.status == 200, "a stored account can be read"


TEXTS = [
    "", " ", "\0", "a\0b", "\r\nEvil: 1", "x" * 5000, "NaN", "1e3", "+1", "-1", "0", "1.0", "0x10", "١",
    "1_0", "9" * 1000, "<script>", "'; drop table accounts; --", "%", "%%", "%00", "\\", "_", "true ",
    "TRUE", "null", "2026-13-45", "0000-00-00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00",
    "2026-01-01T00:00:00+99:99", "latest", "AAAA", "A" * 36, "-" * 36, "\u202e", "\U0001f600", "[]", "{}",
    "\t",
]  # fmt: skip
BYTES = ["%ff", "%ed%a0%80", "%c0%80", "%f4%90%80%80", "%E2%82"]


def test_odd_values_of_every_parameter_are_answered_or_refused(victim: Api, rows: dict[str, Any]) -> None:
    asked = 0
    for method, path, operation in Operations(victim, rows):
        if method != "GET" or path.endswith(("/raw", "/2", "/body")):
            continue
        queries = [parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "query"]
        for name in [*queries, "unknown"] if operation.get("security") != [] else []:
            sent = [lines(f"GET {path}?{name}={quote(text)} HTTP/1.1", HOST, AUTHORIZATION) for text in TEXTS]
            for answer, text in zip(ask(victim.port, *sent), TEXTS, strict=True):
                statuses = (200, 404, 422) if name in queries else (422,)
                assert_civil(answer, (path, name, text), *statuses)
                assert "\0" not in text or answer.status == 422
                asked += 1
            sent = [lines(f"GET {path}?{name}={value} HTTP/1.1", HOST, AUTHORIZATION) for value in BYTES]
            for answer, value in zip(ask(victim.port, *sent), BYTES, strict=True):
                assert_civil(answer, (path, name, value), 400)
    assert asked > 500


def test_filters_are_escaped_in_the_link_header(
    victim: Api, database: psycopg.Connection[Any], rows: dict[str, Any]
) -> None:
    evil = '>; rel="evil"\r\nEvil: 1, <'
    for n in range(2, 4):
        database.execute(
            "insert into messages (account_id, folder_id, uidvalidity, uid, internal_date, subject)"
            " select account_id, folder_id, uidvalidity, %s, internal_date, %s from messages where uid = 1",
            [n, evil],
        )
    path = f"/v1/accounts/{rows['account_id']}/messages?limit=1&subject={quote(evil)}"
    (first,) = ask(victim.port, lines(f"GET {path} HTTP/1.1", HOST, AUTHORIZATION))
    assert_civil(first, path, 200)
    link = first.headers["link"]
    assert re.fullmatch(r'<[!-;=?-~]+>; rel="next"', link)
    (second,) = ask(victim.port, lines(f"GET {link[1 : link.index('>')]} HTTP/1.1", HOST, AUTHORIZATION))
    assert_civil(second, link, 200)
    assert [row["subject"] for row in second.json()["data"]] == [evil]


PATHS = [
    "0", "-1", "+1", "01", "1.0", "1e3", "1%00", "%001", "1%0a", "1%20", "%31%2fx", "%EF%BC%91",
    "9223372036854775808", "9" * 100, "..", "%2e%2e", "1;x=1", "%ff", "%ed%a0%80", "'", "%27%20or%201=1",
    "null", "*", "%25", "{id}",
]  # fmt: skip


def test_odd_paths_are_not_found(victim: Api, rows: dict[str, Any]) -> None:
    for method, path, operation in Operations(victim, rows):
        variables = [parameter for parameter in operation["parameters"] if parameter["in"] == "path"]
        if not variables:
            continue
        for odd in PATHS:
            last = re.sub(r"/\d+(?=/|$)", f"/{odd}".replace("\\", "\\\\"), path, count=1)
            body = b"{}" if method in ("POST", "PATCH") else b""
            kind = ["Content-Type: application/json", f"Content-Length: {len(body)}"]
            (answer,) = ask(
                victim.port, lines(f"{method} {last} HTTP/1.1", HOST, AUTHORIZATION, *kind, body=body)
            )
            assert_civil(answer, (method, last), 404, 405)
    for odd in (
        "/%00",
        "/%0d%0aEvil:%201",
        "/%ff",
        "//",
        "/..",
        "/v1//accounts",
        "/v1/accounts/%2e%2e/events",
        "/" + "a" * 7000,
    ):
        (answer,) = ask(victim.port, lines(f"GET {odd} HTTP/1.1", HOST, AUTHORIZATION))
        assert_civil(answer, odd, 404)
    assert "Evil: 1\n" not in victim.process.output


def test_objects_of_another_account_are_not_found(victim: Api, rows: dict[str, Any]) -> None:
    other = rows["account_id"] + 1
    folder = f"/v1/accounts/{other}/folders/{rows['folder_id']}"
    assert victim.call("PATCH", folder, {"tracked": False}).status == 404
    assert victim.call("GET", f"/v1/accounts/{other}/messages", folder=rows["folder_id"]).status in (200, 404)
    assert victim.call("GET", f"/v1/accounts/{other}/messages").json()["data"] == []
    events = victim.call("GET", f"/v1/accounts/{rows['account_id']}/events").json()["next_cursor"]
    assert victim.call("GET", f"/v1/accounts/{other}/events", after=events).status == 422
    assert victim.call("GET", "/v1/events", after=events).status == 422


def test_only_one_complete_token_is_accepted(victim: Api) -> None:
    wrong = [
        [], ["Authorization:"], ["Authorization: "], ["Authorization: Bearer"], ["Authorization: Bearer  "],
        [f"Authorization: {API_TOKEN}"], [f"Authorization: Basic {API_TOKEN}"],
        [f"Authorization: Bearer {API_TOKEN}x"], [f"Authorization: Bearer {API_TOKEN[:-1]}"],
        [f"Authorization: Bearer {API_TOKEN} x"], [f"Authorization: Bearer {API_TOKEN}, {API_TOKEN}"],
        [f"Authorization: Bearer \xff{API_TOKEN}"], ["Authorization: Bearer " + "x" * 8000],
        [f"Authorization: Bearer {API_TOKEN.upper()}"], ["Authorization: Bearer %61" + API_TOKEN[1:]],
        [AUTHORIZATION, AUTHORIZATION], [AUTHORIZATION, "Authorization: Bearer wrong"],
        ["Authorization: Bearer wrong", AUTHORIZATION], [f"Authorisation: Bearer {API_TOKEN}"],
        [f"X-Authorization: Bearer {API_TOKEN}"], [f"Cookie: Authorization=Bearer {API_TOKEN}"],
        [f"Proxy-Authorization: Bearer {API_TOKEN}"], [f"HTTP_AUTHORIZATION: Bearer {API_TOKEN}"],
    ]  # fmt: skip
    for headers in wrong:
        (answer,) = ask(victim.port, lines("GET /v1/accounts HTTP/1.1", HOST, *headers))
        assert_civil(answer, headers, 401)
        assert answer.headers["www-authenticate"] == 'Bearer realm="mailsync"'
    for target in (f"/v1/accounts?access_token={API_TOKEN}", f"/v1/accounts?token={API_TOKEN}"):
        (answer,) = ask(victim.port, lines(f"GET {target} HTTP/1.1", HOST))
        assert_civil(answer, target, 401)
    for fine in (f"authorization: bearer {API_TOKEN}", f"AUTHORIZATION:Bearer   {API_TOKEN}   "):
        (answer,) = ask(victim.port, lines("GET /v1/accounts HTTP/1.1", HOST, fine))
        assert_civil(answer, fine, 200)
    for long in (["Authorization: Bearer " + "x" * 9000], [f"X-{n}: 1" for n in range(200)]):
        (answer,) = ask(victim.port, lines("GET /v1/accounts HTTP/1.1", HOST, *long))
        assert_civil(answer, "long", 431)
