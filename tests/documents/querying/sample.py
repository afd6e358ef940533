"""A mailbox with chosen messages, mirrored by mailsync: the data for the recipes.

Account 1 (you@example.com) is a Dovecot, account 2 (other@example.com) a server that knows threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, NamedTuple

import psycopg

from mailsync.bodies.fetch import fetch_body
from mailsync.engine.session_cache import SessionCache
from mailsync.engine.turn_kind import TurnEnvironment
from mailsync.store import db
from tests.support import mail
from tests.support.dovecot import Dovecot
from tests.support.imap_server import User, done, quoted
from tests.support.programs import ENCRYPTION_KEY, Mailsync
from tests.support.scripted import CAPABILITIES, ScriptedServer
from tests.support.stored import settings_for

OWNER, OTHER = "you@example.com", "other@example.com"
_ADA, _BEN = "Ada Berg <ada@customer.example>", "Ben Ito <ben@supplier.example>"
_CORA, _DORA = "Cora Lund <cora@prospect.example>", "Dora <dora@partner.example>"
_YOU = f"You <{OWNER}>"


class Letter(NamedTuple):
    """One message: its folder, how many days ago it was received, and the fields that the tests use."""

    folder: str
    days: float
    id: str
    sender: str
    to: str
    subject: str
    flags: str = ""
    headers: Mapping[str, str] = MappingProxyType({})
    body: bytes = b""
    attachment: bytes | None = None


def _answer(*ids: str, references: bool = True) -> dict[str, str]:
    listed = {"References": " ".join(f"<{one}>" for one in ids)} if references else {}
    return {"In-Reply-To": f"<{ids[-1]}>", **listed}


_QUOTE, _QUOTE_SENT = "quote-1@customer.example", "quote-2@example.com"
_LIST = {"List-Id": "Weekly <weekly.letters.example>", "Precedence": "bulk"}
_BOT = {"Auto-Submitted": "auto-generated"}

LETTERS = (
    Letter("INBOX", 10, _QUOTE, _ADA, _YOU, "Quote for 40 sensors", r"\Seen \Answered"),
    Letter("Sent", 9.9, _QUOTE_SENT, _YOU, _ADA, "Re: Quote for 40 sensors", r"\Seen", _answer(_QUOTE)),
    Letter("INBOX", 9, "quote-3@customer.example", _ADA, _YOU, "Re: Quote for 40 sensors", "",
           _answer(_QUOTE, _QUOTE_SENT), attachment=b"%PDF-1.4 " + b"x" * 150_000),
    Letter("Archive", 8, "delivery-1@supplier.example", _BEN, _YOU, "Delivery date", r"\Seen", {"Cc": _ADA},
           b"The calibration certificate is in the box.\r\n"),
    Letter("Sent", 7, "delivery-2@example.com", _YOU, _BEN, "Re: Delivery date", r"\Seen",
           _answer("delivery-1@supplier.example", references=False)),
    Letter("INBOX", 6.8, "delivery-3@supplier.example", _BEN, _YOU, "Re: Delivery date", r"\Seen",
           _answer("delivery-2@example.com", references=False)),
    Letter("Sent", 6, "offer-1@example.com", _YOU, _CORA, "Offer for your warehouse", r"\Seen", {"Cc": _ADA}),
    Letter("Sent", 1, "offer-2@example.com", _YOU, _CORA, "Prices", r"\Seen",
           _answer("offer-1@example.com")),
    Letter("INBOX", 5, "minutes@partner.example", _DORA, _YOU, "Minutes of the meeting", r"\Seen \Answered"),
    Letter("Projects", 5, "minutes@partner.example", _DORA, _YOU, "Minutes of the meeting", r"\Seen"),
    Letter("INBOX", 4, "invoice-88@customer.example", _ADA, _YOU, "Invoice 88", r"\Seen \Answered",
           attachment=b"%PDF-1.4 small"),
    Letter("INBOX", 3, "spare@supplier.example", _BEN, _YOU, "Spare parts", r"\Seen \Answered"),
    Letter("INBOX", 2.9, "visit@partner.example", _DORA, _YOU, "Visit", r"\Seen"),
    Letter("Sent", 2.85, "visit-2@example.com", _YOU, _DORA, "Re: Visit", r"\Seen",
           _answer("visit@partner.example")),
    Letter("INBOX", 2.5, "protocol@customer.example", _ADA, _YOU, "Prüfprotokoll für Charge 12", "",
           {"Cc": "Jürgen Weiß <j.weiss@customer.example>"}),
    Letter("INBOX", 2, "build@ci.example", "robot@ci.example", _YOU, "Calibration draft failed", "", _BOT),
    Letter("INBOX", 1.5, "odd@example.org", _DORA, _YOU, "Calibration day", r"\Seen",
           {"Date": "Someday, 99 Foo"}),
    Letter("INBOX", 1.4, "away@partner.example", "away@partner.example", _YOU, "Out of office", r"\Seen",
           {**_BOT, **_answer("odd@example.org")}),
    Letter("Newsletter", 9.5, "n1@letters.example", "news@letters.example", _YOU, "Week 1", r"\Seen", _LIST),
    Letter("Newsletter", 2.6, "n2@letters.example", "news@letters.example", _YOU, "Week 2", "", _LIST),
)  # fmt: skip
MOVED, DELETED = "invoice-88@customer.example", "spare@supplier.example"
READ_BODY = "delivery-1@supplier.example"


def raw(letter: Letter) -> bytes:
    """The message's bytes."""
    sent = datetime.now(UTC) - timedelta(days=letter.days)
    fields = {
        "Message-ID": f"<{letter.id}>", "Date": f"{sent:%a, %d %b %Y %H:%M:%S} +0000",
        "From": letter.sender, "To": letter.to, "Subject": letter.subject, **letter.headers,
    }  # fmt: skip
    built = mail.message(1, body=letter.body, headers=fields, attachment=letter.attachment)
    return built.replace(b"application/octet-stream", b"application/pdf").replace(
        b"file.bin", b"Order 4711.pdf"
    )


