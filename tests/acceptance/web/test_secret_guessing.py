"""A client with a token and its own mail server cannot find out secrets by guessing them.

Answers repeat a server's text unchanged, even if it happens to be somebody else's secret; only the account's
own password is masked. The log masks all secrets.
"""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from tests.support import mail, planted
from tests.support.api import Api, StartApi
from tests.support.mailboxes import Account
from tests.support.programs import API_TOKEN, ENCRYPTION_KEY, Mailsync
from tests.support.scripted import ScriptedServer

OF_BOB = planted.keep("a-password-of-bob-alone")
OF_EVE = planted.keep("the-password-in-hand-0815")
OF_DATABASE = planted.keep("a-password-of-postgres-42")
GUESSES = (
    "which-is-no-secret-at-all",
    API_TOKEN,
    ENCRYPTION_KEY,
    OF_DATABASE,
    base64.b64encode(OF_DATABASE.encode()).decode(),
    quote(f"{API_TOKEN} "),
)
GUESSES_OF_BOB = (OF_BOB, base64.b64encode(OF_BOB.encode()).decode())

Database = psycopg.Connection[Any]


def _mailbox(server: ScriptedServer, user: Account, password: str) -> dict[str, Any]:
    return {
        "email": user.name,
        "password": password,
        "imap_host": server.host,
        "imap_port": server.port,
        "imap_security": "plaintext",
    }


class Eve:
    """A client with a token and a mail server that answers as she wants, next to Bob's account."""

    def __init__(self, api: Api, mailsync: Mailsync, database: Database, scripted: ScriptedServer) -> None:
        self.api, self.mailsync, self.database, self.scripted = api, mailsync, database, scripted
        bob = scripted.new_user("bob@example.test", OF_BOB)
        self.user = scripted.new_user("eve@example.test", OF_EVE)
        self.id = 0
        for user, password in ((bob, OF_BOB), (self.user, OF_EVE)):
            user.folders[b"INBOX"].add(mail.message(1))
            added = api.call("POST", "/v1/accounts", _mailbox(scripted, user, password))
            assert added.status == 201
            self.id = added.json()["id"]
            assert mailsync("sync", user.name).returncode == 0
        # from now on the process keeps a session of Bob's, and thus knows his password
        assert self.body(bob.name) == ""

    def body(self, email: str) -> str:
        """Ask for a body; returns the error's detail, if there is one."""
        row = self.database.execute(
            "select m.id from messages m join accounts a on a.id = m.account_id where a.email = %s", [email]
        ).fetchone()
        assert row
        answer = self.api.call("GET", f"/v1/messages/{row[0]}/body")
        return "" if answer.status == 200 else str(answer.json()["detail"])

    def when_logging_in(self, text: str) -> dict[str, str]:
        """All places in which the API shows a server's words, after it has refused a login."""
        self.scripted.on("LOGIN", f"NO [LIMIT] {text}".encode())
        assert self.api.call("POST", f"/v1/accounts/{self.id}/reset").status == 200
        wanted = _mailbox(self.scripted, self.scripted.new_user(), OF_EVE)
        shown = {
            "test": self.api.call("POST", "/v1/accounts", wanted).json()["detail"],
            "body": self.body(self.user.name),
            "account": self.api.call("GET", f"/v1/accounts/{self.id}").json()["sync_state_message"],
            "health": self.api.call("GET", "/health").json()["unhealthy"]["accounts"][0]["message"],
        }
        self.scripted.off("LOGIN")
        return shown

    def when_opening(self, text: str) -> dict[str, str]:
        """All places in which the API shows a server's words, after it has refused to open a folder."""
        self.scripted.on("EXAMINE", f"NO [NOPERM] {text}".encode())
        assert self.mailsync("sync", self.user.name, "--full").returncode == 1
        self.scripted.off("EXAMINE")
        return {"folder": self.last_error()}

    def last_error(self) -> str:
        """The error of a folder, as the API shows it."""
        folders = self.api.call("GET", f"/v1/accounts/{self.id}/folders").json()["data"]
        return str(next(folder["last_error"] for folder in folders if folder["last_error"]))


@pytest.fixture
def eve(start_api: StartApi, mailsync: Mailsync, database: Database, scripted: ScriptedServer) -> Eve:
    url = str(mailsync.environment["DATABASE_URL"])
    mailsync.environment["DATABASE_URL"] = f"{url}{'&' if '?' in url else '?'}password={OF_DATABASE}"
    return Eve(start_api(), mailsync, database, scripted)


def test_a_server_cannot_test_guesses_of_secrets(eve: Eve) -> None:
    for guess in (*GUESSES, *GUESSES_OF_BOB):
        for where, text in eve.when_logging_in(f"not now: {guess} and {OF_EVE}.").items():
            assert f"not now: {guess} and ***." in text, (where, guess)
    for guess in GUESSES:
        for where, text in eve.when_opening(f"not here: {guess} and {OF_EVE}.").items():
            assert f"not here: {guess} and ***." in text, (where, guess)
    for guess in GUESSES_OF_BOB:
        # written as if by another process, which does not know Bob's password
        eve.database.execute("update folders set last_error = %s where last_error is not null", [guess])
        assert eve.last_error() == guess
    # the log contains the server's text but no secret, which every test checks at its end
    assert "not now: *** and ***." in eve.api.process.output


def test_a_secret_as_a_host_name_is_answered_like_any_other_name(eve: Eve) -> None:
    for guess in ("which-is-no-secret-at-all", API_TOKEN, OF_DATABASE, OF_BOB):
        wanted = _mailbox(eve.scripted, eve.user, OF_EVE)
        wanted |= {"email": "new@example.test", "imap_host": f"{guess}.invalid"}
        assert f"{guess}.invalid" in eve.api.call("POST", "/v1/accounts", wanted).json()["detail"]


def test_a_password_in_the_host_field_is_not_repeated(eve: Eve) -> None:
    for host in (OF_EVE, f"{OF_EVE}.invalid"):
        wanted = _mailbox(eve.scripted, eve.user, OF_EVE) | {"email": "new@example.test", "imap_host": host}
        answer = eve.api.call("POST", "/v1/accounts", wanted)
        assert answer.status >= 400
        assert OF_EVE not in answer.body.decode()
