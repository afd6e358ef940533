"""``add-account --oauth``: by device code, by loopback and by paste, with a real provider and mail server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from tests.support import run_directory
from tests.support.authorization_server import AuthorizationServer
from tests.support.commands import Terminal
from tests.support.dns_server import DnsServer
from tests.support.dovecot_oauth import OAuthDovecot
from tests.support.imap_server import User
from tests.support.oauth_browser import Browser
from tests.support.oauth_commands import SigningIn, enter_code, open_url, shown_url
from tests.support.programs import Mailsync

Database = psycopg.Connection[Any]

ACCOUNT = "select email, username, auth_method, oauth_provider, oauth_grant from accounts"


@pytest.fixture
def signing_in(
    mailsync: Mailsync, authorization_server: AuthorizationServer, oauth_dovecot: OAuthDovecot
) -> SigningIn:
    return SigningIn(mailsync, authorization_server, oauth_dovecot)


@pytest.fixture
def user(oauth_dovecot: OAuthDovecot) -> User:
    return oauth_dovecot.new_user()


def accounts(database: Database) -> list[tuple[Any, ...]]:
    return database.execute(ACCOUNT).fetchall()


def test_an_account_is_added_by_a_device_code(signing_in: SigningIn, user: User, database: Database) -> None:
    signing_in.client()
    command = signing_in.add(user.name)
    enter_code(command, user.name)
    assert command.wait() == 0
    assert command.lines[0] == (
        f"To sign in as {user.name}, open {signing_in.server.url}/device on any device and enter this code:"
    )
    dovecot = signing_in.dovecot
    assert f"✓ Logged in at {dovecot.host}:{dovecot.port} (plaintext), 1 folder" in command.lines
    assert f"✓ Added {user.name}" in command.lines
    assert accounts(database) == [(user.name, user.name, "oauth2", "corp", "refresh_token")]
    synced = signing_in.mailsync("sync", user.name)
    assert synced.returncode == 0, synced


def test_an_account_is_added_in_a_browser_here(signing_in: SigningIn, user: User, database: Database) -> None:
    signing_in.client(device=False)
    command = signing_in.add(user.name)
    open_url(command, user.name)
    assert command.wait() == 0, command.output
    query = parse_qs(urlsplit(shown_url(command.output)).query)
    assert query["login_hint"] == [user.name]
    assert query["code_challenge_method"] == ["S256"]
    assert accounts(database) == [(user.name, user.name, "oauth2", "corp", "refresh_token")]


def test_an_account_is_added_by_pasting_on_a_terminal(
    signing_in: SigningIn, user: User, database: Database
) -> None:
    signing_in.client()
    args = ["add-account", user.name, "--oauth", "corp", "--paste", *signing_in.where]
    with Terminal.running(signing_in.mailsync, 40, 120, *args) as terminal:
        terminal.read_until("Address:")
        address = Browser().consent(shown_url(terminal.output), user.name)
        for wrong in ("https://corp.example/", address.replace("state=", "state=a")):
            os.write(terminal.descriptor, f"{wrong}\n".encode())
        terminal.read_until("✗ expected the whole address")
        terminal.read_until("✗ this answer belongs to another authorization")
        os.write(terminal.descriptor, f"{address}\n".encode())
        assert terminal.end() == 0
    assert accounts(database) == [(user.name, user.name, "oauth2", "corp", "refresh_token")]


def test_an_account_is_added_by_pasting_through_a_pipe(signing_in: SigningIn, user: User) -> None:
    signing_in.client(device=False)
    options = ["--oauth", "--paste", "--json", *signing_in.where]
    process = run_directory.spawn(
        [sys.executable, "-m", "mailsync", "add-account", user.name, *options],
        env=signing_in.mailsync.environment,
        cwd=signing_in.mailsync.directory,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stderr
    prompt = ""
    while "paste it here" not in prompt:
        line = process.stderr.readline().decode()
        assert line, prompt
        prompt += line
    address = Browser().consent(shown_url(prompt), user.name)
    stdout, stderr = process.communicate(f"{address}\n".encode(), run_directory.PATIENCE)
    run_directory.forget(process.pid)
    signing_in.mailsync.printed += [stdout.decode(), stderr.decode()]
    assert process.returncode == 0, stderr
    assert b'"auth_method": "oauth2"' in stdout
    assert b'"oauth_provider": "corp"' in stdout


def test_a_daemon_needs_no_person(signing_in: SigningIn, user: User, database: Database) -> None:
    signing_in.client(mailbox=user.name)
    args = ["--oauth", "corp", "--client-credentials", "--json", *signing_in.where]
    done = signing_in.mailsync("add-account", user.name, *args)
    assert done.returncode == 0, done
    assert done.stderr == ""
    assert done.json()["auth_method"] == "oauth2"
    assert accounts(database) == [(user.name, user.name, "oauth2", "corp", "client_credentials")]


def test_a_daemon_without_a_right_to_the_mailbox_is_refused(
    signing_in: SigningIn, user: User, database: Database
) -> None:
    signing_in.client(mailbox="other@example.test")
    args = ["--oauth", "corp", "--client-credentials", "--json", *signing_in.where]
    done = signing_in.mailsync("add-account", user.name, *args)
    assert (done.returncode, done.stdout) == (4, ""), done
    assert "login failed: " in done.stderr
    assert accounts(database) == []


# -- who signs in --------------------------------------------------------------------------------------


def test_the_user_of_the_tokens_must_be_the_mailbox(
    signing_in: SigningIn, user: User, database: Database
) -> None:
    signing_in.client()
    command = signing_in.add(user.name)
    enter_code(command, "bob@example.test")
    assert command.wait() == 2
    assert f"the tokens belong to bob@example.test, not to {user.name}" in command.output
    assert f"--username {user.name}" in command.output
    assert accounts(database) == []


def test_a_shared_mailbox_is_opened_by_another_user(
    signing_in: SigningIn, user: User, database: Database
) -> None:
    signing_in.client()
    command = signing_in.add("info@example.test", "--username", user.name)
    enter_code(command, user.name)
    assert command.wait() == 0, command.output
    assert command.lines[0].startswith(f"To open {user.name}, sign in as a user who may: open ")
    assert accounts(database)[0][:2] == ("info@example.test", user.name)


def test_a_token_that_the_mail_server_refuses_stores_nothing(
    signing_in: SigningIn, user: User, database: Database
) -> None:
    signing_in.client()
    command = signing_in.add("info@example.test", "--username", "info@example.test")
    enter_code(command, user.name)
    assert command.wait() == 4
    assert "login failed: " in command.output
    assert "must have access to the mailbox info@example.test" in command.output
    assert accounts(database) == []


# -- what a person may do instead ----------------------------------------------------------------------


@pytest.mark.parametrize("device", [True, False])
def test_a_refusal_stores_nothing(
    signing_in: SigningIn, user: User, database: Database, device: bool
) -> None:
    signing_in.client(device=device)
    command = signing_in.add(user.name)
    (enter_code if device else open_url)(command, user.name, deny=True)
    assert command.wait() == 4
    assert command.lines[-1].startswith("mailsync: corp rejects the authorization: access_denied")
    assert accounts(database) == []


def test_a_code_that_expires_stores_nothing(signing_in: SigningIn, user: User, database: Database) -> None:
    signing_in.client()
    command = signing_in.add(user.name)
    command.wait_for("Waiting for up to")
    signing_in.server.expire_codes()
    assert command.wait() == 4
    assert command.lines[-1].startswith("mailsync: corp rejects the authorization: expired_token")
    assert accounts(database) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("device", [True, False])
def test_it_can_be_interrupted(
    signing_in: SigningIn, user: User, database: Database, device: bool, number: signal.Signals
) -> None:
    signing_in.client(device=device)
    command = signing_in.add(user.name)
    command.wait_for("Waiting for up to")
    command.send_signal(number)
    assert command.wait() == 130
    assert command.lines[-1] == "mailsync: interrupted"
    assert "Traceback" not in command.output
    assert accounts(database) == []


def test_a_forged_answer_is_not_used(signing_in: SigningIn, user: User, database: Database) -> None:
    signing_in.client(device=False)
    command = signing_in.add(user.name)
    command.wait_for("Waiting for up to")
    back = parse_qs(urlsplit(shown_url(command.output)).query)["redirect_uri"][0]
    assert Browser().request(f"{back}favicon.ico").status == 404
    forged = Browser().request(f"{back}?state=forged&code=stolen")
    assert forged.status == 400
    assert b"another authorization" in forged.body
    open_url(command, user.name)
    assert command.wait() == 0, command.output
    assert len(accounts(database)) == 1


@pytest.mark.parametrize(
    ("pasted", "message"),
    [
        ("", "--paste: expected the address on standard input"),
        ("4/0AbCdEf\n", "expected the whole address that the browser was sent to"),
        ("http://127.0.0.1/?state=forged&code=a\n", "this answer belongs to another authorization"),
    ],
)
def test_a_wrong_paste_stores_nothing(
    signing_in: SigningIn, user: User, database: Database, pasted: str, message: str
) -> None:
    signing_in.client()
    args = ["--oauth", "corp", "--paste", *signing_in.where]
    done = signing_in.mailsync("add-account", user.name, *args, input=pasted)
    assert done.returncode == 2, done
    assert f"mailsync: {message}" in done.stderr
    assert accounts(database) == []


# -- which provider ------------------------------------------------------------------------------------


def test_the_only_provider_need_not_be_named(signing_in: SigningIn, user: User) -> None:
    signing_in.client(imap_host=None)
    host = ["--host", signing_in.dovecot.host]
    command = signing_in.start("add-account", user.name, *host, *signing_in.where, "--oauth")
    enter_code(command, user.name)
    assert command.wait() == 0, command.output


def test_the_provider_is_that_of_the_server(signing_in: SigningIn, user: User, database: Database) -> None:
    signing_in.client("corp")
    signing_in.client("other", imap_host="imap.other.example")
    host = ["--host", signing_in.dovecot.host]
    command = signing_in.start("add-account", "--oauth", user.name, *host, *signing_in.where)
    enter_code(command, user.name)
    assert command.wait() == 0, command.output
    assert accounts(database)[0][3] == "corp"


def test_the_provider_of_a_domain_is_looked_for(
    signing_in: SigningIn, dns_server: DnsServer, database: Database
) -> None:
    signing_in.mailsync.environment["DNS_SERVERS"] = dns_server.address
    dns_server.add("example.test", "MX", "1 smtp.google.com.")
    signing_in.client("other", imap_host="imap.other.example")
    signing_in.client("google", imap_host="imap.gmail.com")
    command = signing_in.start("add-account", "ann@example.test", "--oauth", "--no-verify")
    enter_code(command, "ann@example.test")
    assert command.wait() == 0, command.output
    assert command.lines[0] == (
        "Found imap.gmail.com:993 (tls): the mail of example.test is at Gmail (MX smtp.google.com)"
    )
    row = database.execute("select imap_host, oauth_provider, provider from accounts").fetchone()
    assert row == ("imap.gmail.com", "google", "Gmail")


def test_a_domain_at_another_provider_gets_no_token(
    signing_in: SigningIn, dns_server: DnsServer, database: Database
) -> None:
    signing_in.mailsync.environment["DNS_SERVERS"] = dns_server.address
    dns_server.add("example.test", "MX", "10 in1-smtp.messagingengine.com.")
    signing_in.client("google", imap_host="imap.gmail.com")
    done = signing_in.mailsync("add-account", "ann@example.test", "--oauth")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "mailsync: no OAuth client is configured for Fastmail: set OAUTH_<NAME>_CLIENT_ID and what goes with"
        " it (docs/reference/oauth.rst), or leave out --oauth to sign in with a password"
    )
    assert signing_in.server.journal.requests() == []


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ("ann@example.test", "--oauth", "--no-discover"),
            "ann@example.test: name the provider of the mailbox: --oauth corp or --oauth other",
        ),
        (
            ("ann@gmail.com", "--oauth"),
            "no OAuth client is configured for Gmail: set OAUTH_GOOGLE_CLIENT_ID;"
            " docs/howto/sign_in_with_google.rst says how to register a client",
        ),
        (
            ("ann@hotmail.com", "--oauth"),
            "no OAuth client is configured for Outlook: set OAUTH_MICROSOFT_CLIENT_ID;"
            " docs/howto/sign_in_with_microsoft.rst says how to register a client",
        ),
        (
            ("ann@example.test", "--oauth", "bob@example.test"),
            "--oauth: expected a provider such as google, not an address; write the address first:"
            " mailsync add-account bob@example.test --oauth",
        ),
        (("ann@example.test", "--oauth", "nobody"), "provider: no OAuth client is configured for 'nobody'"),
        (("ann@example.test", "--paste"), "--paste: add --oauth"),
        (("ann@example.test", "--client-credentials"), "--client-credentials: add --oauth"),
        (
            ("ann@example.test", "--oauth", "corp", "--client-credentials", "--paste"),
            "--client-credentials needs no person: leave out --paste",
        ),
        (
            ("ann@example.test", "--oauth", "corp", "--password-stdin"),
            "--oauth needs no password: leave out --password-stdin",
        ),
    ],
)
def test_what_is_missing_is_said_in_one_line(
    signing_in: SigningIn, args: tuple[str, ...], message: str
) -> None:
    signing_in.client("corp", imap_host="imap.corp.example")
    signing_in.client("other", imap_host="imap.other.example")
    done = signing_in.mailsync("add-account", *args)
    assert done.returncode == 2, done
    assert done.stderr.startswith(f"mailsync: {message}"), done
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("args", "name"),
    [
        (("ann@example.test", "--oauth"), "GOOGLE"),
        (("ann@example.test", "--oauth", "microsoft"), "MICROSOFT"),
    ],
)
def test_without_any_client_the_variable_and_the_page_are_named(
    mailsync: Mailsync, args: tuple[str, ...], name: str
) -> None:
    done = mailsync("add-account", *args)
    assert (done.returncode, done.stderr) == (
        2,
        f"mailsync: no OAuth client is configured: set OAUTH_{name}_CLIENT_ID;"
        f" docs/howto/sign_in_with_{name.lower()}.rst says how to register a client\n",
    )


def test_an_unknown_provider_is_named_without_any_client(mailsync: Mailsync) -> None:
    done = mailsync("add-account", "ann@example.test", "--oauth", "microsft")
    assert (done.returncode, done.stderr) == (
        2,
        "mailsync: provider: no OAuth client is configured for 'microsft'; set OAUTH_MICROSFT_CLIENT_ID\n",
    )


def test_a_mistake_of_the_operator_is_said(signing_in: SigningIn, user: User, database: Database) -> None:
    signing_in.client()
    signing_in.server.fail_next("device_authorization", 400, error="unauthorized_client")
    command = signing_in.add(user.name)
    assert command.wait() == 1
    assert "corp rejects the client OAUTH_CORP_CLIENT_ID: unauthorized_client" in command.output
    assert accounts(database) == []
