"""Servers that report too little, or contradictory numbers: the mirror is correct nevertheless."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.support.mailboxes import Account
from tests.support.scripted import ScriptedServer
from tests.support.session import Request
from tests.support.stored import assert_counts_are_true
from tests.support.turns import Mirror, letters

STATUS, EVERYWHERE = ("LIST", "STATUS"), ("LIST", "STATUS", "EXAMINE")


@pytest.fixture
def user(scripted: ScriptedServer) -> Account:
    return scripted.new_user()


@pytest.fixture
def mirror(database_url: str, scripted: ScriptedServer, user: Account) -> Iterator[Mirror]:
    """A mirror of an inbox with ten messages; no turn was taken yet."""
    letters(user, 10)
    with Mirror(database_url, scripted, user) as mirror:
        yield mirror


def say(server: ScriptedServer, item: bytes, value: bytes | None, *commands: str) -> None:
    """Make the answers to these commands give another number for `item`, or none."""
    said = b"" if value is None else item + b" " + value

    def lie(request: Request) -> bytes:
        return re.sub(rb"\b%s \d+" % item, said, request.default())

    for command in commands:
        server.on(command, lie)


def commands_of_a_tick(server: ScriptedServer, mirror: Mirror) -> list[str]:
    before = len(server.journal.commands())
    mirror.hot()
    return [command.name for command in server.journal.commands()[before:]]


def flagged(mirror: Mirror) -> list[int]:
    return mirror.value("select coalesce(array_agg(uid order by uid), '{}') from messages where is_flagged")  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("value", "commands"),
    [(b"1", EVERYWHERE), (b"11", EVERYWHERE), (b"1", ("EXAMINE",)), (b"4000000000", EVERYWHERE)],
    ids=["stays at 1", "stands still", "is 1 by EXAMINE", "far ahead"],
)
def test_new_mail_comes_whatever_uidnext_says(
    scripted: ScriptedServer, user: Account, mirror: Mirror, value: bytes, commands: tuple[str, ...]
) -> None:
    say(scripted, b"UIDNEXT", value, *commands)
    mirror.complete()
    letters(user, 2)
    mirror.hot()
    assert sorted(mirror.rows()) == list(range(1, 13))
    assert mirror.value("select count(*) from sync_events where type = 'message.created'") == 2
    assert mirror.folder().last_uid == 12
    assert_counts_are_true(mirror.conn, mirror.folder())
    assert mirror.state == ("healthy", None)
    assert commands_of_a_tick(scripted, mirror) == ["LIST"]


def test_a_uidnext_that_went_back_by_examine_hides_no_mail_that_came_as_another_went(
    scripted: ScriptedServer, user: Account, mirror: Mirror
) -> None:
    scripted.capabilities = b"IMAP4rev1 UNSELECT LIST-EXTENDED LIST-STATUS"
    say(scripted, b"UIDNEXT", b"1", "EXAMINE")
    mirror.complete()
    letters(user, 1)
    user.folder("INBOX").expunge(4)
    mirror.hot()
    assert sorted(mirror.rows()) == [1, 2, 3, *range(5, 12)]


@pytest.mark.parametrize("shown", [b"", b" ALL 1:4"], ids=["nothing", "a part"])
def test_a_first_sync_that_was_shown_too_little_is_not_done_until_all_is_there(
    scripted: ScriptedServer, mirror: Mirror, shown: bytes
) -> None:
    def search(request: Request) -> bytes:
        found = b'* ESEARCH (TAG "%s") UID%s\r\n' % (request.tag, shown)
        return found + request.tagged(b"OK done")

    mirror.hot()
    scripted.on("UID SEARCH", search, times=1)
    mirror.fill()
    mirror.hot()
    assert sorted(mirror.rows()) == list(range(1, 11))
    assert mirror.state == ("healthy", None)


@pytest.mark.parametrize("value", [b"3", None], ids=["low", "not said"])
def test_where_status_does_not_tell_highestmodseq_as_examine_does_flags_are_scanned_by_the_clock(
    scripted: ScriptedServer, user: Account, mirror: Mirror, value: bytes | None
) -> None:
    say(scripted, b"HIGHESTMODSEQ", value, *STATUS)
    mirror.complete()
    mirror.hot()
    assert commands_of_a_tick(scripted, mirror) == ["LIST"]
    user.folder("INBOX").set_flags(3, rb"\Flagged")
    mirror.conn.execute("update folders set next_flag_scan_at = now()")
    mirror.hot()
    assert flagged(mirror) == [3]
    assert commands_of_a_tick(scripted, mirror) == ["LIST"]
    assert mirror.state == ("healthy", None)


def test_a_deletion_in_a_window_is_seen_where_status_does_not_tell_highestmodseq(
    scripted: ScriptedServer, user: Account, mirror: Mirror
) -> None:
    say(scripted, b"HIGHESTMODSEQ", None, *STATUS)
    mirror.conn.execute("update accounts set sync_since = '2024-01-01T00:00:00Z'")
    mirror.complete()
    user.folder("INBOX").expunge(4)
    mirror.hot()
    assert sorted(mirror.rows()) == [1, 2, 3, *range(5, 11)]


def test_where_status_has_another_uidvalidity_than_examine_all_goes_on(
    scripted: ScriptedServer, user: Account, mirror: Mirror
) -> None:
    say(scripted, b"UIDVALIDITY", b"77", *STATUS)
    mirror.complete()
    ids = mirror.value("select array_agg(id order by uid) from messages")
    user.folder("INBOX").set_flags(3, rb"\Flagged")
    mirror.hot()
    assert flagged(mirror) == [3]
    assert mirror.value("select array_agg(id order by uid) from messages") == ids
    assert mirror.state == ("healthy", None)


@pytest.mark.parametrize("offered", [b"LIST-STATUS LIST-EXTENDED", b""], ids=["LIST-STATUS", "STATUS"])
def test_folders_that_need_a_look_each_time_do_not_keep_the_others_from_theirs(
    scripted: ScriptedServer, user: Account, mirror: Mirror, offered: bytes
) -> None:
    scripted.capabilities = b"IMAP4rev1 UNSELECT " + offered
    say(scripted, b"UIDNEXT", None, *STATUS)
    paths = [f"Folder {number:02}" for number in range(15)]
    for path in paths:
        letters(user, 2, path)
    for turn in (mirror.hot, mirror.fill, *[mirror.hot] * 4):
        turn()
    # from now on a turn has commands for only a few folders
    mirror.configure(imap_max_commands_per_minute=48)
    for path in paths:
        user.folder(path).expunge(1)
    for _ in range(20):
        mirror.conn.execute("update accounts set throttle_tokens = 12")
        mirror.hot()
    assert [path for path in paths if list(mirror.rows(path)) != [2]] == []


def test_a_folder_that_ends_connections_does_not_keep_the_others_from_theirs(
    scripted: ScriptedServer, user: Account, mirror: Mirror
) -> None:
    paths = [f"Folder {number}" for number in range(4)]
    for path in paths:
        letters(user, 2, path)
    mirror.complete()
    scripted.on("EXAMINE", lambda r: r.close() if b"Folder 1" in r.text else r.default())
    for path in paths:
        user.folder(path).expunge(1)
    for _ in range(3):
        mirror.hot()
    assert [path for path in paths if list(mirror.rows(path)) != [2]] == ["Folder 1"]


def test_a_deletion_in_a_window_that_vanished_leaves_out_is_seen_at_the_next_tick(
    user: Account, mirror: Mirror
) -> None:
    mirror.conn.execute("update accounts set sync_since = '2024-01-01T00:00:00Z'")
    mirror.complete()
    inbox = user.folder("INBOX")
    inbox.expunge(4)
    inbox.vanished.clear()
    mirror.hot()
    assert sorted(mirror.rows()) == [1, 2, 3, *range(5, 11)]
    assert mirror.state == ("healthy", None)


def test_in_a_window_too_messages_that_vanished_names_wrongly_are_restored(
    scripted: ScriptedServer, user: Account, mirror: Mirror
) -> None:
    mirror.conn.execute("update accounts set sync_since = '2024-01-01T00:00:00Z'")
    mirror.complete()
    before = mirror.value("select array_agg(id order by uid) from messages")
    scripted.inject("UID FETCH", b"* VANISHED (EARLIER) 4:6\r\n")
    user.folder("INBOX").set_flags(3, rb"\Flagged")
    mirror.hot()
    assert mirror.value("select array_agg(id order by uid) from messages where deleted_at is null") == before
    assert mirror.state == ("healthy", None)
