"""Folders whose UIDs are new in each session (UIDNOTSTICKY): rows stay, and the state says why they lag."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.mailboxes import Account
from tests.support.scripted import CAPABILITIES, ScriptedServer
from tests.support.session import Request
from tests.support.stored import assert_counts_are_true
from tests.support.turns import Mirror, letters


@pytest.fixture
def user(scripted: ScriptedServer) -> Account:
    return scripted.new_user()


@pytest.fixture
def mirror(database_url: str, scripted: ScriptedServer, user: Account) -> Iterator[Mirror]:
    """A mirror of an inbox with ten messages; no turn was taken yet."""
    scripted.capabilities = CAPABILITIES.replace(b"CONDSTORE QRESYNC", b"")
    letters(user, 10)
    with Mirror(database_url, scripted, user) as mirror:
        yield mirror


class Renumbering:
    """Gives all messages of INBOX new UIDs for each new connection."""

    def __init__(self, server: ScriptedServer, user: Account, code: str, *, new_validity: bool) -> None:
        self.user, self.code, self.new_validity = user, code, new_validity
        self.seen: set[int] = set()
        server.on("EXAMINE", self.examine)

    def examine(self, request: Request) -> bytes:
        number = request.connection.number
        inbox = self.user.folder("INBOX")
        if number not in self.seen:
            first = not self.seen
            self.seen.add(number)
            with inbox.lock:
                mails = [] if first else list(inbox.mails.values())
                for mail in mails:
                    inbox.mails.pop(mail.uid)
                for mail in mails:
                    mail.uid = inbox.uidnext
                    inbox.mails[mail.uid] = mail
                    inbox.uidnext += 1
                inbox.uidvalidity += self.new_validity and not first
        answer = request.default()
        if b"INBOX" not in request.text:
            return answer
        if self.code.startswith("tagged"):
            return answer.replace(b"OK EXAMINE", b"OK [UIDNOTSTICKY]")
        return f"* {self.code} [UIDNOTSTICKY] no persistent UIDs\r\n".encode() + answer


def new_session(mirror: Mirror) -> None:
    mirror.env.sessions.close()
    mirror.conn.execute("update folders set next_reconcile_at = now(), next_flag_scan_at = now()")


def rows(mirror: Mirror) -> list[tuple[int, str]]:
    query = "select id, message_id from messages where deleted_at is null order by id"
    return [tuple(row) for row in mirror.conn.execute(query)]  # type: ignore[misc]


CODES = ["OK", "NO", "tagged"]


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("new_validity", [False, True], ids=["same UIDVALIDITY", "new UIDVALIDITY"])
def test_rows_stay_whatever_uids_the_next_sessions_give(
    scripted: ScriptedServer, user: Account, mirror: Mirror, code: str, new_validity: bool
) -> None:
    Renumbering(scripted, user, code, new_validity=new_validity)
    mirror.complete()
    before = rows(mirror)
    assert len(before) == 10
    assert mirror.state == ("degraded", "uids_not_sticky")
    for _ in range(8):
        new_session(mirror)
        mirror.hot()
    assert rows(mirror) == before
    assert mirror.value("select count(*) from messages") == 10
    assert mirror.value("select count(*) from sync_events where type = 'message.deleted'") == 0
    assert mirror.state == ("degraded", "uids_not_sticky")
    journal = len(scripted.journal.commands())
    mirror.hot()
    assert [command.name for command in scripted.journal.commands()[journal:]] == ["LIST"]


@pytest.mark.parametrize("new_validity", [False, True], ids=["same UIDVALIDITY", "new UIDVALIDITY"])
def test_new_mail_comes_and_the_other_rows_keep_their_ids(
    scripted: ScriptedServer, user: Account, mirror: Mirror, new_validity: bool
) -> None:
    Renumbering(scripted, user, "OK", new_validity=new_validity)
    mirror.complete()
    before = dict(rows(mirror))
    for arrivals in range(1, 8):
        mirror.env.sessions.close()
        letters(user, 11)
        inbox = user.folder("INBOX")
        for uid in sorted(inbox.mails)[-11:-1]:
            inbox.expunge(uid)
        for turn in (mirror.hot, mirror.fill, mirror.hot):
            turn()
        assert len(rows(mirror)) == 10 + arrivals
    assert before.items() <= dict(rows(mirror)).items()
    assert mirror.state == ("degraded", "uids_not_sticky")
    assert_counts_are_true(mirror.conn, mirror.folder())


def test_a_server_that_learns_persistent_uids_is_mirrored_as_ever(
    scripted: ScriptedServer, user: Account, mirror: Mirror
) -> None:
    Renumbering(scripted, user, "OK", new_validity=True)
    mirror.complete()
    ids = [row[0] for row in rows(mirror)]
    scripted.off("EXAMINE")
    user.folder("INBOX").renumber(1_800_000_000)
    new_session(mirror)
    mirror.complete()
    assert sorted(row[0] for row in rows(mirror)) == ids
    assert mirror.state == ("healthy", None)
