"""The command line as such: help, settings, errors in one line, keys, migrations, checks."""

from __future__ import annotations

import re
import signal
import subprocess
import sys

import click
import pytest

from mailsync import cli
from tests.support import planted
from tests.support.programs import Mailsync

COMMANDS = {name: text for section in cli.SECTIONS.values() for name, (_, text) in section.items()}
OF_AN_ACCOUNT = (
    "check-account pause-account resume-account reset-account remove-account set-password list-folders "
    "sync verify"
).split()


def test_help_names_every_command(mailsync: Mailsync) -> None:
    shown = mailsync("--help")
    assert shown.returncode == 0
    for name, text in COMMANDS.items():
        assert name in shown.stdout
        assert text.split()[0] in shown.stdout


def test_help_loads_no_library_that_a_command_needs(mailsync: Mailsync) -> None:
    context = click.Context(cli.cli)
    assert set(cli.cli.list_commands(context)) == set(COMMANDS)
    loaded = _loaded_by(mailsync, "-m", "mailsync", "--help")
    assert "click" in loaded
    libraries = {name.partition(".")[0] for name in loaded}
    assert not libraries & {"psycopg", "flask", "pydantic", "imapclient", "cryptography", "gunicorn"}
    # imports are what takes the time of a command that does nothing
    assert len(loaded - _loaded_by(mailsync, "-c", "import click")) < 50


def _loaded_by(mailsync: Mailsync, *args: str) -> set[str]:
    """The modules that Python imports to run `args`."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *args],
        env=mailsync.environment,
        cwd=mailsync.directory,
        capture_output=True,
        text=True,
        check=True,
    )
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_explains_itself_with_an_example(name: str) -> None:
    command = cli.cli.get_command(click.Context(cli.cli), name)
    assert command
    assert command.name == name
    assert command.help
    text = command.get_help(click.Context(command, info_name=f"mailsync {name}"))
    assert "Example" in text
    assert re.search(rf"\bmailsync {name}\b", text.partition("Example")[2])
    assert all(len(line) <= 80 for line in text.splitlines())


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["frobnicate"], "No such command 'frobnicate' (see 'mailsync --help')"),
        (["snyc"], "No such command 'snyc'; did you mean `mailsync sync`? (see"),
        (["add-acount"], "did you mean `mailsync add-account`?"),
        (["x" * 1000], f"No such command '{'x' * 40}…'"),
        (["sync"], "Missing argument 'EMAIL'"),
        (["sync", "--no-such-option", "a@b.c"], "No such option"),
        (["sync", "not an address"], "expected an e-mail address such as name@example.com"),
        (["status", "--interval", "5"], "--interval needs --watch"),
        (["add-account", "a@b.example", "--port", "0", "--host", "b.example"], "--port"),
        (
            ["add-account", "a@b.example", "--sync-since", "soon"],
            "--sync-since: expected a day (2025-01-31) or a number of days (90d), not 'soon'",
        ),
        (["add-account"], "EMAIL is missing"),
        (["add-account", "a@migadu.com"], "no password: use --password-stdin"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(mailsync: Mailsync, args: list[str], expected: str) -> None:
    done = mailsync(*args)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("mailsync: ")
    assert expected in line


@pytest.mark.parametrize("name", OF_AN_ACCOUNT)
def test_an_unknown_account_is_one_line_and_exit_code_1(mailsync: Mailsync, name: str) -> None:
    done = mailsync(name, "nobody@example.test", input="")
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line == (
        "mailsync: there is no account nobody@example.test; `mailsync list-accounts` lists all accounts"
    )


def test_without_settings_the_first_missing_one_is_named(mailsync: Mailsync) -> None:
    done = mailsync("list-accounts", env={"DATABASE_URL": None})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("mailsync: DATABASE_URL: not set; give postgresql://")
    assert done.stderr.endswith("; or run `mailsync dev` here, which starts a Postgres\n")
    done = mailsync("sync", "a@b.example", env={"IMAP_ENCRYPTION_KEY": None})
    assert done.returncode == 2
    assert done.stderr.startswith("mailsync: IMAP_ENCRYPTION_KEY: not set")


def test_settings_come_from_a_file_too_and_the_environment_wins(mailsync: Mailsync) -> None:
    url = mailsync.environment.pop("DATABASE_URL")
    (mailsync.directory / ".env").write_text(f"DATABASE_URL='{url}'\nSYNC_MAX_ACCOUNTS=7\n")
    assert "Accounts: 0/7" in mailsync("preflight").stdout
    assert "Accounts: 0/8" in mailsync("preflight", env={"SYNC_MAX_ACCOUNTS": "8"}).stdout


def test_a_database_that_cannot_be_reached_is_one_line(mailsync: Mailsync) -> None:
    secret = planted.keep("hush-hush-hush")
    done = mailsync("status", env={"DATABASE_URL": f"postgresql://u:{secret}@127.0.0.1:9/x"})
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("mailsync: cannot connect to Postgres: ")


def test_a_traceback_shows_only_when_it_is_asked_for(mailsync: Mailsync) -> None:
    assert "Traceback" not in mailsync("list-folders", "x@example.test").stderr
    assert "Traceback" in mailsync("list-folders", "x@example.test", env={"LOG_LEVEL": "DEBUG"}).stderr


def test_symbols_are_words_in_the_c_locale(mailsync: Mailsync) -> None:
    done = mailsync("preflight", env={"LC_ALL": "C"})
    assert done.returncode == 0
    assert done.stdout.isascii()
    assert "ok: Database connected" in done.stdout.splitlines()
    done = mailsync("preflight", env={"LC_ALL": "C", "SYNC_INTERVAL": "0"})
    assert any(line.startswith("failed: Environment: SYNC_INTERVAL") for line in done.stdout.splitlines())


def test_watching_ends_with_ctrl_c(mailsync: Mailsync) -> None:
    running = mailsync.start("status", "--watch", "--interval", "3600")
    running.wait_for("no worker is running")
    running.send_signal(signal.SIGINT)
    assert running.wait() == 0
    assert "Traceback" not in running.output


def test_output_that_is_closed_is_no_error(mailsync: Mailsync) -> None:
    command = [sys.executable, "-m", "mailsync", "status", "--json"]
    closed = ["sh", "-c", 'exec "$@" >&-', "sh", *command]
    done = subprocess.run(closed, env=mailsync.environment, cwd=mailsync.directory, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
