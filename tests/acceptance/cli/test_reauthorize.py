"""``reauthorize``: an account whose authorization was revoked comes back with its rows and their ids."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.support.authorization_server import AuthorizationServer
from tests.support.commands import add
from tests.support.dovecot_oauth import OAuthDovecot
from tests.support.imap_server import User
from tests.support.mail import message
from tests.support.oauth_commands import SigningIn, enter_code
from tests.support.programs import Finished, Mailsync

Database = psycopg.Connection[Any]


@pytest.fixture
def signing_in(
    mailsync: Mailsync, authorization_server: AuthorizationServer, oauth_dovecot: OAuthDovecot
) -> SigningIn:
    found = SigningIn(mailsync, authorization_server, oauth_dovecot)
    found.client()
    return found


@pytest.fixture
def user(oauth_dovecot: OAuthDovecot) -> User:
    """A mailbox with three messages."""
    user = oauth_dovecot.new_user()
    for number in range(3):
        oauth_dovecot.append(user, "INBOX", message(number))
    return user


def add_account(signing_in: SigningIn, user: User, *args: str) -> None:
    command = signing_in.add(user.name, *args)
    enter_code(command, user.name)
    assert command.wait() == 0, command.output


def sync(signing_in: SigningIn, user: User) -> Finished:
    return signing_in.mailsync("sync", user.name)


def rows(database: Database) -> list[tuple[Any, ...]]:
    found = database.execute(
        "select id, folder_id, uid, subject, deleted_at from messages order by id"
    ).fetchall()
    assert len(found) == 3
    return found


def state(database: Database) -> tuple[Any, ...] | None:
    return database.execute("select sync_state, sync_state_reason from accounts").fetchone()


def test_a_revoked_account_comes_back_with_its_rows(
    signing_in: SigningIn, user: User, database: Database
) -> None:
    add_account(signing_in, user)
    assert sync(signing_in, user).returncode == 0
    before = rows(database)
    signing_in.server.revoke(user.name)
    failed = sync(signing_in, user)
    assert failed.returncode == 4
    assert f"run `mailsync reauthorize {user.name}`" in failed.stderr
    assert state(database) == ("broken", "auth_failed")

    checked = signing_in.mailsync("check-account", user.name, env={"COLUMNS": "300"}).stdout
    assert "by OAuth2 at corp; token valid until " in checked
    assert "renewal failed 0s ago: corp rejects the authorization: invalid_grant" in checked
    assert f"nothing until you run `mailsync reauthorize {user.name}`" in checked
    account = signing_in.mailsync("check-account", user.name, "--json").json()["account"]
    assert account["auth_method"] == "oauth2"
    assert account["oauth_provider"] == "corp"
    assert account["token_expires_at"]
    assert account["token_refused_at"]
    assert account["token_refusal"].startswith("corp rejects the authorization: invalid_grant")

    command = signing_in.start("reauthorize", user.name)
    enter_code(command, user.name)
    assert command.wait() == 0, command.output
    assert f"✓ The authorization of {user.name} at corp works and is stored" in command.lines
    assert sync(signing_in, user).returncode == 0
    assert state(database) == ("healthy", None)
    assert rows(database) == before
    checked = signing_in.mailsync("check-account", user.name, env={"COLUMNS": "300"}).stdout
    assert "renewal failed" not in checked


def test_it_prints_one_json_document(signing_in: SigningIn, user: User) -> None:
    add_account(signing_in, user)
    command = signing_in.start("reauthorize", user.name, "--json")
    enter_code(command, user.name)
    assert command.wait() == 0, command.output
    assert f'  "email": "{user.name}",' in command.lines
    assert '  "oauth_provider": "corp",' in command.lines
    assert '  "verified": true' in command.lines


def test_the_tokens_of_another_user_change_nothing(
    signing_in: SigningIn, user: User, database: Database
) -> None:
    add_account(signing_in, user)
    before = database.execute("select * from account_credentials").fetchall()
    command = signing_in.start("reauthorize", user.name)
    enter_code(command, "bob@example.test")
    assert command.wait() == 2
    assert f"the tokens belong to bob@example.test, not to {user.name}" in command.output
    assert database.execute("select * from account_credentials").fetchall() == before


def test_the_user_of_a_shared_mailbox_authorizes_it_again(signing_in: SigningIn, user: User) -> None:
    command = signing_in.add("info@example.test", "--username", user.name)
    enter_code(command, user.name)
    assert command.wait() == 0, command.output
    command = signing_in.start("reauthorize", "info@example.test")
    enter_code(command, user.name)
    assert command.wait() == 0, command.output
    assert command.lines[0].startswith(f"To sign in as {user.name}, open ")


def test_a_daemon_is_authorized_again_without_a_person(
    signing_in: SigningIn, user: User, database: Database
) -> None:
    signing_in.client(mailbox=user.name)
    args = ["--oauth", "corp", "--client-credentials", *signing_in.where]
    assert signing_in.mailsync("add-account", user.name, *args).returncode == 0
    done = signing_in.mailsync("reauthorize", user.name)
    assert done.returncode == 0, done
    assert database.execute("select oauth_grant from accounts").fetchone() == ("client_credentials",)


def test_an_account_with_a_password_may_sign_in_by_oauth_from_now_on(
    signing_in: SigningIn, user: User, database: Database
) -> None:
    add(signing_in.mailsync, signing_in.dovecot, user, email=user.name)
    assert sync(signing_in, user).returncode == 0
    before = rows(database)
    refused = signing_in.mailsync("reauthorize", user.name)
    assert (refused.returncode, refused.stderr) == (
        2,
        f"mailsync: {user.name} signs in with a password: to change it, run"
        f" `mailsync set-password {user.name}`; to sign in by OAuth2 from now on, add --oauth corp\n",
    )
    command = signing_in.start("reauthorize", user.name, "--oauth", "corp")
    enter_code(command, user.name)
    assert command.wait() == 0, command.output
    signing_in.dovecot.set_password(user, "the password is no longer used")
    assert sync(signing_in, user).returncode == 0
    assert rows(database) == before


def test_an_account_with_tokens_may_get_a_password_instead(
    signing_in: SigningIn, user: User, database: Database
) -> None:
    add_account(signing_in, user)
    assert sync(signing_in, user).returncode == 0
    before = rows(database)
    password = f"{user.password}\n"
    refused = signing_in.mailsync("set-password", user.name, "--password-stdin", input=password)
    assert (refused.returncode, refused.stderr) == (
        2,
        f"mailsync: {user.name} signs in by OAuth2 (corp): to authorize it again, run"
        f" `mailsync reauthorize {user.name}`; to use a password from now on, add --replace-oauth\n",
    )
    args = ["--password-stdin", "--replace-oauth"]
    done = signing_in.mailsync("set-password", user.name, *args, input=password)
    assert done.returncode == 0, done
    signing_in.server.revoke(user.name)
    assert sync(signing_in, user).returncode == 0
    assert rows(database) == before
    assert database.execute("select auth_method, oauth_provider from accounts").fetchone() == (
        "password",
        None,
    )


def test_a_client_that_is_gone_is_named(signing_in: SigningIn, user: User) -> None:
    add_account(signing_in, user)
    gone = dict.fromkeys(signing_in.client().environment())
    done = signing_in.mailsync("reauthorize", user.name, env=gone)
    assert done.returncode == 2
    assert "OAUTH_CORP_CLIENT_ID" in done.stderr
