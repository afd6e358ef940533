"""A client for accounts over HTTP, which searches every answer for secrets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from tests.support import planted, run_directory
from tests.support.api import Answer, Api, assert_problem
from tests.support.mirrors import Login, Server

TIMED_OUT = "an answer that did not come"


class Client:
    """Calls the API with its token; no answer may contain a planted secret."""

    def __init__(self, api: Api) -> None:
        self.api = api

    def call(self, method: str, path: str, document: Any = None, **parameters: object) -> Answer:
        """Send a request, and search the whole answer for secrets."""
        answer = self.api.call(method, path, document, **parameters)
        text = f"{answer.headers}\n{answer.body.decode()}"
        assert not planted.found_in(text), f"{method} {path} answered with a secret"
        return answer

    def done(self, status: int, method: str, path: str, document: Any = None, **parameters: object) -> Any:
        """The answer's document, which must have this status."""
        answer = self.call(method, path, document, **parameters)
        assert answer.status == status, answer
        return answer.json()

    def refused(self, status: int, code: str, method: str, path: str, document: Any = None) -> dict[str, Any]:
        """The problem document, which must have this status and code."""
        return assert_problem(self.call(method, path, document), status, code)

    def add(self, server: Server, login: Login, **changes: Any) -> int:
        """Add the login's mailbox under its name; returns the account's id."""
        return int(self.done(201, "POST", "/v1/accounts", mailbox(server, login, **changes))["id"])


def mailbox(server: Server, login: Login, **changes: Any) -> dict[str, Any]:
    """The document to add the login's mailbox."""
    return {
        "email": login.name,
        "password": login.password,
        "imap_host": server.host,
        "imap_port": server.port,
        "imap_security": "plaintext",
    } | changes


def unverified(email: str = "ann@example.test", **changes: Any) -> dict[str, Any]:
    """The document to add an account without a login."""
    return {"email": email, "password": "any-password", "imap_host": "localhost", "verify": False} | changes


def closed_port() -> int:
    """A port on which nobody listens."""
    return run_directory.free_port()


@contextmanager
def lock_held(database: psycopg.Connection[Any], account_id: int) -> Iterator[None]:
    """Hold the account's lock meanwhile, as another worker."""
    database.execute("set application_name = 'mailsync-worker'")
    database.execute("select pg_advisory_lock(hashtext(current_schema()), %s::int)", [account_id])
    yield
    database.execute("select pg_advisory_unlock(hashtext(current_schema()), %s::int)", [account_id])


def row(database: psycopg.Connection[Any], account_id: int) -> dict[str, Any]:
    """The account's row with its sealed password, as JSON."""
    record = database.execute(
        "select to_jsonb(a) || jsonb_build_object('sealed', c.ciphertext)"
        " from accounts a left join account_credentials c on c.account_id = a.id where a.id = %s",
        [account_id],
    ).fetchone()
    assert record
    return dict(record[0])


def documents(answer: Any) -> list[dict[str, Any]]:
    """The data of a page."""
    return list(json.loads(json.dumps(answer))["data"])
