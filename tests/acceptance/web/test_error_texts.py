"""Error texts of the API: they help, and reveal no secrets."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from mailsync.store import db
from tests.support.account_client import closed_port
from tests.support.api import AUTHORIZED, Api, StartApi, assert_problem
from tests.support.raw_http import AUTHORIZATION, ask, assert_civil, lines
from tests.support.stored import ATTACHMENT, message, new_account, new_folder, settings_for, store

WEAK = "connection"


def _filled(database_url: str) -> int:
    """The id of a message with an attachment, of account 1 of this database."""
    settings = settings_for(database_url)
    with db.connect(settings, "test") as conn:
        folder = new_folder(conn, new_account(conn, settings))
        store(conn, folder, message(1, attachments=(ATTACHMENT,)), announce=True)
        row = conn.execute("select id from messages").fetchone()
        assert row
        return int(row[0])


def test_a_tried_password_does_not_mask_later_texts(start_api: StartApi) -> None:
    api = start_api(WEB_CONCURRENCY="1")
    port = closed_port()

    def add(password: str) -> dict[str, Any]:
        document = {
            "email": "a@example.test",
            "password": password,
            "imap_host": "127.0.0.1",
            "imap_port": port,
            "imap_security": "plaintext",
        }
        answer = api.call("POST", "/v1/accounts", document)
        assert answer.status == 502
        problem: dict[str, Any] = answer.json()
        return problem

    assert "refused" not in add("refused")["detail"]
    assert "refused" in add("another")["detail"]
    stored = {"email": "b@example.test", "password": "refused", "imap_host": "imap.test", "verify": False}
    assert api.call("POST", "/v1/accounts", stored).status == 201
    assert "refused" in add("another")["detail"]


def test_no_answer_reveals_whether_a_word_is_a_secret(start_api: StartApi, database_url: str) -> None:
    mark = "?" if "?" not in database_url else "&"
    # a client that guesses the database's password must not learn that the guess is right
    api = start_api(DATABASE_URL=f"{database_url}{mark}password={WEAK}", WEB_CONCURRENCY="1")
    number = _filled(database_url)
    account = api.call("GET", "/v1/accounts").json()["data"][0]["id"]

    def problem_texts(method: str, path: str, document: Any = None) -> list[str]:
        texts = []
        for word in (WEAK, "collection"):
            body = None if document is None else json.loads(json.dumps(document).replace("WORD", word))
            answer = api.call(method, path.replace("WORD", word), body)
            assert answer.status >= 400
            problem = answer.json()
            del problem["request_id"]
            assert "***" not in json.dumps(problem)
            texts.append(json.dumps(problem).replace(word, "WORD"))
        return texts

    for method, path, document in (
        ("GET", f"/v1/messages/{number}/attachments/WORD", None),
        ("GET", f"/v1/accounts/{account}/messages?folder=WORD", None),
        ("GET", f"/v1/accounts/{account}/messages?WORD=1", None),
        ("GET", f"/v1/accounts/{account}/messages?since=WORD", None),
        ("GET", f"/v1/accounts/{account}/messages?cursor=WORD", None),
        ("GET", "/v1/accounts?state=WORD", None),
        ("GET", "/v1/accounts?email=a&email=WORD", None),
        ("GET", "/v1/accounts/WORD", None),
        ("GET", "/v1/WORD", None),
        ("POST", "/v1/accounts", {"email": "WORD", "password": "x"}),
        ("POST", "/v1/accounts", {"email": "a@example.test", "password": "x", "WORD": 1}),
        ("POST", "/v1/accounts", {"email": "a@example.test", "password": "x", "imap_security": "WORD"}),
        ("PATCH", f"/v1/accounts/{account}", {"metadata": [{"WORD": 1}]}),
    ):
        right, wrong = problem_texts(method, path, document)
        assert right == wrong, path


def test_not_found_says_how_to_address_objects(api: Api) -> None:
    def detail(path: str) -> str:
        text: str = assert_problem(api.call("GET", path), 404, "not_found")["detail"]
        return text

    assert detail("/v1/nothing") == "There is no such path; see GET /openapi.json for all paths."
    for wrong in ("me@example.com", "abc", "0", "9" * 25):
        assert detail(f"/v1/accounts/{quote(wrong)}/messages") == (
            "Accounts are addressed by id, a whole number;"
            " GET /v1/accounts?email= finds one by e-mail address."
        )
        assert detail(f"/v1/accounts/{quote(wrong)}").startswith("Accounts are addressed by id")
        assert detail(f"/v1/messages/{quote(wrong)}/body").startswith("Messages are addressed by id")
    assert detail("/v1/accounts/1/folders/INBOX").startswith("Folders are addressed by id")
    assert detail("/v1/accounts/1/nothing").startswith("There is no such path")


def test_an_unsupported_method_lists_the_supported_ones(api: Api) -> None:
    answer = api.request("PUT", "/v1/accounts", AUTHORIZED)
    problem = assert_problem(answer, 405, "method_not_allowed")
    assert problem["detail"] == "PUT is not allowed here; use GET, HEAD, OPTIONS, POST."
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS", "POST"}


def test_an_unencoded_plus_is_recognised(api: Api) -> None:
    for name in ("since", "until"):
        for moment, hinted in (
            ("2026-01-31T10:00:00+02:00", True),
            ("2026-01-31T10:00:00.5+0200", True),
            ("yesterday+02:00", False),
            ("2026-01-31T10:00:00", False),
        ):
            answer = api.call("GET", f"/v1/accounts/1/messages?{name}={moment}")
            (error,) = assert_problem(answer, 422, "invalid")["errors"]
            assert error["parameter"] == name
            assert error["detail"].endswith("; in a query, write + as %2B") == hinted, moment
    assert api.call("GET", "/v1/accounts/1/messages?since=2026-01-31T10:00:00%2B02:00").status == 404


def test_a_request_line_that_is_not_ascii_says_how_to_encode_it(api: Api) -> None:
    for path in (
        "/v1/accounts?email=jürgen@example.com",
        "/v1/größe",
        "/v1/accounts/1/runs?a=Привет",
    ):
        (answer,) = ask(api.port, lines(f"GET {path} HTTP/1.1".encode(), "Host: x", AUTHORIZATION))
        assert_civil(answer, path, 400)
        assert "percent-encode" in answer.json()["detail"]
    (other,) = ask(api.port, lines("GET /a b HTTP/1.1", "Host: x", AUTHORIZATION))
    assert "percent-encode" not in other.json()["detail"]
