"""Queries of the acceptance tests: rows by plain SQL, the server by plain imaplib."""

from __future__ import annotations

import email
import imaplib
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from email.header import decode_header, make_header
from typing import Any, NamedTuple, Protocol

import psycopg

from tests.support.imap_server import ImapServer, User, done, quoted
from tests.support.programs import Mailsync


class Server(Protocol):
    """Where to log in: Dovecot or the scripted server."""

    host: str
    port: int


class Login(Protocol):
    """Who logs in."""

    name: str
    password: str


class Mail(NamedTuple):
    """The fields that are compared between a row and the server's message."""

    uid: int
    flags: tuple[str, ...]
    size: int
    date: datetime
    message_id: str | None
    subject: str | None


def add_account(mailsync: Mailsync, server: Server, login: Login) -> int:
    """Add the account, named by its login, without a connection; returns its id."""
    added = mailsync(
        "add-account", login.name, "--host", server.host, "--port", str(server.port),
        "--security", "plaintext", "--username", login.name, "--password-stdin", "--no-verify",
        input=login.password + "\n",
    )  # fmt: skip
    assert added.returncode == 0, added
    with psycopg.connect(mailsync.environment["DATABASE_URL"] or "") as conn:
        row = conn.execute("select id from mailsync.accounts where email = %s", [login.name]).fetchone()
    assert row
    return int(row[0])


def value(database: psycopg.Connection[Any], query: str, *params: object) -> Any:
    """The first column of the first row; None without a row."""
    row = database.execute(query, params).fetchone()  # type: ignore[call-overload]
    return row[0] if row else None


def live_uids(database: psycopg.Connection[Any], account_id: int, path: str = "INBOX") -> list[int]:
    """The UIDs of a folder's live rows, ascending, with any duplicates."""
    rows = database.execute(
        "select m.uid from messages m join folders f on f.account_id = m.account_id and f.id = m.folder_id"
        " where m.account_id = %s and f.path = %s and m.deleted_at is null order by m.uid",
        [account_id, path],
    )
    return [row[0] for row in rows]


def mirrored(database: psycopg.Connection[Any], account_id: int) -> dict[str, list[Mail]]:
    """All live rows by the path of their folder, ascending by UID; of tracked folders without mail too."""
    folders: dict[str, list[Mail]] = {
        row[0]: []
        for row in database.execute(
            "select path from folders where account_id = %s and tracked", [account_id]
        )
    }
    rows = database.execute(
        "select f.path, m.uid, m.flags, m.size_bytes, m.internal_date, m.message_id, m.subject"
        " from messages m join folders f on f.account_id = m.account_id and f.id = m.folder_id"
        " where m.account_id = %s and m.deleted_at is null and m.uidvalidity = f.uidvalidity"
        " order by f.path, m.uid",
        [account_id],
    )
    for path, uid, flags, size, date, message_id, subject in rows:
        folders[path].append(Mail(uid, tuple(flags), size, date, message_id, subject))
    return folders


def on_server(server: ImapServer, user: User, paths: Mapping[str, str]) -> dict[str, list[Mail]]:
    """The server's messages in the folders of `paths` (wire name: path), read with imaplib."""
    found: dict[str, list[Mail]] = {}
    with server.imap(user) as client:
        for wire, path in paths.items():
            found[path] = mails_in(client, wire)
    return found


def mails_in(client: imaplib.IMAP4, wire: str) -> list[Mail]:
    """The server's messages in one folder, which is EXAMINEd again; ascending by UID."""
    exists = int(done(client.select(quoted(wire), readonly=True))[0] or b"0")  # type: ignore[call-overload]
    items = "(UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER])"
    return sorted(_mails(done(client.uid("FETCH", "1:*", items)) if exists else []))


def _mails(answer: list[Any]) -> Iterator[Mail]:
    for part in answer:
        if not isinstance(part, tuple):
            continue
        said, header = part
        head = email.message_from_bytes(header)
        unfolded = re.sub(r"\r?\n(?=[ \t])", "", head["Subject"] or "")
        yield Mail(
            uid=int(_one(rb"UID (\d+)", said)),
            flags=tuple(sorted(_one(rb"FLAGS \(([^)]*)\)", said).replace("\\Recent", "").split())),
            size=int(_one(rb"RFC822.SIZE (\d+)", said)),
            date=datetime.strptime(_one(rb'INTERNALDATE "([^"]*)"', said).strip(), "%d-%b-%Y %H:%M:%S %z"),
            message_id=head["Message-ID"].strip("<>") if head["Message-ID"] else None,
            subject=str(make_header(decode_header(unfolded))) if head["Subject"] else None,
        )


def _one(pattern: bytes, text: bytes) -> str:
    found = re.search(pattern, text)
    assert found, (pattern, text)
    return found[1].decode()


def wake(database: psycopg.Connection[Any]) -> None:
    """Make all accounts due now, and end their backoffs."""
    database.execute(
        "update accounts set backoff_until = null, next_sync_at = now() where backoff_until > now()"
    )
    database.execute("notify mailsync_wake")


def backends(database: psycopg.Connection[Any], application: str) -> int:
    """The number of connections of that name to the test's database."""
    query = (
        "select count(*) from pg_stat_activity where application_name = %s and datname = current_database()"
    )
    return int(value(database, query, application))


def is_healthy(database: psycopg.Connection[Any], account_id: int) -> bool:
    """Whether the account is healthy now."""
    state = value(database, "select sync_state from account_status where account_id = %s", account_id)
    return bool(state == "healthy")
