"""Folders that are excluded: names without a mailbox, a second name of INBOX, folders above the limit."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mailsync.engine.turn import Turn
from mailsync.engine.verify import verify
from mailsync.errors import ProtocolError
from mailsync.store import folders
from tests.support import mail
from tests.support.discoveries import (
    ALL,
    BARE,
    end_grace,
    ids,
    look,
    reasons,
    refusing,
    twice_and_otherwise,
    without_status_of,
)
from tests.support.scripted import ScriptedServer
from tests.support.turns import Mirror, letters

Servers = Callable[..., ScriptedServer]
on_either_server = pytest.mark.parametrize("offered", [ALL, BARE], ids=["all", "none"])


@on_either_server
def test_a_mailbox_of_which_only_the_name_is_left_has_its_grace_and_can_come_back(
    database_url: str, scripted_with: Servers, offered: bytes
) -> None:
    server = scripted_with(capabilities=offered)
    user = server.new_user()
    user.create("Parent", rb"\Noselect")
    letters(user, 1, "Parent/Child")
    with Mirror(database_url, server, user) as mirror:
        mirror.complete()
        parent = mirror.folder("Parent")
        assert (parent.tracked, parent.excluded_reason, parent.missing_since) == (False, "noselect", None)

        # the name becomes a mailbox that can hold messages
        user.folder("Parent").attributes = ()
        letters(user, 3, "Parent")
        look(mirror)
        mirror.complete()
        rows = ids(mirror, "Parent")
        assert (mirror.folder("Parent").id, sorted(rows)) == (parent.id, [1, 2, 3])

        # the mailbox is deleted and its children stay; the user's choice cannot bring it back
        folders.choose(mirror.conn, mirror.account_id, "Parent", tracked=True)
        user.folder("Parent").attributes = (rb"\NonExistent", rb"\Noselect")
        server.on("STATUS", refusing(b"Parent"))
        look(mirror)
        mirror.hot()
        assert ids(mirror, "Parent") == rows
        assert mirror.folder("Parent").missing_since is not None
        assert mirror.folder("Parent").last_error is None
        end_grace(mirror)
        look(mirror)
        assert reasons(mirror, "Parent") == ["folder_missing"]
        assert mirror.state == ("healthy", None)

        server.off("STATUS")
        user.folder("Parent").attributes = ()
        look(mirror)
        mirror.complete()
        assert ids(mirror, "Parent") == rows
        assert mirror.folder("Parent").tracked_by_user is True
        assert mirror.state == ("healthy", None)


@on_either_server
def test_a_parent_that_is_deleted_while_its_children_stay_is_not_called_equal(
    database_url: str, scripted_with: Servers, offered: bytes
) -> None:
    server = scripted_with(capabilities=offered)
    user = server.new_user()
    letters(user, 3, "Parent")
    letters(user, 1, "Parent/Child")
    with Mirror(database_url, server, user) as mirror:
        mirror.complete()
        user.folder("Parent").attributes = (rb"\Noselect",)
        server.on("STATUS", refusing(b"Parent"))
        server.on("LIST", without_status_of(b"Parent"))
        if offered == BARE:
            mirror.conn.execute("update accounts set next_discovery_at = now()")
        ended = mirror.hot()
        assert isinstance(ended, Turn), ended
        parent = mirror.folder("Parent")
        assert (parent.missing_since is None, parent.last_error, parent.live_count) == (False, None, 3)
        assert mirror.state == ("degraded", "folder_missing")
        report = verify(mirror.env, mirror.account_id, wait=5)
        assert report.folders[parent.id].counts == {"extra": 3}


@on_either_server
def test_a_second_name_of_the_inbox_is_left_out_only_once_it_is_proven(
    database_url: str, scripted_with: Servers, offered: bytes
) -> None:
    server = scripted_with(capabilities=offered)
    server.delimiter = b"."
    user = server.new_user()
    inbox = letters(user, 3)
    alias = user.create("INBOX.INBOX", uidvalidity=inbox.uidvalidity)
    letters(user, 3, "INBOX.INBOX")
    user.create("INBOX.Work")
    with Mirror(database_url, server, user) as mirror:
        mirror.complete()
        assert mirror.folder("INBOX.INBOX").excluded_reason == "inbox_alias"
        assert mirror.value("select count(*) from messages") == 3
        assert mirror.state == ("healthy", None)

        # without an answer nothing changes
        for command in ("STATUS", "LIST"):
            server.on(command, without_status_of(b"INBOX.INBOX"))
        look(mirror)
        assert mirror.folder("INBOX.INBOX").excluded_reason == "inbox_alias"
        for command in ("STATUS", "LIST"):
            server.off(command)

        # the alias was a folder of its own
        alias.expunge(1)
        look(mirror)
        mirror.complete()
        assert mirror.folder("INBOX.INBOX").excluded_reason is None
        assert sorted(ids(mirror, "INBOX.INBOX")) == [2, 3]


@on_either_server
def test_rows_that_stand_twice_an_inbox_in_another_case_and_no_delimiter_are_no_trouble(
    database_url: str, scripted_with: Servers, offered: bytes
) -> None:
    server = scripted_with(capabilities=offered)
    server.delimiter = None
    user = server.new_user()
    letters(user, 2)
    letters(user, 1, "Work/A")
    server.on("LIST", twice_and_otherwise)
    with Mirror(database_url, server, user) as mirror:
        mirror.complete()
        look(mirror)
        assert mirror.value("select array_agg(path order by path) from folders") == ["INBOX", "Work/A"]
        assert sorted(ids(mirror, "INBOX")) == [1, 2]
        assert mirror.state == ("healthy", None)


def test_a_server_that_lists_other_names_each_time_is_refused_before_its_folders_fill_the_memory(
    database_url: str, scripted: ScriptedServer
) -> None:
    user = scripted.new_user()
    letters(user, 1)
    with Mirror(database_url, scripted, user) as mirror:
        mirror.complete()
        mirror.conn.execute(
            "insert into folders (account_id, wire_name, path, sync_priority, missing_since)"
            " select %s, convert_to('f' || n, 'UTF8'), 'f' || n, 100, now() from generate_series(1, 24990) n",
            [mirror.account_id],
        )
        for number in range(20):
            letters(user, 1, f"g{number}")
        ended = mirror.hot()
        assert isinstance(ended, ProtocolError)
        assert str(ended).startswith("LIST: 20 folders are new beside 24,991 known ones")
        assert mirror.value("select count(*) from folders") == 24_991
        assert mirror.state == ("degraded", "protocol")

        for number in range(15):
            user.delete(f"g{number}")
        look(mirror)


def test_of_too_many_folders_only_inbox_sent_and_chosen_ones_are_mirrored_and_nothing_is_lost(
    database_url: str, scripted: ScriptedServer
) -> None:
    user = scripted.new_user()
    letters(user, 1)
    letters(user, 1, "Sent")
    for path in ("A", "B", "Chosen", "Noisy"):
        letters(user, 2, path)
    with Mirror(database_url, scripted, user, folder_max_count=6) as mirror:
        folders_of = (
            "select array_agg(path order by path) from folders where tracked and missing_since is null"
        )
        mirror.complete()
        folders.choose(mirror.conn, mirror.account_id, "Chosen", tracked=True)
        folders.choose(mirror.conn, mirror.account_id, "Noisy", tracked=False)
        letters(user, 2, "C")
        look(mirror)
        mirror.complete()
        assert mirror.value(folders_of) == ["Chosen", "INBOX", "Sent"]
        assert mirror.folder("A").excluded_reason == "too_many_folders"
        assert mirror.folder("Noisy").excluded_reason is None
        assert (len(ids(mirror, "A")), len(ids(mirror, "B")), ids(mirror, "C")) == (2, 2, {})
        assert ids(mirror, "Noisy") == {}
        assert mirror.state == ("degraded", "too_many_folders")

        user.folder("A").add(mail.message(5))
        user.delete("C")
        look(mirror)
        mirror.complete()
        assert mirror.value(folders_of) == ["A", "B", "Chosen", "INBOX", "Sent"]
        assert sorted(ids(mirror, "A")) == [1, 2, 3]
        assert mirror.state == ("healthy", None)
