"""The API reveals no secret in answers, its log or rows, whatever goes wrong."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from tests.support import mail, planted, run_directory
from tests.support.api import AUTHORIZED, Answer, Api, StartApi
from tests.support.mailboxes import Account
from tests.support.programs import API_TOKEN, ENCRYPTION_KEY
from tests.support.proxy import Proxy
from tests.support.run_directory import wait_until
from tests.support.scripted import ScriptedServer
from tests.support.session import Request

RIGHT = planted.keep('päss "wörd" \\ 100% {right}&<one>')
NEXT = planted.keep("next/secret+word=for?the#same")
WRONG = planted.keep("wrong secret 'word', £3")
TOKEN = planted.keep("another-token-for-rotation-42")
OF_DATABASE = planted.keep("database:secret@for%the/tests")
OTHER_KEY = planted.keep(base64.b64encode(b"another key, for the tests only!").decode())


class Session:
    """A client that searches all answers for secrets, and counts them."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.answers = 0

    def ask(self, method: str, path: str, document: Any = None, **headers: str) -> Answer:
        """Ask with the token; `document` is JSON, or bytes as they are."""
        body = document if isinstance(document, bytes | None) else json.dumps(document)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        kind = {} if document is None else {"Content-Type": "application/json"}
        answer = self.api.request(
            method, path, {**AUTHORIZED, "Accept-Encoding": "gzip", **kind, **given}, body
        )
        leaked = planted.found_in(f"{answer.status} {answer.headers}\n{_text(answer)}")
        assert not leaked, f"{method} {path[:60]} answered with a secret"
        self.answers += 1
        return answer


def _text(answer: Answer) -> str:
    """The body, decompressed if necessary."""
    body = answer.body
    match answer.headers.get("Content-Encoding"):
        case "gzip":
            body = gzip.decompress(body)
        case "deflate":
            body = zlib.decompress(body)
    return body.decode(errors="replace")


def _echoing(how: str, password: str) -> Callable[[Request], bytes]:
    """A server that echoes what it was sent."""
    forms: dict[str, Callable[[str], str]] = {
        "plain": lambda text: text,
        "base64": lambda text: base64.b64encode(f"\0user\0{text}".encode()).decode(),
        "percent": lambda text: quote(text, safe=""),
        "url": lambda text: f"imap://user:{quote(text, safe='')}@mail.test/",
        "repr": repr,
    }
    reply = b"NO [AUTHENTICATIONFAILED] rejected: " + forms[how](password).encode()
    return lambda request: request.tagged(reply + b" in " + request.text)


ECHOES = ("plain", "base64", "percent", "url", "repr")


def _mailbox(server: ScriptedServer, user: Account, password: str, **changes: Any) -> dict[str, Any]:
    return {
        "email": user.name,
        "password": password,
        "imap_host": server.host,
        "imap_port": server.port,
        "imap_security": "plaintext",
    } | changes


def _misuses(session: Session, account: int) -> None:
    """Secrets in the wrong places: refusals do not quote them."""
    path = f"/v1/accounts/{account}"
    for document in (
        {"password": [RIGHT]},
        {"password": {"is": RIGHT}},
        {"password": RIGHT + "\n"},
        {"password": RIGHT * 100},
        {"imap_host": RIGHT, "password": RIGHT},
        {"imap_port": RIGHT, "password": RIGHT},
        {"imap_security": RIGHT, "password": RIGHT},
        {"username": RIGHT + "\r\n", "password": RIGHT},
        {"sync_since": RIGHT},
        {"verify": RIGHT},
        {"imap_host": f"{NEXT}.test"},
        [RIGHT],
        RIGHT,
    ):
        assert session.ask("PATCH", path, document).status in (400, 422), document
        assert session.ask("POST", "/v1/accounts", document).status == 422
    for broken in (f'{{"password": "{RIGHT}"', f"password={quote(RIGHT)}", f'{{"password": {NEXT}}}'):
        assert session.ask("POST", "/v1/accounts", broken.encode()).status == 400
        assert session.ask("POST", "/v1/accounts", broken.encode(), Content_Type="text/plain").status == 415
    for where in (f"/v1/accounts?token={TOKEN}", f"/v1/accounts?email={quote(RIGHT)}", f"/v1/{TOKEN}"):
        session.ask("GET", where)
        session.ask("GET", where, Authorization=f"Bearer x{TOKEN}")
    for header in (f"Basic {base64.b64encode(f'u:{TOKEN}'.encode()).decode()}", f"Bearer {TOKEN}, {TOKEN}"):
        assert session.ask("GET", "/health", Authorization=header).status == 401
    session.ask("GET", "/health", Cookie=f"token={TOKEN}", Referer=f"http://x/?t={TOKEN}", User_Agent=TOKEN)


def _reads(session: Session, account: int) -> None:
    for path in ("", "/folders", "/messages", "/runs", "/events"):
        assert session.ask("GET", f"/v1/accounts/{account}{path}").status == 200
    for path in ("/v1/accounts", "/v1/events", "/health", "/health/ready", "/metrics", "/openapi.json"):
        assert session.ask("GET", path).status == 200