class Box(NamedTuple):
    """The mailbox of account 1, as a mail client reaches it."""

    server: Dovecot
    user: User

    def deliver(self, letter: Letter) -> None:
        """Append a message to its folder, with its INTERNALDATE."""
        received = datetime.now(UTC) - timedelta(days=letter.days)
        date = f"{received:%d-%b-%Y %H:%M:%S} +0000"
        self.server.append(self.user, letter.folder, raw(letter), letter.flags, date)

    def do(self, folder: str, message_id: str, command: str, *arguments: str) -> None:
        """A UID command on one message: ``do("INBOX", id, "MOVE", "Archive")``."""
        with self.server.imap(self.user, folder) as client:
            found = done(client.uid("SEARCH", "HEADER", "Message-ID", quoted(message_id)))[0]
            if command == "EXPUNGE":
                done(client.uid("STORE", found, "+FLAGS.SILENT", r"(\Deleted)"))
            done(client._simple_command("UID", command, found.decode(), *arguments))  # type: ignore[attr-defined]


def build(dovecot: Dovecot, program: Mailsync) -> Box:
    """Fill both mailboxes, mirror them, change some messages like a mail client, and mirror the changes."""
    box = Box(dovecot, dovecot.new_user())
    dovecot.create(box.user, "Sent", "Archive", "Newsletter", "Projects")
    for letter in LETTERS:
        box.deliver(letter)
    with _threading_server() as (other, name, password):
        add(program, OWNER, dovecot.port, box.user.name, box.user.password)
        add(program, OTHER, other.port, name, password)
        sync(program, OWNER)
        sync(program, OTHER)
    box.do("INBOX", MOVED, "MOVE", "Archive")
    box.do("INBOX", DELETED, "EXPUNGE")
    sync(program, OWNER)
    read_body(program.environment["DATABASE_URL"] or "", READ_BODY)
    return box


@contextmanager
def _threading_server() -> Iterator[tuple[ScriptedServer, str, str]]:
    server = ScriptedServer(capabilities=CAPABILITIES + b" OBJECTID")
    try:
        user = server.new_user()
        inbox = user.folder("INBOX")
        for number, thread in enumerate((b"T1", b"T2", b"T1"), 1):
            uid = inbox.add(mail.message(number), date=mail.internal_date(number))
            inbox.mails[uid].thread = thread
        yield server, user.name, user.password
    finally:
        server.stop()


def add(program: Mailsync, email: str, port: int, username: str, password: str) -> None:
    """Add an account with the command line."""
    added = program(
        "add-account", email, "--host", "127.0.0.1", "--port", str(port), "--security", "plaintext",
        "--username", username, "--password-stdin", "--no-verify", input=f"{password}\n",
    )  # fmt: skip
    assert added.returncode == 0, added


def sync(program: Mailsync, email: str) -> None:
    """Bring the mirror up to date."""
    synced = program("sync", email)
    assert synced.returncode == 0, synced


def read_body(url: str, message_id: str) -> None:
    """Fetch a body, like a reader of the API."""
    settings = settings_for(
        url,
        imap_encryption_key=ENCRYPTION_KEY,
        imap_allow_private_hosts=True,
        imap_allow_plaintext=True,
        imap_max_commands_per_minute=1_000_000,
    )
    with db.connect(settings, "api") as conn:
        env = TurnEnvironment(conn, settings, "test", SessionCache(settings))
        row = conn.execute(
            "select id from messages where message_id = %s and deleted_at is null", [message_id]
        ).fetchone()
        assert row
        fetch_body(env, 1, row[0])
        env.sessions.close()


def in_bulk(conn: psycopg.Connection[Any], count: int = 5_000) -> None:
    """Add so many rows to account 1 that the planner uses an index; half of them are unread."""
    conn.execute(
        """
        insert into mailsync.messages
            (account_id, folder_id, uidvalidity, uid, message_id, in_reply_to, reference_ids, internal_date,
             size_bytes, subject, from_email, from_name, to_emails, to_names, flags)
        select 1, f.id, f.uidvalidity, 1000000 + n, n || '@bulk', n - 1 || '@bulk', array[n / 10 || '@bulk'],
               now() - interval '1 year' - n * interval '1 minute', 1000 + n, 'Bulk ' || md5(n::text),
               'p' || n %% 500 || '@bulk.example', 'P ' || n %% 500,
               array['q' || n %% 900 || '@bulk.example'], array['Q'],
               case when n %% 2 = 0 then array['\\Seen'] else '{}' end
        from mailsync.folders f, generate_series(1, %s) n
        where f.account_id = 1 and f.path = 'INBOX'
        """,
        [count],
    )
    conn.execute(
        "insert into mailsync.message_bodies (account_id, message_pk, body_text)"
        " select account_id, id, 'Text ' || md5(subject) from mailsync.messages"
        " where uid > 1000000 and uid % 4 = 0"
    )
    conn.execute(
        "insert into mailsync.attachments (account_id, message_pk, part, content_type, size_bytes)"
        " select account_id, id, '2', 'image/png', uid % 5000 from mailsync.messages where uid > 1000000"
    )
    conn.execute("vacuum analyze mailsync.messages")
    conn.execute(
        "analyze mailsync.message_bodies, mailsync.attachments, mailsync.folders, mailsync.sync_events"
    )
