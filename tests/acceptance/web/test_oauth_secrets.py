"""No token and no client secret is in an answer, a log, an error or a row, whatever the provider says."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import sql

from tests.support import planted
from tests.support.api import Answer, Api, StartApi
from tests.support.authorization_server import AuthorizationServer, RegisteredClient
from tests.support.dovecot_oauth import OAuthDovecot
from tests.support.imap_server import User
from tests.support.mirrors import is_healthy, value, wake
from tests.support.programs import Mailsync, Running
from tests.support.proxy import Proxy

Database = psycopg.Connection[Any]


def ask(api: Api, method: str, path: str, document: Any = None) -> Answer:
    answer = api.call(method, path, document)
    assert not planted.found_in(f"{answer.headers}\n{answer.body.decode()}"), (method, path)
    return answer


def look(api: Api, account: int) -> None:
    """Read everything that the API tells about an account."""
    for path in ("", "/folders", "/runs", "/events"):
        assert ask(api, "GET", f"/v1/accounts/{account}{path}").status in (200, 404)
    for path in ("/v1/events", "/health", "/v1/accounts"):
        ask(api, "GET", path)


def test_tokens_are_nowhere_to_be_seen(
    mailsync: Mailsync,
    oauth_dovecot: OAuthDovecot,
    authorization_server: AuthorizationServer,
    oauth_client: RegisteredClient,
    oauth_user: User,
    database: Database,
    start_worker: Callable[..., Running],
    start_api: StartApi,
    proxy_to: Callable[[tuple[str, int]], Proxy],
) -> None:
    server, proxy = authorization_server, proxy_to((oauth_dovecot.host, oauth_dovecot.port))
    server.terms.announced = 0.001
    api, worker = (start(LOG_LEVEL="DEBUG", SYNC_INTERVAL="1s") for start in (start_api, start_worker))
    wrong = planted.keep(secrets.token_urlsafe(60))
    other = server.issue(oauth_client, oauth_dovecot.new_user().name).refresh_token
    right = server.issue(oauth_client, oauth_user.name).refresh_token
    account = {
        "email": oauth_user.name,
        "imap_host": proxy.host,
        "imap_port": proxy.port,
        "imap_security": "plaintext",
    }

    def sign_in(token: object) -> dict[str, Any]:
        return {"oauth": {"provider": "own", "refresh_token": token}}

    # refused: nothing is stored
    for token in ([right], f"{right}\n", "", wrong, other):
        refused = ask(api, "POST", "/v1/accounts", account | sign_in(token))
        assert 400 <= refused.status < 500, (token, refused)
    strange = {"provider": "own", "refresh_token": right, "grant": "client_credentials"}
    assert ask(api, "POST", "/v1/accounts", account | {"oauth": strange}).status == 422
    assert value(database, "select count(*) from accounts") == 0

    added = ask(api, "POST", "/v1/accounts", account | sign_in(right))
    assert added.status == 201, added.body
    account_id = added.json()["id"]
    worker.wait_for(lambda: is_healthy(database, account_id))

    # a provider, and a gateway before it, that repeat what they were sent
    state = "select sync_state, sync_state_message from account_status where account_id = %s"
    for error in ("temporarily_unavailable", "invalid_client", "invalid_grant"):
        (family,) = [family for family in server.store.families if family.user == oauth_user.name]
        sent, secret = family.current, oauth_client.client.secret
        assert secret
        echo = f"no: {sent} {quote(secret.get_secret_value())} client_secret={secret.get_secret_value()}"
        server.fail_next("token", 400, error=error, body={"error_description": echo * 3}, times=None)
        proxy.reset()
        wake(database)
        worker.wait_for(lambda e=error: e in (database.execute(state, [account_id]).fetchone()[1] or ""))
        look(api, account_id)
        server.recover()
        assert "***" in database.execute(state, [account_id]).fetchone()[1]

    assert database.execute(state, [account_id]).fetchone()[0] == "broken"
    for token in (wrong, other):
        refused = ask(api, "PATCH", f"/v1/accounts/{account_id}", sign_in(token))
        assert 400 <= refused.status < 500, refused
    again = server.issue(oauth_client, oauth_user.name).refresh_token
    patched = ask(api, "PATCH", f"/v1/accounts/{account_id}", sign_in(again))
    assert patched.status == 200, patched.body
    worker.wait_for(lambda: is_healthy(database, account_id))
    look(api, account_id)
    for command in ("check-account", "sync"):
        assert mailsync(command, oauth_user.name, env={"LOG_LEVEL": "DEBUG"}).returncode == 0
    assert not planted.found_in(whole(database))


def whole(database: Database) -> str:
    """All rows of all tables, as text."""
    tables = database.execute(
        "select table_name from information_schema.tables where table_schema = 'mailsync'"
        " and table_type = 'BASE TABLE'"
    ).fetchall()
    assert len(tables) > 8
    return "\n".join(
        row[0]
        for (table,) in tables
        for row in database.execute(sql.SQL("select t::text from {} t").format(sql.Identifier(table)))
    )