@pytest.mark.long
@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_long_mixed_session_reveals_no_secret(
    start_api: StartApi,
    database: psycopg.Connection[Any],
    database_url: str,
    postgres_proxy: tuple[Proxy, str],
    scripted: ScriptedServer,
    log_format: str,
) -> None:
    proxy, url = postgres_proxy
    secret_url = f"{url}{'&' if '?' in url else '?'}password={quote(OF_DATABASE, safe='')}"
    api = start_api(
        WEB_CONCURRENCY="2",
        DATABASE_URL=secret_url,
        API_TOKEN=f"{API_TOKEN}, next={TOKEN}",
        LOG_LEVEL="DEBUG",
        LOG_FORMAT=log_format,
        IMAP_READ_TIMEOUT="2s",
        IMAP_CONNECT_TIMEOUT="2s",
    )
    session = Session(api)
    user = scripted.new_user("ann@example.test", RIGHT)
    folder = user.folders[b"INBOX"]
    for number in range(3):
        folder.add(mail.message(number, attachment=b"content"))

    # -- add: rejected with various texts, then accepted
    for how in ECHOES:
        scripted.on("LOGIN", _echoing(how, WRONG))
        assert session.ask("POST", "/v1/accounts", _mailbox(scripted, user, WRONG)).status == 422
    scripted.off("LOGIN")
    account = session.ask("POST", "/v1/accounts", _mailbox(scripted, user, RIGHT)).json()["id"]
    assert session.ask("POST", "/v1/accounts", _mailbox(scripted, user, RIGHT)).status == 409
    _misuses(session, account)
    _reads(session, account)

    # -- change
    for how in ECHOES:
        scripted.on("LOGIN", _echoing(how, NEXT))
        assert session.ask("PATCH", f"/v1/accounts/{account}", {"password": NEXT}).status == 422
    scripted.off("LOGIN")
    unverified = {"password": NEXT, "verify": False, "display_name": "Ann"}
    assert session.ask("PATCH", f"/v1/accounts/{account}", unverified).status == 200
    assert session.ask("PATCH", f"/v1/accounts/{account}", {"password": RIGHT}).status == 200
    for action in ("pause", "resume", "reset", "sync"):
        assert session.ask("POST", f"/v1/accounts/{account}/{action}").status in (200, 202)

    # -- bodies from a misbehaving server
    message = _message(database, account)
    for path in ("body", "raw", "attachments/2"):
        for command in ("UID FETCH", "EXAMINE", "LOGIN"):
            for how in ECHOES[:2]:
                scripted.on(command, _echoing(how, RIGHT))
                scripted.disconnect()
                assert session.ask("GET", f"/v1/messages/{message}/{path}").status >= 400
                scripted.off(command)
                # a rejected login is not retried so soon
                assert session.ask("POST", f"/v1/accounts/{account}/reset").status == 200
    _reads(session, account)

    # -- lose the database, and get it back
    proxy.stop()
    wait_until(lambda: session.ask("GET", "/health/ready").status == 503, "the failing check")
    for path in ("/health", "/v1/accounts", "/metrics", f"/v1/messages/{message}/body"):
        assert session.ask("GET", path).status == 503
    assert session.ask("POST", "/v1/accounts", _mailbox(scripted, user, WRONG)).status == 503

    # -- a database at another address, and another key
    closed = run_directory.free_port()
    nowhere = f"postgresql://nobody:{quote(OF_DATABASE, safe='')}@127.0.0.1:{closed}/none_test"
    lost = Session(start_api(DATABASE_URL=nowhere, LOG_LEVEL="DEBUG", LOG_FORMAT=log_format))
    for path in ("/health/ready", "/v1/accounts"):
        assert lost.ask("GET", path).status == 503
    locked = Session(start_api(DATABASE_URL=database_url, IMAP_ENCRYPTION_KEY=OTHER_KEY, LOG_LEVEL="DEBUG"))
    assert locked.ask("GET", f"/v1/messages/{message}/body").status == 503
    assert locked.ask("GET", f"/v1/accounts/{account}").status == 200

    assert session.answers > 100
    for client in (session, lost, locked):
        leaked = [line for line in client.api.process.lines if planted.found_in(line)]
        assert leaked == []
        assert "Traceback" not in client.api.process.output
    assert "POST /v1/accounts" in api.process.output, "there is a log"
    _assert_not_in_rows(database)


def _message(database: psycopg.Connection[Any], account: int) -> int:
    """The id of a message with an attachment, stored as a worker would."""
    folder = database.execute(
        "insert into folders (account_id, wire_name, path, tracked, status, uidvalidity, last_uid)"
        " values (%s, 'INBOX', 'INBOX', true, 'active', %s, 3) returning id",
        [account, 1],
    ).fetchone()
    assert folder
    row = database.execute(
        "insert into messages (account_id, folder_id, uidvalidity, uid, internal_date)"
        " values (%s, %s, 1, 1, now()) returning id",
        [account, folder[0]],
    ).fetchone()
    assert row
    database.execute(
        "insert into attachments (account_id, message_pk, part, content_type, is_inline)"
        " values (%s, %s, '2', 'text/plain', false)",
        [account, row[0]],
    )
    return int(row[0])


def _assert_not_in_rows(database: psycopg.Connection[Any]) -> None:
    tables = database.execute(
        "select table_name from information_schema.tables where table_schema = 'mailsync'"
    ).fetchall()
    assert len(tables) > 10
    for (table,) in tables:
        for (row,) in database.execute(f'select t::text from "{table}" t').fetchall():  # type: ignore[call-overload]
            assert not planted.found_in(row), f"a row of {table} holds a secret"


def test_the_search_finds_the_key_and_tokens_of_the_tests() -> None:
    # the control for tests that prove the absence of secrets
    for secret in (RIGHT, NEXT, TOKEN, API_TOKEN, ENCRYPTION_KEY):
        packed = base64.b64encode(f"\0user\0{secret} and more".encode()).decode()
        for form in (secret, json.dumps(secret), quote(secret), packed, secret.encode().hex(), repr(secret)):
            assert secret in planted.found_in(f"x{form}y"), form
