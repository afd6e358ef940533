"""Populates a database for every path of the API: accounts, folders, various mail, runs, events."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from mailsync.model import Endpoint
from mailsync.store import accounts
from tests.support import mail
from tests.support.dovecot import Dovecot
from tests.support.imap_server import User
from tests.support.turns import Mirror

SPARE = 4
"""Number of accounts that tests may change and remove; added first, so that they have the lowest ids."""

_HTML = {"Content-Type": "text/html; charset=utf-8", "Subject": "=?utf-8?q?Gr=C3=BC=C3=9Fe?="}
_LETTERS = [
    *((mail.message(n), "", mail.internal_date(n)) for n in range(12)),
    (mail.message(12, attachment=b"a,b\r\n1,2\r\n"), r"\Seen", mail.internal_date(12)),
    (mail.message(13, attachment=b"x" * 5000), r"\Seen \Flagged", mail.internal_date(13)),
    (mail.message(14, headers=_HTML, body="<p>Grüße</p>\r\n".encode()), "", mail.internal_date(14)),
    (mail.message(15, headers={"Message-ID": None, "From": None, "Date": "never"}), "", ""),
    (mail.message(16, headers={"In-Reply-To": "<1@mail.test>", "List-Id": "<l.mail.test>"}), "", ""),
    (b"no header at all", r"\Answered Later", ""),
]


@dataclass(frozen=True)
class Population:
    """The content; ``mirrored`` are accounts with mail, ``spare`` those that tests may damage."""

    dovecot: Dovecot
    user: User
    mirrored: list[int]
    spare: list[int]
    folders: dict[int, list[int]]
    messages: list[int]
    with_attachment: list[int]
    mirror: Mirror


@contextmanager
def populate(database_url: str, dovecot: Dovecot) -> Iterator[Population]:
    """Fill the database by turns in this process; the first two mirrors have the same mail."""
    users = [dovecot.new_user() for _ in range(2)]
    for user in users:
        dovecot.create(user, "Work", "Entw&APw-rfe")
        dovecot.seed(user, "INBOX", _LETTERS)
        dovecot.seed(user, "Work", _LETTERS[:3])
    with ExitStack() as stack:
        spares = [dovecot.new_user() for _ in range(SPARE)]
        first = stack.enter_context(Mirror(database_url, dovecot, spares[0]))
        for spare in spares[1:]:
            endpoint = Endpoint(dovecot.host, dovecot.port, "plaintext", spare.name)
            new = accounts.NewAccount(spare.name, endpoint)
            accounts.create(first.conn, new, spare.password, first.settings)
        first.hot()
        mirrors = [stack.enter_context(Mirror(database_url, dovecot, user)) for user in users]
        for mirror in mirrors:
            mirror.complete()
        dovecot.expunge(users[0], "INBOX", "5:6")
        dovecot.store(users[0], "INBOX", "3", r"\Seen")
        dovecot.append(users[0], "INBOX", mail.message(100, attachment=b"late"))
        mirrors[0].hot()

        def ids(query: str, *params: object) -> list[int]:
            return [row[0] for row in first.conn.execute(query, params)]

        mirrored = [mirror.account_id for mirror in mirrors]
        spare = ids("select id from accounts where id <> all(%s) order by id", mirrored)
        assert max(spare) < min(mirrored)
        owners = [spare[0], *mirrored]
        yield Population(
            dovecot=dovecot,
            user=users[0],
            mirrored=mirrored,
            spare=spare,
            folders={
                owner: ids("select id from folders where account_id = %s order by id", owner)
                for owner in owners
            },
            messages=ids("select id from messages where deleted_at is null order by id"),
            with_attachment=ids(
                "select m.id from messages m join attachments a on a.account_id = m.account_id"
                " and a.message_pk = m.id where m.deleted_at is null and a.part = '2' order by m.id"
            ),
            mirror=mirrors[0],
        )
