"""Folders that disappear and come back: what happens to their rows."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mailsync.engine.turn import Turn
from mailsync.errors import ProtocolError, TurnOver
from tests.support import mail
from tests.support.discoveries import (
    ALL,
    BARE,
    end_grace,
    events,
    fetched,
    ids,
    look,
    only,
    reasons,
    refusing,
)
from tests.support.scripted import ScriptedServer
from tests.support.turns import Mirror, letters

Servers = Callable[..., ScriptedServer]
on_either_server = pytest.mark.parametrize("offered", [ALL, BARE], ids=["all", "none"])


@on_either_server
def test_a_folder_that_reappears_within_its_grace_period_continues(
    database_url: str, scripted_with: Servers, offered: bytes
) -> None:
    server = scripted_with(capabilities=offered)
    user = server.new_user()
    work = letters(user, 3, "Work")
    with Mirror(database_url, server, user) as mirror:
        mirror.complete()
        folder, rows = mirror.folder("Work"), ids(mirror, "Work")
        user.delete("Work")
        look(mirror)
        assert mirror.folder("Work").missing_since is not None
        assert (mirror.folder("Work").status, ids(mirror, "Work")) == ("active", rows)
        mirror.hot()
        assert events(mirror) == [("folder.missing", None, "Work")]

        before = fetched(server)
        user.folders[b"Work"] = work
        work.add(mail.message(3))
        look(mirror)
        mirror.complete()
        now = mirror.folder("Work")
        assert (now.id, now.missing_since, now.last_error) == (folder.id, None, None)
        assert ids(mirror, "Work").items() > rows.items()
        assert sorted(ids(mirror, "Work")) == [1, 2, 3, 4]
        assert fetched(server) == before + 1
        assert events(mirror)[1:] == [("folder.restored", None, "Work")]
        assert mirror.state == ("healthy", None)


@on_either_server
def test_after_its_grace_period_a_folders_rows_are_tombstones_until_it_reappears(
    database_url: str, scripted_with: Servers, offered: bytes
) -> None:
    server = scripted_with(capabilities=offered)
    user = server.new_user()
    work = letters(user, 3, "Work")
    with Mirror(database_url, server, user) as mirror:
        mirror.complete()
        rows = ids(mirror, "Work")
        user.delete("Work")
        look(mirror)
        end_grace(mirror)
        mirror.hot()
        gone = mirror.folder("Work")
        assert (gone.status, gone.live_count, gone.last_uid, gone.highest_modseq) == ("missing", 0, 0, 0)
        assert reasons(mirror, "Work") == ["folder_missing"]
        assert mirror.state == ("healthy", None)
        runs = mirror.value("select count(*) from sync_runs")
        mirror.hot()
        assert mirror.value("select count(*) from sync_runs") == runs, "done once"

        work.expunge(2)
        user.folders[b"Work"] = work
        look(mirror)
        mirror.complete()
        assert ids(mirror, "Work") == {1: rows[1], 3: rows[3]}
        assert mirror.folder("Work").status == "active"
        assert [type_ for type_, *_ in events(mirror)] == ["folder.missing", "folder.restored"]
        assert mirror.state == ("healthy", None)


def test_a_large_folder_goes_in_steps_and_the_next_turn_goes_on(
    database_url: str, scripted: ScriptedServer
) -> None:
    user = scripted.new_user()
    letters(user, 1, "Work")
    with Mirror(database_url, scripted, user, folder_missing_grace=0) as mirror:
        mirror.complete()
        mirror.conn.execute(
            "insert into messages (account_id, folder_id, uidvalidity, uid, internal_date)"
            " select account_id, folder_id, uidvalidity, n, now() from messages, generate_series(2, 5001) n"
        )
        mirror.conn.execute("update folders set live_count = 5001 where path = 'Work'")
        user.delete("Work")
        mirror.conn.execute("update accounts set next_discovery_at = now()")
        mirror.configure(hot_turn_max=0)
        assert isinstance(mirror.hot(), TurnOver)
        assert (mirror.folder("Work").status, mirror.folder("Work").live_count) == ("missing", 1)
        mirror.configure(hot_turn_max=10)
        assert isinstance(mirror.hot(), Turn)
        assert mirror.folder("Work").live_count == 0
        assert mirror.value("select count(*) from messages where deleted_at is null") == 0


def test_without_a_grace_a_list_that_shows_a_part_destroys_nothing(
    database_url: str, scripted: ScriptedServer
) -> None:
    user = scripted.new_user()
    for path in "ABCDEFGHIJKL":
        letters(user, 1, path)
    with Mirror(database_url, scripted, user, folder_missing_grace=0) as mirror:
        mirror.complete()
        user.delete("A")
        scripted.on("LIST", only(b"INBOX", b"L"))
        for _ in range(3):
            look(mirror)
        assert mirror.value("select count(*) from folders where missing_since is not null") == 11
        assert mirror.value("select count(*) from messages where deleted_at is null") == 11
        assert reasons(mirror, "A") == ["folder_missing"]

        scripted.off("LIST")
        look(mirror)
        mirror.complete()
        assert mirror.value("select count(*) from folders where missing_since is not null") == 1
        assert mirror.state == ("healthy", None)


def test_an_empty_list_is_an_error_and_no_folder_is_missing(
    database_url: str, scripted_with: Servers
) -> None:
    server = scripted_with(capabilities=BARE)
    user = server.new_user()
    letters(user, 1, "Work")
    with Mirror(database_url, server, user, folder_missing_grace=0) as mirror:
        mirror.complete()
        server.on("LIST", lambda request: request.tagged(b"OK nothing"))
        mirror.conn.execute("update accounts set next_discovery_at = now()")
        assert isinstance(mirror.hot(), ProtocolError)
        assert mirror.value("select count(*) from folders where missing_since is not null") == 0
        assert mirror.value("select count(*) from messages where deleted_at is null") == 1


def test_a_folder_that_turns_out_to_be_gone_is_looked_for_in_the_next_turn(
    database_url: str, scripted_with: Servers
) -> None:
    server = scripted_with(capabilities=BARE)
    user = server.new_user()
    letters(user, 2, "Work")
    with Mirror(database_url, server, user) as mirror:
        mirror.complete()
        before = mirror.folder("Work").id
        user.rename("Work", "Job")
        mirror.hot()
        assert mirror.folder("Work").last_error is not None
        mirror.hot()
        assert mirror.folder("Job").id == before
        assert mirror.folder("Job").last_error is None
        mirror.hot()
        assert mirror.state == ("healthy", None)


def test_folders_without_a_status_stop_neither_the_account_nor_each_other(
    database_url: str, scripted_with: Servers
) -> None:
    server = scripted_with(capabilities=BARE)
    user = server.new_user()
    letters(user, 2, "Gone")
    letters(user, 3, "Work")
    with Mirror(database_url, server, user, folder_missing_grace=0) as mirror:
        mirror.complete()
        before = mirror.folder("Work").id
        user.delete("Gone")
        user.rename("Work", "Job")
        user.create("Odd")
        server.on("STATUS", refusing(b"Odd", b"Gone", words=b"NO [INUSE] not now"))
        look(mirror)
        assert mirror.folder("Job").id == before
        assert mirror.folder("Gone").missing_since is not None
        assert len(ids(mirror, "Gone")) == 2, "no word on it, so nothing is done"

        server.off("STATUS")
        mirror.conn.execute("update folders set retry_at = now()")
        look(mirror)
        mirror.complete()
        assert ids(mirror, "Gone") == {}
        assert mirror.folder("Odd").status == "active"
        assert mirror.state == ("healthy", None)
