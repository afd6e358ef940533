"""A bad environment, as the person who starts a program sees it: one line on stderr, exit code 2."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mailsync.config import Settings
from tests.support import planted
from tests.support.programs import ROOT, Mailsync
from tests.support.run_directory import free_port

DURATIONS = (
    "SYNC_INTERVAL HOT_TURN_MAX BACKFILL_TURN_MAX DISCOVERY_INTERVAL FLAG_SCAN_PRIORITY_INTERVAL "
    "FLAG_SCAN_INTERVAL RECONCILE_INTERVAL RECONCILE_JITTER INCREMENTAL_TIMEOUT BACKFILL_BATCH_TIMEOUT "
    "RECONCILE_TIMEOUT FLAG_SCAN_TIMEOUT IMAP_CONNECT_TIMEOUT IMAP_READ_TIMEOUT LOCK_STALE_AFTER "
    "STATEMENT_TIMEOUT BODY_LOCK_WAIT FOLDER_MISSING_GRACE PUSH_RENEW PUSHED_SYNC_INTERVAL"
).split(" ")
NUMBERS = (
    "PORT METRICS_PORT SYNC_MAX_ACCOUNTS SYNC_PRIORITY_FOLDERS SYNC_RR_FOLDERS FETCH_BATCH IMAP_SESSION_CAP "
    "MAX_FLAG_SCANS_PER_CYCLE MAX_RECONCILES_PER_CYCLE IMAP_MAX_COMMANDS_PER_MINUTE UIDVALIDITY_MAX_RESETS "
    "FOLDER_WARN_COUNT FOLDER_MAX_COUNT SYNC_WINDOW_DAYS TOMBSTONE_RETENTION_DAYS EVENT_RETENTION_DAYS "
    "RUN_RETENTION_DAYS"
).split(" ")
SECRET = planted.keep("bad-but-secret-value")

# variable: one value of a wrong kind, one out of range
BAD: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(DURATIONS, ("soon", "400d")),
    **dict.fromkeys(NUMBERS, ("many", "1000001")),
    **dict.fromkeys(("IMAP_MAX_LITERAL_BYTES", "BODY_MAX_BYTES"), ("16MB", "2GiB")),
    **dict.fromkeys(("IMAP_ALLOW_PRIVATE_HOSTS", "IMAP_ALLOW_PLAINTEXT"), ("maybe",)),
    "DATABASE_URL": (f"mysql://u:{SECRET}@db/mail", f"postgresql://u:{SECRET}@db:6543/mail"),
    "DATABASE_SCHEMA": ("mail-sync",),
    "IMAP_ENCRYPTION_KEY": (SECRET,),
    "API_TOKEN": (SECRET[:15],),
    "HOST": ("http://localhost",),
    "LOG_LEVEL": ("loud",),
    "LOG_FORMAT": ("xml",),
    "IMAP_PUSH": ("on",),
    "DNS_SERVERS": ("dns.example.org", "9.9.9.9:70000"),
    "IMAP_CA_FILE": ("/nowhere/ca.pem",),
    "OAUTH_CALLBACK_URL": ("mail.example.com/oauth/callback",),
    "OAUTH_RETURN_URLS": ("https://app.example.com",),
}


def test_every_variable_has_its_bad_values_here() -> None:
    assert set(BAD) == {name.upper() for name in Settings.model_fields}


@pytest.mark.parametrize("variable", sorted(BAD))
def test_a_bad_value_is_one_line_and_exit_code_2(mailsync: Mailsync, variable: str) -> None:
    for value in BAD[variable]:
        done = mailsync("worker", "--once", env={variable: value})
        (line,) = done.stderr.splitlines()
        assert done.returncode == 2
        assert f"{variable}: " in line
        assert "give " in line
        assert value in line or variable in ("DATABASE_URL", "IMAP_ENCRYPTION_KEY", "API_TOKEN")
        assert SECRET[:15] not in line
        assert done.stdout == ""


@pytest.mark.parametrize(
    ("environment", "variable"),
    [
        ({"OAUTH_GOOGLE_CLIENT_SECRET": SECRET}, "OAUTH_GOOGLE_CLIENT_ID"),
        (
            {"OAUTH_GOOGLE_CLIENT_ID": "a", "OAUTH_GOOGLE_CLIENT_SECRET": f"{SECRET} b"},
            "OAUTH_GOOGLE_CLIENT_SECRET",
        ),
        ({"OAUTH_CORP_CLIENT_ID": "a", "OAUTH_CORP_TOKEN_URL": "login.corp.example"}, "OAUTH_CORP_TOKEN_URL"),
        ({"OAUTH_MICROSOFT_TENANT": "../a"}, "OAUTH_MICROSOFT_TENANT"),
    ],
)
def test_a_bad_oauth_client_is_one_line_and_exit_code_2(
    mailsync: Mailsync, environment: dict[str, str | None], variable: str
) -> None:
    done = mailsync("worker", "--once", env=environment)
    (line,) = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{variable}: " in line


@pytest.mark.parametrize(
    "command", [["preflight"], ["migrate"], ["worker", "--once"], ["list-accounts"], ["api"]]
)
def test_every_command_refuses_a_bad_environment_alike(mailsync: Mailsync, command: list[str]) -> None:
    done = mailsync(*command, env={"SYNC_INTERVAL": "0"})
    assert done.returncode == 2
    assert 'SYNC_INTERVAL: "0" is not accepted; give a duration from 1s to 1h' in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_a_missing_database_url_is_named(mailsync: Mailsync) -> None:
    done = mailsync("migrate", env={"DATABASE_URL": None})
    assert done.returncode == 2
    assert done.stderr == (
        "mailsync: DATABASE_URL: not set; give postgresql://user:password@host:5432/database;"
        " or run `mailsync dev` here, which starts a Postgres\n"
    )


def test_the_file_dot_env_is_read_and_the_environment_wins(mailsync: Mailsync) -> None:
    (mailsync.directory / ".env").write_text("SYNC_INTERVAL=0\n")
    done = mailsync("migrate", "--status")
    assert done.returncode == 2
    assert 'SYNC_INTERVAL: "0" is not accepted' in done.stderr
    assert mailsync("migrate", "--status", env={"SYNC_INTERVAL": "5s"}).returncode == 0


def test_a_broken_dot_env_is_one_line_with_its_place(mailsync: Mailsync) -> None:
    (mailsync.directory / ".env").write_text(f"SYNC_INTERVAL=5s\nAPI_TOKEN='{SECRET}\n")
    done = mailsync("migrate", "--status")
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert ".env, line 2: not accepted; give NAME=value" in line


@pytest.mark.parametrize("name", [".env", ".mailsync/env"])
def test_a_file_that_others_can_write_is_one_line_with_what_to_type(mailsync: Mailsync, name: str) -> None:
    file = mailsync.directory / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("SYNC_INTERVAL=5s\n")
    file.chmod(0o666)
    for command in (["list-accounts"], ["preflight"], ["worker", "--once"], ["api"]):
        done = mailsync(*command, env={"DATABASE_URL": None})
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == (
            f"mailsync: {name}: not read, because other users can write it (mode 0666);"
            f" if you trust what is in it: chmod go-w {name}\n"
        )


def test_unknown_variables_are_ignored(mailsync: Mailsync) -> None:
    assert mailsync("migrate", "--status", env={"SYNC_INTERVALL": "0", "MAILSYNC": "x"}).returncode == 0


def test_the_directory_of_the_command_does_not_matter(mailsync: Mailsync, tmp_path: Path) -> None:
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    mailsync.directory = elsewhere
    assert mailsync("migrate", "--status").returncode == 0


def test_a_gunicorn_that_would_not_call_our_limits_is_one_line_and_exit_code_2(mailsync: Mailsync) -> None:
    without = (
        "from gunicorn.workers.gthread import ThreadWorker as worker\n"
        "worker.close_pending = worker.murder_pending\n"
        "del worker.murder_pending\n"
        "import mailsync.web.gunicorn_conf"
    )
    done = subprocess.run(
        [sys.executable, "-c", without], env=mailsync.environment, cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "its threaded worker has no method murder_pending(self), which mailsync needs to limit" in line
    assert "install" in line


def test_tls_is_left_to_a_proxy(mailsync: Mailsync, tmp_path: Path) -> None:
    for name in ("cert", "key"):
        (tmp_path / name).touch()
    options = f"--certfile {tmp_path / 'cert'} --keyfile {tmp_path / 'key'}"
    done = mailsync("api", env={"GUNICORN_CMD_ARGS": options, "PORT": str(free_port())})
    assert done.returncode == 2
    assert "put a TLS proxy in front" in done.stderr
    assert "Traceback" not in done.stderr
