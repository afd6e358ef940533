"""``verify`` finds every way in which rows and server can differ, and reports it so that a person can act."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from mailsync.cli.commands.verify import describe
from mailsync.engine.verify import verify
from mailsync.engine.verify_report import Difference, FolderReport, Report
from tests.support.mail import message
from tests.support.mailboxes import Account
from tests.support.mirrors import add_account
from tests.support.programs import Mailsync
from tests.support.scripted import ScriptedServer
from tests.support.turns import Mirror

_WORK = "folder_id = (select id from folders where path = 'Work')"


@dataclass(frozen=True)
class Spoilt:
    """A difference, made by SQL in folder Work or on the server, and the line that reports it."""

    id: str
    counts: dict[str, int]
    line: str
    sql: str = ""
    act: Callable[[Account], Any] = lambda user: None


SPOILT = [
    Spoilt(
        "a row that is deleted",
        {"missing": 1},
        "  UID 2: not mirrored",
        f"delete from messages where uid = 2 and {_WORK}",
    ),
    Spoilt(
        "a tombstone that should live",
        {"missing": 1},
        "  UID 2: not mirrored",
        f"update messages set deleted_at = now(), deleted_reason = 'expunged' where uid = 2 and {_WORK}",
    ),
    Spoilt(
        "all rows deleted",
        {"missing": 5},
        "Work: 5 not mirrored",
        f"delete from messages where {_WORK}",
    ),
    Spoilt(
        "a live row too many, above all UIDs",
        {"extra": 1},
        "  UID 4000000000: gone on the server",
        "insert into messages (account_id, folder_id, uidvalidity, uid, internal_date)"
        " select account_id, id, uidvalidity, 4000000000, now() from folders where path = 'Work'",
    ),
    Spoilt(
        "a live row too many, between two UIDs",
        {"extra": 1},
        "  UID 3: gone on the server",
        act=lambda user: user.folder("Work").expunge(3),
    ),
    Spoilt(
        "a flag that the server does not have",
        {"flags": 1},
        r"  UID 1: flags none on the server, \Answered here",
        rf"update messages set flags = '{{\\Answered}}' where uid = 1 and {_WORK}",
    ),
    Spoilt(
        "a flag that the row does not have",
        {"flags": 1},
        r"  UID 4: flags \Flagged \Seen on the server, none here",
        f"update messages set flags = '{{}}' where uid = 4 and {_WORK}",
    ),
    Spoilt(
        "another size",
        {"size_bytes": 1},
        "  UID 5: size {size} on the server, 7 here",
        f"update messages set size_bytes = 7 where uid = 5 and {_WORK}",
    ),
    Spoilt(
        "another date",
        {"internal_date": 1},
        "  UID 1: date 2024-02-01T10:00:00Z on the server, 2024-02-01T10:00:01Z here",
        f"update messages set internal_date = internal_date + interval '1 second' where uid = 1 and {_WORK}",
    ),
    Spoilt(
        "a placeholder",
        {"placeholder": 1},
        "  UID 2: without content",
        "update messages set parse_errors = '{unfetchable}', internal_date = now()"
        f" where uid = 2 and {_WORK}",
    ),
    Spoilt(
        "a row that was stored without content",
        {"placeholder": 1},
        "Work: 1 without content",
        f"update messages set parse_errors = '{{unstorable}}' where uid = 2 and {_WORK}",
    ),
    Spoilt(
        "another UIDVALIDITY",
        {"uidvalidity": 1},
        "  UIDVALIDITY 7 on the server, 1700000001 here",
        act=lambda user: user.folder("Work").renumber(7),
    ),
    Spoilt(
        "a folder that is gone from the server",
        {"extra": 5},
        "Work: 5 gone on the server",
        act=lambda user: user.delete("Work"),
    ),
    Spoilt(
        "new mail since the last tick",
        {"missing": 1},
        "  UID 6: not mirrored",
        act=lambda user: user.folder("Work").add(message(9)),
    ),
]


def mailbox(scripted: ScriptedServer, name: str | None = None) -> Account:
    """A user with two folders of five messages each."""
    user = scripted.new_user(name) if name else scripted.new_user()
    for path in ("INBOX", "Work"):
        folder = user.folder("INBOX") if path == "INBOX" else user.create(path)
        for number in range(5):
            folder.add(message(number), *((rb"\Seen", rb"\Flagged") if number == 3 else ()))
    return user


def compare(mirror: Mirror) -> Report:
    return verify(mirror.env, mirror.account_id, wait=5.0)


@pytest.mark.parametrize("spoilt", SPOILT, ids=lambda spoilt: spoilt.id)
def test_a_difference_is_found_named_and_nothing_else_is(
    database_url: str, scripted: ScriptedServer, spoilt: Spoilt
) -> None:
    user = mailbox(scripted)
    size = len(user.folder("Work").mails[5].raw)
    with Mirror(database_url, scripted, user) as mirror:
        mirror.complete()
        assert describe(compare(mirror)) == "✓ 10 messages in 2 folders compared with the server: all equal"
        if spoilt.sql:
            mirror.conn.execute(spoilt.sql.encode())
        spoilt.act(user)
        report = compare(mirror)
    counts = {folder.path: folder.counts for folder in report.folders.values()}
    assert counts["INBOX"] == {}
    assert spoilt.counts.items() <= counts["Work"].items()
    lines = describe(report).splitlines()
    wanted = spoilt.line.format(size=size)
    assert any(line.startswith(wanted) for line in lines), (wanted, lines)
    assert lines[-1].startswith("✗ ")


def test_during_a_first_sync_only_complete_folders_are_compared(
    mailsync: Mailsync, scripted: ScriptedServer, database: psycopg.Connection[Any]
) -> None:
    user = mailbox(scripted, "ann@example.test")
    add_account(mailsync, scripted, user)
    assert mailsync("sync", user.name).returncode == 0
    database.execute(
        "with folder as (update folders set status = 'pending', last_uid = 0, live_count = 0, live_unseen = 0"
        " where path = 'Work' returning id)"
        " delete from messages where folder_id = (select id from folder)"
    )
    verified = mailsync("verify", user.name)
    assert verified.returncode == 1
    assert verified.stdout.splitlines() == [
        "✓ 5 messages in 1 folder compared with the server: all equal",
        "✗ The first sync is not complete: 1 folder not compared (Work)",
    ]
    assert verified.stderr == f"to complete the first sync: `mailsync sync {user.name}`; then verify again\n"
    document = mailsync("verify", user.name, "--json").json()
    assert (document["equal"], document["complete"], document["differences"]) == (False, False, 0)
    assert {folder["path"]: folder["complete"] for folder in document["folders"]} == {
        "INBOX": True,
        "Work": False,
    }


def test_before_the_first_sync_nothing_is_compared_and_no_folder_is_a_surprise(
    mailsync: Mailsync, scripted: ScriptedServer
) -> None:
    user = mailbox(scripted, "ann@example.test")
    add_account(mailsync, scripted, user)
    verified = mailsync("verify", user.name)
    assert verified.returncode == 1
    assert verified.stdout == "✗ The first sync has not begun: nothing to compare yet\n"
    assert verified.stderr == f"to begin it here: `mailsync sync {user.name}`; then verify again\n"
    document = mailsync("verify", user.name, "--json").json()
    assert (document["equal"], document["complete"]) == (False, False)


def test_every_message_is_compared_however_many_there_are(
    database_url: str, scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailsync.engine.verify.STRETCH", 7)
    user = scripted.new_user()
    for number in range(30):
        user.folder("INBOX").add(message(number), uid=number * 3 + 1)
    with Mirror(database_url, scripted, user) as mirror:
        mirror.complete()
        assert compare(mirror).messages == 30
        mirror.conn.execute("delete from messages where uid in (1, 22, 88)")
        mirror.conn.execute(
            "insert into messages (account_id, folder_id, uidvalidity, uid, internal_date)"
            " select account_id, id, uidvalidity, unnest(array[2, 21, 23, 90]), now() from folders"
        )
        (inbox,) = compare(mirror).folders.values()
    kinds = {kind: {d.uid for d in inbox.differences if d.kind == kind} for kind in ("missing", "extra")}
    assert kinds == {"missing": {1, 22, 88}, "extra": {2, 21, 23, 90}}


def test_in_a_window_only_what_is_inside_has_to_be_there(database_url: str, scripted: ScriptedServer) -> None:
    user = scripted.new_user()
    inbox = user.folder("INBOX")
    for number in range(3):
        inbox.add(message(number), date="01-Jan-2020 10:00:00 +0000")
        inbox.add(message(10 + number), date="01-Feb-2024 10:00:00 +0000")
    with Mirror(database_url, scripted, user) as mirror:
        since = datetime(2024, 1, 1, tzinfo=UTC)
        mirror.conn.execute("update accounts set sync_since = %s", [since])
        mirror.complete()
        assert sorted(mirror.rows()) == [2, 4, 6]
        assert (compare(mirror).different, compare(mirror).messages) == (0, 3)
        mirror.conn.execute("delete from messages where uid = 4")
        mirror.conn.execute("update messages set internal_date = '2020-01-01' where uid = 6")
        (report,) = compare(mirror).folders.values()
    assert [(d.kind, d.uid) for d in report.differences if d.uid] == [("internal_date", 6), ("missing", 4)]


def test_what_a_server_says_cannot_steer_the_terminal() -> None:
    folder = FolderReport(1, "a\x1b[31m\u202eb\u061c\ufeff\n" + "x" * 300, True)
    folder.add(Difference("unreadable", server="NO \x1b]0;title\x07 \r\n gone"))
    folder.add(Difference("flags", 7, "\\Seen \x1b[2J", "none"))
    text = describe(Report(folders={1: folder}))
    assert all(line.isprintable() or "�" in line for line in text.splitlines())
    assert not {"\x1b", "\x07", "\r", "\u202e", "\u061c", "\ufeff"} & set(text)
    assert len(text.splitlines()[0]) < 140


def test_twenty_differences_of_a_folder_are_shown_and_the_others_counted() -> None:
    folder = FolderReport(1, "INBOX", True)
    for uid in range(1, 250):
        folder.add(Difference("missing", uid))
    lines = describe(Report(folders={1: folder})).splitlines()
    assert lines[0] == "INBOX: 249 not mirrored"
    assert lines[20:22] == ["  UID 20: not mirrored", "  … and 229 more"]


def test_the_exit_code_tells_and_json_names_folder_uid_kind_and_both_values(
    mailsync: Mailsync, scripted: ScriptedServer
) -> None:
    user = mailbox(scripted, "ann@example.test")
    add_account(mailsync, scripted, user)
    assert mailsync("sync", user.name).returncode == 0
    equal = mailsync("verify", user.name)
    assert (equal.returncode, equal.stderr) == (0, "")
    user.folder("Work").set_flags(2, rb"\Draft")
    done = mailsync("verify", user.name, "--json")
    assert (done.returncode, done.stderr) == (1, "")
    document = done.json()
    assert (document["equal"], document["messages"], document["differences"]) == (False, 10, 1)
    (work,) = [folder for folder in document["folders"] if folder["path"] == "Work"]
    assert work["differences"] == [{"kind": "flags", "uid": 2, "server": "\\Draft", "mirror": "none"}]
    assert "SELECT" not in scripted.journal.commands()
