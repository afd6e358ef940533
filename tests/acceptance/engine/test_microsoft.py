"""A mailbox at Microsoft 365 as its owner sees it: added by a device code, revoked, authorized again."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.support import planted
from tests.support.access_tokens import AccessTokens
from tests.support.authorization_server import AuthorizationServer
from tests.support.mailboxes import Account
from tests.support.oauth_commands import enter_code
from tests.support.profiles import exchange_online
from tests.support.programs import Mailsync
from tests.support.scripted import ScriptedServer
from tests.support.turns import letters

EMAIL = "ann@contoso.test"

Database = psycopg.Connection[Any]


@pytest.fixture
def user(mailsync: Mailsync, scripted: ScriptedServer, authorization_server: AuthorizationServer) -> Account:
    """A mailbox with four messages; the programs have a public client of the provider."""
    authorization_server.terms.token_length = 4096
    client = authorization_server.add_client(
        "microsoft", public=True, mechanism="XOAUTH2", imap_host=scripted.host
    )
    mailsync.environment |= client.environment()

    def user_of(token: str) -> str | None:
        user: str | None = authorization_server.introspect(token).get("username")
        return user

    profile = exchange_online(AccessTokens(issuer=user_of))
    scripted.adopt(profile.habits)
    user = profile.furnish(scripted.new_user(EMAIL))
    letters(user, 3)
    letters(user, 1, "Sent Items")
    return user


def add(mailsync: Mailsync, scripted: ScriptedServer) -> str:
    """Add the account as a person does; returns what the command said."""
    command = mailsync.start(
        "add-account", EMAIL, "--oauth", "microsoft", "--port", str(scripted.port), "--security", "plaintext"
    )
    enter_code(command, EMAIL)
    assert command.wait() == 0, command.output
    return command.output


def rows(database: Database) -> list[tuple[Any, ...]]:
    return database.execute("select id, folder_id, uid, subject from messages order by id").fetchall()


def test_a_revoked_mailbox_comes_back_without_a_password_and_with_its_rows(
    mailsync: Mailsync,
    scripted: ScriptedServer,
    user: Account,
    authorization_server: AuthorizationServer,
    database: Database,
) -> None:
    said = add(mailsync, scripted)
    assert f"To sign in as {EMAIL}, open {authorization_server.url}/device" in said
    assert mailsync("sync", EMAIL).returncode == 0
    before = rows(database)
    assert len(before) == 4
    authorization_server.revoke(EMAIL)
    assert scripted.tokens is not None
    scripted.tokens.revoke()
    failed = mailsync("sync", EMAIL)
    assert failed.returncode == 4
    assert f"run `mailsync reauthorize {EMAIL}`" in failed.stderr
    assert database.execute("select sync_state, sync_state_reason from accounts").fetchone() == (
        "broken",
        "auth_failed",
    )

    user.folder("INBOX").add(b"Subject: meanwhile\r\n\r\nhello\r\n")
    command = mailsync.start("reauthorize", EMAIL)
    enter_code(command, EMAIL)
    assert command.wait() == 0, command.output
    assert mailsync("sync", EMAIL).returncode == 0
    after = rows(database)
    assert after[:4] == before
    assert [subject for *_, subject in after[4:]] == ["meanwhile"]
    assert database.execute("select sync_state from account_status").fetchone() == ("healthy",)
    assert scripted.journal.counts()["LOGIN"] == 0
    assert not planted.found_in(said + command.output + failed.stderr)


def test_a_mailbox_that_is_not_opened_is_not_added(
    mailsync: Mailsync, scripted: ScriptedServer, user: Account, database: Database
) -> None:
    user.is_open = False
    command = mailsync.start(
        "add-account", EMAIL, "--oauth", "microsoft", "--port", str(scripted.port), "--security", "plaintext"
    )
    enter_code(command, EMAIL)
    assert command.wait() == 1, command.output
    assert "authenticated but not connected" in command.output
    assert "its licence may be missing" in " ".join(command.output.split())
    assert database.execute("select count(*) from accounts").fetchone() == (0,)


def test_a_password_is_refused_in_the_words_of_the_server(
    mailsync: Mailsync, scripted: ScriptedServer, user: Account
) -> None:
    refused = mailsync(
        "add-account",
        EMAIL,
        *("--host", scripted.host, "--port", str(scripted.port), "--security", "plaintext"),
        "--password-stdin",
        input="any-password\n",
    )
    assert refused.returncode == 4
    assert "the server said NO LOGIN failed." in refused.stderr
