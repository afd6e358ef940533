"""Accounts over HTTP: add, list, refuse; with the rules and texts of the command line."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from tests.support import planted
from tests.support.account_client import Client, closed_port, mailbox, row, unverified
from tests.support.api import AUTHORIZED, StartApi, assert_problem
from tests.support.certificates import Authority
from tests.support.dovecot import Dovecot
from tests.support.imap_server import User
from tests.support.mirrors import value
from tests.support.programs import Mailsync

Database = psycopg.Connection[Any]


@pytest.fixture
def client(start_api: StartApi) -> Iterator[Client]:
    api = start_api(WEB_CONCURRENCY="2", SYNC_MAX_ACCOUNTS="3", LOG_LEVEL="DEBUG")
    yield Client(api)
    api.process.terminate()
    assert api.process.wait() == 0


@pytest.fixture
def user(dovecot: Dovecot) -> User:
    return dovecot.new_user()


# -- add and show ------------------------------------------------------------------------------------------


def test_an_account_is_added_after_a_login_and_shown_without_its_password(
    client: Client, dovecot: Dovecot, user: User, database: Database
) -> None:
    body = mailbox(
        dovecot,
        user,
        email="Ann@Example.Test",
        username=user.name,
        display_name=" Ann 👩‍💻 ",
        metadata={"team": ["blue", {"seat": 7.5, "ünï": None}]},
        sync_since="2025-01-31T01:00:00+01:00",
    )
    answer = client.call("POST", "/v1/accounts", body)
    assert answer.status == 201
    added = answer.json()
    assert answer.headers["Location"] == f"/v1/accounts/{added['id']}"
    assert (added.pop("verified"), added.pop("note")) == (True, None)
    assert added["email"] == "ann@example.test"
    assert added["display_name"] == "Ann 👩‍💻"
    assert added["metadata"] == body["metadata"]
    assert (added["imap_host"], added["imap_port"]) == (dovecot.host, dovecot.port)
    assert (added["imap_security"], added["username"]) == ("plaintext", user.name)
    assert (added["sync_since"], added["sync_window_days"]) == ("2025-01-31T00:00:00Z", None)
    assert added["sync_state"] == "initial_sync"
    assert "CONDSTORE" in added["capabilities"]
    shown = client.done(200, "GET", answer.headers["Location"])
    assert shown == added
    assert client.done(200, "GET", "/v1/accounts")["data"] == [added]
    assert not {"password", "oauth", "ciphertext", "key_id"} & shown.keys()
    stored = row(database, added["id"])
    assert user.password not in str(stored)
    assert user.password.encode().hex() not in stored["sealed"]
    assert value(database, "select count(*) from sync_events where type = 'account.created'") == 1


def test_defaults_follow_from_the_address_and_the_settings(start_api: StartApi) -> None:
    client = Client(start_api(WEB_CONCURRENCY="2", SYNC_WINDOW_DAYS="30"))
    known = client.done(
        201, "POST", "/v1/accounts", {"email": "a@gmail.com", "password": "x", "verify": False}
    )
    assert (known["imap_host"], known["imap_port"], known["provider"]) == ("imap.gmail.com", 993, "Gmail")
    assert (known["verified"], known["sync_window_days"]) == (False, 30)
    assert "app password" in known["note"]
    for email, changes, days in (
        ("b@example.test", {"sync_window_days": None}, None),
        ("c@example.test", {"sync_window_days": 0}, None),
        ("d@example.test", {"sync_window_days": 7, "sync_since": None}, 7),
        ("e@example.test", {"sync_since": "2025-01-31T00:00:00Z", "sync_window_days": None}, None),
    ):
        added = client.done(201, "POST", "/v1/accounts", unverified(email, **changes))
        assert added["sync_window_days"] == days, email
        assert (added["sync_since"] is not None) == (email[0] == "e")
        assert (added["username"], added["imap_security"], added["note"]) == (email, "tls", None)


def test_accounts_are_listed_page_by_page_and_found_by_address_or_state(
    start_api: StartApi, database: Database
) -> None:
    client = Client(start_api(WEB_CONCURRENCY="2"))
    made = [
        client.done(201, "POST", "/v1/accounts", unverified(f"user{n}@example.test"))["id"] for n in range(5)
    ]
    client.done(200, "POST", f"/v1/accounts/{made[1]}/pause")
    seen, path, pages = [], "/v1/accounts?limit=2", 0
    while path:
        answer = client.call("GET", path)
        seen += [account["id"] for account in answer.json()["data"]]
        link = answer.headers["Link"]
        assert (link is None) == (answer.json()["next_cursor"] is None)
        path, pages = (link.split(">")[0][1:] if link else ""), pages + 1
    assert (seen, pages) == (made, 3)

    def ids(**filters: str) -> list[int]:
        return [account["id"] for account in client.done(200, "GET", "/v1/accounts", **filters)["data"]]

    assert ids(email="USER3@Example.test") == [made[3]]
    assert ids(email="no address") == ids(email="user3@example.test", state="healthy") == []
    assert ids(state="paused") == [made[1]]
    assert ids(state="initial_sync") == [made[0], *made[2:]]
    cursor = client.done(200, "GET", "/v1/accounts", limit=2)["next_cursor"]
    for query in (f"cursor={cursor}&state=paused", f"cursor={cursor[:-1]}", "limit=0", "state=x", "x=1"):
        client.refused(422, "invalid", "GET", f"/v1/accounts?{query}")


# -- refusals -----------------------------------------------------------------------------------------------


def test_a_failed_connection_test_stores_nothing_and_names_its_step(
    client: Client,
    scripted_with: Any,
    authority: Authority,
    database: Database,
) -> None:
    plain = scripted_with()
    user = plain.new_user("ann@example.test")
    strange = scripted_with(security="tls", certificate=authority.self_signed())
    silent = scripted_with(greeting=b"* BYE too many connections")
    cases: list[tuple[int, str, str, dict[str, Any]]] = [
        (502, "unreachable", "dns", {"imap_host": "imap.nowhere.invalid"}),
        (502, "unreachable", "connect", {"imap_port": closed_port()}),
        (502, "tls", "tls", {"imap_port": strange.port, "imap_security": "tls", "imap_host": "localhost"}),
        (422, "auth_failed", "login", {"password": planted.keep("wrong-password-of-ann")}),
        (503, "throttled", "connect", {"imap_port": silent.port}),
    ]
    for status, code, step, changes in cases:
        body = mailbox(plain, user, **changes)
        document = client.refused(status, code, "POST", "/v1/accounts", body)
        assert document["step"] == step, document
    plain.on("LOGIN", f"NO wrong: {user.name} {user.password}".encode(), times=1)
    document = client.refused(422, "auth_failed", "POST", "/v1/accounts", mailbox(plain, user))
    assert "***" in document["detail"]
    plain.on("LIST", b"NO [SERVERBUG] out of order")
    document = client.refused(502, "unreachable", "POST", "/v1/accounts", mailbox(plain, user))
    assert (document["step"], "out of order" in document["detail"]) == ("list", True)
    assert value(database, "select count(*) from accounts") == 0
    assert value(database, "select count(*) from sync_events") == 0


def test_private_hosts_are_refused_before_any_connection(start_api: StartApi, database: Database) -> None:
    client = Client(start_api(WEB_CONCURRENCY="2", IMAP_ALLOW_PRIVATE_HOSTS="false"))
    literal = (
        "169.254.169.254", "::1", "127.0.0.1", "2130706433", "0x7f000001", "127.1", "0177.0.0.1", "10.1.2.3",
        "::ffff:10.0.0.1", "64:ff9b::a00:1", "100.64.0.1", "0.0.0.0", "fe80::1",
    )  # fmt: skip
    for host in (*literal, "localhost"):
        document = client.refused(422, "forbidden_host", "POST", "/v1/accounts", trial(imap_host=host))
        assert (document["step"], document["errors"][0]["pointer"]) == ("dns", "#/imap_host"), document
        assert "not a public address" in document["detail"]
    for host in literal:
        client.refused(422, "forbidden_host", "POST", "/v1/accounts", unverified(imap_host=host))
    document = client.refused(422, "forbidden_host", "POST", "/v1/accounts", unverified(imap_port=25))
    assert document["errors"][0]["pointer"] == "#/imap_port"
    assert value(database, "select count(*) from accounts") == 0
    # an existing account cannot be changed to such a host either
    made = client.done(201, "POST", "/v1/accounts", unverified(imap_host="imap.example.com"))["id"]
    for verify in (True, False):
        moved = {"password": "any-password", "imap_host": "169.254.169.254", "verify": verify}
        client.refused(422, "forbidden_host", "PATCH", f"/v1/accounts/{made}", moved)
    assert row(database, made)["imap_host"] == "imap.example.com"


def trial(**changes: Any) -> dict[str, Any]:
    return unverified(verify=True) | changes


def test_refusals_match_those_of_the_command_line(start_api: StartApi, mailsync: Mailsync) -> None:
    mailsync.environment |= {"IMAP_ALLOW_PRIVATE_HOSTS": "false", "IMAP_ALLOW_PLAINTEXT": "false"}
    mailsync.environment["SYNC_MAX_ACCOUNTS"] = "1"
    client = Client(start_api(WEB_CONCURRENCY="2"))
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({"email": "no-address"}, []),
        ({"imap_host": None}, []),
        ({"imap_host": "imap.nowhere.invalid", "verify": True}, ["--host", "imap.nowhere.invalid"]),
        ({"imap_security": "plaintext"}, ["--host", "localhost", "--security", "plaintext"]),
        ({"imap_host": "10.0.0.1"}, ["--host", "10.0.0.1", "--no-verify"]),
        ({"email": "bob@example.test"}, ["--host", "localhost", "--no-verify"]),
        ({}, ["--host", "localhost", "--no-verify"]),
    ]
    for number, (changes, options) in enumerate(cases):
        if number == 5:
            client.done(201, "POST", "/v1/accounts", unverified(imap_host="imap.example.com"))
        body = {name: item for name, item in (unverified() | changes).items() if item is not None}
        answer = client.call("POST", "/v1/accounts", body)
        done = mailsync("add-account", body["email"], *options, "--password-stdin", input="any-password\n")
        message = done.stderr.strip().removeprefix("mailsync: ")
        if step := answer.json().get("step"):
            message = message.removeprefix(f"{step} failed: ")
        assert (answer.status >= 400, done.returncode != 0) == (True, True), changes
        assert message
        assert answer.json()["detail"].removeprefix("email: ") == message


def test_invalid_fields_are_refused_by_name(client: Client, database: Database) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"imap_port": "993"}, "imap_port"),
        ({"imap_port": 993.5}, "imap_port"),
        ({"imap_port": 0}, "imap_port"),
        ({"imap_port": 65536}, "imap_port"),
        ({"imap_port": None}, "imap_port"),
        ({"imap_security": "ssl"}, "imap_security"),
        ({"imap_host": ""}, "imap_host"),
        ({"imap_host": "imap.example.com/x"}, "imap_host"),
        ({"imap_host": "two words"}, "imap_host"),
        ({"email": "ann@example.test\nbcc: x"}, "email"),
        ({"email": 7}, "email"),
        ({"password": ""}, "password"),
        ({"password": "two\nlines"}, "password"),
        ({"password": "NUL\0"}, "password"),
        ({"password": "x" * 1001}, "password"),
        ({"password": None}, "password"),
        ({"username": "a\r\nb"}, "username"),
        ({"display_name": "two\nlines"}, "display_name"),
        ({"display_name": "x" * 201}, "display_name"),
        ({"sync_since": "yesterday"}, "sync_since"),
        ({"sync_since": "2025-01-31"}, "sync_since"),
        ({"sync_since": 0}, "sync_since"),
        ({"sync_since": "2025-01-31T00:00:00Z", "sync_window_days": 7}, "sync_since"),
        ({"sync_window_days": -1}, "sync_window_days"),
        ({"sync_window_days": 36501}, "sync_window_days"),
        ({"sync_window_days": True}, "sync_window_days"),
        ({"metadata": []}, "metadata"),
        ({"metadata": "{}"}, "metadata"),
        ({"metadata": {"a": ["b", {"c": "NUL\0"}]}}, "metadata"),
        ({"metadata": {"NUL\0": 1}}, "metadata"),
        ({"metadata": {"a": "x" * 65536}}, "metadata"),
        ({"verify": "false"}, "verify"),
        ({"id": 7}, "id"),
        ({"paused_at": None}, "paused_at"),
    ]
    for changes, field in cases:
        document = client.refused(422, "invalid", "POST", "/v1/accounts", unverified() | changes)
        assert document["errors"][0]["pointer"].split("/")[1] == field, (changes, document)
    for name in ("email", "password"):
        body = unverified()
        del body[name]
        document = client.refused(422, "invalid", "POST", "/v1/accounts", body)
        assert document["errors"] == [{"detail": "required", "pointer": f"#/{name}"}]
    json_type = AUTHORIZED | {"Content-Type": "application/json"}
    for status, code, headers, body in (
        (400, "bad_request", json_type, '{"email": "a@b.c", "password": "half-a-documen'),
        (415, "unsupported_media_type", AUTHORIZED, json.dumps(unverified())),
        (413, "too_large", json_type, "x" * (1 << 20) + "y"),
        (401, "unauthorized", {"Content-Type": "application/json"}, json.dumps(unverified())),
    ):
        assert_problem(client.api.request("POST", "/v1/accounts", headers, body), status, code)
    assert value(database, "select count(*) from accounts") == 0


def test_the_first_request_gets_the_address_and_the_last_place(client: Client, database: Database) -> None:
    def attempt(number: int) -> tuple[int, str]:
        answer = client.call("POST", "/v1/accounts", unverified(f"user{number % 10}@example.test"))
        while answer.status == 503:
            answer = client.call("POST", "/v1/accounts", unverified(f"user{number % 10}@example.test"))
        return answer.status, answer.json().get("code", "")

    with ThreadPoolExecutor(20) as people:
        outcomes = Counter(people.map(attempt, range(20)))
    assert outcomes[201, ""] == 3
    assert outcomes[409, "account_limit"] + outcomes[409, "conflict"] == 17
    assert value(database, "select count(*) from accounts") == 3
    assert value(database, "select count(*) from account_credentials") == 3
    taken = value(database, "select email from accounts limit 1")
    document = client.refused(409, "conflict", "POST", "/v1/accounts", unverified(taken.upper()))
    assert document["detail"].startswith(f"{taken} already exists; ")
    document = client.refused(409, "account_limit", "POST", "/v1/accounts", unverified("new@example.test"))
    assert "3 accounts exist and SYNC_MAX_ACCOUNTS is 3" in document["detail"]


def test_without_a_database_the_answer_does_not_reveal_where_it_is(start_api: StartApi) -> None:
    port = closed_port()
    client = Client(start_api(DATABASE_URL=f"postgresql://somebody@127.0.0.1:{port}/none_test"))
    path = "/v1/accounts"
    for method, where, document in (("GET", path, None), ("POST", f"{path}/1/reset", {})):
        answer = client.call(method, where, document)
        assert_problem(answer, 503, "database_unavailable")
        assert answer.headers["Retry-After"] == "5"
        assert not [word for word in (str(port), "127.0.0.1", "somebody", "none_test") if word in str(answer)]
    client.api.process.wait_for(f"port {port} failed")


def test_every_operation_on_a_missing_account_is_not_found(client: Client) -> None:
    for unknown in ("7", "2147483648", str(2**63 - 1), str(2**63), "0", "x"):
        for method, path, document in (
            ("GET", "", None),
            ("PATCH", "", {"display_name": "x"}),
            ("PATCH", "", {"password": "any-password"}),
            ("DELETE", "", None),
            ("POST", "/pause", {"reason": "x"}),
            ("POST", "/resume", None),
            ("POST", "/reset", None),
            ("POST", "/sync", None),
            ("GET", "/folders", None),
            ("PATCH", "/folders/1", {"tracked": True}),
        ):
            client.refused(404, "not_found", method, f"/v1/accounts/{unknown}{path}", document)
