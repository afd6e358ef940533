"""Folders that are renamed keep their rows and ids, and nothing is fetched again."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mailsync.engine.turn import Turn
from mailsync.errors import OutOfTokens
from mailsync.store import folders
from tests.support import mail
from tests.support.discoveries import ALL, BARE, events, fetched, ids, look
from tests.support.scripted import ScriptedServer
from tests.support.turns import Mirror, letters

Servers = Callable[..., ScriptedServer]
OFFERED = {
    "all but OBJECTID": ALL,
    "all": ALL + b" OBJECTID",
    "none": BARE,
    "OBJECTID alone": BARE + b" OBJECTID",
}
on_any_server = pytest.mark.parametrize("offered", OFFERED.values(), ids=OFFERED)
with_identities = pytest.mark.parametrize("offered", [ALL + b" OBJECTID", BARE + b" OBJECTID"])
without_identities = pytest.mark.parametrize("offered", [ALL, BARE])
with_list_status = pytest.mark.parametrize("offered", [ALL, ALL + b" OBJECTID"])


@on_any_server
def test_a_parent_takes_its_children_along(database_url: str, scripted_with: Servers, offered: bytes) -> None:
    server = scripted_with(capabilities=offered)
    user = server.new_user()
    for count, path in enumerate(("Work", "Work/A", "Work/A/B", "Other"), 3):
        letters(user, count, path)
    with Mirror(database_url, server, user) as mirror:
        mirror.complete()
        paths = {"Work": "Job", "Work/A": "Job/A", "Work/A/B": "Job/A/B"}
        before = {new: (mirror.folder(old), ids(mirror, old)) for old, new in paths.items()}
        before_fetched = fetched(server)
        for old, new in paths.items():
            user.rename(old, new)
        look(mirror)
        for new, (folder, rows) in before.items():
            now = mirror.folder(new)
            assert (now.id, now.wire_name, now.status) == (folder.id, new.encode(), "active")
            assert ids(mirror, new) == rows
        assert sorted(events(mirror)) == sorted(("folder.renamed", old, new) for old, new in paths.items())
        assert mirror.value("select count(*) from messages where deleted_at is not null") == 0

        user.folder("Job/A").add(mail.message(9))
        mirror.complete()
        assert sorted(ids(mirror, "Job/A")) == [1, 2, 3, 4, 5]
        assert mirror.state == ("healthy", None)
        assert fetched(server) == before_fetched + 1


@without_identities
def test_renames_are_proven_in_turns_without_time_too_and_nothing_is_emptied_meanwhile(
    database_url: str, scripted_with: Servers, offered: bytes
) -> None:
    server = scripted_with(capabilities=offered)
    user = server.new_user()
    names = {"Work": "Job", "Work/A": "Job/A", "Work/B": "Job/B"}
    for count, path in enumerate(names, 3):
        letters(user, count, path)
    with Mirror(database_url, server, user, folder_missing_grace=0) as mirror:
        mirror.complete()
        before = {new: (mirror.folder(old).id, ids(mirror, old)) for old, new in names.items()}
        for old, new in names.items():
            user.rename(old, new)
        mirror.configure(hot_turn_max=0)
        for _ in range(6):
            mirror.conn.execute("update accounts set next_discovery_at = now()")
            mirror.hot()
        assert {new: (mirror.folder(new).id, ids(mirror, new)) for new in names.values()} == before


@with_list_status
def test_names_are_swapped_and_handed_on(database_url: str, scripted_with: Servers, offered: bytes) -> None:
    server = scripted_with(capabilities=offered)
    user = server.new_user()
    for count, path in enumerate("ABC", 3):
        letters(user, count, path)
    with Mirror(database_url, server, user) as mirror:
        mirror.complete()
        before = {path: (mirror.folder(path).id, ids(mirror, path)) for path in "ABC"}
        # LIST-STATUS shows the rename, although no LIST is due
        for old, new in (("A", "x"), ("B", "A"), ("x", "B")):
            user.rename(old, new)
        assert isinstance(mirror.hot(), Turn)
        assert (mirror.folder("B").id, ids(mirror, "B")) == before["A"]
        assert (mirror.folder("A").id, ids(mirror, "A")) == before["B"]

        for old, new in (("C", "D"), ("A", "C"), ("B", "A")):
            user.rename(old, new)
        assert isinstance(mirror.hot(), Turn)
        assert (mirror.folder("D").id, ids(mirror, "D")) == before["C"]
        assert (mirror.folder("C").id, ids(mirror, "C")) == before["B"]
        assert (mirror.folder("A").id, ids(mirror, "A")) == before["A"]
        assert mirror.value("select count(*) from messages where deleted_at is not null") == 0
        mirror.complete()
        assert mirror.state == ("healthy", None)


@pytest.mark.parametrize("offered", [BARE, BARE + b" OBJECTID"])
def test_a_swap_that_nothing_shows_in_time_ends_with_the_right_mail_under_each_name(
    database_url: str, scripted_with: Servers, offered: bytes
) -> None:
    server = scripted_with(capabilities=offered)
    user = server.new_user()
    letters(user, 3, "A")
    letters(user, 4, "B")
    with Mirror(database_url, server, user) as mirror:
        mirror.complete()
        for old, new in (("A", "x"), ("B", "A"), ("x", "B")):
            user.rename(old, new)
        mirror.complete()
        assert sorted(ids(mirror, "A")) == [1, 2, 3, 4]
        assert sorted(ids(mirror, "B")) == [1, 2, 3]
        assert mirror.state == ("healthy", None)


def test_a_folder_whose_name_another_takes_is_missing_and_is_recognised_by_its_mailboxid(
    database_url: str, scripted_with: Servers
) -> None:
    server = scripted_with(capabilities=ALL + b" OBJECTID")
    user = server.new_user()
    letters(user, 3, "A")
    letters(user, 4, "B")
    with Mirror(database_url, server, user) as mirror:
        mirror.complete()
        a, b = mirror.folder("A"), mirror.folder("B")
        a_rows, b_rows = ids(mirror, "A"), ids(mirror, "B")
        deleted = user.folder("A")
        user.delete("A")
        user.rename("B", "A")
        assert isinstance(mirror.hot(), Turn)
        by_id = {f.id: f for f in folders.load(mirror.conn, mirror.account_id)}
        assert by_id[b.id].wire_name == b"A"
        assert by_id[a.id].missing_since is not None
        assert events(mirror) == [("folder.renamed", "B", "A"), ("folder.missing", None, "A")]
        live = "select count(*) from messages where folder_id = %s and deleted_at is null"
        assert mirror.value(live, a.id) == 3

        # restored from a backup, under another name
        deleted.name = b"Restored"
        user.folders[b"Restored"] = deleted
        assert isinstance(mirror.hot(), Turn)
        assert (mirror.folder("Restored").id, ids(mirror, "Restored")) == (a.id, a_rows)
        assert (mirror.folder("A").id, ids(mirror, "A")) == (b.id, b_rows)
        mirror.complete()
        assert mirror.state == ("healthy", None)


@with_identities
def test_with_an_identity_an_empty_a_left_out_and_a_changed_folder_are_known_again(
    database_url: str, scripted_with: Servers, offered: bytes
) -> None:
    server = scripted_with(capabilities=offered)
    user = server.new_user()
    user.create("Empty")
    letters(user, 2, "Noisy")
    letters(user, 3, "Busy")
    with Mirror(database_url, server, user) as mirror:
        mirror.complete()
        folders.choose(mirror.conn, mirror.account_id, "Noisy", tracked=False)
        mirror.complete()
        before = {path: mirror.folder(path).id for path in ("Empty", "Noisy", "Busy")}
        kept = ids(mirror, "Busy")
        for path in before:
            user.rename(path, f"{path}2")
        user.folder("Busy2").add(mail.message(7))
        look(mirror)
        mirror.complete()
        assert {path: mirror.folder(f"{path}2").id for path in before} == before
        assert mirror.folder("Noisy2").tracked_by_user is False
        assert ids(mirror, "Noisy2") == {}
        assert ids(mirror, "Busy2").items() > kept.items()
        assert sorted(ids(mirror, "Busy2")) == [1, 2, 3, 4]
        assert mirror.state == ("healthy", None)


@without_identities
def test_without_an_identity_what_is_empty_or_got_new_mail_is_another_folder(
    database_url: str, scripted_with: Servers, offered: bytes
) -> None:
    server = scripted_with(capabilities=offered)
    user = server.new_user()
    user.create("Empty")
    letters(user, 3, "Busy")
    with Mirror(database_url, server, user) as mirror:
        mirror.complete()
        before = {path: mirror.folder(path).id for path in ("Empty", "Busy")}
        for path in before:
            user.rename(path, f"{path}2")
        user.folder("Busy2").add(mail.message(7))
        look(mirror)
        mirror.complete()
        for path, folder_id in before.items():
            assert mirror.folder(f"{path}2").id != folder_id
            assert mirror.folder(path).missing_since is not None
        assert sorted(ids(mirror, "Busy2")) == [1, 2, 3, 4]
        assert sorted(ids(mirror, "Busy")) == [1, 2, 3], "nothing is lost before the grace is over"


@without_identities
def test_a_folder_with_the_same_numbers_and_other_messages_is_another_folder(
    database_url: str, scripted_with: Servers, offered: bytes
) -> None:
    server = scripted_with(capabilities=offered)
    user = server.new_user()
    old = letters(user, 30, "Old")
    with Mirror(database_url, server, user) as mirror:
        mirror.complete()
        user.delete("Old")
        new = user.create("New", uidvalidity=old.uidvalidity)
        for number in range(30):
            new.add(
                mail.message(number), date="02-Feb-2024 10:00:00 +0000" if number == 29 else old.mails[1].date
            )
        look(mirror)
        mirror.complete()
        assert mirror.folder("Old").missing_since is not None
        assert mirror.folder("New").missing_since is None
        assert mirror.folder("New").live_count == 30
        assert [type_ for type_, *_ in events(mirror)] == ["folder.missing"]


@on_any_server
def test_a_first_sync_goes_on_under_the_new_name(
    database_url: str, scripted_with: Servers, offered: bytes
) -> None:
    server = scripted_with(capabilities=offered)
    user = server.new_user()
    letters(user, 60, "Big")
    with Mirror(database_url, server, user, fetch_batch=30) as mirror:
        mirror.configure(backfill_turn_max=0.0)
        mirror.hot()
        while len(mirror.rows("Big")) < 30:
            mirror.fill()
        folder, rows = mirror.folder("Big"), ids(mirror, "Big")
        assert folder.status == "initial"
        user.rename("Big", "Bigger")
        look(mirror)
        assert mirror.folder("Bigger").id == folder.id
        mirror.configure(backfill_turn_max=5.0)
        mirror.complete()
        assert ids(mirror, "Bigger").items() > rows.items()
        assert len(mirror.rows("Bigger")) == 60
        assert mirror.state == ("healthy", None)


@without_identities
def test_more_renames_than_a_turn_can_afford_are_proven_over_several(
    database_url: str, scripted_with: Servers, offered: bytes
) -> None:
    server = scripted_with(capabilities=offered)
    user = server.new_user()
    paths = [f"Work/{n}" for n in range(12)]
    for count, path in enumerate(paths, 1):
        letters(user, count, path)
    with Mirror(database_url, server, user, sync_rr_folders=20) as mirror:
        mirror.complete()
        before = {path: mirror.folder(path).id for path in paths}
        for path in paths:
            user.rename(path, path.replace("Work", "Job"))
        # a burst of 15 commands, of which the hot pass reserves three
        mirror.configure(imap_max_commands_per_minute=60)
        mirror.conn.execute("update accounts set next_discovery_at = now()")
        for turns in range(20):  # noqa: B007
            mirror.conn.execute("update accounts set throttle_tokens = null, throttle_at = null")
            ended = mirror.hot()
            assert isinstance(ended, Turn | OutOfTokens), ended
            if not mirror.value("select count(*) from folders where missing_since is not null"):
                break
        assert turns > 1
        assert {path: mirror.folder(path.replace("Work", "Job")).id for path in paths} == before
        assert mirror.value("select count(*) from folders") == 13


def test_role_and_tracking_follow_from_the_new_name_and_the_users_choice_stays(
    database_url: str, scripted: ScriptedServer
) -> None:
    user = scripted.new_user()
    user.create("Trash", rb"\Trash")
    letters(user, 3, "Work")
    letters(user, 4, "Kept")
    with Mirror(database_url, scripted, user) as mirror:
        mirror.complete()
        folders.choose(mirror.conn, mirror.account_id, "Kept", tracked=True)
        work, kept = mirror.folder("Work"), mirror.folder("Kept")
        user.rename("Work", "Trash/Work")
        user.rename("Kept", "Trash/Kept")
        look(mirror)
        assert mirror.folder("Trash/Work").id == work.id
        assert mirror.folder("Trash/Work").excluded_reason == "trash"
        assert mirror.rows("Trash/Work") == {}
        assert mirror.folder("Trash/Kept").id == kept.id
        assert mirror.folder("Trash/Kept").tracked
        assert len(mirror.rows("Trash/Kept")) == 4

        user.rename("Trash/Work", "Sent")
        look(mirror)
        mirror.complete()
        sent = mirror.folder("Sent")
        assert (sent.role, sent.sync_priority, sent.tracked) == ("sent", 5, True)
        assert len(mirror.rows("Sent")) == 3
