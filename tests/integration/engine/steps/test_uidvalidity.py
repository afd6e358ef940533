"""UIDVALIDITY at a scripted server: only EXAMINE's is believed, and a change loses no rows."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mailsync.errors import ResetLimit
from mailsync.store import accounts
from tests.support import mail
from tests.support.mailboxes import Folder
from tests.support.reappearing import assert_true, bodies, fetch_body, ids
from tests.support.scripted import ScriptedServer
from tests.support.session import Request
from tests.support.stored import assert_counts_are_true
from tests.support.turns import Mirror, letters


def told(mirror: Mirror, since: int) -> list[str]:
    """The types of message and folder events after number `since`, without those of comparisons."""
    query = (
        "select type from sync_events where seq > %s and folder_id is not null"
        " and type <> 'folder.reconciled' order by seq"
    )
    return [row[0] for row in mirror.conn.execute(query, [since])]


def last_event(mirror: Mirror) -> int:
    return int(mirror.value("select max(seq) from sync_events"))


def whole_folder(mirror: Mirror) -> tuple[object, ...] | None:
    """All columns of INBOX's row."""
    return mirror.conn.execute("select f.*::text from folders f where path = 'INBOX'").fetchone()


def without_uidvalidity(inbox: Folder) -> Callable[[Request], bytes]:
    """Answer EXAMINE without a UIDVALIDITY."""

    def answer(request: Request) -> bytes:
        lines = request.default().split(b"\r\n")
        return b"\r\n".join(line for line in lines if b"[UIDVALIDITY" not in line)

    return answer


@pytest.mark.parametrize("uidvalidity", [1_800_000_000, 7], ids=["up", "down"])
def test_renumbered_messages_keep_their_ids_and_bodies(
    database_url: str, scripted: ScriptedServer, uidvalidity: int
) -> None:
    user = scripted.new_user()
    inbox = letters(user, 12)
    inbox.expunge(1, 5)
    with Mirror(database_url, scripted, user, fetch_batch=4) as mirror:
        mirror.complete()
        before = ids(mirror.conn, mirror.folder())
        fetch_body(mirror.conn, mirror.folder(), before[7])
        seen = last_event(mirror)

        inbox.renumber(uidvalidity)
        mirror.complete()

        assert mirror.folder().uidvalidity == uidvalidity
        after = ids(mirror.conn, mirror.folder())
        assert list(after) == list(range(1, 11)) and list(after.values()) == list(before.values())
        assert bodies(mirror.conn) == [before[7]]
        assert mirror.value("select count(*) from messages") == 10
        # a backfill emits one event for each batch
        assert told(mirror, seen) == [
            "folder.uidvalidity_reset",
            *["message.deleted"] * 10,
            *["folder.backfilled"] * 3,
        ]
        assert_true(mirror)


def test_mail_that_was_moved_away_and_back_is_the_same_mail(
    database_url: str, scripted: ScriptedServer
) -> None:
    user = scripted.new_user()
    inbox = letters(user, 3)
    with Mirror(database_url, scripted, user) as mirror:
        mirror.complete()
        before = ids(mirror.conn, mirror.folder())
        moved = inbox.mails[2]
        inbox.expunge(2)
        mirror.hot()
        seen = last_event(mirror)
        assert inbox.add(moved.raw, date=moved.date) == 4
        mirror.hot()
        assert ids(mirror.conn, mirror.folder()) == {1: before[1], 3: before[3], 4: before[2]}
        assert told(mirror, seen) == ["message.restored"]
        assert_true(mirror)


def test_mail_that_reappears_while_the_folder_is_filled_is_announced(
    database_url: str, scripted: ScriptedServer
) -> None:
    user = scripted.new_user()
    inbox = letters(user, 4)
    with Mirror(database_url, scripted, user) as mirror:
        mirror.complete()
        before = ids(mirror.conn, mirror.folder())
        # a user recreates the folder and copies the mail back, the first half before the snapshot is taken
        kept = list(inbox.mails.values())
        inbox.renumber(1_800_000_000)
        inbox.expunge(3, 4)
        mirror.hot()
        mirror.fill()
        seen = last_event(mirror)
        for one in kept[2:]:
            inbox.add(one.raw, date=one.date)
        inbox.add(mail.message(99))
        mirror.complete()
        after = ids(mirror.conn, mirror.folder())
        assert [after[uid] for uid in (1, 2, 5, 6)] == [before[uid] for uid in (1, 2, 3, 4)]
        assert told(mirror, seen)[:3] == ["message.restored", "message.restored", "message.created"]
        assert_true(mirror)


@pytest.mark.parametrize("noticed", [True, False], ids=["seen missing", "between two looks"])
def test_a_folder_that_is_recreated_keeps_the_rows_of_messages_that_it_still_has(
    database_url: str, scripted: ScriptedServer, noticed: bool
) -> None:
    """The folder has a new MAILBOXID and UIDVALIDITY; a client copied back all mail but one message."""
    user = scripted.new_user()
    kept = list(letters(user, 6, "Work").mails.values())
    with Mirror(database_url, scripted, user) as mirror:
        mirror.complete()
        before = ids(mirror.conn, mirror.folder("Work"))
        folder_id = mirror.folder("Work").id

        user.delete("Work")
        if noticed:
            mirror.conn.execute("update accounts set next_discovery_at = now()")
            mirror.hot()
            assert mirror.folder("Work").missing_since
        again = user.create("Work", uidvalidity=1_800_000_000)
        for one in reversed(kept[1:]):
            again.add(one.raw, date=one.date)
        mirror.conn.execute("update accounts set next_discovery_at = now()")
        mirror.complete()

        assert mirror.folder("Work").id == folder_id
        after = ids(mirror.conn, mirror.folder("Work"))
        assert list(after.values()) == [before[uid] for uid in (6, 5, 4, 3, 2)]
        assert_counts_are_true(mirror.conn, mirror.folder("Work"))
        assert_true(mirror)


# -- what is believed ---------------------------------------------------------------------------------------


def test_a_status_with_another_value_resets_nothing(database_url: str, scripted: ScriptedServer) -> None:
    user = scripted.new_user()
    letters(user, 3)
    with Mirror(database_url, scripted, user) as mirror:
        mirror.complete()
        before, seen = ids(mirror.conn, mirror.folder()), last_event(mirror)
        scripted.on("LIST", lambda request: request.default().replace(b"UIDVALIDITY 17", b"UIDVALIDITY 18"))
        mirror.hot()
        assert ids(mirror.conn, mirror.folder()) == before
        assert told(mirror, seen) == []
        assert_true(mirror)


def test_unknown_becomes_known_without_a_reset_and_known_does_not_become_unknown(
    database_url: str, scripted: ScriptedServer
) -> None:
    user = scripted.new_user()
    inbox = letters(user, 3)
    scripted.on("EXAMINE", without_uidvalidity(inbox))
    with Mirror(database_url, scripted, user) as mirror:
        mirror.complete()
        before, seen = ids(mirror.conn, mirror.folder()), last_event(mirror)
        assert mirror.folder().uidvalidity == 0 and len(before) == 3

        for value in (1_700_000_000, 0):
            if value:
                scripted.off("EXAMINE")
            else:
                scripted.on("EXAMINE", without_uidvalidity(inbox))
            inbox.add(mail.message(50))
            mirror.hot()
            assert mirror.folder().uidvalidity == 1_700_000_000
        after = ids(mirror.conn, mirror.folder())
        assert {uid: after[uid] for uid in before} == before and sorted(after) == [1, 2, 3, 4, 5]
        assert told(mirror, seen) == ["message.created", "message.created"]
        assert mirror.folder().uidvalidity_resets == ()
        assert_true(mirror)


def test_rows_of_an_unknown_value_are_rekeyed_before_they_are_fetched_again(
    database_url: str, scripted: ScriptedServer
) -> None:
    user = scripted.new_user()
    inbox = letters(user, 3)
    scripted.on("EXAMINE", without_uidvalidity(inbox))
    with Mirror(database_url, scripted, user) as mirror:
        mirror.complete()
        before = ids(mirror.conn, mirror.folder())
        accounts.reset(mirror.conn, mirror.account_id, resync=True)
        scripted.off("EXAMINE")
        seen = last_event(mirror)
        mirror.complete()
        assert ids(mirror.conn, mirror.folder()) == before
        assert "message.deleted" not in told(mirror, seen)
        assert_true(mirror)


# -- too often ----------------------------------------------------------------------------------------------


def test_a_reset_too_many_changes_nothing_until_a_person_or_the_day_pardons(
    database_url: str, scripted: ScriptedServer
) -> None:
    user = scripted.new_user()
    inbox = letters(user, 3)
    with Mirror(database_url, scripted, user) as mirror:
        mirror.complete()
        before = list(ids(mirror.conn, mirror.folder()).values())
        for uidvalidity in (5, 6):
            inbox.renumber(uidvalidity)
            mirror.complete()
        known, row, seen = ids(mirror.conn, mirror.folder()), whole_folder(mirror), last_event(mirror)
        assert list(known.values()) == before

        inbox.renumber(7)
        assert isinstance(mirror.hot(), ResetLimit)
        assert mirror.state == ("broken", "uidvalidity_reset_limit")
        assert (ids(mirror.conn, mirror.folder()), whole_folder(mirror)) == (known, row)
        assert told(mirror, seen) == []

        accounts.reset(mirror.conn, mirror.account_id, resync=False)
        mirror.complete()
        assert mirror.folder().uidvalidity == 7
        assert list(ids(mirror.conn, mirror.folder()).values()) == before

        # one reset today and one a day ago: the next one is only the second
        aged = "update folders set uidvalidity_resets = array[now() - interval '24 hours', now()]"
        mirror.conn.execute(aged)
        inbox.renumber(8)
        mirror.complete()
        assert list(ids(mirror.conn, mirror.folder()).values()) == before
        assert len(mirror.folder().uidvalidity_resets) == 2
        assert_true(mirror)
